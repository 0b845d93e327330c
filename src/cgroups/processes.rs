//! The processes of a cgroup and of those below it: who they are, signals to them, their end.

use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::{Cgroup, CgroupError, files, tree};
use crate::sys::process::kill;

/// Kernels before 5.14 have no cgroup.kill: rounds of signals. So many without a process that was not there before, since what
/// forks between two of them would live on; and so long at most.
const KILL_ROUNDS: u32 = 50;
const KILL_TIMEOUT: Duration = Duration::from_secs(10);

impl Cgroup {
    /// Every process here and below, as our PID namespace numbers it; those outside of it are left out.
    pub fn pids(&self) -> Result<Vec<i32>, CgroupError> {
        let mut pids = Vec::new();
        let collect = |directory: std::os::fd::BorrowedFd<'_>| {
            match files::read(directory, "cgroup.procs") {
                // A process that is invisible from here is numbered 0; as a number to kill(2) that is our own group.
                Ok(text) => pids
                    .extend(text.lines().filter_map(|line| line.parse::<i32>().ok()).filter(|pid| *pid > 0)),
                // A threaded cgroup: its processes are listed by the domain above it.
                Err(Errno::OPNOTSUPP) => {}
                Err(errno) => return Err(errno),
            }
            Ok(())
        };
        match tree::walk(self.directory(), collect, |_, _| Ok(())) {
            Ok(()) | Err(Errno::NOENT | Errno::NODEV) => {}
            Err(errno) => return Err(self.read_error("cgroup.procs", errno)),
        }
        pids.sort_unstable();
        pids.dedup();
        Ok(pids)
    }

    /// Are there processes here or below? A cgroup that is gone has none.
    pub fn is_populated(&self) -> Result<bool, CgroupError> {
        Ok(self
            .read_if_there("cgroup.events")?
            .is_some_and(|text| files::value_of(&text, "populated") == Some(1)))
    }

    /// Sends `signal` to every process here and below. Processes born meanwhile may miss it: for
    /// SIGKILL there is [`Cgroup::kill`].
    pub fn signal_all(&self, signal: i32) -> Result<(), CgroupError> {
        self.signal_each(&self.pids()?, signal)
    }

    fn signal_each(&self, pids: &[i32], signal: i32) -> Result<(), CgroupError> {
        for &pid in pids {
            match kill(pid, signal) {
                Ok(()) | Err(Errno::SRCH) => {}
                Err(errno) => {
                    return Err(CgroupError::Signal { signal, pid, cgroup: self.name(), errno });
                }
            }
        }
        Ok(())
    }

    /// Kills every process here and below, frozen ones too, at once (cgroup.kill, 5.14). Returns
    /// before they are gone: [`Cgroup::wait_empty`].
    pub fn kill(&self) -> Result<(), CgroupError> {
        match files::write(self.directory(), "cgroup.kill", "1") {
            Ok(()) | Err(Errno::NODEV) => Ok(()),
            Err(Errno::NOENT) => self.kill_each(),
            Err(errno) => Err(CgroupError::Write {
                file: "cgroup.kill".into(),
                value: "1".into(),
                cgroup: self.name(),
                errno,
            }),
        }
    }

    /// Without cgroup.kill: signals until nobody is left.
    fn kill_each(&self) -> Result<(), CgroupError> {
        let deadline = Instant::now() + KILL_TIMEOUT;
        let (mut known, mut rounds) = (Vec::new(), 0);
        while rounds < KILL_ROUNDS && Instant::now() < deadline {
            let pids = self.pids()?;
            self.signal_each(&pids, libc::SIGKILL)?;
            if self.wait_empty(Duration::from_millis(10))? {
                break;
            }
            let has_forked = pids.iter().any(|pid| known.binary_search(pid).is_err());
            rounds = if has_forked { 0 } else { rounds + 1 };
            known = pids;
        }
        Ok(())
    }

    /// Waits until nothing runs here or below; false if something still does after `timeout`.
    pub fn wait_empty(&self, timeout: Duration) -> Result<bool, CgroupError> {
        Ok(self.wait_for_event("populated", 0, Instant::now() + timeout)?.unwrap_or(true))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Controllers;
    use super::super::cgroup::tests::{Own, Shell};
    use super::*;

    #[test]
    fn processes_below_count_and_end_with_the_cgroup() {
        let Some(own) = Own::or_skip("kill") else { return };
        let cgroup = own.open();
        let below = Cgroup::create(&own.hierarchy, &own.below("x/y"), &Controllers::default()).unwrap();
        let (mut one, mut two) = (Shell::inside(&cgroup, "read a"), Shell::inside(&below, "read a"));
        let mut expected = vec![one.pid(), two.pid()];
        expected.sort_unstable();
        assert_eq!(cgroup.pids().unwrap(), expected);
        assert!(cgroup.is_populated().unwrap());
        assert!(!cgroup.wait_empty(Duration::from_millis(20)).unwrap());
        cgroup.kill().unwrap();
        assert!(cgroup.wait_empty(Duration::from_secs(60)).unwrap());
        one.0.wait().unwrap();
        two.0.wait().unwrap();
        assert!(cgroup.pids().unwrap().is_empty());
    }

    #[test]
    fn a_signal_reaches_every_process() {
        let Some(own) = Own::or_skip("signal") else { return };
        let cgroup = own.open();
        let mut shells = [Shell::inside(&cgroup, "read a"), Shell::inside(&cgroup, "read a")];
        cgroup.signal_all(libc::SIGTERM).unwrap();
        for shell in &mut shells {
            let status = shell.0.wait().unwrap();
            assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(15));
        }
    }

    #[test]
    fn killing_works_without_cgroup_kill() {
        let Some(own) = Own::or_skip("kill-each") else { return };
        let cgroup = own.open();
        let mut shell =
            Shell::inside(&cgroup, "i=0; while [ $i -lt 50 ]; do sleep 99 & i=$((i + 1)); done; wait");
        shell.go();
        std::thread::sleep(Duration::from_millis(30));
        cgroup.kill_each().unwrap();
        // The signals are sent; dying takes a busy machine longer than those rounds.
        assert!(cgroup.wait_empty(Duration::from_secs(60)).unwrap());
    }

    #[test]
    fn what_is_gone_has_no_processes() {
        let Some(own) = Own::or_skip("gone") else { return };
        let cgroup = own.open();
        own.open().remove().unwrap();
        assert!(!cgroup.is_populated().unwrap());
        assert!(cgroup.wait_empty(Duration::ZERO).unwrap());
        assert!(cgroup.pids().unwrap().is_empty());
        cgroup.kill().unwrap();
        cgroup.remove().unwrap();
    }
}
