//! What all requests share.

use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use anyhow::Context as _;

use rcrun::monitor::Program;

use crate::config::Config;
use crate::events::Events;
use crate::state::{Container, Found, Lock, Pod, Table};

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
    /// What statistics need of their last answers.
    pub samples: crate::stats::Samples,
    /// What [`Table::open`] could not read, for [`crate::recover`].
    pub found: Unread,
    /// Nobody else serves from this state directory.
    _lock: Lock,
}

/// Directories without a record that can be read.
#[derive(Debug, Default)]
pub struct Unread {
    /// Below `STATE/pods`.
    pub pods: Found,
    /// Below `STATE/containers`.
    pub containers: Found,
}

impl Runtime {
    /// Reads what is on disk; nothing is changed there but that missing directories are made. Blocks.
    ///
    /// # Errors
    /// Another process serves from the same state directory; rcrun-shim is not installed.
    pub fn open(config: Config) -> anyhow::Result<Arc<Self>> {
        let paths =
            Paths { state: config.state.clone(), run: config.run.clone(), images: config.images.clone() };
        // First: a store is made in an empty directory only, and `state` is in it by default.
        rcrun::image::Store::open(&paths.images).context("open the image store")?;
        for directory in [&paths.state, &paths.run] {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(directory)
                .with_context(|| format!("make {}", directory.display()))?;
        }
        let lock = Lock::take(&paths.state)?;
        let (pods, unread_pods) = Table::open("Pod sandbox", paths.state.join("pods"))?;
        let (containers, unread_containers) = Table::open("container", paths.state.join("containers"))?;
        Ok(Arc::new(Self {
            shim: Program::find()?,
            pods,
            containers,
            events: Events::default(),
            images: crate::image::Images::default(),
            network: crate::cni::Networks::default(),
            samples: crate::stats::Samples::default(),
            streaming: crate::streaming::Streaming::default(),
            found: Unread { pods: unread_pods, containers: unread_containers },
            _lock: lock,
            config: RwLock::new(Arc::new(config)),
            paths,
        }))
    }

    /// Takes what may change in a running server, and names the keys that differ and may not.
    pub fn reconfigure(&self, new: Config) -> Vec<&'static str> {
        let mut config = self.config.write().unwrap_or_else(PoisonError::into_inner);
        let (next, fixed) = config.changed_to(new);
        *config = Arc::new(next);
        fixed
    }

    /// The configuration of now.
    pub fn config(&self) -> Arc<Config> {
        Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner))
    }
}
