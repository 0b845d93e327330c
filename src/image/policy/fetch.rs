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
        return Err(format!("{artifact} is an index, and no signatures").into());
    };
    attached(&manifest)
        .map(|attachment| {
            let mut payload = Vec::new();
            registry.blob(&artifact, attachment.payload)?.read_to_end(&mut payload)?;
            let is = Digest::of_with(attachment.payload.digest.algorithm(), &payload);
            match is == attachment.payload.digest {
                true => Ok(attachment.with(payload)),
                false => {
                    Err(format!("blob {} of {artifact} has the digest {is}", attachment.payload.digest)
                        .into())
                }
            }
        })
        .collect()
}
