//! Asking a shim.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, socket_with, sockopt,
};

use super::wire::{self, WireError};
use super::{MonitorError, Reply, Request};
use crate::sockets;

/// The socket's name in the volatile directory.
pub const SOCKET: &str = "shim.sock";
/// A shim answers at once; one that makes a process of a container takes a little longer.
const PATIENCE: Duration = Duration::from_secs(30);
/// Of a signal.
const KILL_PATIENCE: Duration = Duration::from_secs(5);

/// The shim of one container. Each method is a connection of its own and returns soon (within seconds, by timeout).
#[derive(Clone, Debug)]
pub struct Monitor {
    run: PathBuf,
}

/// What a [`Watch`] tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The kernel killed a process of the container for lack of memory.
    OutOfMemory,
    /// The shim is gone: exit.json says how the container ended; without one, the shim was killed ([`super::Program::adopt`]).
    Ended,
}

/// One connection, and whose it is for errors.
#[derive(Debug)]
struct Connection {
    socket: OwnedFd,
    id: String,
}

/// A connection that ends with the shim. Its descriptor is readable (for poll(2), epoll) when [`Watch::next`] has something.
#[derive(Debug)]
pub struct Watch(Connection);

impl Watch {
    /// The next event; None where there is none yet.
    #[expect(clippy::should_implement_trait, reason = "an iterator's None would be its end")]
    pub fn next(&mut self) -> Result<Option<Event>, MonitorError> {
        match self.0.try_receive() {
            Ok(Some(Reply::OutOfMemory)) => Ok(Some(Event::OutOfMemory)),
            Ok(None) => Ok(None),
            Ok(Some(other)) => Err(self.0.unexpected(&other)),
            Err(MonitorError::Gone { .. }) => Ok(Some(Event::Ended)),
            Err(error) => Err(error),
        }
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.socket.as_fd()
    }
}

/// A further process in the container.
#[derive(Debug)]
pub struct Execution {
    /// Its pid on the host.
    pub pid: i32,
    /// The terminal's master, with a terminal.
    pub master: Option<OwnedFd>,
    connection: Connection,
}

impl Execution {
    /// Its exit status once it has ended; None while it runs. The descriptor is readable when that has changed. Should the shim be gone,
    /// an error.
    pub fn try_wait(&mut self) -> Result<Option<i32>, MonitorError> {
        match self.connection.try_receive()? {
            Some(Reply::Exited { code }) => Ok(Some(code)),
            None => Ok(None),
            Some(other) => Err(self.connection.unexpected(&other)),
        }
    }

    /// Sends it a signal.
    pub fn kill(&mut self, signal: i32) -> Result<(), MonitorError> {
        self.connection.send(&Request::Kill { signal, all: false }, &[])
    }
}

impl AsFd for Execution {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.connection.socket.as_fd()
    }
}

/// A client of the container's streams; dropping it leaves them.
#[derive(Debug)]
pub struct Attached(Connection);

/// Readable when the shim is gone.
impl AsFd for Attached {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.socket.as_fd()
    }
}

impl Monitor {
    /// The shim of the volatile directory `run`. Nothing is opened yet.
    pub fn of(run: &Path) -> Self {
        Self { run: run.into() }
    }

    /// Does a shim listen?
    pub fn is_there(&self) -> bool {
        self.connect().is_ok()
    }

    /// [`super::Request::Watch`].
    pub fn watch(&self) -> Result<Watch, MonitorError> {
        let connection = self.connect()?;
        connection.send(&Request::Watch, &[])?;
        Ok(Watch(connection))
    }

    /// [`super::Request::Status`].
    pub fn status(&self) -> Result<Reply, MonitorError> {
        let connection = self.connect()?;
        connection.send(&Request::Status, &[])?;
        connection.receive().map(|(reply, _)| reply)
    }

    /// [`super::Request::Kill`].
    pub fn kill(&self, signal: i32, all: bool) -> Result<(), MonitorError> {
        let connection = self.connect()?;
        // Whoever kills has another way where the shim is busy, and cannot wait for what keeps it so.
        let _ = sockopt::set_socket_timeout(&connection.socket, sockopt::Timeout::Recv, Some(KILL_PATIENCE));
        connection.ask(&Request::Kill { signal, all }, &[]).map(drop)
    }

    /// Runs `process` (OCI's, as JSON). Without a terminal `streams` are its stdin, stdout and stderr.
    ///
    /// # Errors
    /// [`MonitorError::Refused`] where the process could not be made: `executable file … not found` and the like.
    pub fn exec(
        &self,
        process: &serde_json::Value,
        streams: Option<[OwnedFd; 3]>,
    ) -> Result<Execution, MonitorError> {
        let connection = self.connect()?;
        let fds: Vec<_> = streams.iter().flatten().map(AsFd::as_fd).collect();
        connection.send(&Request::Exec { process: process.clone() }, &fds)?;
        match connection.receive()? {
            (Reply::Started { pid }, fds) => {
                Ok(Execution { pid, master: fds.into_iter().next(), connection })
            }
            (Reply::Failed { message }, _) => Err(MonitorError::Refused(message)),
            (other, _) => Err(connection.unexpected(&other)),
        }
    }

