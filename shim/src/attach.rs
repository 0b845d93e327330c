//! Who is attached to the container's streams, and what they type.
//!
//! Nobody is waited for: a client that does not read in time is left behind, and keystrokes that the container does not read
//! keep further ones from being read.

use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::pipe::fcntl_setpipe_size;

use crate::log::Stream;

/// What a pipe to a client may hold, if the kernel lets it: the first size that it takes.
const PIPE_SIZES: [usize; 3] = [1 << 20, 512 << 10, 256 << 10];
/// What one read of input takes.
const INPUT: usize = 4096;
/// ^D: the end of a terminal's input.
const END_OF_INPUT: u8 = 4;

/// A client's descriptors.
#[derive(Debug)]
pub struct Client {
    stdin: Option<OwnedFd>,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
}

impl Client {
    /// Takes them over: none of them blocks.
    pub fn new(stdin: Option<OwnedFd>, stdout: Option<OwnedFd>, stderr: Option<OwnedFd>) -> Self {
        for fd in [&stdin, &stdout, &stderr].into_iter().flatten() {
            let _ = rustix::io::ioctl_fionbio(fd, true);
        }
        for pipe in [&stdout, &stderr].into_iter().flatten() {
            let _ = PIPE_SIZES.iter().find(|size| fcntl_setpipe_size(pipe, **size).is_ok());
        }
        Self { stdin, stdout, stderr }
    }

    /// Where its input comes from.
    pub fn stdin(&self) -> Option<&OwnedFd> {
        self.stdin.as_ref()
    }

    /// Its input has ended, or is not wanted.
    pub fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// Of a client that is gone: its input, if there is some that was not read yet.
    pub fn unread(self) -> Option<OwnedFd> {
        self.stdin.filter(|stdin| rustix::io::ioctl_fionread(stdin).is_ok_and(|bytes| bytes > 0))
    }

    /// Gives it output of the container; whoever has no room for all of it gets nothing more.
    pub fn write(&mut self, stream: Stream, bytes: &[u8]) {
        let output = match stream {
            Stream::Out => &mut self.stdout,
            Stream::Err => &mut self.stderr,
        };
        if let Some(fd) = output
            && !write_all(fd, bytes)
        {
            *output = None;
        }
    }
}

fn write_all(fd: &OwnedFd, mut bytes: &[u8]) -> bool {
    while !bytes.is_empty() {
        match rustix::io::write(fd, bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::INTR) => {}
            Err(_) => return false,
        }
    }
    true
}

/// What the container reads.
#[derive(Debug)]
pub struct Input {
    fd: OwnedFd,
    /// What it had no room for yet: meanwhile nothing more is read.
    pending: Vec<u8>,
    /// Closes when `pending` is written.
    ending: bool,
    terminal: bool,
}

impl Input {
    /// The writing end of a FIFO, or a terminal's master; it does not block.
    pub fn new(fd: OwnedFd, terminal: bool) -> Self {
        Self { fd, pending: Vec::new(), ending: false, terminal }
    }

    /// Is there room for more?
    pub fn wants_more(&self) -> bool {
        self.pending.is_empty() && !self.ending
    }

    /// What to wait for, if it has to be waited for.
    pub fn waits_for_room(&self) -> Option<&OwnedFd> {
        (!self.pending.is_empty()).then_some(&self.fd)
    }

    /// Reads from a client; false when that has ended.
    pub fn read_from(&mut self, client: &OwnedFd) -> bool {
        let mut bytes = [0; INPUT];
        match rustix::io::read(client, &mut bytes) {
            Ok(length @ 1..) => {
                self.pending.extend_from_slice(&bytes[..length]);
                true
            }
            Err(Errno::AGAIN | Errno::INTR) => true,
            Ok(0) | Err(_) => false,
        }
    }

    /// Nothing more will come.
    pub fn end(&mut self) {
        match self.terminal {
            true => self.pending.push(END_OF_INPUT),
            false => self.ending = true,
        }
    }

    /// Writes what is pending; false when the input is over: it has ended, or nobody reads it any more.
    pub fn write(&mut self) -> bool {
        while !self.pending.is_empty() {
            match rustix::io::write(&self.fd, &self.pending) {
                Ok(written) => drop(self.pending.drain(..written)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return true,
                // A terminal that was hung up may be opened again.
                Err(_) if self.terminal => self.pending.clear(),
                Err(_) => return false,
            }
        }
        self.pending.shrink_to(INPUT);
        !self.ending
    }
}

#[cfg(test)]
mod tests {
    use rustix::pipe::{PipeFlags, pipe_with};

    use super::*;

    fn pipe() -> (OwnedFd, OwnedFd) {
        pipe_with(PipeFlags::CLOEXEC).unwrap()
    }

    #[test]
    fn a_client_that_does_not_read_is_left_behind() {
        let ((_reader, stdout), (err, stderr)) = (pipe(), pipe());
        let mut client = Client::new(None, Some(stdout), Some(stderr));
        for _ in 0..200 {
            client.write(Stream::Out, &[b'x'; 32 << 10]);
        }
        assert!(client.stdout.is_none() && client.stderr.is_some());
        drop(err);
        client.write(Stream::Err, b"x");
        assert!(client.stderr.is_none());
    }

    #[test]
    fn input_waits_for_room_and_ends_after_what_was_read() {
        let ((typed, typing), (read, written)) = (pipe(), pipe());
        rustix::io::ioctl_fionbio(&written, true).unwrap();
        rustix::io::ioctl_fionbio(&typed, true).unwrap();
        let mut input = Input::new(written, false);
        let mut typed_bytes = 0;
        while input.wants_more() {
            typed_bytes += rustix::io::write(&typing, &[b'x'; 1000]).unwrap();
            assert!(input.read_from(&typed));
            assert!(input.write());
        }
        assert!(input.waits_for_room().is_some());
        input.end();
        let mut bytes = [0; 4096];
        let mut read_bytes = 0;
        let mut open = true;
        while open {
            read_bytes += rustix::io::read(&read, &mut bytes).unwrap();
            open = input.write();
        }
        drop(input);
        while let Ok(more @ 1..) = rustix::io::read(&read, &mut bytes) {
            read_bytes += more;
        }
        assert_eq!(read_bytes, typed_bytes);
    }
}
