//! ReplicaSets: as many Pods of a template as are wanted.

use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

use super::pods::{self, Counts};
use super::{creation, deployment, owned};
use crate::objects::{Objects, Typed};
use crate::reconcile::{Action, Decision};

/// Seconds until a Pod takes the place of one that failed: doubled with each that did.
const FIRST_DELAY: i64 = 1;
/// The most seconds of it.
const LONGEST_DELAY: i64 = 300;

/// Decides for one.
pub(super) fn reconcile(set: &ReplicaSet, desired: &Objects, now: Timestamp) -> Decision {
    let mut decision = Decision::default();
    let all = desired.list_in::<Pod>(set.namespace());
    let all = owned::claim(set, &set.spec.selector, all, &mut decision);
    let active: Vec<&Pod> = all.iter().copied().filter(pods::is_active).collect();
    let wanted = usize::try_from(set.spec.replicas.unwrap_or(1)).unwrap_or(0);
    let mut failure = None;
    if active.len() < wanted {
        match delayed(&all, now) {
            Some(until) => decision.wake_at(until),
            None => {
                let made = made(set, wanted - active.len(), desired);
                failure = creation::create(&mut decision, set, made, desired, now).err();
            }
        }
    } else if active.len() > wanted {
        let count = active.len() - wanted;
        let excess = excess(set, &active, count, desired, now);
        if excess.len() < count {
            // Nearly always a change comes first; a Deployment's minReadySeconds may be others than these.
            decision.wake_at(pods::after(now, 1));
        }
        creation::delete(&mut decision, set, excess);
    }
    let counts = Counts::of(all.iter().copied(), set.spec.min_ready_seconds, now);
    let labelled = active.iter().filter(|pod| has_template_labels(set, pod)).count();
    let status = ReplicaSetStatus {
        replicas: counts.active,
        fully_labeled_replicas: Some(i32::try_from(labelled).unwrap_or(i32::MAX)),
        ready_replicas: Some(counts.ready),
        available_replicas: Some(counts.available),
        terminating_replicas: Some(counts.terminating),
        observed_generation: set.metadata.generation,
        conditions: conditions(set, failure, now),
    };
    if set.status.as_ref() != Some(&status) {
        let set = ReplicaSet { status: Some(status), ..set.clone() };
        decision.actions.push(Action::Status(set.wrap()));
    }
    let next = pods::next_available(active.into_iter(), set.spec.min_ready_seconds, now);
    next.into_iter().for_each(|at| decision.wake_at(at));
    decision
}

/// New Pods.
fn made<'a>(set: &'a ReplicaSet, count: usize, desired: &'a Objects) -> impl Iterator<Item = Pod> + use<'a> {
    let template = set.spec.template.clone().unwrap_or_default();
    let names = creation::free_names(set, set.name(), desired).take(count);
    names.map(move |name| pods::of_template(&template, set.namespace(), name, owned::reference(set)))
}

/// Until when no Pod is made because those before it failed as wholes: one that fails at once would be made without end.
fn delayed(all: &[&Pod], now: Timestamp) -> Option<Timestamp> {
    let failed = all.iter().filter(|pod| pods::phase(pod) == "Failed" && !pods::is_deleted(pod));
    pods::delayed(failed.map(|pod| pods::created(&pod.metadata)), (FIRST_DELAY, LONGEST_DELAY), now)
}

/// Those to delete, as Kubernetes chooses them. Fewer while others would be missed: see [`deployment::spare`].
fn excess<'a>(
    set: &ReplicaSet,
    active: &[&'a Pod],
    count: usize,
    desired: &Objects,
    now: Timestamp,
) -> Vec<&'a Pod> {
    // Before each Pod has been looked at nobody knows which ones are needed.
    if active.iter().any(|pod| pods::is_unknown(pod)) {
        return Vec::new();
    }
    let sorted = pods::least_needed_first(active);
    let mut spare = deployment::spare(set, desired, now);
    let mut spared = |pod: &&Pod| {
        let available = pods::is_available(pod, set.spec.min_ready_seconds, now);
        let spared = !available || spare > 0;
        spare -= i32::from(available);
        spared
    };
    sorted.into_iter().take(count).take_while(|pod| spared(pod)).collect()
}

fn has_template_labels(set: &ReplicaSet, pod: &Pod) -> bool {
    let labels = pod.metadata.labels.as_ref();
    let mut wanted = set.spec.template.as_ref().and_then(pods::labels).into_iter().flatten();
    wanted.all(|(name, value)| labels.and_then(|labels| labels.get(name)) == Some(value))
}

fn conditions(set: &ReplicaSet, failure: Option<String>, now: Timestamp) -> Option<Vec<ReplicaSetCondition>> {
    let before = set.status.as_ref().and_then(|status| status.conditions.clone());
    let failure = failure?;
    let already =
        before.filter(|conditions| conditions.iter().any(|is| is.type_.as_deref() == Some("ReplicaFailure")));
    Some(already.unwrap_or_else(|| {
        vec![ReplicaSetCondition {
            type_: Some("ReplicaFailure".to_owned()),
            status: Some("True".to_owned()),
            reason: Some("FailedCreate".to_owned()),
            message: Some(failure),
            last_transition_time: Some(Time(now)),
        }]
    }))
}
