//! A process in the foreground: its terminal relayed, signals forwarded, its end awaited.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::sys::wait::{Id, WaitPidFlag, waitid as wait_for};
use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};
use rustix::io::Errno;
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

/// What may wake the foreground.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wake {
    Child,
    Signal,
    Input,
    Master,
    Reopened,
    Notify,
}

/// Waits for the end of `child`: its exit status, or 128 plus the signal that ended it.
pub fn wait(child: &Child, signals: &Signals, foreground: Foreground) -> Result<u8, LaunchError> {
    let Foreground { master, mut notify } = foreground;
    let raw = master.as_ref().and_then(|_| RawTerminal::new());
    let mut relay = master.map(Relay::new).transpose()?;
    loop {
        let ready = wake_up(child, signals, relay.as_ref(), notify.as_ref())?;
        let is_ready = |wake| ready.iter().find(|(of, _)| *of == wake).map(|(_, events)| *events);
        if is_ready(Wake::Signal).is_some() {
            forward(child, signals, relay.as_ref());
        }
        if let Some(relay) = &mut relay {
            if is_ready(Wake::Input).is_some() {
                relay.read_input();
            }
            if let Some(events) = is_ready(Wake::Master) {
                relay.serve_master(events);
            }
            if is_ready(Wake::Reopened).is_some() {
                relay.look_again();
            }
        }
        if let Some(socket) = notify.as_ref().filter(|_| is_ready(Wake::Notify).is_some())
            && matches!(socket.relay(child.pid), Ok(true))
        {
            notify = None;
        }
        if is_ready(Wake::Child).is_some() {
            break;
        }
    }
    if let Some(relay) = &mut relay {
        relay.drain();
    }
    drop(raw);
    exit_status(child)
}

/// Waits until something of it happens; tells what, with poll(2)'s events.
fn wake_up(
    child: &Child,
    signals: &Signals,
    relay: Option<&Relay>,
    notify: Option<&NotifySocket>,
) -> Result<Vec<(Wake, PollFlags)>, LaunchError> {
    let stdin = rustix::stdio::stdin();
    let mut wakes = vec![Wake::Child, Wake::Signal];
    let mut fds = vec![
        PollFd::from_borrowed_fd(child.pidfd.as_fd(), PollFlags::IN),
        PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN),
    ];
    if let Some(relay) = relay {
        if relay.wants_input() {
            wakes.push(Wake::Input);
            fds.push(PollFd::from_borrowed_fd(stdin, PollFlags::IN));
        }
        match &relay.hung_up {
            Some(watch) => {
                wakes.push(Wake::Reopened);
                fds.push(PollFd::from_borrowed_fd(watch.as_fd(), PollFlags::IN));
            }
            None => {
                wakes.push(Wake::Master);
                fds.push(PollFd::from_borrowed_fd(relay.master.as_fd(), relay.master_events()));
            }
        }
    }
    if let Some(notify) = notify {
        wakes.push(Wake::Notify);
        fds.push(PollFd::from_borrowed_fd(notify.as_fd(), PollFlags::IN));
    }
    match poll(&mut fds, None) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(errno) => return Err(errno).during("poll").map_err(LaunchError::Call),
    }
    let events = wakes.into_iter().zip(fds.iter().map(PollFd::revents));
    Ok(events.filter(|(_, events)| !events.is_empty()).collect())
}

fn exit_status(child: &Child) -> Result<u8, LaunchError> {
    let status = child.wait().during("waitid")?;
    let code = status.exit_status().or(status.terminating_signal().map(|signal| 128 + signal));
    Ok(code.unwrap_or(255) as u8)
}

fn forward(child: &Child, signals: &Signals, relay: Option<&Relay>) {
    while let Some(number) = signals.next() {
        match (relay, number as i32) {
            (_, libc::SIGCHLD) => reap_orphans(child),
            (Some(relay), libc::SIGWINCH) => copy_window_size(relay.master.as_fd()),
            _ => {
                // A process that is gone meanwhile needs no signal.
                let _ = crate::sys::process::send_signal(child.pidfd.as_fd(), number);
            }
        }
    }
}

/// Waits for those who came to this process as their subreaper and ended before `child`: without a PID
/// namespace of its own a container would fill its cgroup with them.
fn reap_orphans(child: &Child) {
    let ended = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG;
    while let Some(pid) = wait_for(Id::All, ended | WaitPidFlag::WNOWAIT).ok().and_then(|s| s.pid())
        && pid.as_raw() != child.pid
    {
        let _ = wait_for(Id::Pid(pid), ended);
    }
}

