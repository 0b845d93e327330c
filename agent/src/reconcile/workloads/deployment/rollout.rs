//! A Deployment and its ReplicaSets during one decision.

use std::borrow::Cow;
use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{Deployment, DeploymentCondition, ReplicaSet, ReplicaSetSpec};
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::Timestamp;

use super::super::creation::{self, event};
use super::super::pods::{self, Counts};
use super::super::{names, owned};
use super::history::{self, annotation};
use super::{Limits, status};
use crate::api::admission;
use crate::objects::{Key, Kind, Objects, Typed};
use crate::reconcile::{Action, Decision, EventType};

/// The label that tells Pods of one template from those of another.
pub(super) const HASH: &str = "pod-template-hash";
/// Why a rollout does not begin.
const NOT_MADE: &str = "ReplicaSetCreateError";
/// Old ReplicaSets that are kept where a Deployment does not say.
const HISTORY: i32 = 10;

/// What is decided on, and what has been decided so far.
pub(super) struct Rollout<'a> {
    pub deployment: &'a Deployment,
    desired: &'a Objects,
    pub now: Timestamp,
    pub limits: Limits,
    pub replicas: i32,
    /// The oldest first.
    pub sets: Vec<Set<'a>>,
    /// The one of the Deployment's template.
    pub new: Option<usize>,
    pub collisions: i32,
    pub conditions: Vec<DeploymentCondition>,
    pub decision: Decision,
    /// How many of the decision's actions are adoptions, which come first.
    adoptions: usize,
}

/// A ReplicaSet, and what is to be of it.
pub(super) struct Set<'a> {
    /// As it is; owned: it is to be made.
    pub object: Cow<'a, ReplicaSet>,
    pub replicas: i32,
    pub annotations: BTreeMap<String, String>,
    pub counts: Counts,
}

impl Set<'_> {
    /// Of its Pods, those that are available and will stay: some may be about to be deleted.
    pub fn available(&self) -> i32 {
        self.counts.available.min(self.replicas)
    }

    fn is_made(&self) -> bool {
        matches!(self.object, Cow::Owned(_))
    }
}

impl<'a> Rollout<'a> {
    pub fn of(deployment: &'a Deployment, desired: &'a Objects, now: Timestamp) -> Self {
        let mut decision = Decision::default();
        let all = desired.list_in::<ReplicaSet>(deployment.namespace());
        let mut claimed = owned::claim(deployment, &deployment.spec.selector, all, &mut decision);
        claimed.sort_by_key(|set| (pods::created(&set.metadata), set.name()));
        let status = deployment.status.as_ref();
        let mut rollout = Self {
            deployment,
            desired,
            now,
            limits: Limits::of(&deployment.spec),
            replicas: deployment.spec.replicas.unwrap_or(1),
            sets: Vec::new(),
            new: claimed.iter().position(|set| is_of_template(set, &deployment.spec.template)),
            collisions: status.and_then(|status| status.collision_count).unwrap_or(0),
            conditions: status.and_then(|status| status.conditions.clone()).unwrap_or_default(),
            adoptions: decision.actions.len(),
            decision,
        };
        rollout.sets = claimed.into_iter().map(|set| rollout.existing(set)).collect();
        rollout.note_revision();
        rollout
    }

