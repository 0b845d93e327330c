//! StatefulSets: Pods with names and volumes of their own, one after the other.

mod member;

use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetStatus};
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use k8s_openapi::jiff::Timestamp;

use super::creation::{self, Room, event};
use super::daemonset::HASH;
use super::pods::{self, Counts};
use super::{names, owned};
use crate::objects::{Objects, Typed};
use crate::reconcile::{Action, Decision, EventType};

/// The annotation with the template, as JSON, that Pods below a partition keep. Kubernetes has ControllerRevisions for it.
pub const CURRENT: &str = "rcrun.dev/current-template";

/// What is decided on.
struct Members<'a> {
    set: &'a StatefulSet,
    desired: &'a Objects,
    now: Timestamp,
    /// By ordinal.
    wanted: Vec<Option<&'a Pod>>,
    /// Of ordinals that are not wanted any more, the highest first.
    condemned: Vec<(usize, &'a Pod)>,
    /// One at a time, in their order.
    ordered: bool,
    current: (PodTemplateSpec, String),
    update: String,
}

/// Decides for one.
pub(super) fn reconcile(set: &StatefulSet, desired: &Objects, now: Timestamp) -> Decision {
    let mut decision = Decision::default();
    let members = Members::of(set, desired, now, &mut decision);
    let settled = members.keep(&mut decision) && members.shrink(&mut decision);
    if settled {
        members.update(&mut decision);
    }
    members.note_status(&mut decision);
    let all = members.all().filter(pods::is_active);
    let next = pods::next_available(all, set.spec.min_ready_seconds, now);
    next.into_iter().for_each(|at| decision.wake_at(at));
    decision
}

impl<'a> Members<'a> {
    fn of(set: &'a StatefulSet, desired: &'a Objects, now: Timestamp, decision: &mut Decision) -> Self {
        let all = desired.list_in::<Pod>(set.namespace()).filter(|pod| member::ordinal(set, pod).is_some());
        let all = owned::claim(set, &set.spec.selector, all, decision);
        let replicas = usize::try_from(set.spec.replicas.unwrap_or(1)).unwrap_or(0);
        let mut wanted = vec![None; replicas];
        let mut condemned = Vec::new();
        for pod in all {
            let ordinal = member::ordinal(set, pod).unwrap_or(0);
            match wanted.get_mut(ordinal) {
                Some(place) => *place = Some(pod),
                None => condemned.push((ordinal, pod)),
            }
        }
        condemned.sort_by_key(|(ordinal, _)| std::cmp::Reverse(*ordinal));
        let annotations = set.metadata.annotations.as_ref();
        let current = annotations.and_then(|all| serde_json::from_str(all.get(CURRENT)?).ok());
        let current: PodTemplateSpec = current.unwrap_or_else(|| set.spec.template.clone());
        Self {
            set,
            desired,
            now,
            wanted,
            condemned,
            ordered: set.spec.pod_management_policy.as_deref() != Some("Parallel"),
            update: names::hash_of(&set.spec.template, 0),
            current: (current.clone(), names::hash_of(&current, 0)),
        }
    }

