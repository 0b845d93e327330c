//! A container's cgroup where systemd makes it: around the process, which waits for it.

use std::cell::{Cell, RefCell};

use super::launch::without_devices;
use super::setup::Setup;
use crate::cgroups::systemd::{Manager, Scope, ScopePlan};
use crate::cgroups::{Cgroup, CgroupError, Hierarchy};
use crate::plan::CgroupPlan;
use crate::state::Record;

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
        let scope = RefCell::new(Scope::connect(&plan.unit.scope, plan.manager)?);
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
        without_devices(cgroup.update(self.hierarchy, &self.cgroup.limits), self.cgroup)?;
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

/// Moves further processes into the scope of a user's container: where they are born, and the cgroup that
/// both have above them, is seldom the user's, so that systemd has to do it.
pub(super) struct ScopeMover {
    scope: RefCell<Scope>,
    own: String,
    /// Where to, below the scope's cgroup.
    below: String,
}

impl ScopeMover {
    /// Into `cgroup`, which is the scope's or below it. None where there is no scope.
    pub fn connect(record: &Record, cgroup: &Cgroup) -> Result<Option<Self>, CgroupError> {
        let (Some(name), Some(own)) = (&record.scope, &record.cgroup) else { return Ok(None) };
        let scope = RefCell::new(Scope::connect(name, record.manager)?);
        let below = below(own, cgroup);
        Ok(Some(Self { scope, own: own.clone(), below }))
    }

    /// Moves process `pid`, where the cgroup takes none to where `instead` is.
    pub fn attach(&self, pid: i32, instead: impl FnOnce() -> Option<Cgroup>) -> Result<(), CgroupError> {
        let mut scope = self.scope.borrow_mut();
        match scope.attach(&self.below, pid) {
            Err(error) => match instead() {
                Some(cgroup) => scope.attach(&below(&self.own, &cgroup), pid),
                None => Err(error),
            },
            attached => attached,
        }
    }
}

/// `/a` for the cgroup `a` below `own`, `/` for that itself.
fn below(own: &str, cgroup: &Cgroup) -> String {
    let rest = cgroup.path().as_str().strip_prefix(own).unwrap_or_default();
    format!("/{}", rest.trim_start_matches('/'))
}

/// Ends the scope of a container that is deleted. Without systemd there is none any more.
pub(super) fn end(name: &str, manager: Manager) -> Result<(), CgroupError> {
    match Scope::connect(name, manager) {
        Err(CgroupError::NoSystemd { .. }) => Ok(()),
        scope => scope?.stop(),
    }
}

/// For a container of which no process is known: a scope that ran is gone with its process, and what
/// systemd may remember of its failure is nobody's.
pub(super) fn forget(name: &str, manager: Manager) -> Result<(), CgroupError> {
    match Scope::connect(name, manager) {
        Err(CgroupError::NoSystemd { .. }) => Ok(()),
        scope => scope?.reset_failed(),
    }
}
