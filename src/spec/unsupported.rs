//! Fields of the specification that this version does not implement: each is refused by name, since
//! a field that is ignored is a promise that is broken in silence.

use oci_spec::runtime::Spec;

use super::SpecError;

/// Refuses the first field that is set and not implemented.
pub(super) fn spec(spec: &Spec) -> Result<(), SpecError> {
    let Some(linux) = spec.linux() else { return Ok(()) };
    first_set(&[("linux.intelRdt", linux.intel_rdt().is_some())])
}

fn first_set(fields: &[(&str, bool)]) -> Result<(), SpecError> {
    match fields.iter().find(|(_, set)| *set) {
        Some((path, _)) => Err(SpecError::Unsupported { path: (*path).into() }),
        None => Ok(()),
    }
}
