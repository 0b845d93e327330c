//! Removing images as docker does: a name goes, and with its last name the image, unless a container uses it.

use super::entries::one_kind;
use super::{Collected, Container, Image, Liveness, Store, StoreError, find_in};
use crate::image::{Digest, Reference};

/// What removing images has done.
#[derive(Debug, Default)]
pub struct Removed {
    /// Names that are no more.
    pub untagged: Vec<String>,
    /// Images that are no more.
    pub deleted: Vec<Digest>,
    /// Layers and blobs that went with them.
    pub collected: Collected,
}

impl Store {
    /// Removes the image, or its name, that `text` means; see [`Store::find`]. With `force`, also an image of several
    /// names by its id, and one that a stopped container uses; of one that a running container uses the name goes.
    pub fn remove_image(
        &self,
        text: &str,
        candidates: &[Reference],
        force: bool,
    ) -> Result<Removed, StoreError> {
        let images = self.images()?;
        let image = find_in(&images, text, candidates)?;
        let entries: Vec<Image> = images.into_iter().filter(|other| other.id == image.id).collect();
        let users: Vec<Container> = self.users_of(&image.id)?;
        let by_name = candidates.iter().any(|candidate| is_called(&image, candidate));
        let leaving = match by_name {
            true => leaving_by_name(&image, &entries, &users, force)?,
            false => leaving_by_id(&image, &entries, &users, force)?,
        };
        if leaving.is_empty() {
            self.untag(&image)?;
        } else {
            self.remove_entries(&leaving)?;
        }
        let mut removed = Removed::default();
        match leaving.is_empty() {
            true => removed.untagged.extend(names(std::slice::from_ref(&image))),
            false => removed.untagged.extend(names(&leaving)),
        }
        if leaving.len() == entries.len() {
            removed.untagged.extend(repo_digests(&entries));
            removed.deleted.push(image.id);
        }
        removed.collected = self.collect_garbage()?;
        Ok(removed)
    }

    /// Removes the images of `ids` with all their names, but those that a container uses.
    pub fn prune(&self, ids: &[Digest]) -> Result<Removed, StoreError> {
        let containers = self.containers()?;
        let is_used = |id: &Digest| containers.iter().any(|user| user.record.image_id == *id);
        let leaving: Vec<Image> =
            self.images()?.into_iter().filter(|image| ids.contains(&image.id)).collect();
        let leaving: Vec<Image> = leaving.into_iter().filter(|image| !is_used(&image.id)).collect();
        let mut removed = Removed::default();
        if !leaving.is_empty() {
            self.remove_entries(&leaving)?;
            removed.untagged.extend(names(&leaving));
            removed.untagged.extend(repo_digests(&leaving));
            removed.deleted.extend(leaving.into_iter().map(|image| image.id));
            removed.deleted.dedup();
        }
        removed.collected = self.collect_garbage()?;
        Ok(removed)
    }
}

/// Is this its name? A digest may also find an image that has a tag: then it stands for the image, as an id does.
fn is_called(image: &Image, candidate: &Reference) -> bool {
    image.name.as_ref() == Some(&one_kind(candidate.clone()))
}

/// The entries that go; none where only the name does.
fn leaving_by_name(
    image: &Image,
    entries: &[Image],
    users: &[Container],
    force: bool,
) -> Result<Vec<Image>, StoreError> {
    let is_other = |other: &&Image| other.name != image.name && other.name.is_some();
    if entries.iter().any(|other| is_other(&other) && !other.is_untagged()) {
        return Ok(vec![image.clone()]);
    }
    match first_user(users) {
        Some(user) if !force => Err(in_use(image, user, "remove that first, or the name alone with -f")),
        Some(user) if user.liveness == Liveness::Running => Ok(Vec::new()),
        _ => Ok(entries.to_vec()),
    }
}

/// All entries go.
fn leaving_by_id(
    image: &Image,
    entries: &[Image],
    users: &[Container],
    force: bool,
) -> Result<Vec<Image>, StoreError> {
    let names: Vec<&Reference> =
        entries.iter().filter(|entry| !entry.is_untagged()).filter_map(|entry| entry.name.as_ref()).collect();
    let repositories_differ = names.windows(2).any(|pair| pair[0].name() != pair[1].name());
    if repositories_differ && !force {
        let count = names.len();
        let names: Vec<String> = names.into_iter().map(Reference::familiar).collect();
        let id = image.id.short().to_owned();
        return Err(StoreError::ManyNames { id, count, names: names.join(", ") });
    }
    match first_user(users) {
        Some(user) if user.liveness == Liveness::Running => Err(in_use(image, user, "end that first")),
        Some(user) if !force => Err(in_use(image, user, "remove that first, or give -f")),
        _ => Ok(entries.to_vec()),
    }
}

/// One that runs, if there is one.
fn first_user(users: &[Container]) -> Option<&Container> {
    users.iter().find(|user| user.liveness == Liveness::Running).or(users.first())
}

fn in_use(image: &Image, user: &Container, cure: &'static str) -> StoreError {
    let (state, container) = (user.liveness.word(), user.record.id.clone());
    StoreError::InUse { name: image.title(), state, container, cure }
}

fn names(images: &[Image]) -> Vec<String> {
    images.iter().filter_map(|image| image.name.as_ref()).map(Reference::familiar).collect()
}

fn repo_digests(images: &[Image]) -> Vec<String> {
    let mut digests: Vec<String> = images.iter().flat_map(Image::repo_digests).collect();
    digests.sort();
    digests.dedup();
    digests.retain(|digest| !images.iter().any(|image| image.title() == *digest));
    digests
}
