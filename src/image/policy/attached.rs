//! Signatures beside their image: cosign keeps those of the manifest `sha256:HEX` in the same repository, as an
//! artifact with the tag `sha256-HEX.sig`. Each of its layers is a payload, an annotation has its signature.

use super::Signature;
use crate::image::{Descriptor, Digest, Manifest};

/// A payload's media type.
const PAYLOAD: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// Where the signature of a payload is.
const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
/// The longest payload that is read, in bytes; usual ones have 250.
const LONGEST_PAYLOAD: u64 = 64 << 10;

/// The tag of a manifest's signatures.
pub fn signature_tag(digest: &Digest) -> String {
    format!("{}-{}.sig", digest.algorithm().name(), digest.hex())
}

/// A payload that is to be fetched, and its signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment<'a> {
    /// The payload.
    pub payload: &'a Descriptor,
    /// Its signature, base64.
    pub base64: &'a str,
}

impl Attachment<'_> {
    /// The signature, once its payload is there.
    pub fn with(&self, payload: Vec<u8>) -> Signature {
        Signature { payload, base64: self.base64.to_owned() }
    }
}

/// The signatures that a manifest of the tag [`signature_tag`] lists. What is no signature is left out, and so is a
/// payload of a size that none has.
pub fn attached(manifest: &Manifest) -> impl Iterator<Item = Attachment<'_>> {
    let payloads =
        manifest.layers.iter().filter(|layer| layer.media_type == PAYLOAD && layer.size <= LONGEST_PAYLOAD);
    payloads.filter_map(|payload| {
        let base64 = payload.annotations.get(SIGNATURE)?;
        Some(Attachment { payload, base64 })
    })
}
