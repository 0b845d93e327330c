//! `ImageService`: each RPC is one function of one module.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::{Answers, answer};
use crate::api::{self, image_service_server::ImageService};
use crate::runtime::Runtime;

/// The service.
#[derive(Clone, Debug)]
pub struct ImageCalls(pub Arc<Runtime>);

#[tonic::async_trait]
impl ImageService for ImageCalls {
    async fn list_images(
        &self,
        request: Request<api::ListImagesRequest>,
    ) -> Result<Response<api::ListImagesResponse>, Status> {
        answer!("ListImages", self, request, crate::image::list_images)
    }

    type StreamImagesStream = Answers<api::StreamImagesResponse>;

    async fn stream_images(
        &self,
        request: Request<api::StreamImagesRequest>,
    ) -> Result<Response<Self::StreamImagesStream>, Status> {
        answer!("StreamImages", self, request, crate::image::stream_images)
    }

    async fn image_status(
        &self,
        request: Request<api::ImageStatusRequest>,
    ) -> Result<Response<api::ImageStatusResponse>, Status> {
        answer!("ImageStatus", self, request, crate::image::image_status)
    }

    async fn pull_image(
        &self,
        request: Request<api::PullImageRequest>,
    ) -> Result<Response<api::PullImageResponse>, Status> {
        answer!("PullImage", self, request, crate::image::pull_image)
    }

    async fn remove_image(
        &self,
        request: Request<api::RemoveImageRequest>,
    ) -> Result<Response<api::RemoveImageResponse>, Status> {
        answer!("RemoveImage", self, request, crate::image::remove_image)
    }

    async fn image_fs_info(
        &self,
        request: Request<api::ImageFsInfoRequest>,
    ) -> Result<Response<api::ImageFsInfoResponse>, Status> {
        answer!("ImageFsInfo", self, request, crate::image::image_fs_info)
    }
}
