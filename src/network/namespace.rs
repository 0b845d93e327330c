//! Network namespaces with a name: mounts in a directory, `/run/netns`, where ip(8) and others look.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use super::NetworkError;

/// A network namespace that lives as long as its name.
#[derive(Debug)]
pub struct NetworkNamespace {
    path: PathBuf,
    file: OwnedFd,
}

impl NetworkNamespace {
    /// Makes one with its loopback device up, and names it `DIRECTORY/NAME`. Works in a process with threads: one of its own does it.
    pub fn make(_directory: &Path, _name: &str) -> Result<Self, NetworkError> {
        todo!()
    }

    /// The one of this path; None where nothing is there, or no namespace any more (after a reboot).
    pub fn open(_path: &Path) -> Result<Option<Self>, NetworkError> {
        todo!()
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes the name away. What is gone already is fine.
    pub fn remove(_path: &Path) -> Result<(), NetworkError> {
        todo!()
    }

    /// Runs `work` in a thread that is in this namespace.
    pub fn enter<T: Send>(&self, _work: impl FnOnce() -> T + Send) -> Result<T, NetworkError> {
        todo!()
    }
}

impl AsFd for NetworkNamespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}
