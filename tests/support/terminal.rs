//! Terminals: a pair made by the test, and the socket that receives a container's.

use std::fs::File;
use std::io::{Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcgetwinsize, tcsetwinsize};

/// A pseudo-terminal's master, and what was read from it.
pub struct Pty {
    master: File,
    read: Vec<u8>,
}

impl Pty {
    /// A new pair: this is the master, the file is the slave.
    pub fn open() -> (Self, File) {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags).expect("openpt");
        grantpt(&master).expect("grantpt");
        unlockpt(&master).expect("unlockpt");
        let name = ptsname(&master, Vec::new()).expect("ptsname");
        // O_NOCTTY: it is the command's controlling terminal, never the test's.
        let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::CLOEXEC;
        let slave = rustix::fs::open(name, flags, rustix::fs::Mode::empty()).expect("open the slave");
        (Self::from(master), slave.into())
    }

    /// Types.
    pub fn write(&mut self, text: &str) {
        self.master.write_all(text.as_bytes()).expect("write to the terminal");
    }

    /// Reads until the terminal has shown `fragment`; what it has shown so far.
    #[track_caller]
    pub fn wait_for(&mut self, fragment: &str) -> String {
        let deadline = Instant::now() + super::seconds(super::LONG);
        while !self.text().contains(fragment) {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(self.read_some(left), "no {fragment:?} on the terminal: {:?}", self.text());
        }
        self.text()
    }

    /// Everything shown so far.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.read).into_owned()
    }

    /// False at the end (EIO once no process has the slave) or when the time is over.
    fn read_some(&mut self, left: std::time::Duration) -> bool {
        let timeout = Timespec::try_from(left).expect("a time");
        let mut fds = [PollFd::from_borrowed_fd(self.master.as_fd(), PollFlags::IN)];
        if poll(&mut fds, Some(&timeout)).expect("poll") == 0 {
            return false;
        }
        let mut buffer = [0; 4096];
        match self.master.read(&mut buffer) {
            Ok(n) if n > 0 => self.read.extend(&buffer[..n]),
            _ => return false,
        }
        true
    }

    /// Sets rows and columns.
    pub fn resize(&self, rows: u16, columns: u16) {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&self.master, size).expect("set the window size");
    }

    /// Rows and columns.
    pub fn size(&self) -> (u16, u16) {
        let size = tcgetwinsize(&self.master).expect("get the window size");
        (size.ws_row, size.ws_col)
    }
}

impl From<OwnedFd> for Pty {
    fn from(master: OwnedFd) -> Self {
        Self { master: master.into(), read: Vec::new() }
    }
}

/// A listening socket for `--console-socket` and `--pidfd-socket`.
pub struct ConsoleSocket {
    listener: UnixListener,
}

impl ConsoleSocket {
    /// Listens at `path`.
    pub fn bind(path: &Path) -> Self {
        Self { listener: UnixListener::bind(path).expect("bind the console socket") }
    }

    /// The terminal that was sent, and the text (a path or name) that came with it.
    #[track_caller]
    pub fn receive(&self) -> (Pty, String) {
        let (master, name) = self.receive_descriptor();
        (Pty::from(master), name)
    }

    /// The descriptor that was sent, whatever it is of, and the text that came with it.
    #[track_caller]
    pub fn receive_descriptor(&self) -> (OwnedFd, String) {
        let timeout = Timespec::try_from(super::seconds(super::LONG)).expect("a time");
        let mut fds = [PollFd::from_borrowed_fd(self.listener.as_fd(), PollFlags::IN)];
        assert_eq!(poll(&mut fds, Some(&timeout)).expect("poll"), 1, "nobody came to the console socket");
        let (stream, _) = self.listener.accept().expect("accept");
        let mut data = [0; 4096];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let parts = &mut [std::io::IoSliceMut::new(&mut data)];
        let received = recvmsg(&stream, parts, &mut control, RecvFlags::CMSG_CLOEXEC).expect("recvmsg");
        let mut descriptors: Vec<OwnedFd> = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                descriptors.extend(rights);
            }
        }
        assert_eq!(descriptors.len(), 1, "descriptors in the message");
        let name = String::from_utf8_lossy(&data[..received.bytes]).into_owned();
        (descriptors.remove(0), name)
    }
}
