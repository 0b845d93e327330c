//! /metrics for Prometheus: [`counters`] are counted as things happen; [`objects`], [`containers`] and [`process`] are looked up at
//! each scrape, so that nothing is kept of what is gone. [`usage`] is for `top`, too. [`server`] answers.

mod containers;
mod counters;
mod family;
mod objects;
mod process;
mod server;
mod usage;

use std::net::SocketAddr;
use std::sync::Arc;

use crate::cri::Runtime;
use crate::store::Store;
use server::Sources;

pub use counters::Counters;
pub use usage::{ContainerUsage, usage};

/// Serves until the process ends.
pub async fn serve(
    store: Arc<Store>,
    runtime: Runtime,
    counters: Arc<Counters>,
    address: SocketAddr,
) -> anyhow::Result<()> {
    let sources = Sources { store, runtime, counters, last: Default::default() };
    server::serve(Arc::new(sources), address).await;
    Ok(())
}

#[cfg(test)]
mod tests;
