//! The systemd cgroup driver: a container's cgroup as a transient scope, asked for over D-Bus.
//!
//! In: `linux.cgroupsPath` as `slice:prefix:name`, the settled limits, annotations. Out: a [`ScopePlan`]
//! (pure), and a [`Scope`] that makes the unit around a process that exists, changes and ends it. A
//! scope cannot be without processes, so the container's process is born outside and waits for it.
//! Runs in the parent; org.freedesktop.systemd1(5), systemd.resource-control(5).

mod annotations;
mod bus;
mod properties;
mod unit;

pub use bus::Scope;
pub use properties::{Property, Value, properties};
pub use unit::UnitPath;

use std::collections::HashMap;

use super::{CgroupError, Limits};

/// A scope, decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScopePlan {
    /// The unit's name and slice.
    pub unit: UnitPath,
    /// What systemd is told beside its process.
    pub properties: Vec<Property>,
}

impl ScopePlan {
    /// The scope for these limits, with the properties that annotations ask for.
    pub fn new(
        unit: UnitPath,
        limits: &Limits,
        annotations: Option<&HashMap<String, String>>,
    ) -> Result<Self, CgroupError> {
        let mut all = properties(&limits.settings);
        all.extend(annotations::properties(annotations)?);
        Ok(Self { unit, properties: all })
    }
}
