//! `RuntimeService`: each RPC is one function of one module.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::{Answers, answer};
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
        answer!("Version", self, request, crate::server::status::version)
    }

    async fn run_pod_sandbox(
        &self,
        request: Request<api::RunPodSandboxRequest>,
    ) -> Result<Response<api::RunPodSandboxResponse>, Status> {
        answer!("RunPodSandbox", self, request, crate::sandbox::run_pod_sandbox)
    }

    async fn stop_pod_sandbox(
        &self,
        request: Request<api::StopPodSandboxRequest>,
    ) -> Result<Response<api::StopPodSandboxResponse>, Status> {
        answer!("StopPodSandbox", self, request, crate::sandbox::stop_pod_sandbox)
    }

    async fn remove_pod_sandbox(
        &self,
        request: Request<api::RemovePodSandboxRequest>,
    ) -> Result<Response<api::RemovePodSandboxResponse>, Status> {
        answer!("RemovePodSandbox", self, request, crate::sandbox::remove_pod_sandbox)
    }

    async fn pod_sandbox_status(
        &self,
        request: Request<api::PodSandboxStatusRequest>,
    ) -> Result<Response<api::PodSandboxStatusResponse>, Status> {
        answer!("PodSandboxStatus", self, request, crate::sandbox::pod_sandbox_status)
    }

    async fn list_pod_sandbox(
        &self,
        request: Request<api::ListPodSandboxRequest>,
    ) -> Result<Response<api::ListPodSandboxResponse>, Status> {
        answer!("ListPodSandbox", self, request, crate::sandbox::list_pod_sandbox)
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
        answer!("CreateContainer", self, request, crate::container::create_container)
    }

    async fn start_container(
        &self,
        request: Request<api::StartContainerRequest>,
    ) -> Result<Response<api::StartContainerResponse>, Status> {
        answer!("StartContainer", self, request, crate::container::start_container)
    }

    async fn stop_container(
        &self,
        request: Request<api::StopContainerRequest>,
    ) -> Result<Response<api::StopContainerResponse>, Status> {
        answer!("StopContainer", self, request, crate::container::stop_container)
    }

    async fn remove_container(
        &self,
        request: Request<api::RemoveContainerRequest>,
    ) -> Result<Response<api::RemoveContainerResponse>, Status> {
        answer!("RemoveContainer", self, request, crate::container::remove_container)
    }

    async fn list_containers(
        &self,
        request: Request<api::ListContainersRequest>,
    ) -> Result<Response<api::ListContainersResponse>, Status> {
        answer!("ListContainers", self, request, crate::container::list_containers)
    }

    type StreamContainersStream = Answers<api::StreamContainersResponse>;

    async fn stream_containers(
        &self,
        request: Request<api::StreamContainersRequest>,
    ) -> Result<Response<Self::StreamContainersStream>, Status> {
        answer!("StreamContainers", self, request, crate::container::stream_containers)
    }

    async fn container_status(
        &self,
        request: Request<api::ContainerStatusRequest>,
    ) -> Result<Response<api::ContainerStatusResponse>, Status> {
        answer!("ContainerStatus", self, request, crate::container::container_status)
    }

    async fn update_container_resources(
        &self,
        request: Request<api::UpdateContainerResourcesRequest>,
    ) -> Result<Response<api::UpdateContainerResourcesResponse>, Status> {
        answer!("UpdateContainerResources", self, request, crate::container::update_container_resources)
    }

    async fn reopen_container_log(
        &self,
        request: Request<api::ReopenContainerLogRequest>,
    ) -> Result<Response<api::ReopenContainerLogResponse>, Status> {
        answer!("ReopenContainerLog", self, request, crate::container::reopen_container_log)
    }

    async fn exec_sync(
        &self,
        request: Request<api::ExecSyncRequest>,
    ) -> Result<Response<api::ExecSyncResponse>, Status> {
        answer!("ExecSync", self, request, crate::container::exec_sync)
    }

    async fn exec(&self, request: Request<api::ExecRequest>) -> Result<Response<api::ExecResponse>, Status> {
        answer!("Exec", self, request, crate::streaming::exec)
    }

    async fn attach(
        &self,
        request: Request<api::AttachRequest>,
    ) -> Result<Response<api::AttachResponse>, Status> {
        answer!("Attach", self, request, crate::streaming::attach)
    }

    async fn port_forward(
        &self,
        request: Request<api::PortForwardRequest>,
    ) -> Result<Response<api::PortForwardResponse>, Status> {
        answer!("PortForward", self, request, crate::streaming::port_forward)
    }

    async fn container_stats(
        &self,
        request: Request<api::ContainerStatsRequest>,
    ) -> Result<Response<api::ContainerStatsResponse>, Status> {
        answer!("ContainerStats", self, request, crate::stats::container_stats)
    }

    async fn list_container_stats(
        &self,
        request: Request<api::ListContainerStatsRequest>,
    ) -> Result<Response<api::ListContainerStatsResponse>, Status> {
        answer!("ListContainerStats", self, request, crate::stats::list_container_stats)
    }

    type StreamContainerStatsStream = Answers<api::StreamContainerStatsResponse>;

    async fn stream_container_stats(
        &self,
        request: Request<api::StreamContainerStatsRequest>,
    ) -> Result<Response<Self::StreamContainerStatsStream>, Status> {
        answer!("StreamContainerStats", self, request, crate::stats::stream_container_stats)
    }

    async fn pod_sandbox_stats(
        &self,
        request: Request<api::PodSandboxStatsRequest>,
    ) -> Result<Response<api::PodSandboxStatsResponse>, Status> {
        answer!("PodSandboxStats", self, request, crate::stats::pod_sandbox_stats)
    }

    async fn list_pod_sandbox_stats(
        &self,
        request: Request<api::ListPodSandboxStatsRequest>,
    ) -> Result<Response<api::ListPodSandboxStatsResponse>, Status> {
        answer!("ListPodSandboxStats", self, request, crate::stats::list_pod_sandbox_stats)
    }

    type StreamPodSandboxStatsStream = Answers<api::StreamPodSandboxStatsResponse>;

    async fn stream_pod_sandbox_stats(
        &self,
        request: Request<api::StreamPodSandboxStatsRequest>,
    ) -> Result<Response<Self::StreamPodSandboxStatsStream>, Status> {
        answer!("StreamPodSandboxStats", self, request, crate::stats::stream_pod_sandbox_stats)
    }

    async fn update_runtime_config(
        &self,
        request: Request<api::UpdateRuntimeConfigRequest>,
    ) -> Result<Response<api::UpdateRuntimeConfigResponse>, Status> {
        answer!("UpdateRuntimeConfig", self, request, crate::server::status::update_runtime_config)
    }

    async fn status(
        &self,
        request: Request<api::StatusRequest>,
    ) -> Result<Response<api::StatusResponse>, Status> {
        answer!("Status", self, request, crate::server::status::status)
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
        answer!("RuntimeConfig", self, request, crate::server::status::runtime_config)
    }

    async fn update_pod_sandbox_resources(
        &self,
        request: Request<api::UpdatePodSandboxResourcesRequest>,
    ) -> Result<Response<api::UpdatePodSandboxResourcesResponse>, Status> {
        answer!("UpdatePodSandboxResources", self, request, crate::sandbox::update_pod_sandbox_resources)
    }
}