fn copy_window_size(master: BorrowedFd<'_>) {
    if let Ok(size) = tcgetwinsize(rustix::stdio::stdin()) {
        let _ = tcsetwinsize(master, size);
    }
}

/// Copies between our standard streams and the terminal's master.
struct Relay {
    master: OwnedFd,
    /// Input that the terminal had no room for yet: while there is some, no more is read, and output
    /// goes on. Waiting for room instead would wait for ever on a process that waits for us to read.
    pending: Vec<u8>,
    input_open: bool,
    /// While no process has the terminal open: what becomes readable when one has written to it again.
    hung_up: Option<OwnedFd>,
}

impl Relay {
    fn new(master: OwnedFd) -> Result<Self, LaunchError> {
        copy_window_size(master.as_fd());
        rustix::io::ioctl_fionbio(&master, true)
            .map_err(|error| LaunchError::Terminal { operation: "ioctl FIONBIO", error })?;
        Ok(Self { master, pending: Vec::new(), input_open: true, hung_up: None })
    }

    fn wants_input(&self) -> bool {
        self.input_open && self.pending.is_empty()
    }

    fn master_events(&self) -> PollFlags {
        let mut events = PollFlags::IN;
        events.set(PollFlags::OUT, !self.pending.is_empty());
        events
    }

    fn read_input(&mut self) {
        let mut bytes = [0; 4096];
        match rustix::io::read(rustix::stdio::stdin(), &mut bytes) {
            Ok(length @ 1..) => self.pending.extend_from_slice(&bytes[..length]),
            Err(Errno::INTR | Errno::AGAIN) => {}
            // Our input has ended: so has the terminal's, as if somebody typed ^D.
            Ok(0) | Err(_) => {
                self.pending.push(4);
                self.input_open = false;
            }
        }
        self.write_pending();
    }

    fn serve_master(&mut self, events: PollFlags) {
        if events.contains(PollFlags::OUT) {
            self.write_pending();
        }
        // A hang-up comes without being asked for: what was written before it is read first.
        if events.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) && !self.copy_output() {
            self.hung_up = watch_for_more(self.master.as_fd()).ok();
        }
    }

    /// After a hang-up: is there output again?
    fn look_again(&mut self) {
        let mut events = [MaybeUninit::<epoll::Event>::uninit(); 1];
        if let Some(watch) = &self.hung_up {
            // Takes the event, so that only the next one wakes.
            let _ = epoll::wait(watch, &mut events, Some(&Timespec::default()));
        }
        self.write_pending();
        if self.copy_output() {
            self.hung_up = None;
        }
    }

    fn write_pending(&mut self) {
        match rustix::io::write(&self.master, &self.pending) {
            Ok(written) => drop(self.pending.drain(..written)),
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(_) => {
                self.pending.clear();
                self.input_open = false;
            }
        }
    }

    /// Copies what there is; false while no process has the terminal open.
    fn copy_output(&mut self) -> bool {
        let mut bytes = [0; 16384];
        match rustix::io::read(&self.master, &mut bytes) {
            Ok(length @ 1..) => {
                // Whoever read our output may be gone; the process goes on, as it would alone.
                let _ = write_all(rustix::stdio::stdout(), &bytes[..length]);
                true
            }
            Err(Errno::INTR | Errno::AGAIN) => true,
            // EIO: the last slave is closed. Any process of the container may open it again.
            Ok(0) | Err(_) => false,
        }
    }

    /// What the process wrote before it ended. Nobody is waited for: a process that is left over may
    /// hold the terminal for ever.
    fn drain(&mut self) {
        let mut bytes = [0; 16384];
        while let Ok(length @ 1..) = rustix::io::read(&self.master, &mut bytes) {
            if write_all(rustix::stdio::stdout(), &bytes[..length]).is_err() {
                break;
            }
        }
    }
}

/// A descriptor that becomes readable when something happens to a terminal's master that has hung up.
/// poll(2) on the master itself would return at once, each time: a hang-up lasts.
fn watch_for_more(master: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let watch = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(&watch, master, epoll::EventData::new_u64(0), epoll::EventFlags::IN | epoll::EventFlags::ET)?;
    Ok(watch)
}

fn write_all(fd: BorrowedFd<'_>, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match rustix::io::write(fd, bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                poll(&mut [PollFd::from_borrowed_fd(fd, PollFlags::OUT)], None)?;
            }
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}
