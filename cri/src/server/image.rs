//! `ImageService`: each RPC is one function of one module.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::Answers;
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
        crate::image::list_images(&self.0, request.into_inner()).await.map(Response::new)
    }

    type StreamImagesStream = Answers<api::StreamImagesResponse>;

    async fn stream_images(
        &self,
        request: Request<api::StreamImagesRequest>,
    ) -> Result<Response<Self::StreamImagesStream>, Status> {
        crate::image::stream_images(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn image_status(
        &self,
        request: Request<api::ImageStatusRequest>,
    ) -> Result<Response<api::ImageStatusResponse>, Status> {
        crate::image::image_status(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn pull_image(
        &self,
        request: Request<api::PullImageRequest>,
    ) -> Result<Response<api::PullImageResponse>, Status> {
        crate::image::pull_image(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn remove_image(
        &self,
        request: Request<api::RemoveImageRequest>,
    ) -> Result<Response<api::RemoveImageResponse>, Status> {
        crate::image::remove_image(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn image_fs_info(
        &self,
        request: Request<api::ImageFsInfoRequest>,
    ) -> Result<Response<api::ImageFsInfoResponse>, Status> {
        crate::image::image_fs_info(&self.0, request.into_inner()).await.map(Response::new)
    }
}
