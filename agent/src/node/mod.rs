//! The loop: changes of objects and of the runtime come in, [`crate::reconcile`] decides, steps go out to the runtime.
//!
//! [`turn`] is the loop, on one task that alone holds what is observed; [`step`] does one step, on a task of its own; [`observe`]
//! asks the runtime, once at the start, when one of its events says that something ended, and now and then. Whatever is lost when the
//! process ends is found again there: containers carry their Pod's uid, their attempt and the hash of their spec.

mod blocking;
pub mod events;
mod evict;
mod facts;
mod files;
pub mod hook;
mod image;
mod leftovers;
pub mod logs;
mod observe;
pub mod probe;
mod runtime;
mod step;
mod store;
mod turn;

use std::path::PathBuf;
use std::sync::Arc;

use crate::api::admission::Ranges;
use crate::cri::Runtime;
use crate::metrics::Counters;
use crate::spec;
use crate::store::Store;
use tokio::sync::Semaphore;

/// Sandboxes and containers that are made at the same time: more of them only wait for each other in the runtime, and each is memory here.
const STARTS: usize = 16;

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
    /// For what the runtime can.
    pub ranges: Ranges,
    known: Arc<image::Known>,
    starts: Arc<Semaphore>,
}

impl Node {
    /// All of it.
    pub fn new(
        store: Arc<Store>,
        runtime: Runtime,
        counters: Arc<Counters>,
        settings: spec::Settings,
        state: PathBuf,
        ranges: Ranges,
    ) -> Self {
        Self {
            store,
            runtime,
            counters,
            settings: Arc::new(settings),
            state,
            ranges,
            known: Arc::default(),
            starts: Arc::new(Semaphore::new(STARTS)),
        }
    }
}

/// Runs until the process ends.
pub async fn run(node: Node, logs: logs::Limits) -> anyhow::Result<()> {
    tokio::spawn(logs::keep(node.clone(), logs));
    turn::Turns::new(node).run().await
}
