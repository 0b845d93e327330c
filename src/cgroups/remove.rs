//! Removing a cgroup, those below it, and the ancestors that rcrun made for it.

use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, unlinkat};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd};

use super::create::is_marked;
use super::{Cgroup, CgroupError, CgroupPath, Hierarchy, tree};

/// How long to wait for the last processes to be gone. They are dead by then, or being killed.
const REMOVE_TIMEOUT: Duration = Duration::from_secs(30);

impl Cgroup {
    /// Removes the cgroup with everything below it. Dying processes are waited for, living ones are
    /// an error after a few seconds; what is gone already is fine.
    pub fn remove(&self) -> Result<(), CgroupError> {
        self.remove_within(REMOVE_TIMEOUT)
    }

    /// Removes the cgroup if nobody is in it and nothing below it, which is the usual end of a container: one
    /// call. What is gone already is removed.
    pub fn remove_unused(&self) -> Result<bool, CgroupError> {
        match unlinkat(&self.root, self.path.relative(), AtFlags::REMOVEDIR) {
            // NODEV: somebody else removes it at this moment.
            Ok(()) | Err(Errno::NOENT | Errno::NODEV) => {
                remove_marked(self.root.as_fd(), self.path.parent());
                Ok(true)
            }
            Err(Errno::BUSY | Errno::NOTEMPTY) => Ok(false),
            Err(errno) => Err(CgroupError::Remove { cgroup: self.name(), errno }),
        }
    }

    /// Removes the ancestors that rcrun made for a cgroup that is not there, or not yet: whoever made them was killed.
    pub fn remove_ancestors(hierarchy: &Hierarchy, path: &CgroupPath) {
        remove_marked(hierarchy.directory(), path.parent());
    }

    fn remove_within(&self, timeout: Duration) -> Result<(), CgroupError> {
        let deadline = Instant::now() + timeout;
        let mut pause = Duration::ZERO;
        while !self.remove_unused()? {
            if !self.wait_empty(deadline.saturating_duration_since(Instant::now()))? {
                return Err(self.still_populated(timeout));
            }
            match tree::walk(self.directory(), |_| Ok(()), remove_child) {
                Ok(()) | Err(Errno::BUSY | Errno::NOENT | Errno::NODEV) => {}
                Err(errno) => return Err(CgroupError::Remove { cgroup: self.name(), errno }),
            }
            if Instant::now() >= deadline {
                return Err(CgroupError::Remove { cgroup: self.name(), errno: Errno::BUSY });
            }
            // Empty and still busy, for the second time: a process has not yet quite left the kernel.
            std::thread::sleep(pause);
            pause = (pause * 2).clamp(Duration::from_millis(1), Duration::from_millis(50));
        }
        Ok(())
    }

    fn still_populated(&self, waited: Duration) -> CgroupError {
        let pids = self.pids().unwrap_or_default();
        let mut text: Vec<String> = pids.iter().take(5).map(i32::to_string).collect();
        if pids.len() > text.len() {
            text.push("...".into());
        }
        CgroupError::StillPopulated { cgroup: self.name(), seconds: waited.as_secs(), pids: text.join(", ") }
    }
}

fn remove_child(parent: BorrowedFd<'_>, name: &std::ffi::CString) -> Result<(), Errno> {
    unlinkat(parent, name.as_c_str(), AtFlags::REMOVEDIR)
}

/// Removes ancestors that rcrun made, from the inside out, up to one that is in use or not ours. One that is missing was
/// never made: its makers begin with the outermost.
fn remove_marked(root: BorrowedFd<'_>, mut path: CgroupPath) {
    while !path.is_root() {
        match tree::open_directory(root, path.relative()) {
            Err(Errno::NOENT | Errno::NODEV) => {}
            Ok(directory) if is_marked(directory.as_fd()) => {
                if unlinkat(root, path.relative(), AtFlags::REMOVEDIR).is_err() {
                    return;
                }
            }
            _ => return,
        }
        path = path.parent();
    }
}

#[cfg(test)]
mod tests {
    use super::super::Controllers;
    use super::super::cgroup::tests::{Own, Shell};
    use super::*;

    fn create(hierarchy: &Hierarchy, path: &CgroupPath) -> Cgroup {
        Cgroup::create(hierarchy, path, &Controllers::default()).unwrap()
    }

    #[test]
    fn cgroups_below_go_too() {
        let Some(own) = Own::or_skip("remove-tree") else { return };
        let top = create(&own.hierarchy, &own.below("top"));
        for inner in ["top/a/b/c", "top/a/d", "top/e"] {
            create(&own.hierarchy, &own.below(inner));
        }
        top.remove().unwrap();
        assert!(Cgroup::open(&own.hierarchy, &own.below("top")).unwrap_err().is_missing());
        top.remove().unwrap();
    }

    #[test]
    fn dying_processes_are_waited_for() {
        let Some(own) = Own::or_skip("remove-dying") else { return };
        let top = create(&own.hierarchy, &own.below("top"));
        let inner = create(&own.hierarchy, &own.below("top/inner"));
        let _shells: Vec<_> = (0..5).map(|_| Shell::inside(&inner, "read a")).collect();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(100));
                top.kill().unwrap();
            });
            own.open().remove().unwrap();
        });
        assert!(Cgroup::open(&own.hierarchy, &own.path).unwrap_err().is_missing());
    }

    #[test]
    fn living_processes_are_an_error_that_names_them() {
        let Some(own) = Own::or_skip("remove-living") else { return };
        let shell = Shell::inside(&own.open(), "read a");
        let error = own.open().remove_within(Duration::from_secs(1)).unwrap_err().to_string();
        assert!(error.contains(&shell.pid().to_string()) && error.contains("still has processes"), "{error}");
    }
}
