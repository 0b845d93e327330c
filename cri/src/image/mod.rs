//! Images, through the library's store.

use std::sync::Arc;

use tonic::Status;

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
