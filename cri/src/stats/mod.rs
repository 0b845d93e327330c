//! What containers and Pods use: read from cgroup files when asked.

use std::sync::Arc;

use tonic::Status;

use crate::api;
use crate::runtime::Runtime;

/// ContainerStats.
pub async fn container_stats(
    _runtime: &Arc<Runtime>,
    _request: api::ContainerStatsRequest,
) -> Result<api::ContainerStatsResponse, Status> {
    todo!()
}

/// ListContainerStats.
pub async fn list_container_stats(
    _runtime: &Arc<Runtime>,
    _request: api::ListContainerStatsRequest,
) -> Result<api::ListContainerStatsResponse, Status> {
    todo!()
}

/// PodSandboxStats.
pub async fn pod_sandbox_stats(
    _runtime: &Arc<Runtime>,
    _request: api::PodSandboxStatsRequest,
) -> Result<api::PodSandboxStatsResponse, Status> {
    todo!()
}

/// ListPodSandboxStats.
pub async fn list_pod_sandbox_stats(
    _runtime: &Arc<Runtime>,
    _request: api::ListPodSandboxStatsRequest,
) -> Result<api::ListPodSandboxStatsResponse, Status> {
    todo!()
}
