//! Which names an archive gives to an image.

use std::collections::BTreeMap;

use super::ArchiveError;
use crate::image::Reference;

/// The name within an OCI layout: a whole one, or a tag alone.
pub(super) const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// The whole name: containerd's and docker's.
pub(super) const IMAGE_NAME: &str = "io.containerd.image.name";

/// The name that the entry of an index.json with these annotations has.
///
/// A single word in `org.opencontainers.image.ref.name` is a tag without a repository, which names no image.
pub(super) fn of_annotations(
    annotations: &BTreeMap<String, String>,
) -> Result<Option<Reference>, ArchiveError> {
    if let Some(name) = annotations.get(IMAGE_NAME) {
        return parse(&format!("index.json: {IMAGE_NAME}"), name).map(Some);
    }
    let name = annotations.get(REF_NAME).filter(|name| name.contains(['/', ':']));
    // Its grammar allows what no name of an image may have.
    Ok(name.and_then(|name| parse(REF_NAME, name).ok()))
}

/// An image's name as `within` has it.
pub(super) fn parse(within: &str, name: &str) -> Result<Reference, ArchiveError> {
    let error = |source| ArchiveError::Name { within: within.to_owned(), source };
    let reference = name.parse::<Reference>().map_err(error)?.or_latest();
    match reference.digest() {
        None => Ok(reference),
        Some(_) => {
            Err(ArchiveError::NameWithDigest { within: within.to_owned(), name: reference.to_string() })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(key: &str, value: &str) -> Option<String> {
        let annotations = BTreeMap::from([(key.to_owned(), value.to_owned())]);
        of_annotations(&annotations).unwrap().map(|name| name.to_string())
    }

    #[test]
    fn a_whole_name_names_the_image_and_a_tag_alone_does_not() {
        let busybox = Some("docker.io/library/busybox:1".to_owned());
        assert_eq!(named(IMAGE_NAME, "docker.io/library/busybox:1"), busybox);
        assert_eq!(named(REF_NAME, "busybox:1"), busybox);
        assert_eq!(named(REF_NAME, "r.example/a"), Some("r.example/a:latest".to_owned()));
        assert_eq!(named(REF_NAME, "latest"), None);
        assert_eq!(named(REF_NAME, "a:b+c"), None);
        let both = [(REF_NAME.to_owned(), "latest".to_owned()), (IMAGE_NAME.to_owned(), "a:2".to_owned())];
        let name = of_annotations(&both.into()).unwrap().unwrap();
        assert_eq!(name.to_string(), "docker.io/library/a:2");
    }

    #[test]
    fn what_cannot_be_a_name_is_an_error_that_says_where_it_stands() {
        let annotations = BTreeMap::from([(IMAGE_NAME.to_owned(), "../../etc".to_owned())]);
        let error = of_annotations(&annotations).unwrap_err().to_string();
        assert!(error.contains("index.json: io.containerd.image.name"), "{error}");
        let digest = crate::image::Digest::of(b"");
        let error = parse("manifest.json", &format!("a@{digest}")).unwrap_err().to_string();
        assert!(error.contains("manifest.json names the image"), "{error}");
    }
}