    fn existing(&mut self, set: &'a ReplicaSet) -> Set<'a> {
        let all = self.desired.list_in::<Pod>(set.namespace());
        let all = all.filter(|pod| owned::is_controlled_by(&pod.metadata, set.uid()));
        let all: Vec<&Pod> = all.collect();
        let min_ready_seconds = self.deployment.spec.min_ready_seconds;
        // An old ReplicaSet's minReadySeconds may be others.
        let active = all.iter().copied().filter(pods::is_active);
        let next = pods::next_available(active, min_ready_seconds, self.now);
        next.into_iter().for_each(|at| self.decision.wake_at(at));
        Set {
            replicas: set.spec.replicas.unwrap_or(1),
            annotations: set.metadata.annotations.clone().unwrap_or_default(),
            counts: Counts::of(all, min_ready_seconds, self.now),
            object: Cow::Borrowed(set),
        }
    }

    pub fn is_paused(&self) -> bool {
        self.deployment.spec.paused == Some(true)
    }

    /// All but the new one, the oldest first.
    pub fn old(&self) -> Vec<usize> {
        (0..self.sets.len()).filter(|index| Some(*index) != self.new).collect()
    }

    /// Pods that are wanted of all ReplicaSets.
    pub fn total(&self) -> i32 {
        self.sets.iter().map(|set| set.replicas).sum()
    }

    /// Whether there are Pods of which nothing is known yet: none is spared then.
    pub fn is_unknown(&self) -> bool {
        self.sets.iter().any(|set| set.counts.unknown > 0)
    }

    /// Gives a ReplicaSet another size.
    pub fn resize(&mut self, index: usize, replicas: i32) {
        let limit = self.replicas.saturating_add(self.limits.surge);
        let set = &mut self.sets[index];
        if set.replicas == replicas {
            return;
        }
        let way = if set.replicas < replicas { "up" } else { "down" };
        let message =
            format!("Scaled {way} replica set {} from {} to {replicas}", set.object.name(), set.replicas);
        set.replicas = replicas;
        history::note_size(&mut set.annotations, self.replicas, limit);
        let event = event(self.deployment, EventType::Normal, "ScalingReplicaSet", message);
        self.decision.actions.push(event);
    }

    /// The ReplicaSet of the Deployment's template, which is made if it is not there, with no Pods. None: it may not be made, which is told;
    /// nothing else goes on then.
    pub fn new_set(&mut self) -> Option<usize> {
        if self.new.is_some() {
            return self.new;
        }
        let spec = &self.deployment.spec;
        let (name, hash) = self.free_name();
        let mut template = spec.template.clone();
        let labels = template.metadata.get_or_insert_default().labels.get_or_insert_default();
        labels.insert(HASH.to_owned(), hash.clone());
        let labels = labels.clone();
        let mut selector = spec.selector.clone();
        selector.match_labels.get_or_insert_default().insert(HASH.to_owned(), hash);
        let metadata = ObjectMeta {
            name: Some(name.clone()),
            namespace: self.deployment.metadata.namespace.clone(),
            labels: Some(labels),
            owner_references: Some(vec![owned::reference(self.deployment)]),
            ..ObjectMeta::default()
        };
        let spec = ReplicaSetSpec {
            min_ready_seconds: spec.min_ready_seconds,
            replicas: Some(0),
            selector,
            template: Some(template),
        };
        let object = ReplicaSet { metadata, spec, status: None };
        if let Err(refusal) = admission::may_create(self.desired, &object.clone().wrap()) {
            let message = format!("Failed to create new replica set \"{name}\": {refusal}");
            status::note_stop(self, NOT_MADE, message.clone());
            creation::refused(&mut self.decision, self.deployment, NOT_MADE, message, self.now);
            return None;
        }
        let object = Cow::Owned(object);
        let made = Set { object, replicas: 0, annotations: BTreeMap::new(), counts: Counts::default() };
        let new = self.sets.len();
        self.sets.push(made);
        self.new = Some(new);
        self.note_revision();
        let limit = self.replicas.saturating_add(self.limits.surge);
        history::note_size(&mut self.sets[new].annotations, self.replicas, limit);
        let message = format!("Created new replica set \"{name}\"");
        status::note_progress(self, "NewReplicaSetCreated", message);
        self.new
    }

    /// A name for a new ReplicaSet. Where another template has the same hash, the collision is counted.
    fn free_name(&mut self) -> (String, String) {
        loop {
            let hash = names::template_hash(&self.deployment.spec.template, self.collisions);
            let name = names::joined(self.deployment.name(), &hash);
            let key = Key::new(Kind::ReplicaSet, self.deployment.namespace(), &*name);
            if self.desired.get(&key).is_none() {
                return (name, hash);
            }
            self.collisions += 1;
        }
    }

    /// Makes the new ReplicaSet's revision the highest one.
    fn note_revision(&mut self) {
        let Some(new) = self.new else { return };
        let newest = self.old().into_iter().map(|old| history::revision(&self.sets[old].annotations)).max();
        let from = self.deployment.metadata.annotations.as_ref();
        history::note_revision(&mut self.sets[new].annotations, newest.unwrap_or(0) + 1, from);
    }

    pub fn forget_old_if_complete(&mut self) {
        if status::is_complete(self.deployment, self.deployment.status.as_ref()) {
            self.forget_old();
        }
    }

    /// Deletes empty ReplicaSets of which there are more than revisionHistoryLimit.
    pub fn forget_old(&mut self) {
        let kept = self.deployment.spec.revision_history_limit.unwrap_or(HISTORY);
        let mut old = self.old();
        old.sort_by_key(|index| history::revision(&self.sets[*index].annotations));
        let count = old.len().saturating_sub(usize::try_from(kept).unwrap_or(0));
        for index in old.into_iter().take(count) {
            let set = &self.sets[index];
            let counts = set.counts;
            if set.replicas == 0 && counts.active == 0 && counts.terminating == 0 {
                let (key, uid) = (set.object.key(), set.object.uid().to_owned());
                self.decision.actions.push(Action::Delete { key, uid, grace: None });
            }
        }
    }

    /// Puts what has been decided about ReplicaSets before the events that tell of it.
    pub fn write_sets(&mut self) {
        let mut writes = Vec::new();
        for set in &self.sets {
            let before = &set.object;
            let min_ready_seconds = match Some(before.name()) == self.new_name() {
                true => self.deployment.spec.min_ready_seconds,
                false => before.spec.min_ready_seconds,
            };
            let changed = before.metadata.annotations.as_ref().unwrap_or(&BTreeMap::new())
                != &set.annotations
                || before.spec.replicas.unwrap_or(1) != set.replicas
                || before.spec.min_ready_seconds != min_ready_seconds;
            if !changed && !set.is_made() {
                continue;
            }
            let mut after = before.clone().into_owned();
            after.metadata.annotations = Some(set.annotations.clone());
            after.spec.replicas = Some(set.replicas);
            after.spec.min_ready_seconds = min_ready_seconds;
            // An adoption of the same decision must not be undone.
            if !owned::is_controlled_by(&after.metadata, self.deployment.uid()) {
                let owners = after.metadata.owner_references.get_or_insert_default();
                owners.push(owned::reference(self.deployment));
            }
            writes.push(if set.is_made() {
                Action::Create(after.wrap())
            } else {
                Action::Update(after.wrap())
            });
        }
        self.decision.actions.splice(self.adoptions..self.adoptions, writes);
    }

    fn new_name(&self) -> Option<&str> {
        self.new.map(|new| self.sets[new].object.name())
    }

    /// The revision that the Deployment is at, if it does not say so yet.
    pub fn revision_to_note(&self) -> Option<&str> {
        let revision = self.sets[self.new?].annotations.get(annotation::REVISION)?;
        let noted =
            self.deployment.metadata.annotations.as_ref().and_then(|all| all.get(annotation::REVISION));
        (noted != Some(revision)).then_some(revision)
    }
}

/// Whether a ReplicaSet has a Deployment's template, but for its hash.
pub(super) fn is_of_template(set: &ReplicaSet, template: &PodTemplateSpec) -> bool {
    let Some(of_set) = &set.spec.template else { return false };
    let labels = |template: &PodTemplateSpec| {
        let labels = pods::labels(template).into_iter().flatten();
        labels
            .filter(|(name, _)| *name != HASH)
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect::<Vec<_>>()
    };
    let rest = |template: &PodTemplateSpec| {
        let metadata = template.metadata.as_ref();
        let annotations = metadata.and_then(|metadata| metadata.annotations.clone());
        annotations.filter(|annotations| !annotations.is_empty())
    };
    of_set.spec == template.spec && labels(of_set) == labels(template) && rest(of_set) == rest(template)
}
