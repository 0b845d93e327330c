//! Deployments: ReplicaSets of one template each, of which the newest one takes the place of the others.
//!
//! One decision is one step of a rollout: first the new ReplicaSet grows, as far as maxSurge lets it, later the old ones shrink, as
//! far as maxUnavailable does. The next decision sees what came of it.

pub(super) mod history;
pub(super) mod limits;
mod rolling;
mod rollout;
mod scale;
mod status;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;

use super::owned;
use super::pods::Counts;
use crate::objects::{Objects, Typed};
use crate::reconcile::Decision;
use limits::Limits;
use rollout::Rollout;

/// Decides for one.
pub(super) fn reconcile(deployment: &Deployment, desired: &Objects, now: Timestamp) -> Decision {
    let mut rollout = Rollout::of(deployment, desired, now);
    if rollout.is_paused() {
        scale::scale(&mut rollout);
        rollout.forget_old();
    } else if scale::is_due(&rollout) {
        scale::scale(&mut rollout);
    } else if rollout.limits.recreate {
        recreate(&mut rollout);
    } else {
        rolling::step(&mut rollout);
    }
    status::finish(rollout)
}

/// First the old Pods go, all of them; then the new ones come.
fn recreate(rollout: &mut Rollout<'_>) {
    let mut old_left = false;
    for old in rollout.old() {
        let set = &rollout.sets[old];
        old_left |= set.replicas > 0 || set.counts.active > 0 || set.counts.terminating > 0;
        rollout.resize(old, 0);
    }
    if old_left {
        return;
    }
    let Some(new) = rollout.new_set() else { return };
    rollout.resize(new, rollout.replicas);
    rollout.forget_old_if_complete();
}

/// How many available Pods a ReplicaSet may delete without breaking its Deployment's promise. Between a Deployment's decision and its
/// ReplicaSet's, other Pods may have become unready.
pub(super) fn spare(set: &ReplicaSet, desired: &Objects, now: Timestamp) -> i32 {
    let of = || {
        let owners = set.metadata.owner_references.as_deref()?;
        let owner = owners.iter().find(|owner| owner.controller == Some(true))?;
        desired.find::<Deployment>(set.namespace(), &owner.name).filter(|found| found.uid() == owner.uid)
    };
    let Some(deployment) = of() else { return i32::MAX };
    let limits = Limits::of(&deployment.spec);
    if limits.recreate {
        return i32::MAX;
    }
    let available = |set: &ReplicaSet| {
        let all = desired.list_in::<Pod>(set.namespace());
        let all = all.filter(|pod| owned::is_controlled_by(&pod.metadata, set.uid()));
        Counts::of(all, deployment.spec.min_ready_seconds, now).available
    };
    let all: i32 = owned::replica_sets(deployment, desired).map(available).sum();
    (all - limits.least_available).max(0)
}
