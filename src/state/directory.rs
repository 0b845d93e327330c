//! One container's directory.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::{Record, SCHEMA, StateError};
use crate::id::ContainerId;
use crate::sockets;

const RECORD: &str = "state.json";
const CONFIG: &str = "config.json";
/// The socket that a created container's process listens on.
pub(super) const START_SOCKET: &str = "start.sock";

/// How long a command waits for another one that changes the same container, and how often it looks.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);
const LOCK_INTERVAL: Duration = Duration::from_millis(2);

/// The open directory of a container.
#[derive(Debug)]
pub struct Directory {
    id: ContainerId,
    path: PathBuf,
    fd: OwnedFd,
}

/// The exclusive right to change a container, until it is dropped.
#[derive(Debug)]
pub struct Lock(OwnedFd);

impl Lock {
    /// The descriptor that holds the lock: a child has to close its copy, or it holds the lock too.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Directory {
    pub(super) fn new(id: ContainerId, path: PathBuf, fd: OwnedFd) -> Self {
        Self { id, path, fd }
    }

    /// Whose it is.
    pub fn id(&self) -> &ContainerId {
        &self.id
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Waits for the lock, which goes with the process that holds it, however that ends; but not for
    /// ever, since that process may wait itself, for a hook without a timeout.
    pub fn lock(&self) -> Result<Lock, StateError> {
        let failed = |operation| move |error: Errno| self.failed(operation, error);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&self.fd, c".", flags, Mode::empty()).map_err(failed("open"))?;
        let deadline = Instant::now() + LOCK_PATIENCE;
        loop {
            match rustix::fs::flock(&fd, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break,
                Err(Errno::INTR) => {}
                Err(Errno::WOULDBLOCK) if Instant::now() < deadline => std::thread::sleep(LOCK_INTERVAL),
                Err(Errno::WOULDBLOCK) => return Err(StateError::Busy { id: self.id.clone() }),
                Err(error) => return Err(self.failed("flock", error)),
            }
        }
        // Who held it may have deleted the container, and another may have its name by now.
        match rustix::fs::fstat(&fd).map_err(failed("stat"))?.st_nlink {
            0 => Err(self.not_found()),
            _ => Ok(Lock(fd)),
        }
    }

    /// Replaces state.json.
    pub fn write_record(&self, record: &Record) -> Result<(), StateError> {
        let path = || self.path.join(RECORD);
        let json = serde_json::to_vec(record).map_err(|error| StateError::Format { path: path(), error })?;
        self.write("state.json.new", &json)?;
        crate::fault::point("state.json.new");
        rustix::fs::renameat(&self.fd, "state.json.new", &self.fd, RECORD).map_err(|error| StateError::File {
            path: path(),
            operation: "rename",
            error: error.into(),
        })
    }

    /// Reads state.json; None where the container's making has not come that far.
    pub fn read_record(&self) -> Result<Option<Record>, StateError> {
        let path = || self.path.join(RECORD);
        let Some(bytes) = self.read(RECORD)? else { return Ok(None) };
        let record: Record =
            serde_json::from_slice(&bytes).map_err(|error| StateError::Format { path: path(), error })?;
        match record.schema {
            SCHEMA => Ok(Some(record)),
            found => Err(StateError::Schema { path: path(), found }),
        }
    }

    /// Keeps the configuration that the container is made from.
    pub fn write_config(&self, config: &[u8]) -> Result<(), StateError> {
        self.write(CONFIG, config)
    }

    /// The configuration that the container was made from.
    pub fn read_config(&self) -> Result<Vec<u8>, StateError> {
        self.read(CONFIG)?.ok_or_else(|| StateError::File {
            path: self.path.join(CONFIG),
            operation: "read",
            error: Errno::NOENT.into(),
        })
    }

    /// Makes the socket that `start` connects to.
    pub fn bind_start_socket(&self) -> Result<OwnedFd, StateError> {
        sockets::bind_listener(self.fd.as_fd(), START_SOCKET).map_err(|error| StateError::File {
            path: self.path.join(START_SOCKET),
            operation: "bind",
            error: error.into(),
        })
    }

    /// Connects to the waiting process; None where none waits.
    pub fn connect_start_socket(&self) -> Result<Option<OwnedFd>, StateError> {
        match sockets::connect(self.fd.as_fd(), START_SOCKET) {
            Ok(socket) => Ok(Some(socket)),
            Err(Errno::NOENT | Errno::CONNREFUSED) => Ok(None),
            Err(error) => Err(StateError::File {
                path: self.path.join(START_SOCKET),
                operation: "connect",
                error: error.into(),
            }),
        }
    }

    /// Removes the socket when nobody listens any more; it would only be in the way.
    pub fn forget_start_socket(&self) {
        let _ = rustix::fs::unlinkat(&self.fd, START_SOCKET, AtFlags::empty());
    }

    /// Does a process wait for `start`? A full queue of connections says so too.
    pub(super) fn waits_for_start(&self) -> bool {
        match sockets::connect(self.fd.as_fd(), START_SOCKET) {
            Ok(_) | Err(Errno::AGAIN) => true,
            Err(_) => false,
        }
    }

    /// Removes the directory and all in it. One that is gone already is fine.
    pub fn remove(&self) -> Result<(), StateError> {
        // What every container has, and mostly that is all; the record last.
        for name in [CONFIG, RECORD] {
            let _ = rustix::fs::unlinkat(&self.fd, name, AtFlags::empty());
        }
        if rustix::fs::rmdir(&self.path).is_ok() {
            return Ok(());
        }
        match std::fs::remove_dir_all(&self.path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(StateError::Directory { path: self.path.clone(), operation: "remove", error })
            }
            _ => Ok(()),
        }
    }

    fn not_found(&self) -> StateError {
        let root = self.path.parent().unwrap_or(Path::new("/")).into();
        StateError::NotFound { id: self.id.clone(), root }
    }

    fn failed(&self, operation: &'static str, error: Errno) -> StateError {
        StateError::Directory { path: self.path.clone(), operation, error: error.into() }
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), StateError> {
        let failed = |operation| {
            move |error: Errno| StateError::File {
                path: self.path.join(name),
                operation,
                error: error.into(),
            }
        };
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file =
            rustix::fs::openat(&self.fd, name, flags, Mode::RUSR | Mode::WUSR).map_err(failed("open"))?;
        let mut rest = bytes;
        while !rest.is_empty() {
            let written = rustix::io::write(&file, rest).map_err(failed("write"))?;
            rest = &rest[written..];
        }
        Ok(())
    }

    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, StateError> {
        let failed = |error| StateError::File { path: self.path.join(name), operation: "read", error };
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = match rustix::fs::openat(&self.fd, name, flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(failed(error.into())),
        };
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut std::fs::File::from(file), &mut bytes).map_err(failed)?;
        Ok(Some(bytes))
    }
}
