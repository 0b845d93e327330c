//! clone3(2): a child whose memory is a copy of the caller's.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::Errno;
use rustix::process::{WaitId, WaitIdOptions, WaitIdStatus, waitid};

/// A process that was just made.
#[derive(Debug)]
pub struct Child {
    /// Its pid in the caller's PID namespace.
    pub pid: i32,
    /// A descriptor of it, CLOEXEC.
    pub pidfd: OwnedFd,
}

impl Child {
    /// Waits for its end, waitid(2), whatever signals arrive meanwhile.
    pub fn wait(&self) -> Result<WaitIdStatus, Errno> {
        loop {
            match waitid(WaitId::PidFd(self.pidfd.as_fd()), WaitIdOptions::EXITED) {
                Err(Errno::INTR) => {}
                status => return status?.ok_or(Errno::CHILD),
            }
        }
    }
}

/// What clone3(2) is asked for besides CLONE_PIDFD.
#[derive(Clone, Copy, Debug, Default)]
pub struct CloneArguments<'fd> {
    /// CLONE_* flags: new namespaces, CLONE_PARENT.
    pub flags: u64,
    /// A cgroup2 directory to be born in (CLONE_INTO_CGROUP).
    pub cgroup: Option<BorrowedFd<'fd>>,
}

const CLONE_PIDFD: u64 = 0x1000;
const CLONE_PARENT: u64 = 0x8000;
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// `struct clone_args` of linux/sched.h, as of 5.7.
#[repr(C)]
#[derive(Default)]
struct RawArguments {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// Runs `body` in a new process and returns that process to the caller.
///
/// `body` works on a copy of the caller's memory. It must not allocate, lock, log or panic: another
/// thread of the caller may have held any lock at the moment of the copy. What it returns is the
/// child's exit status.
pub fn spawn(arguments: CloneArguments<'_>, body: impl FnOnce() -> i32) -> Result<Child, Errno> {
    let mut pidfd: libc::c_int = -1;
    let mut flags = arguments.flags | CLONE_PIDFD;
    if arguments.cgroup.is_some() {
        flags |= CLONE_INTO_CGROUP;
    }
    let raw = RawArguments {
        flags,
        pidfd: (&raw mut pidfd) as u64,
        // With CLONE_PARENT the child inherits the caller's own exit signal.
        exit_signal: if flags & CLONE_PARENT != 0 { 0 } else { libc::SIGCHLD as u64 },
        cgroup: arguments.cgroup.map_or(0, |fd| fd.as_raw_fd() as u64),
        ..RawArguments::default()
    };
    // SAFETY: `raw` is a valid clone_args of the size given and `pidfd` outlives the call. Without
    // CLONE_VM and with stack 0 the child goes on on its own copy of this stack, as after fork(2);
    // it leaves through exit_now below and never returns into the caller's frames.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw const raw, size_of::<RawArguments>()) };
    if pid == 0 {
        super::process::exit_now(body());
    }
    let pid = super::checked(pid)?;
    // SAFETY: the kernel has stored a new descriptor here, which nobody else owns.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok(Child { pid: pid as i32, pidfd })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_child_runs_the_body_and_its_status_comes_back() {
        let child = spawn(CloneArguments::default(), || 7).unwrap();
        assert!(child.pid > 0);
        assert_eq!(child.wait().unwrap().exit_status(), Some(7));
    }

    #[test]
    fn an_impossible_combination_is_an_error() {
        let flags = (libc::CLONE_NEWNS | libc::CLONE_FS) as u64;
        let error = spawn(CloneArguments { flags, cgroup: None }, || 0).unwrap_err();
        assert_eq!(error, Errno::INVAL);
    }
}
