//! What a cgroup tells while it lives: cgroup.events and memory.events, waited for with poll(2).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;

use super::{Cgroup, CgroupError, files};

/// How often each of the memory controller's events has happened, memory.events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryEvents {
    /// Usage was about to go over memory.max.
    pub max: u64,
    /// The limit was reached and an allocation was about to fail.
    pub oom: u64,
    /// Processes killed by the OOM killer.
    pub oom_kill: u64,
}

/// What an [`OomWatch`] has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watched {
    /// So many more processes were killed by the OOM killer.
    OomKills(u64),
    /// Nothing within the time.
    Quiet,
    /// The cgroup has no processes any more, or is gone.
    Ended,
}

/// Waits for OOM kills in a cgroup, until it is empty.
#[derive(Debug)]
pub struct OomWatch {
    cgroup: String,
    events: OwnedFd,
    /// None without memory controller: then only the end is seen.
    memory_events: Option<OwnedFd>,
    seen: u64,
}

impl Cgroup {
    /// memory.events; None where the memory controller is not enabled here.
    pub fn memory_events(&self) -> Result<Option<MemoryEvents>, CgroupError> {
        Ok(self.read_if_there("memory.events")?.map(|text| MemoryEvents::parse(&text)))
    }

    /// memory.max as it is written there: bytes, or `max`.
    pub fn memory_limit(&self) -> Option<String> {
        Some(self.read_if_there("memory.max").ok()??.trim().to_owned())
    }

    /// Begins to watch for OOM kills from now on.
    pub fn oom_watch(&self) -> Result<OomWatch, CgroupError> {
        let mut watch = self.oom_watch_from_the_first()?;
        watch.seen = watch.kills()?.unwrap_or(0);
        Ok(watch)
    }

    /// The same with all kills since the cgroup was made: those before this call are the first that the watch sees.
    pub fn oom_watch_from_the_first(&self) -> Result<OomWatch, CgroupError> {
        let failed = |file: &str, errno| self.read_error(file, errno);
        let events = self.open_file("cgroup.events").map_err(|errno| failed("cgroup.events", errno))?;
        let memory_events = match self.open_file("memory.events") {
            Ok(fd) => Some(fd),
            Err(Errno::NOENT) => None,
            Err(errno) => return Err(failed("memory.events", errno)),
        };
        Ok(OomWatch { cgroup: self.name(), events, memory_events, seen: 0 })
    }

    fn open_file(&self, file: &str) -> Result<OwnedFd, Errno> {
        openat(self.directory(), file, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
    }

    /// Waits until `key` of cgroup.events is `value`. None if the cgroup is gone, false at the deadline.
    pub(super) fn wait_for_event(
        &self,
        key: &str,
        value: u64,
        deadline: Instant,
    ) -> Result<Option<bool>, CgroupError> {
        let file = "cgroup.events";
        let gone = |errno| match errno {
            Errno::NOENT | Errno::NODEV => Ok(None),
            errno => Err(self.read_error(file, errno)),
        };
        let fd = match self.open_file(file) {
            Ok(fd) => fd,
            Err(errno) => return gone(errno),
        };
        loop {
            match files::read_all(&fd) {
                Ok(text) if files::value_of(&text, key) == Some(value) => return Ok(Some(true)),
                Ok(_) => {}
                Err(errno) => return gone(errno),
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(Some(false));
            }
            wait_for_change(&mut [PollFd::new(&fd, PollFlags::PRI)], Some(left))
                .map_err(|errno| CgroupError::Wait { file, cgroup: self.name(), errno })?;
        }
    }
}

impl OomWatch {
    /// The descriptors to poll for POLLPRI; [`OomWatch::wait`] with a zero timeout then says what
    /// has happened.
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        std::iter::once(self.events.as_fd()).chain(self.memory_events.as_ref().map(AsFd::as_fd))
    }

