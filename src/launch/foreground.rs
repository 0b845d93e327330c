//! A process in the foreground: its terminal relayed, signals forwarded, its end awaited.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{WaitId, WaitIdOptions, waitid};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize};

use super::signals::Signals;
use super::{LaunchError, NotifySocket};
use crate::sys::During;
use crate::sys::clone::Child;

/// What a foreground command does beside waiting.
#[derive(Default)]
pub struct Foreground {
    /// The master of the process's terminal.
    pub master: Option<OwnedFd>,
    /// A service notification to relay.
    pub notify: Option<NotifySocket>,
}

/// Our own terminal in raw mode; what it was comes back on drop.
struct RawTerminal {
    before: Termios,
}

impl RawTerminal {
    fn new() -> Option<Self> {
        let stdin = rustix::stdio::stdin();
        let before = tcgetattr(stdin).ok()?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(stdin, OptionalActions::Now, &raw).ok()?;
        Some(Self { before })
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        let _ = tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &self.before);
    }
}

/// Waits for the end of `child`: its exit status, or 128 plus the signal that ended it.
pub fn wait(child: &Child, signals: &Signals, foreground: Foreground) -> Result<u8, LaunchError> {
    let Foreground { master, mut notify } = foreground;
    let raw = master.as_ref().and_then(|_| RawTerminal::new());
    if let Some(master) = &master {
        copy_window_size(master.as_fd());
        rustix::io::ioctl_fionbio(master, true).map_err(terminal("ioctl FIONBIO"))?;
    }
    let mut relay = Relay {
        master: master.as_ref().map(|m| m.as_fd()),
        input: master.is_some(),
        output: master.is_some(),
    };
    loop {
        let stdin = rustix::stdio::stdin();
        let mut fds = vec![
            PollFd::from_borrowed_fd(child.pidfd.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN),
        ];
        // What is only sometimes there, and where it then is.
        let input = relay.input.then_some(stdin);
        let output = relay.master.filter(|_| relay.output);
        let notified = notify.as_ref().map(|n| n.as_fd());
        let optional = [input, output, notified];
        let mut positions = [usize::MAX; 3];
        for (position, fd) in positions.iter_mut().zip(optional) {
            if let Some(fd) = fd {
                *position = fds.len();
                fds.push(PollFd::from_borrowed_fd(fd, PollFlags::IN));
            }
        }
        match poll(&mut fds, None) {
            Ok(_) => {}
            Err(Errno::INTR) => continue,
            Err(errno) => return Err(errno).during("poll").map_err(LaunchError::Call),
        }
        let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        let is_ready = |position: usize| ready.get(position).copied().unwrap_or(false);
        if is_ready(1) {
            forward(child, signals, master.as_ref());
        }
        if is_ready(positions[0]) {
            relay.take_input();
        }
        if is_ready(positions[1]) {
            relay.take_output();
        }
        if is_ready(positions[2])
            && let Some(socket) = &notify
            && matches!(socket.relay(child.pid), Ok(true))
        {
            notify = None;
        }
        if is_ready(0) {
            break;
        }
    }
    relay.drain();
    drop(raw);
    exit_status(child)
}

fn exit_status(child: &Child) -> Result<u8, LaunchError> {
    loop {
        match waitid(WaitId::PidFd(child.pidfd.as_fd()), WaitIdOptions::EXITED) {
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno).during("waitid").map_err(LaunchError::Call),
            Ok(status) => {
                let status = status.ok_or(Errno::CHILD).during("waitid")?;
                let code = status.exit_status().or(status.terminating_signal().map(|signal| 128 + signal));
                return Ok(code.unwrap_or(255) as u8);
            }
        }
    }
}

fn forward(child: &Child, signals: &Signals, master: Option<&OwnedFd>) {
    while let Some(number) = signals.next() {
        if let (Some(master), true) = (master, number == libc::SIGWINCH as u32) {
            copy_window_size(master.as_fd());
        } else {
            // A process that is gone meanwhile needs no signal.
            let _ = crate::sys::process::send_signal(child.pidfd.as_fd(), number);
        }
    }
}

fn copy_window_size(master: BorrowedFd<'_>) {
    if let Ok(size) = tcgetwinsize(rustix::stdio::stdin()) {
        let _ = tcsetwinsize(master, size);
    }
}

/// Copies between our standard streams and the terminal's master.
struct Relay<'a> {
    master: Option<BorrowedFd<'a>>,
    input: bool,
    output: bool,
}

impl Relay<'_> {
    fn take_input(&mut self) {
        let Some(master) = self.master else { return };
        let mut bytes = [0; 4096];
        match rustix::io::read(rustix::stdio::stdin(), &mut bytes) {
            Ok(0) | Err(Errno::IO) => {
                // Our input has ended: so has the terminal's, as if somebody typed ^D.
                let _ = write_all(master, &[4]);
                self.input = false;
            }
            Ok(length) => self.input = write_all(master, &bytes[..length]).is_ok(),
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(_) => self.input = false,
        }
    }

    fn take_output(&mut self) {
        let Some(master) = self.master else { return };
        let mut bytes = [0; 16384];
        match rustix::io::read(master, &mut bytes) {
            Ok(length) if length > 0 => {
                let _ = write_all(rustix::stdio::stdout(), &bytes[..length]);
            }
            Err(Errno::INTR | Errno::AGAIN) => {}
            // EIO: the last slave is closed.
            _ => self.output = false,
        }
    }

    /// What the process wrote before it ended.
    fn drain(&mut self) {
        let Some(master) = self.master else { return };
        let mut bytes = [0; 16384];
        while let Ok(length @ 1..) = rustix::io::read(master, &mut bytes) {
            if write_all(rustix::stdio::stdout(), &bytes[..length]).is_err() {
                break;
            }
        }
    }
}

fn write_all(fd: BorrowedFd<'_>, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match rustix::io::write(fd, bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::OUT)];
                poll(&mut fds, None)?;
            }
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

fn terminal(operation: &'static str) -> impl Fn(Errno) -> LaunchError {
    move |error| LaunchError::Terminal { operation, error }
}
