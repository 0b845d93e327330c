//! Blobs that the store does not keep: where else they are.

use super::manifest::Descriptor;
use super::registry::{Blob, Registry, RegistryError};
use super::store::Image;
use super::{Digest, Reference};

/// Why a blob cannot be had.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum MissingError {
    #[error(
        "the blob {digest} is not kept, and no registry is known to have the image: pull it again with --keep-blobs, or load it again"
    )]
    Nowhere { digest: Digest },
    #[error("the blob {digest} is not kept, and {from} does not give it again: {error}")]
    Registry { digest: Digest, from: Reference, error: RegistryError },
}

/// The blob from the first registry that is known to have `image` and still gives it.
pub fn fetch(registry: &Registry, image: &Image, descriptor: &Descriptor) -> Result<Blob, MissingError> {
    let digest = || descriptor.digest.clone();
    let mut first = None;
    for source in &image.sources {
        match registry.blob(source, descriptor) {
            Ok(blob) => return Ok(blob),
            Err(error) => {
                let from = source.clone();
                first.get_or_insert(MissingError::Registry { digest: digest(), from, error });
            }
        }
    }
    Err(first.unwrap_or_else(|| MissingError::Nowhere { digest: digest() }))
}
