//! The agent's unix socket: HTTP/1.1, paths and JSON as of Kubernetes' API as far as they go (docs/agent-api.md). Root alone may connect.
//!
//! What is written goes through [`admission`] into the [`crate::store`]; what is read comes from there.

pub mod admission;
pub mod server;

use std::sync::Arc;

use tokio::net::UnixListener;

use crate::cri::Runtime;
use crate::store::Store;

/// What requests are answered from.
pub struct Api {
    /// All objects.
    pub store: Arc<Store>,
    /// For logs' places, exec, port-forward and statistics.
    pub runtime: Runtime,
    /// Ranges that admission gives addresses and ports of.
    pub ranges: admission::Ranges,
}

pub use server::bind;

/// Serves until the process ends, on a socket that is [bound](bind).
pub async fn serve(api: Arc<Api>, listener: UnixListener) -> anyhow::Result<()> {
    server::serve(api, listener).await
}
