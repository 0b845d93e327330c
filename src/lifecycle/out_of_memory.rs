//! Out-of-memory kills by their name: the kernel's signal does not say why it was sent, the memory
//! controller's events do.

use rustix::io::Errno;

use super::Error;
use crate::cgroups::{Cgroup, CgroupPath, Hierarchy};
use crate::id::ContainerId;
use crate::launch::LaunchError;
use crate::state::{Record, Store};

/// The exit status of a foreground process that SIGKILL ended.
pub(super) const KILLED: u8 = 128 + libc::SIGKILL as u8;

/// `error` of a launch in `cgroup`, as what it is if memory ran out there.
pub(super) fn explain(error: LaunchError, cgroup: Option<&Cgroup>) -> Error {
    let suspicious = match &error {
        LaunchError::Died { .. } => true,
        LaunchError::Child(child) => child.errno == Errno::NOMEM.raw_os_error(),
        _ => false,
    };
    match cgroup.filter(|_| suspicious).and_then(limit_that_was_met) {
        Some((cgroup, limit)) => Error::OutOfMemory { cgroup, limit, error },
        None => error.into(),
    }
}

/// Says why a process in the foreground was killed, if it was for its memory.
pub(super) fn warn(store: &Store, id: &ContainerId, record: &Record) {
    let cgroup = || {
        let path = CgroupPath::parse(record.cgroup.as_deref()?.as_ref()).ok()?;
        Cgroup::open(&Hierarchy::find().ok()?, &path).ok()
    };
    let Some(cgroup) = cgroup() else { return };
    let kills = cgroup.memory_events().ok().flatten().map_or(0, |events| events.oom_kill);
    if kills > 0 {
        let limit = cgroup.memory_limit().unwrap_or_else(|| "unknown".into());
        store.warn(&format!(
            "container {id} was killed: out of memory (memory.max of cgroup {} is {limit}; {kills} kills)",
            cgroup.path()
        ));
    }
}

/// The cgroup's name and limit, if an allocation in it failed or a process was killed for it.
fn limit_that_was_met(cgroup: &Cgroup) -> Option<(String, String)> {
    let events = cgroup.memory_events().ok().flatten()?;
    (events.oom > 0 || events.oom_kill > 0)
        .then(|| (cgroup.path().to_string(), cgroup.memory_limit().unwrap_or_default()))
}
