//! `linux.rootfsPropagation`: config-linux.md, "Rootfs Mount Propagation".
//!
//! The root is assembled as the host's slave, or private; nothing done in there reaches the host. A
//! shared root is the first of a peer group of its own, and an unbindable one cannot be cloned for
//! read-only paths any more: both come last.

use rustix::mount::MountPropagationFlags as Propagation;

use super::mount_options::propagation;
use super::{Builder, PlanError};
use crate::namespaces::Kind;
use crate::spec::SpecError;

const FIELD: &str = "linux.rootfsPropagation";

fn wish<'a>(b: &Builder<'a>) -> Option<&'a str> {
    b.linux()?.rootfs_propagation().as_deref().filter(|name| !name.is_empty())
}

/// Refuses what is no propagation type, and one that only a mount namespace of the container's own
/// can have.
pub(super) fn check(b: &Builder<'_>) -> Result<(), PlanError> {
    let Some(name) = wish(b) else { return Ok(()) };
    if propagation(name).is_none() {
        let reason = format!("{name:?} is none of shared, slave, private, unbindable and their r... forms");
        return Err(SpecError::invalid(FIELD, reason).into());
    }
    if when_built(b).is_some() && !b.creates(Kind::Mount) {
        let reason = format!("{name:?} needs a new mount namespace in linux.namespaces");
        return Err(SpecError::invalid(FIELD, reason).into());
    }
    Ok(())
}

/// Of the root and all below it until it is finished: a slave hears of the host's mounts.
pub(super) fn while_built(b: &Builder<'_>) -> Propagation {
    let kind = match wish(b) {
        None | Some("slave" | "rslave") => Propagation::DOWNSTREAM,
        _ => Propagation::PRIVATE,
    };
    kind | Propagation::REC
}

/// Of the finished root, where that is something else.
pub(super) fn when_built(b: &Builder<'_>) -> Option<Propagation> {
    let last = Propagation::SHARED | Propagation::UNBINDABLE;
    wish(b).and_then(propagation).filter(|flags| flags.intersects(last))
}