    /// [`super::Request::Attach`]: reads `stdin` into the container, writes to the others.
    pub fn attach(
        &self,
        stdin: Option<OwnedFd>,
        stdout: Option<OwnedFd>,
        stderr: Option<OwnedFd>,
    ) -> Result<Attached, MonitorError> {
        let request =
            Request::Attach { stdin: stdin.is_some(), stdout: stdout.is_some(), stderr: stderr.is_some() };
        let fds: Vec<_> = [&stdin, &stdout, &stderr].into_iter().flatten().map(AsFd::as_fd).collect();
        self.ask(&request, &fds).map(Attached)
    }

    /// [`super::Request::Resize`].
    pub fn resize(&self, width: u16, height: u16) -> Result<(), MonitorError> {
        self.ask(&Request::Resize { width, height }, &[]).map(drop)
    }

    /// [`super::Request::ReopenLog`].
    pub fn reopen_log(&self) -> Result<(), MonitorError> {
        self.ask(&Request::ReopenLog, &[]).map(drop)
    }

    fn ask(&self, request: &Request, fds: &[BorrowedFd<'_>]) -> Result<Connection, MonitorError> {
        self.connect()?.ask(request, fds)
    }

    fn connect(&self) -> Result<Connection, MonitorError> {
        let id = self.run.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match self.connected() {
            Ok(socket) => Ok(Connection { socket, id }),
            Err(Errno::NOENT | Errno::CONNREFUSED) => Err(MonitorError::Gone { id }),
            Err(error) => Err(MonitorError::Call { id, operation: "connect", error: error.into() }),
        }
    }

    fn connected(&self) -> Result<OwnedFd, Errno> {
        let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        for timeout in [sockopt::Timeout::Send, sockopt::Timeout::Recv] {
            sockopt::set_socket_timeout(&socket, timeout, Some(PATIENCE))?;
        }
        match SocketAddrUnix::new(self.run.join(SOCKET)) {
            Ok(address) => rustix::net::connect(&socket, &address)?,
            Err(_) => {
                let directory = sockets::open_directory(&self.run)?;
                rustix::net::connect(&socket, &sockets::address_in(directory.as_fd(), SOCKET)?)?;
            }
        }
        Ok(socket)
    }
}

impl Connection {
    /// Asks for something that is done, or is not.
    fn ask(self, request: &Request, fds: &[BorrowedFd<'_>]) -> Result<Self, MonitorError> {
        self.send(request, fds)?;
        match self.receive()? {
            (Reply::Done, _) => Ok(self),
            (Reply::Failed { message }, _) => Err(MonitorError::Refused(message)),
            (other, _) => Err(self.unexpected(&other)),
        }
    }

    fn send(&self, request: &Request, fds: &[BorrowedFd<'_>]) -> Result<(), MonitorError> {
        wire::send(self.socket.as_fd(), request, fds, SendFlags::empty()).map_err(|error| match error {
            Errno::PIPE | Errno::CONNRESET | Errno::NOTCONN => MonitorError::Gone { id: self.id.clone() },
            error => MonitorError::Call { id: self.id.clone(), operation: "sendmsg", error: error.into() },
        })
    }

    fn receive(&self) -> Result<(Reply, Vec<OwnedFd>), MonitorError> {
        wire::receive(self.socket.as_fd(), RecvFlags::empty()).map_err(|error| self.failed(error))
    }

    fn try_receive(&self) -> Result<Option<Reply>, MonitorError> {
        match wire::receive(self.socket.as_fd(), RecvFlags::DONTWAIT) {
            Ok((reply, _)) => Ok(Some(reply)),
            Err(WireError::Call(Errno::AGAIN)) => Ok(None),
            Err(error) => Err(self.failed(error)),
        }
    }

    fn failed(&self, error: WireError) -> MonitorError {
        match error {
            WireError::End | WireError::Call(Errno::CONNRESET) => MonitorError::Gone { id: self.id.clone() },
            WireError::Call(error) => {
                MonitorError::Call { id: self.id.clone(), operation: "recvmsg", error: error.into() }
            }
            error => MonitorError::Protocol { id: self.id.clone(), text: error.to_string() },
        }
    }

    fn unexpected(&self, reply: &Reply) -> MonitorError {
        MonitorError::Protocol { id: self.id.clone(), text: format!("{reply:?}") }
    }
}
