//! `RuntimeService`: each RPC is one function of one module.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::Answers;
use crate::api::{self, runtime_service_server::RuntimeService};
use crate::runtime::Runtime;

/// The service.
#[derive(Clone, Debug)]
pub struct RuntimeCalls(pub Arc<Runtime>);

#[tonic::async_trait]
impl RuntimeService for RuntimeCalls {
    async fn version(
        &self,
        request: Request<api::VersionRequest>,
    ) -> Result<Response<api::VersionResponse>, Status> {
        crate::server::status::version(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn run_pod_sandbox(
        &self,
        request: Request<api::RunPodSandboxRequest>,
    ) -> Result<Response<api::RunPodSandboxResponse>, Status> {
        crate::sandbox::run_pod_sandbox(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn stop_pod_sandbox(
        &self,
        request: Request<api::StopPodSandboxRequest>,
    ) -> Result<Response<api::StopPodSandboxResponse>, Status> {
        crate::sandbox::stop_pod_sandbox(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn remove_pod_sandbox(
        &self,
        request: Request<api::RemovePodSandboxRequest>,
    ) -> Result<Response<api::RemovePodSandboxResponse>, Status> {
        crate::sandbox::remove_pod_sandbox(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn pod_sandbox_status(
        &self,
        request: Request<api::PodSandboxStatusRequest>,
    ) -> Result<Response<api::PodSandboxStatusResponse>, Status> {
        crate::sandbox::pod_sandbox_status(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn list_pod_sandbox(
        &self,
        request: Request<api::ListPodSandboxRequest>,
    ) -> Result<Response<api::ListPodSandboxResponse>, Status> {
        crate::sandbox::list_pod_sandbox(&self.0, request.into_inner()).await.map(Response::new)
    }

    type StreamPodSandboxesStream = Answers<api::StreamPodSandboxesResponse>;

    async fn stream_pod_sandboxes(
        &self,
        request: Request<api::StreamPodSandboxesRequest>,
    ) -> Result<Response<Self::StreamPodSandboxesStream>, Status> {
        Ok(Response::new(crate::sandbox::stream_pod_sandboxes(&self.0, request.get_ref())))
    }

    async fn create_container(
        &self,
        request: Request<api::CreateContainerRequest>,
    ) -> Result<Response<api::CreateContainerResponse>, Status> {
        crate::container::create_container(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn start_container(
        &self,
        request: Request<api::StartContainerRequest>,
    ) -> Result<Response<api::StartContainerResponse>, Status> {
        crate::container::start_container(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn stop_container(
        &self,
        request: Request<api::StopContainerRequest>,
    ) -> Result<Response<api::StopContainerResponse>, Status> {
        crate::container::stop_container(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn remove_container(
        &self,
        request: Request<api::RemoveContainerRequest>,
    ) -> Result<Response<api::RemoveContainerResponse>, Status> {
        crate::container::remove_container(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn list_containers(
        &self,
        request: Request<api::ListContainersRequest>,
    ) -> Result<Response<api::ListContainersResponse>, Status> {
        crate::container::list_containers(&self.0, request.into_inner()).await.map(Response::new)
    }

    type StreamContainersStream = Answers<api::StreamContainersResponse>;

    async fn stream_containers(
        &self,
        request: Request<api::StreamContainersRequest>,
    ) -> Result<Response<Self::StreamContainersStream>, Status> {
        crate::container::stream_containers(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn container_status(
        &self,
        request: Request<api::ContainerStatusRequest>,
    ) -> Result<Response<api::ContainerStatusResponse>, Status> {
        crate::container::container_status(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn update_container_resources(
        &self,
        request: Request<api::UpdateContainerResourcesRequest>,
    ) -> Result<Response<api::UpdateContainerResourcesResponse>, Status> {
        crate::container::update_container_resources(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn reopen_container_log(
        &self,
        request: Request<api::ReopenContainerLogRequest>,
    ) -> Result<Response<api::ReopenContainerLogResponse>, Status> {
        crate::container::reopen_container_log(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn exec_sync(
        &self,
        request: Request<api::ExecSyncRequest>,
    ) -> Result<Response<api::ExecSyncResponse>, Status> {
        crate::container::exec_sync(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn exec(&self, request: Request<api::ExecRequest>) -> Result<Response<api::ExecResponse>, Status> {
        crate::streaming::exec(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn attach(
        &self,
        request: Request<api::AttachRequest>,
    ) -> Result<Response<api::AttachResponse>, Status> {
        crate::streaming::attach(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn port_forward(
        &self,
        request: Request<api::PortForwardRequest>,
    ) -> Result<Response<api::PortForwardResponse>, Status> {
        crate::streaming::port_forward(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn container_stats(
        &self,
        request: Request<api::ContainerStatsRequest>,
    ) -> Result<Response<api::ContainerStatsResponse>, Status> {
        crate::stats::container_stats(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn list_container_stats(
        &self,
        request: Request<api::ListContainerStatsRequest>,
    ) -> Result<Response<api::ListContainerStatsResponse>, Status> {
        crate::stats::list_container_stats(&self.0, request.into_inner()).await.map(Response::new)
    }

    type StreamContainerStatsStream = Answers<api::StreamContainerStatsResponse>;

    async fn stream_container_stats(
        &self,
        request: Request<api::StreamContainerStatsRequest>,
    ) -> Result<Response<Self::StreamContainerStatsStream>, Status> {
        crate::stats::stream_container_stats(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn pod_sandbox_stats(
        &self,
        request: Request<api::PodSandboxStatsRequest>,
    ) -> Result<Response<api::PodSandboxStatsResponse>, Status> {
        crate::stats::pod_sandbox_stats(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn list_pod_sandbox_stats(
        &self,
        request: Request<api::ListPodSandboxStatsRequest>,
    ) -> Result<Response<api::ListPodSandboxStatsResponse>, Status> {
        crate::stats::list_pod_sandbox_stats(&self.0, request.into_inner()).await.map(Response::new)
    }

    type StreamPodSandboxStatsStream = Answers<api::StreamPodSandboxStatsResponse>;

    async fn stream_pod_sandbox_stats(
        &self,
        request: Request<api::StreamPodSandboxStatsRequest>,
    ) -> Result<Response<Self::StreamPodSandboxStatsStream>, Status> {
        crate::stats::stream_pod_sandbox_stats(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn update_runtime_config(
        &self,
        request: Request<api::UpdateRuntimeConfigRequest>,
    ) -> Result<Response<api::UpdateRuntimeConfigResponse>, Status> {
        crate::server::status::update_runtime_config(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn status(
        &self,
        request: Request<api::StatusRequest>,
    ) -> Result<Response<api::StatusResponse>, Status> {
        crate::server::status::status(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn checkpoint_container(
        &self,
        _: Request<api::CheckpointContainerRequest>,
    ) -> Result<Response<api::CheckpointContainerResponse>, Status> {
        Err(super::not_served("CheckpointContainer"))
    }

    async fn checkpoint_pod(
        &self,
        _: Request<api::CheckpointPodRequest>,
    ) -> Result<Response<api::CheckpointPodResponse>, Status> {
        Err(super::not_served("CheckpointPod"))
    }

    async fn restore_pod(
        &self,
        _: Request<api::RestorePodRequest>,
    ) -> Result<Response<api::RestorePodResponse>, Status> {
        Err(super::not_served("RestorePod"))
    }

    type GetContainerEventsStream = Answers<api::ContainerEventResponse>;

    async fn get_container_events(
        &self,
        _: Request<api::GetEventsRequest>,
    ) -> Result<Response<Self::GetContainerEventsStream>, Status> {
        Ok(Response::new(crate::container::container_events(&self.0)))
    }

    async fn list_metric_descriptors(
        &self,
        _: Request<api::ListMetricDescriptorsRequest>,
    ) -> Result<Response<api::ListMetricDescriptorsResponse>, Status> {
        Err(super::not_served("ListMetricDescriptors"))
    }

    async fn list_pod_sandbox_metrics(
        &self,
        _: Request<api::ListPodSandboxMetricsRequest>,
    ) -> Result<Response<api::ListPodSandboxMetricsResponse>, Status> {
        Err(super::not_served("ListPodSandboxMetrics"))
    }

    type StreamPodSandboxMetricsStream = Answers<api::StreamPodSandboxMetricsResponse>;

    async fn stream_pod_sandbox_metrics(
        &self,
        _: Request<api::StreamPodSandboxMetricsRequest>,
    ) -> Result<Response<Self::StreamPodSandboxMetricsStream>, Status> {
        Err(super::not_served("StreamPodSandboxMetrics"))
    }

    async fn runtime_config(
        &self,
        request: Request<api::RuntimeConfigRequest>,
    ) -> Result<Response<api::RuntimeConfigResponse>, Status> {
        crate::server::status::runtime_config(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn update_pod_sandbox_resources(
        &self,
        request: Request<api::UpdatePodSandboxResourcesRequest>,
    ) -> Result<Response<api::UpdatePodSandboxResourcesResponse>, Status> {
        crate::sandbox::update_pod_sandbox_resources(&self.0, request.into_inner()).await.map(Response::new)
    }
}
