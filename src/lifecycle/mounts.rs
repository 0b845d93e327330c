//! `mounts add` and `mounts remove`: file systems of a container that runs.

use std::os::fd::AsFd;

use oci_spec::runtime::Mount;

use super::Error;
use super::container::Container;
use super::exec::{Joined, open_root};
use super::setup::facts;
use crate::id::ContainerId;
use crate::launch::Visit;
use crate::namespaces::Kind;
use crate::plan::{self, PlanError};
use crate::state::{Status, Store};

/// Mounts `mounts` in a container; relative bind sources are relative to its bundle.
pub fn add_mounts(store: &Store, id: &ContainerId, mounts: Vec<Mount>) -> Result<(), Error> {
    change(store, id, |container| {
        let mut spec = container.spec()?;
        spec.set_mounts(Some(mounts));
        let bundle = container.record.as_ref().map(|record| record.bundle.clone()).unwrap_or_default();
        let home = |_| "/".into();
        let added = plan::added_mounts(&spec, &bundle, &facts(&home, 0, false))?;
        Ok((added.sources, added.steps))
    })
}

/// Unmounts what is mounted at the destinations of `mounts`.
pub fn remove_mounts(store: &Store, id: &ContainerId, mounts: &[Mount]) -> Result<(), Error> {
    change(store, id, |_| Ok((vec![], plan::removed_mounts(mounts)?)))
}

type Planned = (Vec<plan::step::Source>, Vec<plan::step::Step>);

fn change(
    store: &Store,
    id: &ContainerId,
    planned: impl FnOnce(&Container) -> Result<Planned, Error>,
) -> Result<(), Error> {
    let container = Container::open(store, id)?;
    let _lock = container.directory.lock()?;
    let alive = [Status::Created, Status::Running, Status::Paused];
    container.expect(&alive, "only a container that runs has mounts to change")?;
    let stopped = || Error::Status { id: id.clone(), status: Status::Stopped, cure: "its process has ended" };
    let init = container.init().ok_or_else(stopped)?;
    let pidfd = init.open().ok_or_else(stopped)?;
    let (sources, steps) = planned(&container)?;
    let kinds = [Kind::User, Kind::Ipc, Kind::Uts, Kind::Network, Kind::Mount, Kind::Cgroup];
    let entered = kinds.iter().fold(0, |flags, kind| flags | kind.flag());
    let flags = Joined::of(&container.spec()?, init.pid).flags & entered;
    if flags & Kind::Mount.flag() == 0 {
        let reason = "the container has no mount namespace: its mounts are the host's";
        return Err(PlanError::Namespace { kind: Kind::Mount, reason: reason.into() }.into());
    }
    let root = match container.record.as_ref().is_some_and(|record| record.chroot) {
        true => Some(open_root(init.pid)?),
        false => None,
    };
    let cgroup = container.cgroup()?;
    let visit = Visit {
        init: pidfd.as_fd(),
        root: root.as_ref().map(|root| root.as_fd()),
        flags,
        cgroup: cgroup.as_ref().map(|cgroup| cgroup.directory()),
    };
    Ok(visit.perform(&sources, &steps)?)
}
