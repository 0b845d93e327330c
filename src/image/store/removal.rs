//! Removing images as docker does: a name goes, and with its last name the image, unless a container uses it.

use super::entries::one_kind;
use super::index::IndexFile;
use super::names::{remove_entries, untag};
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
        let removed = self.change_index(|index| {
            let images = self.images_in(index);
            let image = find_in(&images, text, candidates)?;
            let entries: Vec<Image> = images.into_iter().filter(|other| other.id == image.id).collect();
            let users: Vec<Container> = self.users_of(&image.id)?;
            let leaving = match candidates.iter().any(|candidate| is_called(&image, candidate)) {
                true => leaving_by_name(&image, &entries, &users, force)?,
                false => leaving_by_id(&image, &entries, &users, force)?,
            };
            Ok(match leaving {
                Leaving::Name => {
                    untag(index, &image);
                    Removed { untagged: names(&[image]), ..Removed::default() }
                }
                Leaving::Entry => {
                    remove_entries(index, std::slice::from_ref(&image));
                    Removed { untagged: names(&[image]), ..Removed::default() }
                }
                Leaving::Image => removed(index, &entries),
            })
        })?;
        Ok(self.with_garbage(removed))
    }

    /// Removes the images whose ids `choose` gives, with all their names, but those that a container uses.
    pub fn prune<E: From<StoreError>>(
        &self,
        choose: impl FnOnce(&[Image]) -> Result<Vec<Digest>, E>,
    ) -> Result<Removed, E> {
        let removed = self.change_index(|index| {
            let mut images = self.images_in(index);
            let chosen = choose(&images)?;
            let containers = self.containers()?;
            let is_used = |id: &Digest| containers.iter().any(|user| user.record.image_id == *id);
            images.retain(|image| chosen.contains(&image.id) && !is_used(&image.id));
            Ok::<_, E>(removed(index, &images))
        })?;
        Ok(self.with_garbage(removed))
    }

    /// Removes an image with all its names, as the CRI has it, also one that containers use: what these need stays until they
    /// are gone, too. None of an image that is not there.
    pub fn remove_all_names(&self, id: &Digest) -> Result<Option<Removed>, StoreError> {
        let removed = self.change_index(|index| {
            let mut images = self.images_in(index);
            images.retain(|image| image.id == *id);
            Ok::<_, StoreError>((!images.is_empty()).then(|| removed(index, &images)))
        })?;
        Ok(removed.map(|removed| self.with_garbage(removed)))
    }

    /// The entries are gone, whatever becomes of the rest.
    fn with_garbage(&self, removed: Removed) -> Removed {
        let collected = self.collect_garbage();
        let collected =
            collected.unwrap_or_else(|error| Collected { errors: vec![error], ..Collected::default() });
        Removed { collected, ..removed }
    }
}

/// Removes all entries of some images.
fn removed(index: &mut IndexFile, entries: &[Image]) -> Removed {
    remove_entries(index, entries);
    let mut removed = Removed { untagged: names(entries), ..Removed::default() };
    removed.untagged.extend(repo_digests(entries));
    for entry in entries {
        if !removed.deleted.contains(&entry.id) {
            removed.deleted.push(entry.id.clone());
        }
    }
    removed
}

/// What of an image goes.
enum Leaving {
    /// The name; the entry stays without one.
    Name,
    /// This entry, since the image has others.
    Entry,
    /// All of it.
    Image,
}

/// Is this its name? A digest may also find an image that has a tag: then it stands for the image, as an id does.
fn is_called(image: &Image, candidate: &Reference) -> bool {
    image.name.as_ref() == Some(&one_kind(candidate.clone()))
}

fn leaving_by_name(
    image: &Image,
    entries: &[Image],
    users: &[Container],
    force: bool,
) -> Result<Leaving, StoreError> {
    if entries.iter().any(|other| other.name != image.name && !other.is_untagged()) {
        return Ok(Leaving::Entry);
    }
    match first_user(users) {
        Some(user) if !force => Err(in_use(image, user, "remove that first, or the name alone with -f")),
        Some(user) if user.liveness == Liveness::Running => Ok(Leaving::Name),
        _ => Ok(Leaving::Image),
    }
}

fn leaving_by_id(
    image: &Image,
    entries: &[Image],
    users: &[Container],
    force: bool,
) -> Result<Leaving, StoreError> {
    let tagged = entries.iter().filter(|entry| !entry.is_untagged());
    let names: Vec<&Reference> = tagged.filter_map(|entry| entry.name.as_ref()).collect();
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
        _ => Ok(Leaving::Image),
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
