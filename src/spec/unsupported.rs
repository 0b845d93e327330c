//! Fields of the specification that this version does not implement: each is refused by name, since
//! a field that is ignored is a promise that is broken in silence.

use oci_spec::runtime::{Process, Spec};

use super::SpecError;

/// Refuses the first field that is set and not implemented.
pub(super) fn spec(spec: &Spec) -> Result<(), SpecError> {
    if let Some(process) = spec.process() {
        self::process(process)?;
    }
    let Some(linux) = spec.linux() else { return Ok(()) };
    first_set(&[
        ("linux.intelRdt", linux.intel_rdt().is_some()),
        ("linux.mountLabel", linux.mount_label().as_ref().is_some_and(|l| !l.is_empty())),
    ])
}

/// The same for a process object.
pub(super) fn process(process: &Process) -> Result<(), SpecError> {
    first_set(&[
        ("process.apparmorProfile", process.apparmor_profile().as_ref().is_some_and(|p| !p.is_empty())),
        ("process.selinuxLabel", process.selinux_label().as_ref().is_some_and(|l| !l.is_empty())),
    ])
}

fn first_set(fields: &[(&str, bool)]) -> Result<(), SpecError> {
    match fields.iter().find(|(_, set)| *set) {
        Some((path, _)) => Err(SpecError::Unsupported { path: (*path).into() }),
        None => Ok(()),
    }
}