    fn all(&self) -> impl Iterator<Item = &'a Pod> {
        self.wanted.iter().flatten().copied().chain(self.condemned.iter().map(|(_, pod)| *pod))
    }

    fn is_available(&self, pod: &Pod) -> bool {
        pods::is_active(&pod) && pods::is_available(pod, self.set.spec.min_ready_seconds, self.now)
    }

    fn is_new(&self, pod: &Pod) -> bool {
        pods::label_of(pod, HASH) == Some(&self.update)
    }

    fn is_rolling(&self) -> bool {
        let strategy = self.set.spec.update_strategy.as_ref().and_then(|strategy| strategy.type_.as_deref());
        strategy != Some("OnDelete")
    }

    /// Pods below it keep the template that they have.
    fn partition(&self) -> usize {
        let strategy = self.set.spec.update_strategy.as_ref();
        let partition = strategy.and_then(|strategy| strategy.rolling_update.as_ref()?.partition);
        usize::try_from(partition.unwrap_or(0)).unwrap_or(0)
    }

    /// Sees that all are there that are wanted. Whether it may go on.
    fn keep(&self, decision: &mut Decision) -> bool {
        let mut made = Vec::new();
        let mut goes_on = true;
        let mut room = Room::of(self.set.namespace(), self.desired);
        for (ordinal, pod) in self.wanted.iter().enumerate() {
            let is_fine = match pod {
                None => {
                    let old = self.is_rolling() && ordinal < self.partition();
                    let (template, hash) = match old {
                        true => (&self.current.0, &self.current.1),
                        false => (&self.set.spec.template, &self.update),
                    };
                    let actions = &mut decision.actions;
                    // A Pod without its claims would only wait for them.
                    if let Err(why) = member::make_claims(self.set, ordinal, self.desired, &mut room, actions)
                    {
                        creation::refused(decision, self.set, "FailedCreate", why, self.now);
                        goes_on = false;
                        break;
                    }
                    made.push(member::pod(self.set, ordinal, template, hash));
                    false
                }
                Some(pod) if pods::is_finished(pod) && !pods::is_deleted(pod) => {
                    self.replace(pod, decision);
                    false
                }
                Some(pod) => self.is_available(pod),
            };
            goes_on &= is_fine;
            if self.ordered && !is_fine {
                break;
            }
        }
        let created = creation::create(decision, self.set, made, self.desired, self.now);
        created.is_ok() && (goes_on || !self.ordered)
    }

    /// Deletes a Pod that ended as a whole; the next decision makes it again.
    fn replace(&self, pod: &Pod, decision: &mut Decision) {
        let until = pods::after(pods::created(&pod.metadata), pods::REPLACED_AFTER);
        if until > self.now {
            return decision.wake_at(until);
        }
        let (kind, reason, how) = match pods::phase(pod) {
            "Failed" => (EventType::Warning, "RecreatingFailedPod", "failed"),
            _ => (EventType::Normal, "RecreatingTerminatedPod", "terminated"),
        };
        let (namespace, name) = (self.set.namespace(), self.set.name());
        let message = format!("StatefulSet {namespace}/{name} is recreating {how} Pod {}", pod.name());
        decision.actions.push(event(self.set, kind, reason, message));
        creation::delete(decision, self.set, [pod]);
    }

    /// Deletes those that are too many, the highest first. Whether there are none.
    fn shrink(&self, decision: &mut Decision) -> bool {
        let alive = self.condemned.iter().filter(|(_, pod)| !pods::is_deleted(pod));
        if !self.ordered {
            creation::delete(decision, self.set, alive.map(|(_, pod)| *pod));
            return self.condemned.is_empty();
        }
        let terminating = self.condemned.iter().any(|(_, pod)| pods::is_deleted(pod));
        if !terminating {
            creation::delete(decision, self.set, alive.map(|(_, pod)| *pod).take(1));
        }
        self.condemned.is_empty()
    }

    /// Deletes one Pod of an old template, the highest first: the next decision makes it of the new one.
    fn update(&self, decision: &mut Decision) {
        if !self.is_rolling() {
            return;
        }
        for pod in self.wanted.iter().skip(self.partition()).rev() {
            let Some(pod) = pod else { return };
            if !self.is_new(pod) && !pods::is_deleted(pod) {
                return creation::delete(decision, self.set, [*pod]);
            }
            if !self.is_available(pod) {
                return;
            }
        }
    }

    fn note_status(&self, decision: &mut Decision) {
        let set = self.set;
        let counts = Counts::of(self.all(), set.spec.min_ready_seconds, self.now);
        let of = |hash: &str| {
            let all = self.all().filter(pods::is_active);
            i32::try_from(all.filter(|pod| pods::label_of(pod, HASH) == Some(hash)).count())
                .unwrap_or(i32::MAX)
        };
        let all_new =
            self.wanted.iter().all(|pod| pod.is_some_and(|pod| self.is_new(pod) && self.is_available(pod)));
        // None of an old template is left: the next change is one from this template.
        let is_done = all_new && self.condemned.is_empty();
        let current = if is_done { &self.update } else { &self.current.1 };
        let text = if is_done { &set.spec.template } else { &self.current.0 };
        self.note_current(text, decision);
        let status = StatefulSetStatus {
            replicas: counts.active,
            ready_replicas: Some(counts.ready),
            available_replicas: Some(counts.available),
            current_replicas: Some(of(current)),
            updated_replicas: Some(of(&self.update)),
            current_revision: Some(format!("{}-{current}", set.name())),
            update_revision: Some(format!("{}-{}", set.name(), self.update)),
            observed_generation: set.metadata.generation,
            ..StatefulSetStatus::default()
        };
        if set.status.as_ref() != Some(&status) {
            let set = StatefulSet { status: Some(status), ..set.clone() };
            decision.actions.push(Action::Status(set.wrap()));
        }
    }

    fn note_current(&self, template: &PodTemplateSpec, decision: &mut Decision) {
        let Ok(text) = serde_json::to_string(template) else { return };
        let annotations = self.set.metadata.annotations.as_ref();
        if annotations.and_then(|all| all.get(CURRENT)) != Some(&text) {
            let mut set = self.set.clone();
            set.metadata.annotations.get_or_insert_default().insert(CURRENT.to_owned(), text);
            decision.actions.push(Action::Update(set.wrap()));
        }
    }
}
