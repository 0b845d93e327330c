//! DaemonSets: one Pod, for there is one node.

use k8s_openapi::api::apps::v1::{DaemonSet, DaemonSetStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;

use super::deployment::limits::scaled;
use super::pods::{self, Counts};
use super::{creation, names, owned};
use crate::objects::{Objects, Typed};
use crate::reconcile::{Action, Decision, EventType};

/// The label that tells Pods of one template from those of another.
pub(super) const HASH: &str = "controller-revision-hash";

/// Decides for one.
pub(super) fn reconcile(set: &DaemonSet, desired: &Objects, now: Timestamp) -> Decision {
    let mut decision = Decision::default();
    let all = desired.list_in::<Pod>(set.namespace());
    let all = owned::claim(set, &set.spec.selector, all, &mut decision);
    let hash = names::hash_of(&set.spec.template, 0);
    let is_new = |pod: &&Pod| pods::label_of(pod, HASH) == Some(&hash);
    end_finished(set, &all, &mut decision, now);
    let active: Vec<&Pod> = all.iter().copied().filter(pods::is_active).collect();
    let (new, old): (Vec<&Pod>, Vec<&Pod>) = active.iter().copied().partition(is_new);
    let available = |pod: &&Pod| pods::is_available(pod, set.spec.min_ready_seconds, now);
    let wait = all.len() > active.len();
    if surges(set) && !old.is_empty() {
        // The new one first, then the old ones go.
        match new.first() {
            None => make(set, &hash, desired, &mut decision, now),
            Some(pod) if available(pod) => creation::delete(&mut decision, set, old.iter().copied()),
            // Those that are of no use go at once.
            Some(_) => {
                let useless = old.iter().copied().filter(|pod| !available(pod) && !pods::is_unknown(pod));
                creation::delete(&mut decision, set, useless);
            }
        }
    } else if active.is_empty() {
        if !wait {
            make(set, &hash, desired, &mut decision, now);
        }
    } else if new.is_empty() && is_rolling(set) {
        creation::delete(&mut decision, set, old.iter().copied());
    } else if active.len() > 1 {
        let kept = if new.is_empty() { &old } else { &new };
        let kept = pods::least_needed_first(kept).last().map(|pod| pod.uid().to_owned());
        let others = active.iter().copied().filter(|pod| Some(pod.uid()) != kept.as_deref());
        creation::delete(&mut decision, set, others);
    }
    note_status(set, &active, &new, &mut decision, now);
    let next = pods::next_available(active.into_iter(), set.spec.min_ready_seconds, now);
    next.into_iter().for_each(|at| decision.wake_at(at));
    decision
}

fn is_rolling(set: &DaemonSet) -> bool {
    let strategy = set.spec.update_strategy.as_ref().and_then(|strategy| strategy.type_.as_deref());
    strategy != Some("OnDelete")
}

/// Whether the new Pod comes before the old one goes.
fn surges(set: &DaemonSet) -> bool {
    let rolling = set.spec.update_strategy.as_ref().and_then(|strategy| strategy.rolling_update.as_ref());
    let surge = rolling.and_then(|rolling| rolling.max_surge.as_ref());
    is_rolling(set) && surge.is_some_and(|surge| scaled(Some(surge), 1, true) > 0)
}

fn make(set: &DaemonSet, hash: &str, desired: &Objects, decision: &mut Decision, now: Timestamp) {
    let name = creation::free_names(set, set.name(), desired).next().unwrap_or_default();
    let mut pod = pods::of_template(&set.spec.template, set.namespace(), name, owned::reference(set));
    let generation = set.metadata.generation.unwrap_or(1).to_string();
    pods::label(&mut pod, [(HASH, hash), ("pod-template-generation", &generation)]);
    let _ = creation::create(decision, set, [pod], desired, now);
}

/// Deletes Pods that ended as wholes, so that others take their place, but not one every moment.
fn end_finished(set: &DaemonSet, all: &[&Pod], decision: &mut Decision, now: Timestamp) {
    for pod in all.iter().filter(|pod| pods::is_finished(pod) && !pods::is_deleted(pod)) {
        let until = pods::after(pods::created(&pod.metadata), pods::REPLACED_AFTER);
        if until > now {
            decision.wake_at(until);
            continue;
        }
        let (kind, reason, what) = match pods::phase(pod) {
            "Failed" => (EventType::Warning, "FailedDaemonPod", "failed"),
            _ => (EventType::Normal, "SucceededDaemonPod", "succeeded"),
        };
        let message =
            format!("Found {what} daemon pod {}/{}, will try to kill it", set.namespace(), pod.name());
        decision.actions.push(creation::event(set, kind, reason, message));
        creation::delete(decision, set, [*pod]);
    }
}

fn note_status(set: &DaemonSet, active: &[&Pod], new: &[&Pod], decision: &mut Decision, now: Timestamp) {
    let counts = Counts::of(active.iter().copied(), set.spec.min_ready_seconds, now);
    let (ready, available) = (counts.ready.min(1), counts.available.min(1));
    let status = DaemonSetStatus {
        desired_number_scheduled: 1,
        current_number_scheduled: counts.active.min(1),
        number_ready: ready,
        number_available: Some(available),
        number_unavailable: Some(1 - available),
        updated_number_scheduled: Some(i32::from(!new.is_empty())),
        observed_generation: set.metadata.generation,
        ..DaemonSetStatus::default()
    };
    if set.status.as_ref() != Some(&status) {
        let set = DaemonSet { status: Some(status), ..set.clone() };
        decision.actions.push(Action::Status(set.wrap()));
    }
}
