//! What the runtime says of itself.

use std::sync::Arc;

use tonic::Status;

use crate::api;
use crate::runtime::Runtime;

/// Version.
pub async fn version(
    _runtime: &Arc<Runtime>,
    _request: api::VersionRequest,
) -> Result<api::VersionResponse, Status> {
    todo!()
}

/// Status.
pub async fn status(
    _runtime: &Arc<Runtime>,
    _request: api::StatusRequest,
) -> Result<api::StatusResponse, Status> {
    todo!()
}

/// RuntimeConfig.
pub async fn runtime_config(
    _runtime: &Arc<Runtime>,
    _request: api::RuntimeConfigRequest,
) -> Result<api::RuntimeConfigResponse, Status> {
    todo!()
}

/// UpdateRuntimeConfig.
pub async fn update_runtime_config(
    _runtime: &Arc<Runtime>,
    _request: api::UpdateRuntimeConfigRequest,
) -> Result<api::UpdateRuntimeConfigResponse, Status> {
    todo!()
}
