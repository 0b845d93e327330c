//! Images, through the library's store.
//!
//! Another program may change the store at any time, so each request reads what it needs from the disk; what cannot change
//! is kept ([`Images`]). Locks of the store are held within a request alone.

mod auth;
mod describe;
mod error;
mod find;
mod images;
mod list;
mod pinned;
mod pull;
mod remove;
mod space;

use std::sync::Arc;

use rcrun::image::Store;
use tonic::Status;

pub use find::{Found, find, find_blocking};
pub use images::{Documents, Images};
pub use remove::{collect_left, collect_overdue_beside, container_removed};

use crate::api;
use crate::runtime::Runtime;
use crate::server::Answers;
use crate::work::blocking;

/// Images in one message of a stream.
const PART: usize = 100;

/// ListImages.
pub async fn list_images(
    runtime: &Arc<Runtime>,
    request: api::ListImagesRequest,
) -> Result<api::ListImagesResponse, Status> {
    let images = list::list(runtime, request.filter).await?;
    Ok(api::ListImagesResponse { images })
}

/// StreamImages.
pub async fn stream_images(
    runtime: &Arc<Runtime>,
    request: api::StreamImagesRequest,
) -> Result<Answers<api::StreamImagesResponse>, Status> {
    let images = list::list(runtime, request.filter).await?;
    let parts: Vec<_> =
        images.chunks(PART).map(|part| Ok(api::StreamImagesResponse { images: part.to_vec() })).collect();
    Ok(Box::pin(tokio_stream::iter(parts)))
}

/// ImageStatus.
pub async fn image_status(
    runtime: &Arc<Runtime>,
    request: api::ImageStatusRequest,
) -> Result<api::ImageStatusResponse, Status> {
    list::status(runtime, request).await
}

/// PullImage.
pub async fn pull_image(
    runtime: &Arc<Runtime>,
    request: api::PullImageRequest,
) -> Result<api::PullImageResponse, Status> {
    pull::pull(runtime, request).await
}

/// RemoveImage.
pub async fn remove_image(
    runtime: &Arc<Runtime>,
    request: api::RemoveImageRequest,
) -> Result<api::RemoveImageResponse, Status> {
    remove::remove(runtime, request).await
}

/// ImageFsInfo.
pub async fn image_fs_info(
    runtime: &Arc<Runtime>,
    _request: api::ImageFsInfoRequest,
) -> Result<api::ImageFsInfoResponse, Status> {
    space::info(runtime).await
}

/// The image store.
pub fn store(runtime: &Runtime) -> Result<Arc<Store>, Status> {
    runtime.images.store(&runtime.paths).map_err(error::store)
}
