//! The plan of `mounts add` and `mounts remove`: mounts of a running container.

use std::path::Path;

use oci_spec::runtime::{Mount, Spec};

use super::step::{Attributes, MountFrom, MountStep, Source, Step, TargetKind};
use super::{Builder, Facts, PlanError, labels, mount_options, mounts};
use crate::namespaces::Kind;
use crate::spec::SpecError;

/// What is mounted into a running container.
#[derive(Clone, Debug)]
pub struct AddedMounts {
    /// What the parent opens with the host's view.
    pub sources: Vec<Source>,
    /// What the visitor of the container does: mounts and links.
    pub steps: Vec<Step>,
}

/// Plans the mounts of `spec`, the container's own configuration with the new mounts in the place of
/// its own.
pub fn added_mounts(spec: &Spec, bundle: &Path, facts: &Facts<'_>) -> Result<AddedMounts, PlanError> {
    let mut b = Builder {
        spec,
        bundle,
        facts,
        sources: vec![],
        steps: vec![],
        readonly_later: vec![],
        open_trees: vec![],
    };
    check_targets(spec)?;
    if !(b.creates(Kind::Mount) || b.joins(Kind::Mount)) {
        let reason = "the container has no mount namespace: its mounts are the host's";
        return Err(PlanError::Namespace { kind: Kind::Mount, reason: reason.into() });
    }
    for (index, mount) in spec.mounts().iter().flatten().enumerate() {
        if mount.typ().as_deref() == Some("proc") {
            let reason = "a procfs cannot be added: it would show the host's processes";
            return Err(SpecError::invalid(format!("mounts[{index}].type"), reason).into());
        }
    }
    mounts::plan(&mut b)?;
    if !b.open_trees.is_empty() {
        let reason = "a bind mount into a running container needs CAP_SYS_ADMIN: run rcrun as root";
        return Err(PlanError::Namespace { kind: Kind::Mount, reason: reason.into() });
    }
    let readonly = std::mem::take(&mut b.readonly_later).into_iter().map(|target| {
        let attributes = Attributes { set: mount_options::MOUNT_ATTR_RDONLY, ..Attributes::default() };
        let kind = TargetKind::Directory;
        let from = MountFrom::Existing;
        Step::Mount(Box::new(MountStep { from, target, kind, attributes, propagation: None, copy_up: false }))
    });
    b.steps.extend(readonly);
    labels::mounts(&mut b)?;
    Ok(AddedMounts { sources: b.sources, steps: b.steps })
}

/// Plans the removal of what is mounted at the destinations, the last one first. The rest of each mount
/// is not looked at.
pub fn removed_mounts(mounts: &[Mount]) -> Result<Vec<Step>, PlanError> {
    let mut steps = Vec::new();
    for (index, mount) in mounts.iter().enumerate().rev() {
        check_target(index, mount)?;
        steps.push(Step::Unmount(mounts::container_path(mount.destination())));
    }
    Ok(steps)
}

fn check_targets(spec: &Spec) -> Result<(), PlanError> {
    spec.mounts().iter().flatten().enumerate().try_for_each(|(index, mount)| check_target(index, mount))
}

fn check_target(index: usize, mount: &Mount) -> Result<(), PlanError> {
    use std::path::Component;
    let invalid = |reason: &str| {
        Err(PlanError::from(SpecError::invalid(format!("mounts[{index}].destination"), reason)))
    };
    if mount.destination().as_os_str().as_encoded_bytes().contains(&0) {
        return invalid("contains a NUL byte");
    }
    let has_nul = |text: &Path| text.as_os_str().as_encoded_bytes().contains(&0);
    let source = mount.source().as_deref().unwrap_or(Path::new(""));
    if has_nul(source) || mount.options().iter().flatten().any(|option| option.contains('\0')) {
        let reason = "its source or an option contains a NUL byte";
        return Err(SpecError::invalid(format!("mounts[{index}]"), reason).into());
    }
    match mount.destination().components().any(|part| matches!(part, Component::Normal(_))) {
        true => Ok(()),
        false => invalid("the root of a running container stays as it is: name a path below it"),
    }
}
