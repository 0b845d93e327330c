//! `update`: other limits for a container that exists.

use oci_spec::runtime::LinuxResources;

use super::Error;
use super::container::Container;
use super::setup::warn_of_skipped;
use crate::cgroups::systemd::{Scope, properties, round_quotas};
use crate::cgroups::{CgroupError, Hierarchy, Limits, MissingControllers};
use crate::id::ContainerId;
use crate::resctrl::{Resctrl, ResctrlError, Shares};
use crate::state::{Status, Store};

/// Writes the limits that `resources` and `shares` name; others stay as they are.
pub fn update(
    store: &Store,
    id: &ContainerId,
    resources: &LinuxResources,
    shares: &Shares,
    missing: MissingControllers,
) -> Result<(), Error> {
    let container = Container::open(store, id)?;
    let _lock = container.directory.lock()?;
    container
        .expect(&[Status::Created, Status::Running, Status::Paused], "a stopped container has no limits")?;
    if *shares != Shares::default() {
        let group = container.record.as_ref().and_then(|record| record.resctrl.as_ref());
        let group = group.ok_or_else(|| ResctrlError::NoneToUpdate { id: id.clone() })?;
        group.update(&Resctrl::find()?, shares)?;
        if *resources == LinuxResources::default() {
            return Ok(());
        }
    }
    let cgroup = container.needed_cgroup()?;
    let mut resources = resources.clone();
    cgroup.complete(&mut resources)?;
    let mut limits = Limits::for_update(&resources)?;
    let hierarchy = Hierarchy::find()?;
    match &container.record {
        // What the user's manager has is what was delegated to it.
        Some(record) if record.is_users_scope() => {
            let delegated = cgroup.controllers()?;
            limits.settle(&delegated, missing, cgroup.path()).map_err(CgroupError::from)?;
        }
        _ => limits.settle_on(&hierarchy, missing, cgroup.path())?,
    }
    warn_of_skipped(store, &limits);
    if let Some(record) = &container.record
        && let Some(scope) = &record.scope
    {
        round_quotas(&mut limits.settings);
        // systemd writes them at once: what is checked is checked before.
        cgroup.check(&limits)?;
        Scope::connect(scope, record.manager)?.set(&properties(&limits.settings))?;
    }
    Ok(cgroup.update(&hierarchy, &limits)?)
}
