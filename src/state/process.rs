//! A process by pid and start time: a pid alone may be another's tomorrow.

use std::os::fd::OwnedFd;

use procfs::FromRead;
use procfs::process::Stat;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde::{Deserialize, Serialize};

use crate::host;

/// A process of this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessId {
    /// Its pid.
    pub pid: i32,
    /// When it started, in clock ticks after boot: field 22 of proc_pid_stat(5).
    pub start_time: u64,
}

impl ProcessId {
    /// The process that has this pid now; one that has ended and was not waited for keeps its name.
    pub fn of(pid: i32) -> Option<Self> {
        stat(pid).map(|stat| Self { pid, start_time: stat.starttime })
    }

    /// A descriptor of this very process: opened by pid, then proven by start time. None where it runs no more.
    pub fn open(&self) -> Option<OwnedFd> {
        let pidfd = pidfd_open(Pid::from_raw(self.pid)?, PidfdFlags::empty()).ok()?;
        self.is_alive().then_some(pidfd)
    }

    /// Does it run? One that has ended and was not waited for does not.
    pub fn is_alive(&self) -> bool {
        stat(self.pid)
            .is_some_and(|stat| stat.starttime == self.start_time && !matches!(stat.state, 'Z' | 'X'))
    }
}

fn stat(pid: i32) -> Option<Stat> {
    let text = host::read_proc(&format!("/proc/{pid}/stat")).ok()?;
    Stat::from_read(text.as_slice()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_knows_itself() {
        let own = ProcessId::of(std::process::id() as i32).unwrap();
        assert!(own.is_alive());
        assert!(!ProcessId { start_time: own.start_time + 1, ..own }.is_alive());
    }

    #[test]
    fn a_process_that_nobody_has_waited_for_is_known_and_not_alive() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = child.id() as i32;
        while stat(pid).unwrap().state != 'Z' {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        assert!(!ProcessId::of(pid).unwrap().is_alive());
        child.wait().unwrap();
        assert_eq!(ProcessId::of(pid), None);
    }
}
