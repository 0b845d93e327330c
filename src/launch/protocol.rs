//! What parent and child say to each other, over one SEQPACKET socket pair.
//!
//! ```text
//! parent (rcrun)                                   child (the container's first process)
//!   clone3 ───────────────────────────────────────▶ AwaitParent            (only if planned)
//!   id mappings, oom_score_adj      Proceed ──────▶ join, mount, ...
//!   writes the pid to disk          Recorded ─────▶ kept for AwaitRecord
//!   console socket, or relay  ◀── Terminal + fd     Terminal               (only if planned)
//!   prestart, createRuntime   ◀── RuntimeHooks      RuntimeHooks           (only if planned)
//!                                   Proceed ──────▶ pivot, limits, ...
//!   prlimit(2)                ◀── ResourceLimits    ResourceLimitsByParent (only if planned)
//!                                   Proceed ──────▶ credentials
//!                                                  AwaitRecord
//!   `create` ends here        ◀── Created           AwaitStart             (only with create)
//!   start ── connects, Proceed ───────────────────▶ startContainer hooks
//!                             ◀── Executing         loads the seccomp filter (only if planned)
//!   to the seccomp agent      ◀── Listener + fd     execve closes the socket (the fd only if planned)
//!                             ◀── end of file       the program runs
//! ```
//!
//! `Failed` may come instead of any message of the child's and is its last; so is an end of file,
//! which means that the child was killed.

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};

use crate::text::{FixedText, TEXT_SIZE};

/// A message without its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum Message {
    Proceed = 1,
    Recorded,
    Terminal,
    RuntimeHooks,
    ResourceLimits,
    Created,
    Executing,
    Listener,
    Failed,
}

impl Message {
    fn from_byte(byte: u8) -> Option<Self> {
        [
            Self::Proceed,
            Self::Recorded,
            Self::Terminal,
            Self::RuntimeHooks,
            Self::ResourceLimits,
            Self::Created,
            Self::Executing,
            Self::Listener,
            Self::Failed,
        ]
        .into_iter()
        .find(|m| *m as u8 == byte)
    }
}

/// What the parent receives from the child.
#[derive(Debug)]
pub enum Received {
    /// A message; `Terminal` and `Listener` bring their descriptor.
    Message(Message, Option<OwnedFd>),
    /// The child's last words: the errno (0 for none) and the whole line.
    Failed {
        /// errno of the failed call, 0 where there is none.
        errno: i32,
        /// What failed, on what, why.
        text: String,
    },
    /// The child's end is closed: it has executed its program, or is dead.
    End,
}

/// Sends a message without payload.
pub fn send(socket: BorrowedFd<'_>, message: Message) -> Result<(), Errno> {
    retry(|| rustix::net::send(socket, &[message as u8], SendFlags::NOSIGNAL)).map(drop)
}

/// Sends the terminal's master.
pub fn send_terminal(socket: BorrowedFd<'_>, master: BorrowedFd<'_>) -> Result<(), Errno> {
    send_with_descriptor(socket, Message::Terminal, master)
}

/// Sends the listener of a seccomp filter.
pub fn send_listener(socket: BorrowedFd<'_>, listener: BorrowedFd<'_>) -> Result<(), Errno> {
    send_with_descriptor(socket, Message::Listener, listener)
}

fn send_with_descriptor(
    socket: BorrowedFd<'_>,
    message: Message,
    descriptor: BorrowedFd<'_>,
) -> Result<(), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let fds = [descriptor];
    ancillary.push(SendAncillaryMessage::ScmRights(&fds));
    let byte = [message as u8];
    retry(|| rustix::net::sendmsg(socket, &[IoSlice::new(&byte)], &mut ancillary, SendFlags::NOSIGNAL))
        .map(drop)
}

/// Sends the child's last words.
pub fn send_failure(socket: BorrowedFd<'_>, errno: i32, text: &FixedText) -> Result<(), Errno> {
    let head = [Message::Failed as u8];
    let errno = errno.to_le_bytes();
    let parts = [IoSlice::new(&head), IoSlice::new(&errno), IoSlice::new(text.as_bytes())];
    let mut ancillary = SendAncillaryBuffer::default();
    retry(|| rustix::net::sendmsg(socket, &parts, &mut ancillary, SendFlags::NOSIGNAL)).map(drop)
}

/// Waits for the parent's next word; an end of file is EPIPE: the parent is gone.
pub fn await_word(socket: BorrowedFd<'_>) -> Result<Message, Errno> {
    let mut byte = [0];
    let (received, _) = retry(|| rustix::net::recv(socket, byte.as_mut_slice(), RecvFlags::empty()))?;
    match (received, byte) {
        (0, _) => Err(Errno::PIPE),
        (1, [byte]) => Message::from_byte(byte).ok_or(Errno::PROTO),
        _ => Err(Errno::PROTO),
    }
}

