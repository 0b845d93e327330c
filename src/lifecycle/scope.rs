//! A container's cgroup where systemd makes it: around the process, which waits for it.

use std::cell::{Cell, RefCell};

use super::setup::Setup;
use crate::cgroups::systemd::{Scope, ScopePlan};
use crate::cgroups::{Cgroup, CgroupError, Hierarchy};
use crate::plan::CgroupPlan;

/// A scope in the making, ended on drop with whatever runs in it.
pub(super) struct ScopeGuard<'a> {
    hierarchy: &'a Hierarchy,
    cgroup: &'a CgroupPlan,
    plan: &'a ScopePlan,
    scope: RefCell<Scope>,
    started: Cell<bool>,
}

impl<'a> ScopeGuard<'a> {
    /// Connects to systemd; None where the plan has no scope.
    pub fn connect(setup: &'a Setup) -> Result<Option<Self>, CgroupError> {
        let (Some(hierarchy), Some(cgroup)) = (&setup.hierarchy, &setup.plan.cgroup) else { return Ok(None) };
        let Some(plan) = &cgroup.scope else { return Ok(None) };
        let scope = RefCell::new(Scope::connect(&plan.unit.scope)?);
        Ok(Some(Self { hierarchy, cgroup, plan, scope, started: Cell::new(false) }))
    }

    /// Makes the scope around `pid` and gives its cgroup the limits.
    pub fn start(&self, pid: i32) -> Result<(), CgroupError> {
        self.scope.borrow_mut().start(self.plan, pid)?;
        self.started.set(true);
        let path = self.hierarchy.path_of(pid)?;
        if path != self.cgroup.path {
            let (operation, unit) = ("StartTransientUnit", self.plan.unit.scope.clone());
            let reason = format!("it put the process into cgroup {path}, not {}", self.cgroup.path);
            return Err(CgroupError::Systemd { operation, unit, reason });
        }
        let cgroup = Cgroup::open(self.hierarchy, &path)?;
        cgroup.update(self.hierarchy, &self.cgroup.limits)?;
        self.cgroup.owner.map_or(Ok(()), |owner| cgroup.delegate(owner))
    }

    pub fn keep(self) {
        self.started.set(false);
    }
}

impl Drop for ScopeGuard<'_> {
    fn drop(&mut self) {
        if self.started.get() {
            if let Ok(cgroup) = Cgroup::open(self.hierarchy, &self.cgroup.path) {
                let _ = cgroup.kill();
            }
            let _ = self.scope.borrow_mut().stop();
        }
    }
}

/// Ends the scope of a container that is deleted. Without systemd there is none any more.
pub(super) fn end(name: &str) -> Result<(), CgroupError> {
    match Scope::connect(name) {
        Err(CgroupError::NoSystemd { .. }) => Ok(()),
        scope => scope?.stop(),
    }
}
