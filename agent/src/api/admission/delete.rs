//! The beginning of an object's deletion.

use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::SignedDuration;

use super::Refusal;
use super::put::{not_found, of_store};
use crate::objects::pod::is_finished;
use crate::objects::{Key, Kind, Object, Typed};
use crate::reconcile::claims;
use crate::store::{Durability, Store, StoreError, now};

/// Namespaces that are always there.
const KEPT: [&str; 2] = ["default", "kube-system"];
/// Of Pods that say nothing else, in seconds.
const GRACE: i64 = 30;

/// Begins an object's deletion: Pods get a deletionTimestamp and a grace, namespaces the phase Terminating, claims that Pods use and volumes
/// that are bound a deletionTimestamp; others are removed. `uid`: only the object that has it. `grace`: in seconds, of Pods; None is their own.
pub fn delete(store: &Store, key: &Key, uid: Option<&str>, grace: Option<u64>) -> Result<Object, Refusal> {
    if key.kind == Kind::Namespace && KEPT.contains(&key.name.as_str()) {
        return Err(Refusal::new(
            403,
            format!("namespaces \"{}\" is forbidden: this namespace may not be deleted", key.name),
        ));
    }
    let (live, used) = store.read(|objects| {
        let live = objects.get(key).cloned();
        // Something has to end before these go.
        let ends = matches!(key.kind, Kind::Pod | Kind::Namespace);
        let used = ends || live.as_ref().is_some_and(|live| claims::in_use(live, objects));
        (live, used)
    });
    let live = live.ok_or_else(|| not_found(key))?;
    if uid.is_some_and(|uid| !uid.is_empty() && uid != live.uid()) {
        return Err(Refusal::new(
            409,
            format!("{key}: it is another object now, with the uid {}", live.uid()),
        ));
    }
    if !used {
        // What a controller has goes again, if it comes back with the power.
        let durability = if live.controller().is_some() { Durability::Written } else { Durability::Synced };
        let removed = store.remove(key, live.uid(), durability).map_err(|error| of_store(key, &error))?;
        return removed.ok_or_else(|| not_found(key));
    }
    let marked = store.update(key, Durability::Synced, |object| {
        // Another of the same name is not the one that was meant.
        (object.uid() == live.uid()).then(|| mark(object, grace))
    });
    marked.map_err(|error| match error {
        StoreError::NotFound(_) => not_found(key),
        error => of_store(key, &error),
    })
}

fn mark(object: &Object, grace: Option<u64>) -> Object {
    let mut marked = object.clone();
    match Pod::of(object) {
        Some(pod) => {
            let grace = grace_of(pod, grace);
            let before = pod.metadata.deletion_grace_period_seconds;
            // A grace is made shorter, never longer.
            if object.is_deleted() && before.is_some_and(|before| before <= grace) {
                return marked;
            }
            let metadata = marked.metadata_mut();
            metadata.deletion_timestamp =
                Some(Time(now().saturating_add(SignedDuration::from_secs(grace)).unwrap_or(now())));
            metadata.deletion_grace_period_seconds = Some(grace);
        }
        None if object.is_deleted() => {}
        None => marked.metadata_mut().deletion_timestamp = Some(Time(now())),
    }
    if let Some(namespace) = Namespace::of_mut(&mut marked) {
        namespace.status.get_or_insert_default().phase = Some("Terminating".into());
    }
    marked
}

fn grace_of(pod: &Pod, asked: Option<u64>) -> i64 {
    if is_finished(pod) {
        return 0;
    }
    let own = pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds);
    match asked {
        Some(asked) => i64::try_from(asked).unwrap_or(i64::MAX),
        None => own.unwrap_or(GRACE).max(0),
    }
}
