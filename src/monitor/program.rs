//! Starting a shim.

use std::os::fd::OwnedFd;
use std::path::Path;

use super::{MonitorError, Settings};

/// The shim's program, looked for and sealed ([`crate::sealed`]) once, so that each start is one exec.
#[derive(Debug)]
pub struct Program {
    _file: OwnedFd,
}

/// A container that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Started {
    /// Its init's pid.
    pub pid: i32,
    /// When, in nanoseconds since 1970.
    pub at: i64,
}

impl Program {
    /// `$RCRUN_SHIM`, or `rcrun-shim` beside this process' program, or in `$PATH`.
    pub fn find() -> Result<Self, MonitorError> {
        todo!()
    }

    /// Writes shim.json and starts a shim that makes the container of `settings`; returns when its program runs. `root` is the mount of
    /// [`Settings::root`]. Blocks; works in a process with threads.
    ///
    /// # Errors
    /// [`MonitorError::Refused`] with the library's words where the container could not be made; nothing is left of it then.
    pub fn launch(&self, _settings: &Settings, _root: Option<OwnedFd>) -> Result<Started, MonitorError> {
        todo!()
    }

    /// Starts a shim for a container that runs and whose shim is gone. Where the container has ended meanwhile, exit.json is written (with
    /// the code unknown, unless the kernel still tells it). Does nothing where a shim listens.
    pub fn adopt(&self, _bundle: &Path) -> Result<(), MonitorError> {
        todo!()
    }
}
