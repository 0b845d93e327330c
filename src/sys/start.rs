//! The start of the program in the place of Rust's own, which for every process reads its memory map, asks for
//! its stack's limits and sets up a second stack to say "stack overflow" from: a tenth of the system calls of a
//! whole `rcrun run`.
//!
//! What it does beside that is done here: standard streams are open, and SIGPIPE is ignored.

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::os::fd::IntoRawFd;

/// Defines C's `main` as: prepare, call `$main`, exit with its status.
#[macro_export]
macro_rules! start {
    ($main:path) => {
        /// Called by the C library.
        #[unsafe(no_mangle)]
        #[allow(unsafe_code)]
        extern "C" fn main() -> i32 {
            $crate::sys::start::prepare();
            std::process::exit($main().into())
        }
    };
}

/// Opens /dev/null in the place of each standard stream that is closed, since the next file to be opened would
/// take it; has write(2) to a closed pipe fail instead of ending the process.
pub fn prepare() {
    // SAFETY: SIG_IGN needs no handler.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
    let [input, output, error] = [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()];
    let mut streams =
        [input, output, error].map(|stream| PollFd::from_borrowed_fd(stream, PollFlags::empty()));
    let now = rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 };
    while poll(&mut streams, Some(&now)) == Err(Errno::INTR) {}
    for stream in &streams {
        if stream.revents().contains(PollFlags::NVAL) {
            match rustix::fs::open(c"/dev/null", OFlags::RDWR, Mode::empty()) {
                // The lowest number that is free is this stream's.
                Ok(null) => drop(null.into_raw_fd()),
                Err(_) => std::process::abort(),
            }
        }
    }
}
