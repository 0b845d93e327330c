//! A decision about one Pod while it is made: at most one step of each target, none of those that are busy.

use std::collections::BTreeSet;

use k8s_openapi::jiff::Timestamp;

use super::times::{END_RETRY, retry_at};
use super::{Action, Decision, EventType, PodObserved, PodStep, Target, target};
use crate::objects::{Key, Object};

pub(super) struct Steps<'a> {
    pub(super) decision: Decision,
    pub(super) key: &'a Key,
    pub(super) seen: &'a PodObserved,
    pub(super) now: Timestamp,
    uid: &'a str,
    taken: BTreeSet<Target>,
}

impl<'a> Steps<'a> {
    pub(super) fn new(key: &'a Key, uid: &'a str, seen: &'a PodObserved, now: Timestamp) -> Self {
        Self { decision: Decision::default(), key, seen, now, uid, taken: BTreeSet::new() }
    }

    /// Whether a step of this target is neither under way nor asked for.
    pub(super) fn is_free(&self, target: &Target) -> bool {
        !self.seen.busy.contains(target) && !self.taken.contains(target)
    }

    /// Asks for a step, if its target is free and the last failure of an end is long enough ago. Says whether it did.
    pub(super) fn step(&mut self, step: PodStep) -> bool {
        let target = target(&step);
        if !self.is_free(&target) {
            return false;
        }
        if let Some(failure) = self.seen.end_failures.get(&target).filter(|_| is_of_end(&step)) {
            let at = retry_at(failure, END_RETRY, self.now);
            if at > self.now {
                self.wake(at);
                return false;
            }
        }
        self.taken.insert(target);
        self.decision.actions.push(Action::Pod { key: self.key.clone(), uid: self.uid.into(), step });
        true
    }

    pub(super) fn event(&mut self, kind: EventType, reason: &'static str, message: String) {
        let (about, uid) = (self.key.clone(), self.uid.into());
        self.decision.actions.push(Action::Event { about, uid, kind, reason, message });
    }

    pub(super) fn wake(&mut self, at: Timestamp) {
        self.decision.wake_at(at);
    }

    pub(super) fn status(&mut self, object: Object) {
        self.decision.actions.push(Action::Status(object));
    }

    pub(super) fn remove(&mut self) {
        self.decision.actions.push(Action::Remove { key: self.key.clone(), uid: self.uid.into() });
    }
}

/// Whether a step's failures are remembered by its target, as those of ends and removals are.
pub(super) fn is_of_end(step: &PodStep) -> bool {
    matches!(
        step,
        PodStep::StopSandbox { .. }
            | PodStep::RemoveSandbox { .. }
            | PodStep::Stop { .. }
            | PodStep::Kill { .. }
            | PodStep::RemoveContainer { .. }
            | PodStep::ReleaseVolumes
            | PodStep::TearDown
    )
}
