//! Signals as a file: nothing interrupts a launch half way, and foreground commands forward them.

use std::cell::Cell;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::io::Errno;

use super::LaunchError;
use crate::sys::During;

/// Signals that end a command that is still setting up.
const ENDING: [Signal; 4] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT];

/// Blocks all signals of the process and reads them from a signalfd(2); the mask of before comes back
/// on drop.
#[derive(Debug)]
pub struct Signals {
    file: SignalFd,
    before: SigSet,
    deadline: Cell<Option<Instant>>,
}

impl Signals {
    /// Blocks them.
    pub fn block() -> Result<Self, LaunchError> {
        let mut set = SigSet::all();
        // Faults must reach the process that makes them.
        for signal in [
            Signal::SIGSEGV,
            Signal::SIGBUS,
            Signal::SIGFPE,
            Signal::SIGILL,
            Signal::SIGTRAP,
            Signal::SIGSYS,
            Signal::SIGPIPE,
        ] {
            set.remove(signal);
        }
        // Ignored, as some callers leave it, it would take the child's exit status away.
        crate::sys::process::default_sigchld();
        let mut before = SigSet::empty();
        let errno = |errno: nix::Error| Errno::from_raw_os_error(errno as i32);
        sigprocmask(SigmaskHow::SIG_BLOCK, Some(&set), Some(&mut before))
            .map_err(errno)
            .during("sigprocmask")?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let file = SignalFd::with_flags(&set, flags).map_err(errno).during("signalfd")?;
        Ok(Self { file, before, deadline: Cell::new(None) })
    }

    /// A launch that has not come to its end by then is given up, until this is said anew; None: none is.
    pub fn give_up_at(&self, deadline: Option<Instant>) {
        self.deadline.set(deadline);
    }

    /// Time that is left to a launch.
    pub(super) fn left(&self) -> Option<Duration> {
        self.deadline.get().map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// Readable when a signal waits.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// The next waiting signal's number.
    pub fn next(&self) -> Option<u32> {
        self.file.read_signal().ok().flatten().map(|info| info.ssi_signo)
    }

    /// The next waiting signal that ends a command; others are dropped: there is no program yet that
    /// could want them.
    pub fn ending(&self) -> Option<u32> {
        while let Some(signal) = self.next() {
            if ENDING.iter().any(|ending| *ending as u32 == signal) {
                return Some(signal);
            }
        }
        None
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&self.before), None);
    }
}
