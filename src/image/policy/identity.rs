//! Is the name that a signature is for the name of the image? containers-policy.json(5), "signedIdentity".

use crate::image::Reference;

/// Which names a signature may be for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// The image's own, with the same tag or digest.
    MatchExact,
    /// The image's own with the same tag; of an image that was asked for by digest any of its repository.
    MatchRepoDigestOrExact,
    /// Any of its repository.
    MatchRepository,
    /// This one.
    ExactReference(Reference),
    /// Any of this repository: REGISTRY/REPOSITORY.
    ExactRepository(String),
    /// The image's with another beginning, then as [`Identity::MatchRepoDigestOrExact`].
    Remap {
        /// HOST[:PORT][/PATH] of the image.
        prefix: String,
        /// What stands in its place.
        signed_prefix: String,
    },
}

impl Identity {
    /// Is a signature for `signed` one of `image`? An image without tag and digest is its `latest`.
    pub fn accepts(&self, image: &Reference, signed: &Reference) -> bool {
        match self {
            Self::MatchExact => !is_bare(signed) && image.to_string() == signed.to_string(),
            Self::MatchRepoDigestOrExact => repository_or_exact(image, signed),
            Self::MatchRepository => image.name() == signed.name(),
            Self::ExactReference(exact) => !is_bare(signed) && exact.to_string() == signed.to_string(),
            Self::ExactRepository(name) => *name == signed.name(),
            Self::Remap { prefix, signed_prefix } => match image.name().strip_prefix(prefix.as_str()) {
                Some(rest) if rest.is_empty() || rest.starts_with('/') => {
                    let image = &image.to_string()[prefix.len()..];
                    let remapped: Result<Reference, _> = format!("{signed_prefix}{image}").parse();
                    remapped.is_ok_and(|image| repository_or_exact(&image, signed))
                }
                _ => repository_or_exact(image, signed),
            },
        }
    }
}

/// The digest of an image has been compared before: what is left is whose it is.
fn repository_or_exact(image: &Reference, signed: &Reference) -> bool {
    let same_repository = image.name() == signed.name();
    match (image.tag(), image.digest()) {
        _ if is_bare(signed) => false,
        (Some(tag), _) => same_repository && signed.tag() == Some(tag) && signed.digest().is_none(),
        (None, Some(_)) => same_repository,
        (None, None) => false,
    }
}

/// Has it neither tag nor digest? cosign signs such names.
pub fn is_bare(reference: &Reference) -> bool {
    reference.tag().is_none() && reference.digest().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Digest;

    fn accepts(identity: &Identity, image: &str, signed: &str) -> bool {
        identity.accepts(&image.parse().unwrap(), &signed.parse().unwrap())
    }

    #[test]
    fn exact_means_tag_and_digest_too() {
        let digest = Digest::of(b"");
        let exact = &Identity::MatchExact;
        assert!(accepts(exact, "a.b/c:1", "a.b/c:1"));
        assert!(accepts(exact, "busybox:1", "index.docker.io/library/busybox:1"));
        for signed in ["a.b/c:2", "a.b/c", "a.b/d:1", "x.b/c:1"] {
            assert!(!accepts(exact, "a.b/c:1", signed), "{signed}");
        }
        assert!(!accepts(exact, &format!("a.b/c@{digest}"), "a.b/c:1"));
    }

    #[test]
    fn by_digest_the_repository_suffices() {
        let digest = Digest::of(b"");
        let usual = &Identity::MatchRepoDigestOrExact;
        assert!(accepts(usual, "a.b/c:1", "a.b/c:1") && !accepts(usual, "a.b/c:1", "a.b/c:2"));
        assert!(accepts(usual, &format!("a.b/c@{digest}"), "a.b/c:7"));
        assert!(!accepts(usual, &format!("a.b/c@{digest}"), "a.b/d:7"));
        assert!(accepts(usual, &format!("a.b/c:1@{digest}"), "a.b/c:1"));
        assert!(!accepts(usual, &format!("a.b/c:1@{digest}"), "a.b/c:2"));
        assert!(!accepts(usual, "a.b/c:1", "a.b/c"), "cosign's names need matchRepository");
        assert!(accepts(&Identity::MatchRepository, "a.b/c:1", "a.b/c"));
        assert!(!accepts(&Identity::MatchRepository, "a.b/c:1", "a.b/c/d"));
    }

    #[test]
    fn a_given_name_stands_in_for_the_images() {
        let exact = Identity::ExactReference("v.w/x:1".parse().unwrap());
        assert!(accepts(&exact, "a.b/c:9", "v.w/x:1") && !accepts(&exact, "a.b/c:9", "v.w/x:2"));
        let repository = Identity::ExactRepository("v.w/x".into());
        assert!(accepts(&repository, "a.b/c:9", "v.w/x:7") && !accepts(&repository, "a.b/c:9", "a.b/c:9"));
    }

    #[test]
    fn a_mirrors_names_are_its_vendors() {
        let remap =
            Identity::Remap { prefix: "m.e:5000/vendor".into(), signed_prefix: "vendor.example".into() };
        assert!(accepts(&remap, "m.e:5000/vendor/a/b:1", "vendor.example/a/b:1"));
        assert!(!accepts(&remap, "m.e:5000/vendor/a/b:1", "m.e:5000/vendor/a/b:1"));
        assert!(accepts(&remap, "m.e:5000/vendors/a:1", "m.e:5000/vendors/a:1"));
        let registry = Identity::Remap { prefix: "m.e".into(), signed_prefix: "v.e".into() };
        assert!(accepts(&registry, "m.e/a:1", "v.e/a:1") && accepts(&registry, "m.e:5/a:1", "m.e:5/a:1"));
    }
}
