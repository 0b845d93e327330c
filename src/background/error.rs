//! Why a container in the background could not be made, found, or ended.

use std::io;
use std::path::{Path, PathBuf};

use crate::id::IdError;
use crate::image::StoreError;
use crate::image::container::ContainerError;
use crate::lifecycle;
use crate::monitor::MonitorError;
use crate::network::NetworkError;

/// One failed operation and its object.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum BackgroundError {
    #[error("no container in the background is called {word:?}: `rcrun ps -a` lists them")]
    NotFound { word: String },
    #[error("{word:?} is the beginning of several containers' ids: {ids}")]
    Ambiguous { word: String, ids: String },
    #[error(
        "name {name:?} is taken by container {id}: remove that with `rcrun rm {name}`, or choose another"
    )]
    NameTaken { name: String, id: String },
    #[error("container {name} is running: end it with `rcrun stop {name}`, or remove it with -f")]
    Running { name: String },
    #[error("container {name} is not running: `rcrun start {name}` starts it")]
    NotRunning { name: String },
    #[error(
        "container {name} does not end, {seconds} s after it was killed: is it stuck in the kernel (state D)?"
    )]
    Stuck { name: String, seconds: u64 },
    #[error("{operation} {path:?}: {error}")]
    File { operation: &'static str, path: PathBuf, error: io::Error },
    #[error(
        "{path:?} is damaged: {reason}; `rcrun image prune` takes its container away once that file is removed"
    )]
    Damaged { path: PathBuf, reason: String },
    #[error("port {text:?}: {reason}")]
    Port { text: String, reason: &'static str },
    #[error("containers in the background are root's: run rcrun as root, or the container in the foreground")]
    NotRoot,
    #[error(transparent)]
    Id(#[from] IdError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Container(#[from] ContainerError),
    #[error(transparent)]
    Network(#[from] NetworkError),
    #[error(transparent)]
    Monitor(#[from] MonitorError),
    #[error(transparent)]
    Lifecycle(#[from] lifecycle::Error),
}

impl BackgroundError {
    pub(super) fn file(operation: &'static str, path: &Path, error: impl Into<io::Error>) -> Self {
        Self::File { operation, path: path.to_owned(), error: error.into() }
    }

    /// Is nothing called so?
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }
}
