//! `kill`.

use std::os::fd::AsFd;

use super::Error;
use super::container::Container;
use crate::id::ContainerId;
use crate::state::{Status, Store};
use crate::sys::process::send_signal;

/// containerd looks for these words to know that there is nothing to kill any more.
const NOT_RUNNING: &str = "container not running, it has no process to signal";

/// Sends a signal to a container's first process, or with `all` to every process of it. With `all` a
/// stopped container is no error: processes of it may be left where it has no PID namespace.
pub fn kill(store: &Store, id: &ContainerId, signal: i32, all: bool) -> Result<(), Error> {
    let container = Container::open(store, id)?;
    if all {
        if let Some(cgroup) = container.cgroup()? {
            match signal {
                libc::SIGKILL => cgroup.kill()?,
                signal => cgroup.signal_all(signal)?,
            }
            return Ok(());
        }
    } else {
        let alive = [Status::Created, Status::Running, Status::Paused];
        container.expect(&alive, NOT_RUNNING)?;
    }
    let failed = |error| Error::Signal { id: id.clone(), signal, error };
    let init = container.init().and_then(|init| init.open());
    let stopped = Error::Status { id: id.clone(), status: Status::Stopped, cure: NOT_RUNNING };
    match init {
        Some(pidfd) => send_signal(pidfd.as_fd(), signal as u32).map_err(failed),
        None if all => Ok(()),
        None => Err(stopped),
    }
}
