//! `delete`, and the clean-up after `run`.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::container::Container;
use super::{Error, hooks, root_mount, scope};
use crate::cgroups::{Cgroup, CgroupPath, Hierarchy};
use crate::fault;
use crate::id::ContainerId;
use crate::launch::Signals;
use crate::plan::{self, Hooks};
use crate::resctrl::Resctrl;
use crate::state::{Directory, Record, StateError, Status, Store};

/// How long a killed process may take to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// Deletes a container that is stopped or was never started; with `force` one in any state, and one that does not exist is fine.
pub fn delete(store: &Store, id: &ContainerId, force: bool) -> Result<(), Error> {
    let mut container = match Container::open(store, id) {
        Err(Error::State(StateError::NotFound { .. })) if force => return Ok(()),
        // A record that cannot be read must not keep its container for ever.
        Err(Error::State(StateError::Format { .. })) if force => {
            Container { directory: store.open(id)?, record: None }
        }
        opened => opened?,
    };
    let _lock = match container.directory.lock() {
        Err(StateError::NotFound { .. }) if force => return Ok(()),
        lock => lock?,
    };
    if container.record.is_some() || !force {
        container.reload()?;
    }
    if !force {
        // One that was never started has nothing to lose, as for runc.
        let deletable = [Status::Stopped, Status::Created];
        container.expect(&deletable, "stop it first, or use delete --force")?;
    }
    fault::point("lock");
    end_process(&container)?;
    fault::point("kill");
    let hooks = container.spec().map(|spec| plan::hooks(&spec)).unwrap_or_default();
    remove(store, &container.directory, container.record.as_ref(), &hooks, None)
}

/// Kills the first process and waits for its end; what else runs in the cgroup goes with the cgroup.
fn end_process(container: &Container) -> Result<(), Error> {
    let Some(init) = container.init() else { return Ok(()) };
    let Some(pidfd) = init.open() else { return Ok(()) };
    if let Some(cgroup) = container.cgroup()? {
        // All of them at once: what one of them forks meanwhile dies too.
        cgroup.kill()?;
    }
    kill_init(container.id(), pidfd.as_fd())
}

/// Kills a container's first process, if it is not dead yet, and waits for its end.
pub(super) fn kill_init(id: &ContainerId, pidfd: BorrowedFd<'_>) -> Result<(), Error> {
    crate::sys::process::send_signal(pidfd, libc::SIGKILL as u32)
        .or_else(|errno| if errno == Errno::SRCH { Ok(()) } else { Err(errno) })
        .map_err(|errno| Error::Undying { id: id.clone(), reason: errno.to_string() })?;
    await_end(id, pidfd, PATIENCE)
}

/// Waits for the end of a process that was killed.
fn await_end(id: &ContainerId, pidfd: BorrowedFd<'_>, patience: Duration) -> Result<(), Error> {
    let undying = |reason: String| Error::Undying { id: id.clone(), reason };
    let deadline = Instant::now() + patience;
    let mut fds = [PollFd::from_borrowed_fd(pidfd, PollFlags::IN)];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
        match poll(&mut fds, Some(&left)) {
            Ok(0) => return Err(undying(format!("it is still there after {} s", patience.as_secs()))),
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(undying(format!("poll: {errno}"))),
        }
    }
}

/// Removes what a container has, whatever of it there is: cgroup, resctrl group, hooks' clean-up, directory. Goes on
/// past a failure and tells the first. `interrupt` ends a hook that hangs.
pub(super) fn remove(
    store: &Store,
    directory: &Directory,
    record: Option<&Record>,
    hooks: &Hooks,
    interrupt: Option<&Signals>,
) -> Result<(), Error> {
    let cgroup = remove_cgroup(record);
    fault::point("rmdir of the cgroup");
    let group = remove_group(record);
    fault::point("rmdir of the resctrl group");
    if let Some(record) = record {
        hooks::run_poststop(store, &hooks.poststop, directory.id(), record, interrupt);
    }
    fault::point("poststop hooks");
    let mount = record.map_or(Ok(()), remove_root_mount);
    let files = record.map_or(Ok(()), remove_files);
    // What is still there must stay known.
    cgroup.and(group).and(mount).and(files)?;
    directory.remove()?;
    fault::point("removal of the state directory");
    Ok(())
}

fn remove_group(record: Option<&Record>) -> Result<(), Error> {
    let Some(group) = record.and_then(|record| record.resctrl.as_ref()) else { return Ok(()) };
    Ok(Resctrl::mounted()?.map_or(Ok(()), |resctrl| group.remove(&resctrl))?)
}

/// What an image's container wrote, and what was made for it.
fn remove_files(record: &Record) -> Result<(), Error> {
    match &record.directory {
        Some(directory) => Ok(crate::image::container::remove(directory)?),
        None => Ok(()),
    }
}

fn remove_root_mount(record: &Record) -> Result<(), Error> {
    let Some(mount) = record.root_mount else { return Ok(()) };
    root_mount::remove(&record.rootfs, mount)
        .map_err(|failure| Error::RootMount { path: record.rootfs.clone(), failure })
}

fn remove_cgroup(record: Option<&Record>) -> Result<(), Error> {
    let Some(record) = record else { return Ok(()) };
    // systemd makes a scope around the first process: where none is recorded, a scope of that name is
    // somebody else's, or goes with the process that nobody let go on.
    if let (Some(scope), None) = (&record.scope, record.init) {
        return Ok(scope::forget(scope, record.manager)?);
    }
    let Some(path) = record.cgroup.as_deref() else { return Ok(()) };
    let (hierarchy, path) = (Hierarchy::find()?, CgroupPath::parse(path.as_ref())?);
    let cgroup = match Cgroup::open(&hierarchy, &path) {
        Ok(cgroup) => Some(cgroup),
        Err(error) if error.is_missing() => {
            Cgroup::remove_ancestors(&hierarchy, &path);
            None
        }
        Err(error) => return Err(error.into()),
    };
    if let (Some(cgroup), None) = (&cgroup, &record.scope)
        && cgroup.remove_unused()?
    {
        return Ok(());
    }
    if let Some(cgroup) = &cgroup
        && cgroup.is_populated().or_else(|error| if error.is_missing() { Ok(false) } else { Err(error) })?
    {
        cgroup.kill()?;
    }
    if let Some(scope) = &record.scope {
        scope::end(scope, record.manager)?;
    }
    match cgroup.map_or(Ok(()), |cgroup| cgroup.remove()) {
        Err(error) if error.is_missing() => Ok(()),
        removed => Ok(removed?),
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use rustix::process::{Pid, PidfdFlags, pidfd_open};

    use super::*;

    #[test]
    fn only_an_end_is_an_end() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let pidfd = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).unwrap();
        let id = ContainerId::parse("app").unwrap();
        let error = await_end(&id, pidfd.as_fd(), Duration::ZERO).unwrap_err().to_string();
        assert!(error.ends_with("does not end after SIGKILL: it is still there after 0 s"), "{error}");
        child.kill().unwrap();
        await_end(&id, pidfd.as_fd(), Duration::from_secs(60)).unwrap();
        child.wait().unwrap();
    }
}
