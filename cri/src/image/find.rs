//! An image by what the CRI calls it: its id or the beginning of it, a name, a name with a digest.

use std::sync::Arc;

use rcrun::image::reference::DOCKER_IO;
use rcrun::image::registry::settings::{Settings, SettingsOptions};
use rcrun::image::store::{Image, StoreError, find_in};
use rcrun::image::{Digest, Name, Reference};
use tonic::Status;

use super::error;
use super::images::Documents;
use crate::runtime::Runtime;
use crate::spec::ImageFacts;

/// An image of the store with what a container needs of it.
#[derive(Clone, Debug)]
pub struct Found {
    /// The store's entry.
    pub image: Image,
    /// `sha256:HEX` of its configuration: `image_id` everywhere in the CRI.
    pub id: String,
    /// `NAME@DIGEST` where a registry has it, else the id.
    pub reference: String,
    /// Its names with tags, whole: `docker.io/library/busybox:1`.
    pub tags: Vec<String>,
    /// Its names with digests, whole.
    pub digests: Vec<String>,
    /// What its configuration says about running.
    pub facts: ImageFacts,
    /// Manifest and configuration, verified: [`rcrun::image::store::Contents::diff_ids`] are its layers.
    pub documents: Arc<Documents>,
}

/// The image that `text` means. NOT_FOUND where there is none, FAILED_PRECONDITION where it cannot be run.
pub async fn find(runtime: &Arc<Runtime>, text: &str) -> Result<Found, Status> {
    let (runtime, text) = (Arc::clone(runtime), text.to_owned());
    super::blocking(move || find_blocking(&runtime, &text)).await
}

/// [`find`] for callers that may block.
pub fn find_blocking(runtime: &Runtime, text: &str) -> Result<Found, Status> {
    let store = super::store(runtime)?;
    let images = store.images().map_err(error::store)?;
    let image = resolve(&images, text)?.ok_or_else(|| error::no_image(text))?;
    let documents = runtime.images.documents(&store, &image).map_err(error::store)?;
    let facts = documents.facts.clone().map_err(Status::failed_precondition)?;
    let Names { tags, digests } = Names::of(&images, &image.id);
    let id = image.id.to_string();
    let reference = reference(&image, &digests).unwrap_or_else(|| id.clone());
    Ok(Found { image, id, reference, tags, digests, facts, documents })
}

/// The entry that `text` means; None where there is none.
pub(super) fn resolve(images: &[Image], text: &str) -> Result<Option<Image>, Status> {
    // What clients say most: an id as it was told to them. It needs no look at registries.conf.
    if let Some(image) = by_whole_id(images, text) {
        return Ok(Some(image.clone()));
    }
    let candidates = candidates(text)?;
    match find_in(images, text, &candidates) {
        Ok(image) => Ok(Some(image)),
        Err(StoreError::NoImage { .. }) => Ok(None),
        Err(failure) => Err(error::store(failure)),
    }
}

fn by_whole_id<'i>(images: &'i [Image], text: &str) -> Option<&'i Image> {
    let id: Digest = text.parse().ok()?;
    let mut all = images.iter().filter(|image| image.id == id);
    let first = all.next()?;
    // The entry with a name says most.
    Some(std::iter::once(first).chain(all).find(|image| image.name.is_some()).unwrap_or(first))
}

/// The full names that `text` may stand for; none of what can only be an id.
pub(super) fn candidates(text: &str) -> Result<Vec<Reference>, Status> {
    let name: Name = match text.parse() {
        Ok(name) => name,
        Err(_) if is_id(text) => return Ok(Vec::new()),
        Err(failure) => return Err(Status::invalid_argument(failure.to_string())),
    };
    let tagged = name.in_registry(DOCKER_IO);
    if let Name::Qualified(_) = name {
        return Ok(vec![tagged]);
    }
    let settings = Settings::load(&SettingsOptions::from_environment(None)).map_err(error::settings)?;
    // One that could be in several registries and may be in none of them is still looked for as docker's.
    let mut candidates = settings.candidates(&name).unwrap_or_default();
    if !candidates.contains(&tagged) {
        candidates.push(tagged);
    }
    Ok(candidates)
}

