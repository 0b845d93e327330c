//! A Deployment's status: counts, and the conditions Available, Progressing and ReplicaFailure.

use k8s_openapi::api::apps::v1::{Deployment, DeploymentCondition, DeploymentStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::super::pods;
use super::history::annotation;
use super::rollout::Rollout;
use crate::objects::Typed;
use crate::reconcile::{Action, Decision};

/// Seconds without progress after which a rollout counts as failed, where a Deployment does not say.
const DEADLINE: i32 = 600;
/// No deadline is this long: Kubernetes takes it for none.
const NO_DEADLINE: i32 = i32::MAX;

/// Reasons of Progressing.
const AVAILABLE: &str = "NewReplicaSetAvailable";
const TIMED_OUT: &str = "ProgressDeadlineExceeded";
const PAUSED: &str = "DeploymentPaused";

/// Writes everything that was decided.
pub(super) fn finish(mut rollout: Rollout<'_>) -> Decision {
    rollout.write_sets();
    let deployment = rollout.deployment;
    let revision = rollout.revision_to_note().map(str::to_owned);
    if let Some(revision) = revision {
        let mut deployment = deployment.clone();
        let annotations = deployment.metadata.annotations.get_or_insert_default();
        annotations.insert(annotation::REVISION.to_owned(), revision);
        rollout.decision.actions.push(Action::Update(deployment.wrap()));
    }
    let mut status = counts(&rollout);
    note_availability(&mut rollout, &status);
    note_pause(&mut rollout);
    estimate(&mut rollout, &status);
    note_failures(&mut rollout);
    status.conditions = Some(std::mem::take(&mut rollout.conditions));
    if deployment.status.as_ref() != Some(&status) {
        let deployment = Deployment { status: Some(status), ..deployment.clone() };
        rollout.decision.actions.push(Action::Status(deployment.wrap()));
    }
    rollout.decision
}

/// Whether all Pods that are wanted are new and available, and no others are left.
pub(super) fn is_complete(deployment: &Deployment, status: Option<&DeploymentStatus>) -> bool {
    let Some(status) = status else { return false };
    let replicas = Some(deployment.spec.replicas.unwrap_or(1));
    [status.updated_replicas, status.replicas, status.available_replicas]
        .iter()
        .all(|count| *count == replicas)
        && status.observed_generation >= deployment.metadata.generation
}

fn counts(rollout: &Rollout<'_>) -> DeploymentStatus {
    let sum =
        |count: fn(&pods::Counts) -> i32| rollout.sets.iter().map(|set| count(&set.counts)).sum::<i32>();
    let available = sum(|counts| counts.available);
    DeploymentStatus {
        observed_generation: rollout.deployment.metadata.generation,
        replicas: Some(sum(|counts| counts.active)),
        updated_replicas: Some(rollout.new.map_or(0, |new| rollout.sets[new].counts.active)),
        ready_replicas: Some(sum(|counts| counts.ready)),
        available_replicas: Some(available),
        unavailable_replicas: Some((rollout.total() - available).max(0)),
        terminating_replicas: Some(sum(|counts| counts.terminating)),
        collision_count: Some(rollout.collisions).filter(|count| *count > 0),
        conditions: None,
    }
}

fn condition<'a>(rollout: &'a Rollout<'_>, kind: &str) -> Option<&'a DeploymentCondition> {
    rollout.conditions.iter().find(|condition| condition.type_.as_deref() == Some(kind))
}

/// Sets a condition. One of the same status and reason stays as it is, unless `again`: then it counts as just seen.
fn set(rollout: &mut Rollout<'_>, kind: &str, status: &str, reason: &str, message: String, again: bool) {
    let now = Some(Time(rollout.now));
    let before = condition(rollout, kind);
    let same_status = before.filter(|before| before.status.as_deref() == Some(status));
    if !again && same_status.is_some_and(|before| before.reason.as_deref() == Some(reason)) {
        return;
    }
    let since = same_status.and_then(|before| before.last_transition_time.clone());
    let condition = DeploymentCondition {
        type_: Some(kind.to_owned()),
        status: Some(status.to_owned()),
        reason: Some(reason.to_owned()),
        message: Some(message),
        last_transition_time: since.or_else(|| now.clone()),
        last_update_time: now,
    };
    remove(rollout, kind);
    rollout.conditions.push(condition);
}

fn remove(rollout: &mut Rollout<'_>, kind: &str) {
    rollout.conditions.retain(|condition| condition.type_.as_deref() != Some(kind));
}

fn deadline(deployment: &Deployment) -> Option<i32> {
    Some(deployment.spec.progress_deadline_seconds.unwrap_or(DEADLINE))
        .filter(|seconds| *seconds != NO_DEADLINE)
}

/// Says that a rollout goes on.
pub(super) fn note_progress(rollout: &mut Rollout<'_>, reason: &str, message: String) {
    if deadline(rollout.deployment).is_some() {
        set(rollout, "Progressing", "True", reason, message, false);
    }
}

/// Says that it cannot go on.
pub(super) fn note_stop(rollout: &mut Rollout<'_>, reason: &str, message: String) {
    if deadline(rollout.deployment).is_some() {
        set(rollout, "Progressing", "False", reason, message, false);
    }
}

fn note_availability(rollout: &mut Rollout<'_>, status: &DeploymentStatus) {
    let least = if rollout.limits.recreate { rollout.replicas } else { rollout.limits.least_available };
    if status.available_replicas.unwrap_or(0) >= least {
        let message = "Deployment has minimum availability.".to_owned();
        set(rollout, "Available", "True", "MinimumReplicasAvailable", message, false);
    } else {
        let message = "Deployment does not have minimum availability.".to_owned();
        set(rollout, "Available", "False", "MinimumReplicasUnavailable", message, false);
    }
}

/// While it is paused, time does not count.
fn note_pause(rollout: &mut Rollout<'_>) {
    let reason = condition(rollout, "Progressing").and_then(|condition| condition.reason.as_deref());
    if deadline(rollout.deployment).is_none() || reason == Some(TIMED_OUT) {
        return;
    }
    let (paused, was_paused) = (rollout.is_paused(), reason == Some(PAUSED));
    if paused && !was_paused {
        set(rollout, "Progressing", "Unknown", PAUSED, "Deployment is paused".to_owned(), false);
    } else if !paused && was_paused {
        set(
            rollout,
            "Progressing",
            "Unknown",
            "DeploymentResumed",
            "Deployment is resumed".to_owned(),
            false,
        );
    }
}

/// Says how the rollout goes, and asks to be asked again when it is late.
fn estimate(rollout: &mut Rollout<'_>, status: &DeploymentStatus) {
    let Some(deadline) = deadline(rollout.deployment) else { return remove(rollout, "Progressing") };
    if rollout.is_paused() {
        return;
    }
    let what = match rollout.new {
        Some(new) => format!("ReplicaSet \"{}\"", rollout.sets[new].object.name()),
        None => format!("Deployment \"{}\"", rollout.deployment.name()),
    };
    if condition(rollout, "Progressing").is_none() && rollout.new.is_some() {
        note_progress(rollout, "FoundNewReplicaSet", format!("Found new {what}"));
    }
    let reason = condition(rollout, "Progressing").and_then(|condition| condition.reason.clone());
    if status.replicas == status.updated_replicas && reason.as_deref() == Some(AVAILABLE) {
        return;
    }
    if is_complete(rollout.deployment, Some(status)) {
        let message = format!("{what} has successfully progressed.");
        return set(rollout, "Progressing", "True", AVAILABLE, message, false);
    }
    if has_progressed(rollout.deployment.status.as_ref(), status) {
        let message = format!("{what} is progressing.");
        set(rollout, "Progressing", "True", "ReplicaSetUpdated", message, true);
    }
    let Some(condition) = condition(rollout, "Progressing") else { return };
    if matches!(condition.reason.as_deref(), Some(AVAILABLE | TIMED_OUT)) {
        return;
    }
    let since = condition.last_update_time.as_ref().map_or(rollout.now, |time| time.0);
    let until = pods::after(since, deadline.into());
    if until <= rollout.now {
        let message = format!("{what} has timed out progressing.");
        set(rollout, "Progressing", "False", TIMED_OUT, message, false);
    } else {
        rollout.decision.wake_at(until);
    }
}

/// Whether there are more new, ready or available Pods, or fewer old ones.
fn has_progressed(before: Option<&DeploymentStatus>, after: &DeploymentStatus) -> bool {
    let none = DeploymentStatus::default();
    let before = before.unwrap_or(&none);
    let count = |count: Option<i32>| count.unwrap_or(0);
    let old = |status: &DeploymentStatus| count(status.replicas) - count(status.updated_replicas);
    after.updated_replicas > before.updated_replicas.or(Some(0))
        || old(after) < old(before)
        || count(after.ready_replicas) > count(before.ready_replicas)
        || count(after.available_replicas) > count(before.available_replicas)
}

/// Pods that a ReplicaSet cannot make; the new one's reason goes first.
fn note_failures(rollout: &mut Rollout<'_>) {
    let order = rollout.new.into_iter().chain(rollout.old());
    let conditions = order.filter_map(|set| rollout.sets[set].object.status.as_ref()?.conditions.as_ref());
    let failure = conditions.flatten().find(|condition| condition.type_.as_deref() == Some("ReplicaFailure"));
    let Some(failure) = failure.cloned() else { return remove(rollout, "ReplicaFailure") };
    let (reason, message) = (failure.reason.unwrap_or_default(), failure.message.unwrap_or_default());
    set(rollout, "ReplicaFailure", "True", &reason, message, false);
}
