//! What to do: (desired, observed, now) -> actions, without effects.
//!
//! [`reconcile`] decides for one object; [`dependents`] says whom a change of an object concerns. A decision may be asked for at any
//! time and any number of times: what is under way is part of what is observed. Every decision comes again until it has shown effect.

pub mod action;
pub mod claims;
pub mod garbage;
pub mod observed;
pub mod pod;
pub mod quotas;
pub mod workloads;

use k8s_openapi::jiff::Timestamp;

pub use action::{Action, Decision, EventType};
pub use observed::Observed;

use crate::objects::{Key, Kind, Object, Objects};

/// Decides for the object of a key. Where there is none (any more), what is left of it is cleaned up.
pub fn reconcile(key: &Key, desired: &Objects, observed: &Observed, now: Timestamp) -> Decision {
    let mut decision = match key.kind {
        Kind::Pod => pod::reconcile(key, desired, observed, now),
        Kind::PersistentVolume | Kind::PersistentVolumeClaim => claims::reconcile(key, desired, now),
        Kind::ResourceQuota => quotas::reconcile(key, desired),
        Kind::Service => crate::services::reconcile(key, desired, now),
        Kind::Deployment
        | Kind::ReplicaSet
        | Kind::StatefulSet
        | Kind::DaemonSet
        | Kind::Job
        | Kind::CronJob => workloads::reconcile(key, desired, now),
        _ => Decision::default(),
    };
    decision.and(garbage::reconcile(key, desired));
    decision
}

/// The objects that may have to be reconciled when `changed` has: its owner, Services that select it, what it owns and so on.
pub fn dependents(changed: &Object, desired: &Objects) -> Vec<Key> {
    let mut keys = vec![changed.key()];
    keys.extend(workloads::dependents(changed, desired));
    keys.extend(claims::dependents(changed, desired));
    keys.extend(crate::services::dependents(changed, desired));
    keys.extend(pod::dependents(changed, desired));
    keys.extend(garbage::dependents(changed, desired));
    keys.extend(quotas::dependents(changed, desired));
    keys.sort();
    keys.dedup();
    keys
}