/// Waits for the child's next message.
pub fn receive(socket: BorrowedFd<'_>) -> Result<Received, Errno> {
    let mut bytes = [0; TEXT_SIZE + 5];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let result = retry(|| {
        let mut parts = [std::io::IoSliceMut::new(&mut bytes)];
        rustix::net::recvmsg(socket, &mut parts, &mut ancillary, RecvFlags::CMSG_CLOEXEC)
    });
    let length = match result {
        Ok(message) => message.bytes,
        Err(errno) => return Err(errno),
    };
    let fd = ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    });
    crate::fault::heard(&bytes[..length]);
    let Some(first) = bytes[..length].first() else { return Ok(Received::End) };
    match Message::from_byte(*first) {
        Some(Message::Failed) if length >= 5 => {
            let errno = i32::from_le_bytes([bytes[1], bytes[2], bytes[3], bytes[4]]);
            Ok(Received::Failed { errno, text: String::from_utf8_lossy(&bytes[5..length]).into_owned() })
        }
        Some(message) if length == 1 && message != Message::Failed => Ok(Received::Message(message, fd)),
        _ => Err(Errno::PROTO),
    }
}

/// A peer that closed its end with a word of ours unread is told of by one ECONNRESET; what it said
/// before that is still to be read.
fn retry<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match call() {
            Err(Errno::INTR | Errno::CONNRESET) => {}
            result => return result,
        }
    }
}

/// The messages that a plan lets the child send, in order.
#[derive(Debug)]
pub struct Expected {
    remaining: std::vec::IntoIter<Message>,
}

impl Expected {
    /// The child's messages for these steps.
    pub fn of(steps: &[crate::plan::step::Step]) -> Self {
        use crate::plan::step::Step;
        let message = |step: &Step| match step {
            Step::Terminal { .. } => Some(Message::Terminal),
            Step::RuntimeHooks => Some(Message::RuntimeHooks),
            Step::ResourceLimitsByParent => Some(Message::ResourceLimits),
            Step::AwaitStart => Some(Message::Created),
            _ => None,
        };
        let mut messages: Vec<Message> = steps.iter().filter_map(message).collect();
        messages.push(Message::Executing);
        let notifies = |step: &Step| matches!(step, Step::Seccomp(step) if step.filter.listener.is_some());
        if steps.last().is_some_and(notifies) {
            messages.push(Message::Listener);
        }
        Self { remaining: messages.into_iter() }
    }

    /// Was everything said?
    pub fn is_over(&self) -> bool {
        self.remaining.as_slice().is_empty()
    }

    /// Is `message` the next one? Anything else is EPROTO.
    pub fn take(&mut self, message: Message) -> Result<(), Errno> {
        match self.remaining.next() {
            Some(expected) if expected == message => Ok(()),
            _ => Err(Errno::PROTO),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::step::Step;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
    use std::fmt::Write;
    use std::os::fd::AsFd;

    fn pair() -> (OwnedFd, OwnedFd) {
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap()
    }

    #[test]
    fn messages_arrive_as_they_were_sent() {
        let (parent, child) = pair();
        send(child.as_fd(), Message::RuntimeHooks).unwrap();
        assert!(matches!(receive(parent.as_fd()).unwrap(), Received::Message(Message::RuntimeHooks, None)));
        send(parent.as_fd(), Message::Proceed).unwrap();
        assert_eq!(await_word(child.as_fd()).unwrap(), Message::Proceed);
    }

    #[test]
    fn a_failure_arrives_unchanged() {
        let (parent, child) = pair();
        let mut text = FixedText::new();
        text.write_str("mount /proc: why").unwrap();
        send_failure(child.as_fd(), 22, &text).unwrap();
        let Received::Failed { errno, text } = receive(parent.as_fd()).unwrap() else { panic!() };
        assert_eq!((errno, text.as_str()), (22, "mount /proc: why"));
    }

    #[test]
    fn a_descriptor_travels_with_the_terminal() {
        let (parent, child) = pair();
        let (read, write) = rustix::pipe::pipe().unwrap();
        send_terminal(child.as_fd(), write.as_fd()).unwrap();
        drop(write);
        let Received::Message(Message::Terminal, Some(fd)) = receive(parent.as_fd()).unwrap() else {
            panic!()
        };
        rustix::io::write(&fd, b"x").unwrap();
        let mut byte = [0];
        assert_eq!(rustix::io::read(&read, &mut byte).unwrap(), 1);
    }

    #[test]
    fn last_words_are_heard_even_if_ours_were_not() {
        let (parent, child) = pair();
        send(parent.as_fd(), Message::Recorded).unwrap();
        send_failure(child.as_fd(), 1, &FixedText::new()).unwrap();
        drop(child);
        assert!(matches!(receive(parent.as_fd()).unwrap(), Received::Failed { errno: 1, .. }));
        assert!(matches!(receive(parent.as_fd()).unwrap(), Received::End));
    }

    #[test]
    fn a_closed_end_is_an_end_and_not_an_error() {
        let (parent, child) = pair();
        drop(child);
        assert!(matches!(receive(parent.as_fd()).unwrap(), Received::End));
        let (parent, child) = pair();
        drop(parent);
        assert_eq!(await_word(child.as_fd()).unwrap_err(), Errno::PIPE);
    }

    #[test]
    fn the_order_of_messages_is_the_order_of_steps() {
        let steps = [Step::AwaitParent, Step::RuntimeHooks, Step::PivotRoot, Step::AwaitStart];
        let mut expected = Expected::of(&steps);
        expected.take(Message::RuntimeHooks).unwrap();
        assert_eq!(expected.take(Message::Executing), Err(Errno::PROTO));
        let mut expected = Expected::of(&steps);
        for message in [Message::RuntimeHooks, Message::Created, Message::Executing] {
            expected.take(message).unwrap();
        }
        assert_eq!(expected.take(Message::Executing), Err(Errno::PROTO));
    }
}
