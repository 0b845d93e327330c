//! The systemd cgroup driver: a container's cgroup as a transient scope, asked for over D-Bus.
//!
//! In: `linux.cgroupsPath` as `slice:prefix:name`, the settled limits, annotations. Out: a [`ScopePlan`]
//! (pure), and a [`Scope`] that makes the unit around a process that exists, changes and ends it. A
//! scope cannot be without processes, so the container's process is born outside and waits for it.
//! Runs in the parent; org.freedesktop.systemd1(5), systemd.resource-control(5).

mod address;
mod annotations;
mod bus;
mod connection;
mod devices;
mod properties;
mod text;
mod unit;
mod value;

pub use address::Manager;
pub use bus::Scope;
pub use properties::{Property, properties, round_quotas};
pub use unit::UnitPath;
pub use value::Value;

use oci_spec::runtime::Spec;

use super::{CgroupError, Limits};

/// A scope, decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScopePlan {
    /// The unit's name and slice.
    pub unit: UnitPath,
    /// Whose systemd makes it.
    pub manager: Manager,
    /// What systemd is told beside its process.
    pub properties: Vec<Property>,
}

impl ScopePlan {
    /// The scope for these limits, with the properties that annotations ask for.
    pub fn new(unit: UnitPath, manager: Manager, limits: &Limits, spec: &Spec) -> Result<Self, CgroupError> {
        let mut all = properties(&limits.settings);
        all.extend(properties::for_new_unit(&limits.settings));
        // A user's manager may load no program.
        if manager == Manager::System {
            let resources = spec.linux().as_ref().and_then(|linux| linux.resources().as_ref());
            let rules = resources.and_then(|resources| resources.devices().as_deref()).unwrap_or_default();
            all.extend(devices::properties(&super::devices::rules(rules)?));
        }
        all.extend(annotations::properties(spec.annotations().as_ref())?);
        Ok(Self { unit, manager, properties: all })
    }
}
