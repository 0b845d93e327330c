//! What goes with something else: objects whose owner is gone, everything in a namespace that is deleted.

use super::Decision;
use crate::objects::{Key, Object, Objects};

/// Deletes the object if its owners are gone, and empties or removes a namespace that is being deleted.
pub fn reconcile(key: &Key, desired: &Objects) -> Decision {
    let _ = (key, desired);
    Decision::default()
}

/// What the object owned; its namespace.
pub fn dependents(changed: &Object, desired: &Objects) -> Vec<Key> {
    let _ = (changed, desired);
    Vec::new()
}
