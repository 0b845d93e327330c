//! The signatures of a manifest, out of its registry.

use std::io::Read;

use super::{Signature, SignaturesError, attached, signature_tag};
use crate::image::registry::Registry;
use crate::image::{Digest, Document, Limits, Reference};

/// All signatures that the repository of `reference` has for the manifest `digest`. None is no error; that nobody can
/// say whether there are any, is.
pub fn signatures(
    registry: &Registry,
    reference: &Reference,
    digest: &Digest,
    limits: &Limits,
) -> Result<Vec<Signature>, SignaturesError> {
    let artifact = reference.with_tag(&signature_tag(digest));
    let fetched = match registry.manifest(&artifact) {
        Ok(fetched) => fetched,
        Err(error) if error.is_not_found() => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
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
