//! The intermediate process for a user namespace that is joined.
//!
//! What a container creates must belong to the user namespace that it joins, and a process cannot
//! leave one again; so a process of its own enters all that is joined, the user namespace last, makes
//! the container's process as its sibling (CLONE_PARENT) and ends.

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};

use super::LaunchError;
use crate::namespaces::Kind;
use crate::process::join;
use crate::sys::clone::{Child, CloneArguments, spawn};
use crate::sys::{During, Failure};

const CLONE_PARENT: u64 = 0x8000;

/// Makes the container's process in joined namespaces. `joins` ends with the user namespace.
pub(super) fn spawn_through(
    joins: &[(Kind, BorrowedFd<'_>)],
    arguments: CloneArguments<'_>,
    body: impl FnOnce() -> i32,
) -> Result<Child, LaunchError> {
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
        .during("socketpair")?;
    let intermediate = CloneArguments { flags: 0, cgroup: arguments.cgroup };
    let stage = spawn(intermediate, || match enter_and_spawn(joins, arguments.flags, &theirs, body) {
        Ok(()) => 0,
        Err((index, errno)) => {
            let _ = send(&theirs, &[index, errno.raw_os_error()], None);
            1
        }
    })
    .map_err(|error| LaunchError::Clone { error })?;
    drop(theirs);
    let answer = receive(&ours);
    let _ = stage.wait();
    match answer? {
        ([pid, 0], Some(pidfd)) => Ok(Child { pid, pidfd }),
        ([index, errno], None) => {
            let error = Errno::from_raw_os_error(errno);
            match usize::try_from(index).ok().and_then(|index| joins.get(index)) {
                Some((kind, _)) => Err(LaunchError::Join { kind: *kind, error }),
                None => Err(LaunchError::Clone { error }),
            }
        }
        _ => Err(LaunchError::Protocol { error: Errno::PROTO }),
    }
}

/// In the intermediate process; an error names the join that failed, or -1 for the clone.
fn enter_and_spawn(
    joins: &[(Kind, BorrowedFd<'_>)],
    flags: u64,
    socket: &OwnedFd,
    body: impl FnOnce() -> i32,
) -> Result<(), (i32, Errno)> {
    for (index, (kind, file)) in joins.iter().enumerate() {
        join::namespace(*file, *kind).map_err(|failure| (index as i32, failure.errno))?;
    }
    let child = spawn(CloneArguments { flags: flags | CLONE_PARENT, cgroup: None }, body);
    let child = child.map_err(|errno| (-1, errno))?;
    send(socket, &[child.pid, 0], Some(child.pidfd.as_fd())).map_err(|errno| (-1, errno))
}

fn send(socket: &OwnedFd, words: &[i32; 2], pidfd: Option<BorrowedFd<'_>>) -> Result<(), Errno> {
    let mut bytes = [0; 8];
    for (to, word) in bytes.chunks_exact_mut(4).zip(words) {
        to.copy_from_slice(&word.to_ne_bytes());
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if let Some(pidfd) = &pidfd {
        ancillary.push(SendAncillaryMessage::ScmRights(std::slice::from_ref(pidfd)));
    }
    sendmsg(socket, &[IoSlice::new(&bytes)], &mut ancillary, SendFlags::NOSIGNAL).map(drop)
}

fn receive(socket: &OwnedFd) -> Result<([i32; 2], Option<OwnedFd>), Failure> {
    let mut bytes = [0u8; 8];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut parts = [std::io::IoSliceMut::new(&mut bytes)];
    let message = recvmsg(socket, &mut parts, &mut ancillary, RecvFlags::CMSG_CLOEXEC).during("recvmsg")?;
    if message.bytes != 8 {
        return Err(Errno::PROTO).during("recvmsg");
    }
    let fd = ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    });
    let word =
        |from: usize| i32::from_ne_bytes([bytes[from], bytes[from + 1], bytes[from + 2], bytes[from + 3]]);
    Ok(([word(0), word(4)], fd))
}
