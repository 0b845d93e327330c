//! Unix sockets by path, unix(7): console socket, pidfd socket, the socket that `start` knocks on.
//!
//! A socket's path has room for 107 bytes; longer ones go through /proc/self/fd and a descriptor of
//! the directory, so that no id is too long for its own socket.

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags,
    SocketType, bind, listen, sendmsg, socket_with,
};

/// A listening SEQPACKET socket `name` in `directory`.
pub fn bind_listener(directory: BorrowedFd<'_>, name: &str) -> Result<OwnedFd, Errno> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    bind(&socket, &address_in(directory, name)?)?;
    listen(&socket, 64)?;
    Ok(socket)
}

/// Connects to a SEQPACKET socket `name` in `directory`. ECONNREFUSED: nobody listens any more.
pub fn connect(directory: BorrowedFd<'_>, name: &str) -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    rustix::net::connect(&socket, &address_in(directory, name)?)?;
    rustix::io::ioctl_fionbio(&socket, false)?;
    Ok(socket)
}

/// Connects to a stream socket of the caller's.
pub fn connect_stream(path: &Path) -> Result<OwnedFd, Errno> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    if let Ok(address) = SocketAddrUnix::new(path) {
        rustix::net::connect(&socket, &address)?;
    } else {
        let directory = open_directory(path.parent().unwrap_or(Path::new("/")))?;
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        rustix::net::connect(&socket, &address_in(directory.as_fd(), name)?)?;
    }
    Ok(socket)
}

/// Sends a descriptor with a word beside it, as runc does for its console socket.
pub fn send_descriptor(socket: BorrowedFd<'_>, fd: BorrowedFd<'_>, word: &[u8]) -> Result<(), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let fds = [fd];
    ancillary.push(SendAncillaryMessage::ScmRights(&fds));
    sendmsg(socket, &[IoSlice::new(word)], &mut ancillary, SendFlags::NOSIGNAL).map(drop)
}

/// The address of `name` in an open directory, short whatever the directory is called.
pub fn address_in(directory: BorrowedFd<'_>, name: &str) -> Result<SocketAddrUnix, Errno> {
    SocketAddrUnix::new(format!("/proc/self/fd/{}/{name}", directory.as_raw_fd()))
}

/// A directory for [`address_in`].
pub fn open_directory(path: &Path) -> Result<OwnedFd, Errno> {
    rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}
