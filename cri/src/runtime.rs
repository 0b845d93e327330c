//! What all requests share.

use std::path::PathBuf;
use std::sync::{Arc, RwLock};

use rcrun::monitor::Program;

use crate::config::Config;
use crate::events::Events;
use crate::state::{Container, Pod, Table};

/// Where things are. Below `state` is what a reboot leaves, below `run` what it takes.
#[derive(Clone, Debug)]
pub struct Paths {
    /// `/var/lib/rcrun/cri`: `pods/ID/`, `containers/ID/`.
    pub state: PathBuf,
    /// `/run/rcrun/cri`: `pods/ID/` (pins, shm), `shims/ID/` (sockets, FIFOs), `containers/` (the state of containers, as of `rcrun --root`).
    pub run: PathBuf,
    /// The image store, as of `rcrun --storage`.
    pub images: PathBuf,
}

impl Paths {
    /// The volatile directory of a Pod.
    pub fn pod_run(&self, id: &str) -> PathBuf {
        self.run.join("pods").join(id)
    }

    /// The volatile directory of a container's shim.
    pub fn shim_run(&self, id: &str) -> PathBuf {
        self.run.join("shims").join(id)
    }

    /// `--root` of the containers' state: `rcrun --root … list` shows them.
    pub fn containers_run(&self) -> PathBuf {
        self.run.join("containers")
    }

    /// The directory that is there as long as a container is listed; it is also its bundle.
    pub fn container_state(&self, id: &str) -> PathBuf {
        self.state.join("containers").join(id)
    }

    /// The directory that is there as long as a Pod is listed.
    pub fn pod_state(&self, id: &str) -> PathBuf {
        self.state.join("pods").join(id)
    }
}

/// The server's state; all of it is on disk, too.
#[derive(Debug)]
pub struct Runtime {
    /// Where things are.
    pub paths: Paths,
    /// The configuration; SIGHUP replaces it.
    pub config: RwLock<Arc<Config>>,
    /// All Pods.
    pub pods: Table<Pod>,
    /// All containers.
    pub containers: Table<Container>,
    /// What GetContainerEvents streams.
    pub events: Events,
    /// The shim's program, sealed once.
    pub shim: Program,
    /// Networks of Pods: CNI, or the built-in bridge.
    pub network: crate::cni::Networks,
    /// The image store.
    pub images: crate::image::Images,
    /// The streaming server's tokens.
    pub streaming: crate::streaming::Streaming,
}

impl Runtime {
    /// The configuration of now.
    pub fn config(&self) -> Arc<Config> {
        Arc::clone(&self.config.read().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}
