//! A Service's Endpoints.

use k8s_openapi::jiff::Timestamp;

use crate::objects::{Key, Object, Objects};
use crate::reconcile::Decision;

/// See [`super::reconcile`].
pub fn reconcile(key: &Key, desired: &Objects, now: Timestamp) -> Decision {
    let _ = (key, desired, now);
    Decision::default()
}

/// See [`super::dependents`].
pub fn dependents(changed: &Object, desired: &Objects) -> Vec<Key> {
    let _ = (changed, desired);
    Vec::new()
}
