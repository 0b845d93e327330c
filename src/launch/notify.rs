//! NOTIFY_SOCKET handed on, sd_notify(3).
//!
//! The container gets a socket of its own at /run/notify/notify.sock; when it says READY=1 there, the
//! service manager hears READY=1 with the container's pid as MAINPID.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, bind, recv, sendto,
    socket_with,
};

use super::LaunchError;
use crate::sockets;
use crate::sys::During;

/// The container's end of a service notification.
#[derive(Debug)]
pub struct NotifySocket {
    socket: OwnedFd,
    host: SocketAddrUnix,
}

impl NotifySocket {
    /// Binds notify.sock in `directory`, for the service manager's socket at `host`.
    pub fn bind(directory: &Path, host: &str) -> Result<Self, LaunchError> {
        let failed = |operation| {
            move |error| LaunchError::Socket {
                what: "notify socket",
                path: directory.into(),
                operation,
                error,
            }
        };
        let host = match host.strip_prefix('@') {
            Some(name) => SocketAddrUnix::new_abstract_name(name.as_bytes()),
            None => SocketAddrUnix::new(host),
        }
        .map_err(failed("NOTIFY_SOCKET"))?;
        let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)
            .map_err(failed("socket"))?;
        let opened = sockets::open_directory(directory).map_err(failed("open"))?;
        let address = sockets::address_in(opened.as_fd(), "notify.sock").map_err(failed("bind"))?;
        // Of a `start` that was killed before its word reached the container.
        let _ = rustix::fs::unlinkat(&opened, c"notify.sock", rustix::fs::AtFlags::empty());
        bind(&socket, &address).map_err(failed("bind"))?;
        let anyone = rustix::fs::Mode::from_raw_mode(0o777);
        rustix::fs::chmodat(&opened, c"notify.sock", anyone, rustix::fs::AtFlags::empty())
            .map_err(failed("chmod"))?;
        Ok(Self { socket, host })
    }

    /// Readable when the container has said something.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Reads one message; true when it was READY=1, which is then passed on for `pid`.
    pub fn relay(&self, pid: i32) -> Result<bool, Errno> {
        let mut bytes = [0; 4096];
        let (length, _) = recv(&self.socket, bytes.as_mut_slice(), RecvFlags::DONTWAIT)?;
        if !bytes[..length].split(|byte| *byte == b'\n').any(|line| line == b"READY=1") {
            return Ok(false);
        }
        let message = format!("READY=1\nMAINPID={pid}\n");
        sendto(&self.socket, message.as_bytes(), SendFlags::NOSIGNAL, &self.host)?;
        Ok(true)
    }

    /// Waits until the container is ready or ended.
    pub fn await_ready(&self, pid: i32, pidfd: BorrowedFd<'_>) -> Result<(), LaunchError> {
        self.relay_until_ready(pid, pidfd).during("relay NOTIFY_SOCKET").map_err(LaunchError::Call)
    }

    fn relay_until_ready(&self, pid: i32, pidfd: BorrowedFd<'_>) -> Result<(), Errno> {
        loop {
            let mut fds = [
                PollFd::from_borrowed_fd(self.as_fd(), PollFlags::IN),
                PollFd::from_borrowed_fd(pidfd, PollFlags::IN),
            ];
            match poll(&mut fds, None) {
                Ok(_) if !fds[0].revents().is_empty() => {
                    if self.relay(pid)? {
                        return Ok(());
                    }
                }
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
    }
}
