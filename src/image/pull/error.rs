//! Why an image was not pulled.

use std::io;

use crate::image::policy::PolicyError;
use crate::image::registry::RegistryError;
use crate::image::store::StoreError;
use crate::image::unpack::UnpackError;
use crate::image::{Digest, ManifestError, Platform, config::ConfigError};

/// One line each; the name of the image is the caller's to add.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum PullError {
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Policy(#[from] PolicyError),
    #[error("manifest {digest}: {error}")]
    Manifest { digest: Digest, error: ManifestError },
    #[error("the manifest {digest} has {is} bytes where the index says {said}: the registry is damaged")]
    Size { digest: Digest, said: u64, is: u64 },
    #[error("indexes are nested more than {deepest} deep")]
    Nested { deepest: usize },
    #[error("image configuration: {error}")]
    Config { error: ConfigError },
    #[error(
        "the image configuration has {size} bytes, more than {most}: RCRUN_IMAGE_MAX_CONFIG_BYTES raises the limit"
    )]
    ConfigSize { size: u64, most: u64 },
    #[error(
        "layer {digest} has {size} bytes, more than {most}: RCRUN_IMAGE_MAX_LAYER_BYTES raises the limit"
    )]
    BlobSize { digest: Digest, size: u64, most: u64 },
    #[error("the image is built for {built}, not for {wanted}: leave --platform out, or ask for {built}")]
    Platform { wanted: Platform, built: Platform },
    #[error(
        "the manifest has {layers} layers and the configuration {diff_ids} diff_ids: they belong to different images"
    )]
    Count { layers: usize, diff_ids: usize },
    #[error(
        "layer {digest} has the media type {media_type:?}, which is no tar archive that rcrun can unpack"
    )]
    MediaType { digest: Digest, media_type: String },
    #[error("layer {digest}: {error}")]
    Unpack { digest: Digest, error: UnpackError },
    #[error(
        "layer {digest} came with another content, {is}: the registry, or something on the way, is damaged"
    )]
    Blob { digest: Digest, is: Digest },
    #[error(
        "layer {digest} unpacks to DiffID {is} where the image's configuration says {said}: the image is damaged"
    )]
    DiffId { digest: Digest, said: Digest, is: Digest },
    #[error("blob {digest}: {error}")]
    Transfer { digest: Digest, error: io::Error },
}
