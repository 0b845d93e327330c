//! Containers: made of a Pod, an image and wishes; held by their shims.

use std::sync::Arc;

use tonic::Status;

use crate::api;
use crate::runtime::Runtime;

/// CreateContainer.
pub async fn create_container(
    _runtime: &Arc<Runtime>,
    _request: api::CreateContainerRequest,
) -> Result<api::CreateContainerResponse, Status> {
    todo!()
}

/// StartContainer.
pub async fn start_container(
    _runtime: &Arc<Runtime>,
    _request: api::StartContainerRequest,
) -> Result<api::StartContainerResponse, Status> {
    todo!()
}

/// StopContainer.
pub async fn stop_container(
    _runtime: &Arc<Runtime>,
    _request: api::StopContainerRequest,
) -> Result<api::StopContainerResponse, Status> {
    todo!()
}

/// RemoveContainer.
pub async fn remove_container(
    _runtime: &Arc<Runtime>,
    _request: api::RemoveContainerRequest,
) -> Result<api::RemoveContainerResponse, Status> {
    todo!()
}

/// ListContainers.
pub async fn list_containers(
    _runtime: &Arc<Runtime>,
    _request: api::ListContainersRequest,
) -> Result<api::ListContainersResponse, Status> {
    todo!()
}

/// ContainerStatus.
pub async fn container_status(
    _runtime: &Arc<Runtime>,
    _request: api::ContainerStatusRequest,
) -> Result<api::ContainerStatusResponse, Status> {
    todo!()
}

/// UpdateContainerResources.
pub async fn update_container_resources(
    _runtime: &Arc<Runtime>,
    _request: api::UpdateContainerResourcesRequest,
) -> Result<api::UpdateContainerResourcesResponse, Status> {
    todo!()
}

/// ReopenContainerLog.
pub async fn reopen_container_log(
    _runtime: &Arc<Runtime>,
    _request: api::ReopenContainerLogRequest,
) -> Result<api::ReopenContainerLogResponse, Status> {
    todo!()
}

/// ExecSync.
pub async fn exec_sync(
    _runtime: &Arc<Runtime>,
    _request: api::ExecSyncRequest,
) -> Result<api::ExecSyncResponse, Status> {
    todo!()
}

/// Stops all containers of a Pod at once.
pub async fn stop_all(_runtime: &Arc<Runtime>, _pod: &str) -> Result<(), Status> {
    todo!()
}

/// Removes all containers of a Pod.
pub async fn remove_all(_runtime: &Arc<Runtime>, _pod: &str) -> Result<(), Status> {
    todo!()
}
