//! Images, through the library's store.
//!
//! Another program may change the store at any time, so each request reads what it needs from the disk; what cannot change
//! is kept ([`Images`]). Locks of the store are held within a request alone.

mod error;
mod find;
mod images;

use std::sync::Arc;

use rcrun::image::Store;
use tonic::Status;

pub use find::{Found, find, find_blocking};
pub use images::{Documents, Images};

use crate::api;
use crate::runtime::Runtime;

/// ListImages.
pub async fn list_images(
    _runtime: &Arc<Runtime>,
    _request: api::ListImagesRequest,
) -> Result<api::ListImagesResponse, Status> {
    todo!()
}

/// ImageStatus.
pub async fn image_status(
    _runtime: &Arc<Runtime>,
    _request: api::ImageStatusRequest,
) -> Result<api::ImageStatusResponse, Status> {
    todo!()
}

/// PullImage.
pub async fn pull_image(
    _runtime: &Arc<Runtime>,
    _request: api::PullImageRequest,
) -> Result<api::PullImageResponse, Status> {
    todo!()
}

/// RemoveImage.
pub async fn remove_image(
    _runtime: &Arc<Runtime>,
    _request: api::RemoveImageRequest,
) -> Result<api::RemoveImageResponse, Status> {
    todo!()
}

/// ImageFsInfo.
pub async fn image_fs_info(
    _runtime: &Arc<Runtime>,
    _request: api::ImageFsInfoRequest,
) -> Result<api::ImageFsInfoResponse, Status> {
    todo!()
}

/// The image store.
pub fn store(runtime: &Runtime) -> Result<Arc<Store>, Status> {
    runtime.images.store(&runtime.paths).map_err(error::store)
}

/// Does `work`, which reads files or talks to registries, beside the threads that answer requests.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Status> + Send + 'static,
) -> Result<T, Status> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(failed) => Err(Status::internal(format!("the request's thread ended early: {failed}"))),
    }
}