    /// Waits up to `timeout` (None: for ever).
    pub fn wait(&mut self, timeout: Option<Duration>) -> Result<Watched, CgroupError> {
        let deadline = timeout.map(|timeout| Instant::now() + timeout);
        loop {
            // Kills before the end: both may have come at once.
            let kills = self.kills()?;
            if let Some(more) = kills.and_then(|kills| kills.checked_sub(self.seen)).filter(|more| *more > 0)
            {
                self.seen += more;
                return Ok(Watched::OomKills(more));
            }
            if kills.is_none() || !self.is_populated()? {
                return Ok(Watched::Ended);
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Ok(Watched::Quiet);
            }
            let mut fds: Vec<_> =
                self.descriptors().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::PRI)).collect();
            let file = "memory.events";
            wait_for_change(&mut fds, left).map_err(|errno| CgroupError::Wait {
                file,
                cgroup: self.cgroup.clone(),
                errno,
            })?;
        }
    }

    /// None if the cgroup is gone.
    fn kills(&self) -> Result<Option<u64>, CgroupError> {
        let Some(fd) = &self.memory_events else { return Ok(Some(0)) };
        match files::read_all(fd) {
            Ok(text) => Ok(Some(MemoryEvents::parse(&text).oom_kill)),
            Err(Errno::NODEV) => Ok(None),
            Err(errno) => Err(self.read_error("memory.events", errno)),
        }
    }

    fn is_populated(&self) -> Result<bool, CgroupError> {
        match files::read_all(&self.events) {
            Ok(text) => Ok(files::value_of(&text, "populated") == Some(1)),
            Err(Errno::NODEV) => Ok(false),
            Err(errno) => Err(self.read_error("cgroup.events", errno)),
        }
    }

    fn read_error(&self, file: &str, errno: Errno) -> CgroupError {
        CgroupError::Read { file: file.into(), cgroup: self.cgroup.clone(), errno }
    }
}

impl MemoryEvents {
    fn parse(text: &str) -> Self {
        let value = |key| files::value_of(text, key).unwrap_or(0);
        Self { max: value("max"), oom: value("oom"), oom_kill: value("oom_kill") }
    }
}

/// poll(2); a signal ends the wait early.
fn wait_for_change(fds: &mut [PollFd<'_>], timeout: Option<Duration>) -> Result<(), Errno> {
    let timeout = timeout.map(|timeout| Timespec {
        tv_sec: timeout.as_secs().try_into().unwrap_or(i64::MAX),
        tv_nsec: timeout.subsec_nanos().into(),
    });
    match poll(fds, timeout.as_ref()) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(errno) => Err(errno),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::CgroupPath;
    use super::super::cgroup::tests::{Own, Shell};
    use super::*;

    #[test]
    fn a_watch_ends_when_the_last_process_does() {
        let Some(own) = Own::or_skip("watch") else { return };
        let cgroup = own.open();
        let mut shell = Shell::inside(&cgroup, "exit 0");
        let mut watch = cgroup.oom_watch().unwrap();
        assert_eq!(watch.wait(Some(Duration::from_millis(50))).unwrap(), Watched::Quiet);
        shell.go();
        shell.0.wait().unwrap();
        assert_eq!(watch.wait(Some(Duration::from_secs(10))).unwrap(), Watched::Ended);
    }

    #[test]
    fn a_watch_outlives_its_cgroup() {
        let Some(own) = Own::or_skip("outlived") else { return };
        let cgroup = own.open();
        let mut watch = cgroup.oom_watch().unwrap();
        cgroup.remove().unwrap();
        assert_eq!(watch.wait(None).unwrap(), Watched::Ended);
    }

    #[test]
    fn kills_before_the_watch_count_from_the_first_alone() {
        // What is like a cgroup: the kernel kills nobody here.
        let directory = tempfile::tempdir().unwrap();
        let write = |file: &str, text: &str| std::fs::write(directory.path().join(file), text).unwrap();
        write("cgroup.events", "populated 1\nfrozen 0\n");
        write("memory.events", "oom_kill 2\n");
        let open = || OwnedFd::from(std::fs::File::open(directory.path()).unwrap());
        let path = CgroupPath::parse("killed".as_ref()).unwrap();
        let cgroup = Cgroup { root: Arc::new(open()), directory: open(), path, made: false };
        let mut now_on = cgroup.oom_watch().unwrap();
        let mut from_the_first = cgroup.oom_watch_from_the_first().unwrap();
        let at_once = Some(Duration::ZERO);
        assert_eq!(now_on.wait(at_once).unwrap(), Watched::Quiet);
        assert_eq!(from_the_first.wait(at_once).unwrap(), Watched::OomKills(2));
        write("memory.events", "oom_kill 3\n");
        for watch in [&mut now_on, &mut from_the_first] {
            assert_eq!(watch.wait(at_once).unwrap(), Watched::OomKills(1));
            assert_eq!(watch.wait(at_once).unwrap(), Watched::Quiet);
        }
    }

    #[test]
    fn memory_events_are_read_by_name() {
        let events = MemoryEvents::parse("low 0\nhigh 0\nmax 7\noom 3\noom_kill 2\noom_group_kill 0\n");
        assert_eq!(events, MemoryEvents { max: 7, oom: 3, oom_kill: 2 });
    }
}
