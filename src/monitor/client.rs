//! Asking a shim.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use super::MonitorError;

/// The shim of one container. Each method is a connection of its own and returns soon (within seconds, by timeout).
#[derive(Clone, Debug)]
pub struct Monitor {
    _socket: std::path::PathBuf,
}

/// What a [`Watch`] tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The kernel killed a process of the container for lack of memory.
    OutOfMemory,
    /// The shim is gone: exit.json says how the container ended; without one, the shim was killed ([`super::Program::adopt`]).
    Ended,
}

/// A connection that ends with the shim. Its descriptor is readable (for poll(2), epoll) when [`Watch::next`] has something.
#[derive(Debug)]
pub struct Watch(OwnedFd);

impl Watch {
    /// The next event; None where there is none yet.
    pub fn next(&mut self) -> Result<Option<Event>, MonitorError> {
        todo!()
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A further process in the container.
#[derive(Debug)]
pub struct Execution {
    /// Its pid on the host.
    pub pid: i32,
    /// The terminal's master, with a terminal.
    pub master: Option<OwnedFd>,
    connection: OwnedFd,
}

impl Execution {
    /// Its exit status once it has ended; None while it runs. The descriptor is readable when that has changed. Should the shim be gone,
    /// an error.
    pub fn try_wait(&mut self) -> Result<Option<i32>, MonitorError> {
        todo!()
    }

    /// Sends it a signal.
    pub fn kill(&mut self, _signal: i32) -> Result<(), MonitorError> {
        todo!()
    }
}

impl AsFd for Execution {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.connection.as_fd()
    }
}

/// A client of the container's streams; dropping it leaves them.
#[derive(Debug)]
pub struct Attached(#[expect(dead_code, reason = "held open")] OwnedFd);

impl Monitor {
    /// The shim of the volatile directory `run`. Nothing is opened yet.
    pub fn of(_run: &Path) -> Self {
        todo!()
    }

    /// [`super::Request::Watch`].
    pub fn watch(&self) -> Result<Watch, MonitorError> {
        todo!()
    }

    /// [`super::Request::Kill`].
    pub fn kill(&self, _signal: i32, _all: bool) -> Result<(), MonitorError> {
        todo!()
    }

    /// Runs `process` (OCI's, as JSON). Without a terminal `streams` are its stdin, stdout and stderr.
    ///
    /// # Errors
    /// [`MonitorError::Refused`] where the process could not be made: `executable file … not found` and the like.
    pub fn exec(
        &self,
        _process: &serde_json::Value,
        _streams: Option<[OwnedFd; 3]>,
    ) -> Result<Execution, MonitorError> {
        todo!()
    }

    /// [`super::Request::Attach`]: reads `stdin` into the container, writes to the others.
    pub fn attach(
        &self,
        _stdin: Option<OwnedFd>,
        _stdout: Option<OwnedFd>,
        _stderr: Option<OwnedFd>,
    ) -> Result<Attached, MonitorError> {
        todo!()
    }

    /// [`super::Request::Resize`].
    pub fn resize(&self, _width: u16, _height: u16) -> Result<(), MonitorError> {
        todo!()
    }

    /// [`super::Request::ReopenLog`].
    pub fn reopen_log(&self) -> Result<(), MonitorError> {
        todo!()
    }
}
