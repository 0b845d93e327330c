//! Packets of a shim's socket: JSON, with descriptors beside it (SCM_RIGHTS, unix(7)).
//!
//! What is too long for a packet travels in a memfd: the packet is one zero byte then, and the memfd its last descriptor.

use std::io::{IoSlice, IoSliceMut, Read, Seek};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::MemfdFlags;
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Well below any SO_SNDBUF.
const LONGEST_PACKET: usize = 32 << 10;
/// No message is longer: one that is was made to fill our memory.
const LONGEST: u64 = 16 << 20;
/// Three streams and a memfd.
const MOST_DESCRIPTORS: usize = 4;

/// Why there is no message.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The other side has closed.
    #[error("the connection has ended")]
    End,
    /// A call failed; AGAIN: there is none yet.
    #[error("{0}")]
    Call(#[from] Errno),
    /// It is not what was expected.
    #[error("{error} in {text:?}")]
    Format {
        /// What serde says.
        error: serde_json::Error,
        /// Its beginning.
        text: String,
    },
}

/// Sends `message`.
pub fn send(
    socket: BorrowedFd<'_>,
    message: &impl Serialize,
    fds: &[BorrowedFd<'_>],
    flags: SendFlags,
) -> Result<(), Errno> {
    let json = serde_json::to_vec(message).map_err(|_| Errno::INVAL)?;
    if json.len() <= LONGEST_PACKET {
        return send_bytes(socket, &json, fds, flags);
    }
    let file = rustix::fs::memfd_create(c"message", MemfdFlags::CLOEXEC)?;
    let mut rest = json.as_slice();
    while !rest.is_empty() {
        rest = &rest[rustix::io::write(&file, rest)?..];
    }
    let all: Vec<_> = fds.iter().copied().chain([file.as_fd()]).collect();
    send_bytes(socket, &[0], &all, flags)
}

fn send_bytes(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    fds: &[BorrowedFd<'_>],
    flags: SendFlags,
) -> Result<(), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(Errno::TOOMANYREFS);
    }
    loop {
        let sent =
            rustix::net::sendmsg(socket, &[IoSlice::new(bytes)], &mut ancillary, flags | SendFlags::NOSIGNAL);
        match sent {
            Err(Errno::INTR) => {}
            sent => return sent.map(drop),
        }
    }
}

/// Receives the next message and its descriptors.
pub fn receive<T: DeserializeOwned>(
    socket: BorrowedFd<'_>,
    flags: RecvFlags,
) -> Result<(T, Vec<OwnedFd>), WireError> {
    let (bytes, mut fds) = receive_bytes(socket, flags)?;
    let bytes = match (bytes.as_slice(), fds.last()) {
        ([], _) => return Err(WireError::End),
        ([0], Some(_)) => read_file(fds.pop()).map_err(|_| Errno::IO)?,
        _ => bytes,
    };
    match serde_json::from_slice(&bytes) {
        Ok(message) => Ok((message, fds)),
        Err(error) => {
            let text = String::from_utf8_lossy(bytes.get(..200).unwrap_or(&bytes)).into_owned();
            Err(WireError::Format { error, text })
        }
    }
}

fn receive_bytes(socket: BorrowedFd<'_>, flags: RecvFlags) -> Result<(Vec<u8>, Vec<OwnedFd>), Errno> {
    let mut bytes = vec![0; 2048];
    // A packet tells its length by being looked at.
    let peeked = retry(|| {
        rustix::net::recv(socket, bytes.as_mut_slice(), flags | RecvFlags::PEEK | RecvFlags::TRUNC)
    })?;
    let (_, length) = peeked;
    bytes.resize(length.clamp(1, LONGEST_PACKET), 0);
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = retry(|| {
        let mut parts = [IoSliceMut::new(&mut bytes)];
        rustix::net::recvmsg(socket, &mut parts, &mut ancillary, flags | RecvFlags::CMSG_CLOEXEC)
    })?;
    bytes.truncate(received.bytes);
    let mut fds = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    Ok((bytes, fds))
}

fn read_file(file: Option<OwnedFd>) -> std::io::Result<Vec<u8>> {
    let Some(file) = file else { return Ok(Vec::new()) };
    let mut file = std::fs::File::from(file);
    file.rewind()?;
    let mut bytes = Vec::new();
    file.take(LONGEST).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A peer that closed with a word of ours unread is told of by one ECONNRESET; what it said before that is still to be read.
fn retry<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match call() {
            Err(Errno::INTR | Errno::CONNRESET) => {}
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    use super::*;

    fn pair() -> (OwnedFd, OwnedFd) {
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap()
    }

    #[test]
    fn a_message_of_any_length_arrives_with_its_descriptors() {
        let (one, other) = pair();
        for length in [0, 10, 5000, LONGEST_PACKET, 3 << 20] {
            let text = "x".repeat(length);
            send(one.as_fd(), &text, &[one.as_fd(), other.as_fd()], SendFlags::empty()).unwrap();
            let (received, fds) = receive::<String>(other.as_fd(), RecvFlags::empty()).unwrap();
            assert_eq!((received.len(), fds.len()), (length, 2));
        }
    }

    #[test]
    fn an_end_a_wait_and_nonsense_are_told_apart() {
        let (one, other) = pair();
        let receive = |flags| receive::<u32>(other.as_fd(), flags);
        assert!(matches!(receive(RecvFlags::DONTWAIT), Err(WireError::Call(Errno::AGAIN))));
        rustix::net::send(&one, b"{", SendFlags::empty()).unwrap();
        assert!(matches!(receive(RecvFlags::empty()), Err(WireError::Format { .. })));
        drop(one);
        assert!(matches!(receive(RecvFlags::empty()), Err(WireError::End)));
    }
}
