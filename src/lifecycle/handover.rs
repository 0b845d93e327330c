//! What the caller asked to be handed of a new process: its terminal, its pidfd, its pid.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use crate::launch::{LaunchError, Launched};
use crate::sockets::{connect_stream, send_descriptor};

/// Sockets that are connected before anything is made: one that is missing is found in time.
pub(super) struct Handover<'a> {
    console: Option<(&'a Path, OwnedFd)>,
    pidfd: Option<(&'a Path, OwnedFd)>,
    pid_file: Option<&'a Path>,
    /// The terminal's master, where no console socket takes it.
    pub master: Option<OwnedFd>,
}

impl<'a> Handover<'a> {
    /// Connects to the sockets.
    pub fn connect(
        console: Option<&'a Path>,
        pidfd: Option<&'a Path>,
        pid_file: Option<&'a Path>,
    ) -> Result<Self, LaunchError> {
        let connect = |what, path: Option<&'a Path>| -> Result<_, LaunchError> {
            let failed = |error| LaunchError::Socket {
                what,
                path: path.unwrap_or(Path::new("")).into(),
                operation: "connect",
                error,
            };
            path.map(|path| Ok((path, connect_stream(path).map_err(failed)?))).transpose()
        };
        Ok(Self {
            console: connect("console socket", console)?,
            pidfd: connect("pidfd socket", pidfd)?,
            pid_file,
            master: None,
        })
    }

    /// Says who the new process is.
    pub fn announce(&self, launched: &Launched<'_>) -> Result<Option<PidFile>, LaunchError> {
        if let (Some((path, socket)), Some(pidfd)) = (&self.pidfd, launched.pidfd()) {
            send("pidfd socket", path, socket, pidfd, b"pidfd")?;
        }
        self.pid_file.map(|path| PidFile::write(path, launched.pid())).transpose()
    }

    /// Takes the terminal's master: for the console socket, or to be relayed.
    pub fn take_terminal(&mut self, master: OwnedFd) -> Result<(), LaunchError> {
        match &self.console {
            Some((path, socket)) => send("console socket", path, socket, master.as_fd(), b"/dev/ptmx"),
            None => {
                self.master = Some(master);
                Ok(())
            }
        }
    }
}

fn send(
    what: &'static str,
    path: &Path,
    socket: &OwnedFd,
    descriptor: std::os::fd::BorrowedFd<'_>,
    word: &[u8],
) -> Result<(), LaunchError> {
    send_descriptor(socket.as_fd(), descriptor, word).map_err(|error| LaunchError::Socket {
        what,
        path: path.into(),
        operation: "sendmsg",
        error,
    })
}

/// A pid file, removed on drop.
pub(super) struct PidFile {
    path: PathBuf,
}

impl PidFile {
    /// Writes `pid` whole: under another name first, for somebody may be waiting for this one.
    pub fn write(path: &Path, pid: i32) -> Result<Self, LaunchError> {
        let failed = |error| LaunchError::Write { path: path.into(), error };
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let new = path.with_file_name(format!(".{name}.{pid}.new"));
        std::fs::write(&new, pid.to_string()).map_err(failed)?;
        std::fs::rename(&new, path).map_err(|error| {
            let _ = std::fs::remove_file(&new);
            failed(error)
        })?;
        Ok(Self { path: path.into() })
    }

    /// The process came to be: the file stays.
    pub fn keep(mut self) {
        self.path = PathBuf::new();
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        if !self.path.as_os_str().is_empty() {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
