//! What Prometheus is told: `GET /metrics` at `metrics_address` (docs/cri.md). Without one nothing listens.
//!
//! [`values`] looks at the tables and at the host, [`text`] writes it down, [`http`] serves it.

mod http;
mod text;
mod values;

use std::sync::Arc;

use tokio::net::TcpListener;

use crate::runtime::Runtime;

/// The server cannot listen.
#[derive(Debug, thiserror::Error)]
#[error("metrics server on {address}: {error}; change metrics_address in the configuration")]
pub struct ListenError {
    address: String,
    error: std::io::Error,
}

/// Listens from now on, if the configuration says so; connections are served by tasks of their own.
///
/// # Errors
/// The address is not this machine's, or somebody else's port.
pub async fn serve(runtime: Arc<Runtime>) -> Result<(), ListenError> {
    let address = runtime.config().metrics_address.clone();
    if address.is_empty() {
        return Ok(());
    }
    let listener = TcpListener::bind(&address).await.map_err(|error| ListenError { address, error })?;
    tokio::spawn(http::serve(listener, Arc::new(move || values::now(&runtime))));
    Ok(())
}
