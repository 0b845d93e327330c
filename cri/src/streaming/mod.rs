//! The streaming server: Exec, Attach and PortForward over SPDY/3.1 and WebSocket.

use std::sync::Arc;

use tonic::Status;

use crate::api;
use crate::runtime::Runtime;

/// Tokens of URLs that were given out, and where the server listens.
#[derive(Debug, Default)]
pub struct Streaming {}

/// Listens from now on; connections are served by tasks of their own.
pub async fn serve(_runtime: Arc<Runtime>) -> anyhow::Result<()> {
    Ok(())
}

/// Exec.
pub async fn exec(_runtime: &Arc<Runtime>, _request: api::ExecRequest) -> Result<api::ExecResponse, Status> {
    todo!()
}

/// Attach.
pub async fn attach(
    _runtime: &Arc<Runtime>,
    _request: api::AttachRequest,
) -> Result<api::AttachResponse, Status> {
    todo!()
}

/// PortForward.
pub async fn port_forward(
    _runtime: &Arc<Runtime>,
    _request: api::PortForwardRequest,
) -> Result<api::PortForwardResponse, Status> {
    todo!()
}
