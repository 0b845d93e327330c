//! The signatures of an image, from beside it: cosign's artifact of the tag `sha256-HEX.sig`.

use std::io::Read;

use crate::image::manifest::Document;
use crate::image::policy::{Signature, SignaturesError, attached, signature_tag};
use crate::image::registry::Registry;
use crate::image::{Digest, Limits, Reference};

/// Those that the registry has of the manifest `digest` of `reference`; none where there is no such artifact.
pub(super) fn fetch(
    registry: &Registry,
    reference: &Reference,
    digest: &Digest,
    limits: &Limits,
) -> Result<Vec<Signature>, SignaturesError> {
    let artifact = reference.with_tag(&signature_tag(digest));
    let fetched = match registry.manifest(&artifact) {
        Err(error) if error.is_not_found() => return Ok(Vec::new()),
        fetched => fetched?,
    };
    let Document::Manifest(manifest) = Document::parse(&fetched.bytes, Some(&fetched.media_type), limits)?
    else {
        return Ok(Vec::new());
    };
    let mut signatures = Vec::new();
    for attachment in attached(&manifest) {
        let mut payload = Vec::new();
        registry.blob(&artifact, attachment.payload)?.read_to_end(&mut payload)?;
        let wanted = &attachment.payload.digest;
        // A payload that is not what the manifest says is no signature; others may be.
        if Digest::of_with(wanted.algorithm(), &payload) == *wanted {
            signatures.push(attachment.with(payload));
        }
    }
    Ok(signatures)
}
