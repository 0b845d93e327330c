//! `rcrun-shim init`: the first process of a PID namespace that a Pod's containers share. It waits for whoever becomes its child,
//! and ends when it is told to.

use rcrun::launch::Signals;
use rcrun::sys::memory::Spare;
use rustix::event::{PollFd, PollFlags};
use rustix::process::{WaitOptions, wait};

/// Runs until SIGTERM.
pub fn run() -> u8 {
    let Ok(signals) = Signals::block() else { return 1 };
    let spare = Spare::find();
    loop {
        while wait(WaitOptions::NOHANG).is_ok_and(|ended| ended.is_some()) {}
        let _ = spare.wait(&mut [PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN)]);
        if signals.ending().is_some() {
            return 0;
        }
    }
}