fn is_id(text: &str) -> bool {
    let digits = text.strip_prefix("sha256:").unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// All names of one image.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Names {
    /// With tags.
    pub tags: Vec<String>,
    /// With digests.
    pub digests: Vec<String>,
}

impl Names {
    /// Those in all entries of the image `id`, in order.
    pub(super) fn of(images: &[Image], id: &Digest) -> Self {
        let mut names = Self::default();
        for image in images.iter().filter(|image| image.id == *id) {
            for name in image.name.iter().chain(&image.sources) {
                let list = if name.digest().is_some() { &mut names.digests } else { &mut names.tags };
                list.push(name.to_string());
            }
        }
        for list in [&mut names.tags, &mut names.digests] {
            list.sort();
            list.dedup();
        }
        names
    }
}

/// Of the names with digests the one in the repository that the image was asked from.
fn reference(image: &Image, digests: &[String]) -> Option<String> {
    let repository = image.name.as_ref().map(|name| name.name() + "@");
    let own = repository.and_then(|own| digests.iter().find(|digest| digest.starts_with(&own)));
    own.or(digests.first()).cloned()
}

#[cfg(test)]
mod tests {
    use rcrun::image::Descriptor;

    use super::*;

    fn image(content: &str, name: &str) -> Image {
        let digest = Digest::of(content.as_bytes());
        let name: Option<Reference> = name.parse().ok();
        Image {
            sources: name.iter().map(|name| name.with_digest(&digest)).collect(),
            name,
            index: None,
            keep_blobs: false,
            created: None,
            size: None,
            hidden_layers: 0,
            stored: None,
            foreign: false,
            id: digest,
            manifest: Descriptor::of("m", content.as_bytes()),
        }
    }

    fn title(images: &[Image], text: &str) -> Option<String> {
        resolve(images, text).unwrap().map(|image| image.title())
    }

    #[test]
    fn an_image_is_found_by_all_that_it_is_called() {
        let images = [image("a", "r.example/web:1"), image("b", "busybox:latest"), image("c", "")];
        let id = images[0].id.to_string();
        for text in [&id, id.trim_start_matches("sha256:"), &id[..20], "r.example/web:1"] {
            assert_eq!(title(&images, text).unwrap(), "r.example/web:1");
        }
        assert_eq!(
            title(&images, &format!("r.example/web@{}", images[0].manifest.digest)).unwrap(),
            "r.example/web:1"
        );
        for text in ["busybox", "busybox:latest", "docker.io/library/busybox"] {
            assert_eq!(title(&images, text).unwrap(), "busybox:latest");
        }
        assert_eq!(title(&images, &images[2].id.to_string()).unwrap(), images[2].id.short());
        assert_eq!(title(&images, "r.example/web:2"), None);
        assert_eq!(title(&images, &Digest::of(b"nothing").to_string()), None);
    }

    #[test]
    fn what_is_no_name_says_why() {
        for text in ["", "Upper", "a:b:c", "r.example/web@sha256:1"] {
            let status = resolve(&[], text).unwrap_err();
            assert_eq!(status.code(), tonic::Code::InvalidArgument, "{text}");
            assert!(status.message().contains("no image name"), "{}", status.message());
        }
    }

    #[test]
    fn names_of_all_entries_come_in_order_and_once() {
        let images =
            [image("a", "web:2"), image("a", "web:1"), image("a", "r.example/web:1"), image("b", "x:1")];
        let digest = Digest::of(b"a");
        let names = Names::of(&images, &digest);
        assert_eq!(names.tags, ["docker.io/library/web:1", "docker.io/library/web:2", "r.example/web:1"]);
        assert_eq!(
            names.digests,
            [format!("docker.io/library/web@{digest}"), format!("r.example/web@{digest}")]
        );
        assert_eq!(reference(&images[2], &names.digests).unwrap(), names.digests[1]);
        assert_eq!(reference(&image("c", ""), &[]), None);
    }
}
