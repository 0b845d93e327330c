//! /metrics for Prometheus.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::cri::Runtime;
use crate::reconcile::observed::ProbeKind;
use crate::store::Store;

/// What is counted as it happens; the rest is asked of the store and the runtime at each scrape.
#[derive(Default)]
pub struct Counters {}

impl Counters {
    /// A probe was answered, or not.
    pub fn probe(
        &self,
        namespace: &str,
        pod: &str,
        container: &str,
        kind: ProbeKind,
        success: bool,
        took: Duration,
    ) {
        let _ = (namespace, pod, container, kind, success, took);
    }

    /// A step of a Pod was done: its name (`RunSandbox`), and whether it failed.
    pub fn step(&self, name: &'static str, failed: bool, took: Duration) {
        let _ = (name, failed, took);
    }

    /// Rules were made anew: whose (`services`, `ingress`), and whether it failed.
    pub fn reload(&self, rules: &'static str, failed: bool, took: Duration) {
        let _ = (rules, failed, took);
    }

    /// An Ingress' request was answered: the host of its rule (None: it had none), its status (0: it could not be answered).
    pub fn ingress(&self, host: Option<&str>, status: u16, took: Duration) {
        let _ = (host, status, took);
    }
}

/// Serves until the process ends.
pub async fn serve(
    store: Arc<Store>,
    runtime: Runtime,
    counters: Arc<Counters>,
    address: SocketAddr,
) -> anyhow::Result<()> {
    let _ = (store, runtime, counters, address);
    std::future::pending().await
}
