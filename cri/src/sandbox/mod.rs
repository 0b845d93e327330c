//! Pod sandboxes: namespaces without a process, a cgroup, a network.

use std::sync::Arc;

use tonic::Status;

use crate::api;
use crate::runtime::Runtime;

/// RunPodSandbox.
pub async fn run_pod_sandbox(
    _runtime: &Arc<Runtime>,
    _request: api::RunPodSandboxRequest,
) -> Result<api::RunPodSandboxResponse, Status> {
    todo!()
}

/// StopPodSandbox.
pub async fn stop_pod_sandbox(
    _runtime: &Arc<Runtime>,
    _request: api::StopPodSandboxRequest,
) -> Result<api::StopPodSandboxResponse, Status> {
    todo!()
}

/// RemovePodSandbox.
pub async fn remove_pod_sandbox(
    _runtime: &Arc<Runtime>,
    _request: api::RemovePodSandboxRequest,
) -> Result<api::RemovePodSandboxResponse, Status> {
    todo!()
}

/// PodSandboxStatus.
pub async fn pod_sandbox_status(
    _runtime: &Arc<Runtime>,
    _request: api::PodSandboxStatusRequest,
) -> Result<api::PodSandboxStatusResponse, Status> {
    todo!()
}

/// ListPodSandbox.
pub async fn list_pod_sandbox(
    _runtime: &Arc<Runtime>,
    _request: api::ListPodSandboxRequest,
) -> Result<api::ListPodSandboxResponse, Status> {
    todo!()
}

/// UpdatePodSandboxResources.
pub async fn update_pod_sandbox_resources(
    _runtime: &Arc<Runtime>,
    _request: api::UpdatePodSandboxResourcesRequest,
) -> Result<api::UpdatePodSandboxResourcesResponse, Status> {
    todo!()
}
