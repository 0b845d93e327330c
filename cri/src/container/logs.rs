//! ReopenContainerLog.

use std::sync::Arc;

use tonic::Status;

use super::error;
use crate::api;
use crate::runtime::Runtime;

/// ReopenContainerLog. Of a container that does not run no log is made.
pub async fn reopen_container_log(
    runtime: &Arc<Runtime>,
    request: api::ReopenContainerLogRequest,
) -> Result<api::ReopenContainerLogResponse, Status> {
    let container = super::running(runtime, &request.container_id)?.get();
    let shim = super::shim(runtime, &container.id);
    super::blocking(move || shim.reopen_log().map_err(error::monitor)).await?;
    Ok(api::ReopenContainerLogResponse {})
}
