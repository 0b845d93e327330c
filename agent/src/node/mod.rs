//! The loop: changes of objects and of the runtime come in, [`crate::reconcile`] decides, steps go out to the runtime.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use crate::cri::Runtime;
use crate::metrics::Counters;
use crate::reconcile::observed::NodeFacts;
use crate::spec;
use crate::store::Store;

/// What the loop works with.
#[derive(Clone)]
pub struct Node {
    /// Desired.
    pub store: Arc<Store>,
    /// Who does it.
    pub runtime: Runtime,
    /// What is counted.
    pub counters: Arc<Counters>,
    /// What Pods are told.
    pub settings: Arc<spec::Settings>,
    /// The agent's directory.
    pub state: PathBuf,
}

impl Node {
    /// All of it.
    pub fn new(
        store: Arc<Store>,
        runtime: Runtime,
        counters: Arc<Counters>,
        settings: spec::Settings,
        state: PathBuf,
    ) -> Self {
        Self { store, runtime, counters, settings: Arc::new(settings), state }
    }
}

impl NodeFacts {
    /// The host's name and addresses, where they are not given.
    pub fn of_host(name: Option<String>, addresses: Vec<IpAddr>) -> anyhow::Result<Self> {
        let name = match name {
            Some(name) => name,
            None => rustix::system::uname().nodename().to_string_lossy().to_lowercase(),
        };
        Ok(Self { name, addresses })
    }
}

/// Runs until the process ends.
pub async fn run(node: Node) -> anyhow::Result<()> {
    let _ = node;
    std::future::pending().await
}
