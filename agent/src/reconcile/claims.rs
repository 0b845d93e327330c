//! PersistentVolumeClaims find their PersistentVolumes.

use k8s_openapi::jiff::Timestamp;

use super::Decision;
use crate::objects::{Key, Object, Objects};

/// Binds a claim to a volume, and frees a volume whose claim is gone.
pub fn reconcile(key: &Key, desired: &Objects, now: Timestamp) -> Decision {
    let _ = (key, desired, now);
    Decision::default()
}

/// Claims that may be bound now, volumes that may be free.
pub fn dependents(changed: &Object, desired: &Objects) -> Vec<Key> {
    let _ = (changed, desired);
    Vec::new()
}
