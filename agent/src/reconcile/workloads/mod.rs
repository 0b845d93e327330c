//! Deployments, ReplicaSets, StatefulSets, DaemonSets, Jobs and CronJobs: objects that make Pods.

use k8s_openapi::jiff::Timestamp;

use super::Decision;
use crate::objects::{Key, Object, Objects};

/// Decides for one of them.
pub fn reconcile(key: &Key, desired: &Objects, now: Timestamp) -> Decision {
    let _ = (key, desired, now);
    Decision::default()
}

/// The controller of what changed.
pub fn dependents(changed: &Object, desired: &Objects) -> Vec<Key> {
    let _ = (changed, desired);
    Vec::new()
}
