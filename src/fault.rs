//! Where rcrun can be killed on purpose, to prove that `rcrun delete --force` then leaves nothing.
//!
//! Compiled with the feature `fault-injection` alone, which only tests/faults asks for; without it each
//! point is empty. `RCRUN_FAULT=parent:N` kills rcrun with SIGKILL at the Nth point that it passes;
//! `RCRUN_FAULT=child:N` has the container's process tell whoever it talks to (`create`, `run`,
//! `start`, `exec`) to die so after the child's Nth step, and then go on as it would.

#[cfg(not(feature = "fault-injection"))]
mod points {
    use std::os::fd::BorrowedFd;

    /// A point between two effects of rcrun.
    #[inline(always)]
    pub fn point(_after: &str) {}

    /// A step of the child ended; `socket` is its end of the conversation.
    #[inline(always)]
    pub fn child_point(_socket: BorrowedFd<'_>) {}

    /// A message of the child's arrived.
    #[inline(always)]
    pub fn heard(_message: &[u8]) {}
}

#[cfg(feature = "fault-injection")]
mod points {
    use std::os::fd::BorrowedFd;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    use rustix::net::{RecvFlags, SendFlags};
    use rustix::process::{Signal, getpid, kill_process};

    /// No message of the protocol.
    const DIE: u8 = 255;

    #[derive(Clone, Copy, PartialEq)]
    enum Side {
        Parent,
        Child,
    }

    /// Read at the first point, which is before the clone: the child only looks.
    static FAULT: OnceLock<Option<(Side, u32)>> = OnceLock::new();
    static PASSED: AtomicU32 = AtomicU32::new(0);
    static STEPS: AtomicU32 = AtomicU32::new(0);

    fn fault() -> Option<(Side, u32)> {
        *FAULT.get_or_init(|| {
            let text = std::env::var("RCRUN_FAULT").ok()?;
            let (side, number) = text.split_once(':')?;
            let side = if side == "child" { Side::Child } else { Side::Parent };
            Some((side, number.parse().ok()?))
        })
    }

    fn die(after: &str) {
        eprintln!("killed after: {after}");
        let _ = kill_process(getpid(), Signal::KILL);
    }

    pub fn point(after: &str) {
        let passed = PASSED.fetch_add(1, Ordering::Relaxed) + 1;
        if fault() == Some((Side::Parent, passed)) {
            die(after);
        }
    }

    pub fn child_point(socket: BorrowedFd<'_>) {
        let passed = STEPS.fetch_add(1, Ordering::Relaxed) + 1;
        let Some(Some((Side::Child, number))) = FAULT.get() else { return };
        if *number == passed {
            let _ = rustix::net::send(socket, &[DIE], SendFlags::NOSIGNAL);
            // Until the other end is dead; what it said before that stays to be read.
            let mut byte = [0];
            while let Ok((1, _)) = rustix::net::recv(socket, byte.as_mut_slice(), RecvFlags::PEEK) {
                std::thread::yield_now();
                if rustix::net::send(socket, &[DIE], SendFlags::NOSIGNAL).is_err() {
                    break;
                }
            }
        }
    }

    pub fn heard(message: &[u8]) {
        if message == [DIE] {
            die("a step of the child");
        }
    }
}

pub(crate) use points::{child_point, heard, point};
