//! An image by what a user calls it: a name, a name with a digest, an id or its beginning.

use super::{Image, Store, StoreError};
use crate::image::{Digest, Reference};

impl Store {
    /// The image that `text` means. `candidates` are the full names that it may stand for, best first; none where it
    /// can be no name. A name comes before an id, as with docker.
    pub fn find(&self, text: &str, candidates: &[Reference]) -> Result<Image, StoreError> {
        find_in(&self.images()?, text, candidates)
    }
}

/// The same among `images`.
pub fn find_in(images: &[Image], text: &str, candidates: &[Reference]) -> Result<Image, StoreError> {
    let named = candidates.iter().find_map(|candidate| by_name(images, candidate));
    if let Some(image) = named {
        return Ok(image.clone());
    }
    match by_id(images, text)? {
        Some(image) => Ok(image.clone()),
        None => Err(StoreError::NoImage { name: text.to_owned() }),
    }
}

fn by_name<'i>(images: &'i [Image], wanted: &Reference) -> Option<&'i Image> {
    match wanted.digest() {
        None => {
            let wanted = wanted.clone().or_latest();
            images.iter().find(|image| image.name.as_ref() == Some(&wanted))
        }
        Some(digest) => images.iter().find(|image| has_digest(image, wanted, digest)),
    }
}

/// The digest of the manifest, or of the index that it was chosen from, in a repository that the image is of.
fn has_digest(image: &Image, wanted: &Reference, digest: &Digest) -> bool {
    let mut names = image.name.iter().chain(&image.sources);
    (image.manifest.digest == *digest || image.index.as_ref() == Some(digest))
        && names.any(|name| name.name() == wanted.name())
}

fn by_id<'i>(images: &'i [Image], text: &str) -> Result<Option<&'i Image>, StoreError> {
    let prefix = text.strip_prefix("sha256:").unwrap_or(text);
    if prefix.is_empty()
        || prefix.len() > 64
        || !prefix.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    {
        return Ok(None);
    }
    let mut found: Option<&Image> = None;
    for image in images.iter().filter(|image| image.id.hex().starts_with(prefix)) {
        match found {
            Some(first) if first.id != image.id => {
                let (first, second) = (first.id.clone(), image.id.clone());
                return Err(StoreError::Ambiguous { prefix: prefix.to_owned(), first, second });
            }
            // The entry with a name says most.
            Some(first) if first.name.is_some() => {}
            _ => found = Some(image),
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Descriptor;

    fn image(id: &str, name: &str) -> Image {
        let id: Digest = format!("sha256:{id:0<64}").parse().unwrap();
        let manifest = Descriptor::of("m", id.hex().as_bytes());
        Image {
            name: name.parse().ok(),
            index: Some(Digest::of(name.as_bytes())),
            sources: Vec::new(),
            keep_blobs: false,
            created: None,
            size: None,
            hidden_layers: 0,
            stored: None,
            foreign: false,
            id,
            manifest,
        }
    }

    fn find(images: &[Image], text: &str) -> Result<String, String> {
        let candidates: Vec<Reference> = text.parse().into_iter().collect();
        find_in(images, text, &candidates).map(|image| image.title()).map_err(|error| error.to_string())
    }

    #[test]
    fn names_come_before_ids_and_digests_need_the_repository() {
        let images = [image("abc1", "web:1"), image("abd1", "abc:latest"), image("ff", "r.example/x:2")];
        assert_eq!(find(&images, "web:1").unwrap(), "web:1");
        assert_eq!(find(&images, "docker.io/library/web:1").unwrap(), "web:1");
        assert_eq!(find(&images, "abc").unwrap(), "abc:latest");
        assert_eq!(find(&images, "abc1").unwrap(), "web:1");
        assert_eq!(find(&images, "sha256:ff").unwrap(), "r.example/x:2");
        for digest in [&images[0].manifest.digest, images[0].index.as_ref().unwrap()] {
            assert_eq!(find(&images, &format!("web@{digest}")).unwrap(), "web:1");
            assert!(find(&images, &format!("other@{digest}")).is_err());
        }
    }

    #[test]
    fn an_ambiguous_id_names_both_and_a_missing_image_how_to_get_it() {
        let images = [image("abc1", "web:1"), image("abd1", "x:1"), image("abc1", "web:2")];
        let error = find(&images, "ab").unwrap_err();
        assert!(error.contains("abc1000") && error.contains("abd1000"), "{error}");
        assert_eq!(find(&images, "abc").unwrap(), "web:1");
        assert!(find(&images, "nope:7").unwrap_err().contains("rcrun pull nope:7"));
        assert!(find(&images, "ABC").is_err());
    }
}
