//! Ingresses: HTTP and HTTPS from outside to Services' endpoints.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::store::Store;

/// Where it listens.
#[derive(Clone, Debug)]
pub struct Settings {
    /// For HTTP.
    pub http: SocketAddr,
    /// For HTTPS.
    pub https: SocketAddr,
}

/// Serves until the process ends.
pub async fn run(store: Arc<Store>, settings: Settings) -> anyhow::Result<()> {
    let _ = (store, settings);
    std::future::pending().await
}
