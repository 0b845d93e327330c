//! Deployments, ReplicaSets, StatefulSets, DaemonSets, Jobs and CronJobs: objects that make Pods.
//!
//! All are counted from the Pods themselves, never from another object's status, which may be older than they are. What one of them
//! makes has a name that follows from what it was decided on: a decision that comes again makes nothing twice.
//! docs/agent-workloads.md says where behaviour differs from Kubernetes'.

mod creation;
mod cronjob;
mod daemonset;
mod deployment;
mod job;
mod names;
mod owned;
mod pods;
mod progress;
mod replicaset;
mod schedule;
mod statefulset;

#[cfg(test)]
mod tests;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;

use super::Decision;
use crate::objects::{Key, Kind, Object, Objects, Typed, selector};

pub use deployment::history::{history, rollback};
pub use progress::rollout_status;
pub use schedule::check_schedule;
pub use statefulset::CURRENT as CURRENT_TEMPLATE;

/// Decides for one of them.
pub fn reconcile(key: &Key, desired: &Objects, now: Timestamp) -> Decision {
    match desired.get(key) {
        Some(object) if object.is_deleted() => Decision::default(),
        Some(Object::Deployment(deployment)) => deployment::reconcile(deployment, desired, now),
        Some(Object::ReplicaSet(set)) => replicaset::reconcile(set, desired, now),
        Some(Object::StatefulSet(set)) => statefulset::reconcile(set, desired, now),
        Some(Object::DaemonSet(set)) => daemonset::reconcile(set, desired, now),
        Some(Object::Job(job)) => job::reconcile(job, desired, now),
        Some(Object::CronJob(cron)) => cronjob::reconcile(cron, desired, now),
        _ => Decision::default(),
    }
}

/// The controller of what changed, and whoever may adopt it.
pub fn dependents(changed: &Object, desired: &Objects) -> Vec<Key> {
    match changed {
        Object::Pod(pod) => match owned::controller(changed) {
            // A Deployment decides by Pods; a ReplicaSet of it may wait for Pods of another one.
            Some(owner) if owner.kind == Kind::ReplicaSet => with_deployment(owner, desired),
            Some(owner) => vec![owner],
            None => adopters(pod, desired),
        },
        Object::ReplicaSet(_) => with_deployment(changed.key(), desired),
        Object::Deployment(deployment) => owned::replica_sets(deployment, desired).map(Typed::key).collect(),
        // Room for what could not be made.
        Object::ResourceQuota(_) | Object::LimitRange(_) => {
            makers(&changed.key().namespace, desired).map(Object::key).collect()
        }
        Object::Job(_) => owned::controller(changed).into_iter().collect(),
        _ => Vec::new(),
    }
}

/// A ReplicaSet, its Deployment, and that one's other ReplicaSets.
fn with_deployment(set: Key, desired: &Objects) -> Vec<Key> {
    let mut keys = Vec::new();
    let deployment = desired.get(&set).and_then(owned::controller);
    if let Some(Object::Deployment(deployment)) = deployment.and_then(|key| desired.get(&key)) {
        keys.push(deployment.key());
        keys.extend(owned::replica_sets(deployment, desired).map(Typed::key));
    }
    keys.push(set);
    keys
}

/// Kinds that make others.
const MAKERS: [Kind; 6] =
    [Kind::Deployment, Kind::ReplicaSet, Kind::StatefulSet, Kind::DaemonSet, Kind::Job, Kind::CronJob];

/// The objects of a namespace that make others.
fn makers<'a>(namespace: &str, desired: &'a Objects) -> impl Iterator<Item = &'a Object> + use<'a> {
    let namespace = namespace.to_owned();
    let all = MAKERS.into_iter().flat_map(|kind| desired.of_kind(kind));
    all.filter(move |object| object.metadata().namespace.as_deref() == Some(&namespace))
}

/// Whoever would adopt a Pod without controller.
fn adopters(pod: &Pod, desired: &Objects) -> Vec<Key> {
    let selects = |object: &&Object| {
        let selector = match object {
            Object::ReplicaSet(set) => &set.spec.selector,
            Object::StatefulSet(set) => &set.spec.selector,
            Object::DaemonSet(set) => &set.spec.selector,
            _ => return false,
        };
        selector::selects(selector, pod.metadata.labels.as_ref())
    };
    makers(pod.namespace(), desired).filter(selects).map(Object::key).collect()
}
