//! Stopping every process of a cgroup, and letting it go on.

use std::time::{Duration, Instant};

use super::{Cgroup, CgroupError};

/// How long to wait until every process has stopped.
const FREEZE_TIMEOUT: Duration = Duration::from_secs(10);

impl Cgroup {
    /// Freezes the cgroup and waits until all of it stands still. If it does not in time, it is
    /// thawed again and an error says so.
    pub fn freeze(&self) -> Result<(), CgroupError> {
        self.write("cgroup.freeze", "1")?;
        match self.wait_for_event("frozen", 1, Instant::now() + FREEZE_TIMEOUT)? {
            Some(true) => Ok(()),
            Some(false) => {
                self.thaw()?;
                Err(CgroupError::FreezeTimeout { cgroup: self.name(), seconds: FREEZE_TIMEOUT.as_secs() })
            }
            None => Err(self.read_error("cgroup.events", rustix::io::Errno::NODEV)),
        }
    }

    /// Lets a frozen cgroup go on; one that is not frozen is left as it is.
    pub fn thaw(&self) -> Result<(), CgroupError> {
        self.write("cgroup.freeze", "0")
    }

    /// Was it frozen by [`Cgroup::freeze`]? (An ancestor's freezing is not its own.)
    pub fn is_frozen(&self) -> Result<bool, CgroupError> {
        Ok(self.read_if_there("cgroup.freeze")?.is_some_and(|text| text.trim() == "1"))
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::super::cgroup::tests::{Own, Shell};

    /// User and system time of a process, in ticks: fields 14 and 15 of its stat.
    fn ticks(pid: i32) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let fields: Vec<_> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    }

    #[test]
    fn a_frozen_process_stands_still_and_can_be_killed() {
        let Some(own) = Own::or_skip("freeze") else { return };
        let cgroup = own.open();
        let mut shell = Shell::inside(&cgroup, "while :; do :; done");
        shell.go();
        assert!(!cgroup.is_frozen().unwrap());
        cgroup.freeze().unwrap();
        assert!(cgroup.is_frozen().unwrap());
        let before = ticks(shell.pid());
        std::thread::sleep(Duration::from_millis(200));
        assert_eq!(ticks(shell.pid()), before);
        cgroup.thaw().unwrap();
        assert!(!cgroup.is_frozen().unwrap());
        let deadline = Instant::now() + Duration::from_secs(60);
        while ticks(shell.pid()) == before {
            assert!(Instant::now() < deadline, "it runs again");
            std::thread::sleep(Duration::from_millis(10));
        }

        cgroup.freeze().unwrap();
        cgroup.kill().unwrap();
        let status = shell.0.wait().unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9));
        cgroup.remove().unwrap();
    }

    #[test]
    fn an_empty_cgroup_freezes_too() {
        let Some(own) = Own::or_skip("freeze-empty") else { return };
        own.open().freeze().unwrap();
        assert!(own.open().is_frozen().unwrap());
    }

    #[test]
    fn freezing_what_is_gone_is_an_error() {
        let Some(own) = Own::or_skip("freeze-gone") else { return };
        let cgroup = own.open();
        own.open().remove().unwrap();
        assert!(cgroup.freeze().unwrap_err().is_missing());
        assert!(!cgroup.is_frozen().unwrap());
    }
}
