//! `pause` and `resume`: the cgroup's freezer.

use super::Error;
use super::container::Container;
use crate::id::ContainerId;
use crate::state::{Status, Store};

/// Freezes all processes of a container; returns when they are frozen.
pub fn pause(store: &Store, id: &ContainerId) -> Result<(), Error> {
    let container = Container::open(store, id)?;
    let _lock = container.directory.lock()?;
    container.expect(&[Status::Running, Status::Created], "only a running container can be paused")?;
    Ok(container.needed_cgroup()?.freeze()?)
}

/// Lets them go on.
pub fn resume(store: &Store, id: &ContainerId) -> Result<(), Error> {
    let container = Container::open(store, id)?;
    let _lock = container.directory.lock()?;
    container.expect(&[Status::Paused], "only a paused container can be resumed")?;
    Ok(container.needed_cgroup()?.thaw()?)
}
