//! What decisions ask of the store.

use k8s_openapi::api::core::v1::Pod;

use crate::objects::{Key, Kind, Object, Typed};
use crate::store::{Durability, Store, StoreError};

/// The same object with another's status, where its kind has one.
fn with_status(mut object: Object, of: &Object) -> Object {
    macro_rules! take {
        ($($kind:ident)*) => {
            match (&mut object, of) {
                $((Object::$kind(object), Object::$kind(of)) => {
                    std::sync::Arc::make_mut(object).status = of.status.clone();
                })*
                _ => {}
            }
        };
    }
    take!(Namespace ResourceQuota PersistentVolume PersistentVolumeClaim Service Ingress Deployment StatefulSet DaemonSet CronJob Job ReplicaSet Pod);
    object
}

/// Replaces the status of the object with this uid.
pub fn put_status(store: &Store, of: &Object) -> Result<(), StoreError> {
    let done = store.update(&of.key(), Durability::Written, |object| {
        (object.uid() == of.uid()).then(|| with_status(object.clone(), of))
    });
    gone_is_fine(done)
}

/// Replaces metadata and spec of the object with this uid, if nobody has changed it since the decision: that would be undone. It is decided
/// anew then.
pub fn put(store: &Store, new: &Object) -> Result<(), StoreError> {
    let done = store.update(&new.key(), Durability::Written, |object| {
        let revision = |object: &Object| object.metadata().resource_version.clone();
        let same = object.uid() == new.uid() && revision(object) == revision(new);
        same.then(|| with_status(new.clone(), object))
    });
    gone_is_fine(done)
}

fn gone_is_fine<T>(done: Result<T, StoreError>) -> Result<(), StoreError> {
    match done {
        Ok(_) | Err(StoreError::NotFound(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

/// The Pod of a key, if it is the one with this uid.
pub fn pod(store: &Store, key: &Key, uid: &str) -> Option<std::sync::Arc<Pod>> {
    store.read(|objects| match objects.get(key) {
        Some(Object::Pod(pod)) if pod.uid() == uid => Some(pod.clone()),
        _ => None,
    })
}

/// Makes the namespaces that are always there.
pub fn make_namespaces(store: &Store) -> Result<(), StoreError> {
    for name in ["default", "kube-system"] {
        let value = serde_json::json!({"metadata": {"name": name}, "status": {"phase": "Active"}});
        let Ok(object) = Object::from_value(Kind::Namespace, value) else { continue };
        match store.create(object, Durability::Synced) {
            Ok(_) | Err(StoreError::Exists(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
