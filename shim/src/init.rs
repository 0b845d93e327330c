//! `rcrun-shim init`: the first process of a PID namespace that a Pod's containers share. It waits for whoever becomes its child,
//! and ends when it is told to.

use rcrun::launch::Signals;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{WaitOptions, wait};

/// Runs until SIGTERM.
pub fn run() -> u8 {
    let Ok(signals) = Signals::block() else { return 1 };
    rcrun::sys::memory::give_back();
    loop {
        while wait(WaitOptions::NOHANG).is_ok_and(|ended| ended.is_some()) {}
        let _ = poll(&mut [PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN)], None);
        if signals.ending().is_some() {
            return 0;
        }
    }
}
