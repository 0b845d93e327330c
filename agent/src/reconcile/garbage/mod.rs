//! What goes with something else: objects whose owner is gone, everything in a namespace that is deleted.
//!
//! Background (as by default): the owner goes at once, what it owned is deleted after it. Foreground: the owner waits, marked by a
//! deletionTimestamp and the finalizer `foregroundDeletion`, until what it owns is gone. Orphans stay: the owner is marked in the same
//! way by the finalizer `orphan`, with which it makes and adopts nothing any more, until its name is off all that it owned. The API does
//! that, too; what it leaves behind where the agent ends meanwhile is done here.

#[cfg(test)]
mod tests;

use k8s_openapi::api::core::v1::{Namespace, NamespaceStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{OwnerReference, Time};
use k8s_openapi::jiff::Timestamp;

use super::{Action, Decision};
use crate::objects::{Key, Kind, Object, Objects, Typed as _};

/// The finalizer of what is deleted in the foreground.
const FOREGROUND: &str = "foregroundDeletion";
/// The finalizer of what leaves orphans.
const ORPHAN: &str = "orphan";

/// Whether an object has to wait for others where it is deleted in the foreground: it owns some, and does not end in a way of its own.
pub fn waits_for_owned(object: &Object, desired: &Objects) -> bool {
    !ends_by_itself(object) && owned(object, desired).next().is_some()
}

/// The object as it is deleted in the foreground.
pub fn marked(object: &Object, now: Timestamp) -> Object {
    marked_by(FOREGROUND, object, now)
}

/// The object as it is deleted before what it owns is taken from it. What ends in a way of its own is not marked: it adopts nothing.
pub fn marked_for_orphans(object: &Object, now: Timestamp) -> Object {
    if ends_by_itself(object) { object.clone() } else { marked_by(ORPHAN, object, now) }
}

fn marked_by(finalizer: &str, object: &Object, now: Timestamp) -> Object {
    let mut marked = object.clone();
    let metadata = marked.metadata_mut();
    metadata.deletion_timestamp.get_or_insert(Time(now));
    let finalizers = metadata.finalizers.get_or_insert_default();
    // Who deletes it once more may have another idea of what it owned.
    finalizers.retain(|is| is != FOREGROUND && is != ORPHAN);
    finalizers.push(finalizer.into());
    marked
}

/// An object without the owner of this uid.
pub fn without_owner(object: &Object, uid: &str) -> Object {
    let mut object = object.clone();
    let metadata = object.metadata_mut();
    if let Some(owners) = &mut metadata.owner_references {
        owners.retain(|owner| owner.uid != uid);
    }
    metadata.owner_references.take_if(|owners| owners.is_empty());
    object
}

fn ends_by_itself(object: &Object) -> bool {
    let kinds = [Kind::Namespace, Kind::Pod, Kind::PersistentVolume, Kind::PersistentVolumeClaim];
    kinds.contains(&object.kind())
}

/// Deletes the object if its owners are gone, and empties or removes a namespace that is being deleted.
pub fn reconcile(key: &Key, desired: &Objects) -> Decision {
    let mut decision = Decision::default();
    let Some(object) = desired.get(key) else { return decision };
    let metadata = object.metadata();
    if !object.is_deleted() {
        let owners = metadata.owner_references.as_deref().unwrap_or_default();
        let over = !owners.is_empty() && owners.iter().all(|owner| is_gone(owner, object, desired));
        if over {
            decision.actions.push(delete(object));
        }
        return decision;
    }
    match object {
        Object::Namespace(namespace) => decision.actions = of_namespace(namespace, desired),
        _ if ends_by_itself(object) => {}
        _ if is_marked_by(ORPHAN, object) => {
            let left = owned(object, desired).map(|left| Action::Update(without_owner(left, object.uid())));
            decision.actions.extend(left);
            // Not before that can be seen: what still had its name would be deleted.
            if decision.actions.is_empty() {
                decision.actions.push(Action::Remove { key: key.clone(), uid: object.uid().into() });
            }
        }
        _ if is_marked_by(FOREGROUND, object) => {
            let left: Vec<&Object> = owned(object, desired).collect();
            let began = metadata.deletion_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0);
            decision.actions.extend(left.iter().filter(|left| !left.is_deleted()).map(|left| {
                // What that owns in turn goes before it, too.
                match waits_for_owned(left, desired) {
                    true => Action::Update(marked(left, began)),
                    false => delete(left),
                }
            }));
            if left.is_empty() {
                decision.actions.push(Action::Remove { key: key.clone(), uid: object.uid().into() });
            }
        }
        _ => {}
    }
    decision
}

/// What the object owned; its namespace.
pub fn dependents(changed: &Object, desired: &Objects) -> Vec<Key> {
    let mut keys = Vec::new();
    let there = desired.get(&changed.key()).filter(|there| there.uid() == changed.uid());
    if there.is_none_or(Object::is_deleted) {
        keys.extend(owned(changed, desired).map(Object::key));
    }
    // An owner may wait for this one: to go, or to have no owner any more.
    let owners = changed.metadata().owner_references.iter().flatten();
    let owners = owners.filter_map(|owner| key_of(owner, changed));
    keys.extend(owners.filter(|key| desired.get(key).is_some_and(Object::is_deleted)));
    let namespace = Key::new(Kind::Namespace, "", changed.key().namespace);
    if desired.get(&namespace).is_some_and(Object::is_deleted) {
        keys.push(namespace);
    }
    keys
}

fn is_marked_by(finalizer: &str, object: &Object) -> bool {
    object.metadata().finalizers.iter().flatten().any(|is| is == finalizer)
}

/// The key of an owner. None: it is of a kind that the agent does not have.
fn key_of(owner: &OwnerReference, owned: &Object) -> Option<Key> {
    let kind = Kind::of_manifest(&owner.api_version, &owner.kind)?;
    let namespace = if kind.namespaced() { owned.key().namespace } else { String::new() };
    Some(Key::new(kind, namespace, owner.name.clone()))
}

/// Whether an owner is not there. Of one of an unknown kind nobody knows: it stays.
fn is_gone(owner: &OwnerReference, object: &Object, desired: &Objects) -> bool {
    let Some(key) = key_of(owner, object) else { return false };
    desired.get(&key).is_none_or(|found| found.uid() != owner.uid)
}

/// What an object owns.
pub fn owned<'a>(owner: &'a Object, desired: &'a Objects) -> impl Iterator<Item = &'a Object> + use<'a> {
    let namespace = owner.key().namespace;
    desired
        .iter()
        .filter(move |(key, object)| {
            let names_it = |reference: &OwnerReference| reference.uid == owner.uid();
            (namespace.is_empty() || key.namespace == namespace)
                && object.metadata().owner_references.iter().flatten().any(names_it)
        })
        .map(|(_, object)| object)
}

fn delete(object: &Object) -> Action {
    Action::Delete { key: object.key(), uid: object.uid().into(), grace: None }
}

/// Everything in it is deleted; when nothing is left, its Events go and it does.
fn of_namespace(namespace: &Namespace, desired: &Objects) -> Vec<Action> {
    let mut actions = Vec::new();
    let phase = namespace.status.as_ref().and_then(|status| status.phase.as_deref());
    if phase != Some("Terminating") {
        let mut terminating = namespace.clone();
        let status = terminating.status.get_or_insert_with(NamespaceStatus::default);
        status.phase = Some("Terminating".into());
        actions.push(Action::Status(terminating.wrap()));
    }
    let within =
        desired.iter().filter(|(key, _)| key.namespace == namespace.name()).map(|(_, object)| object);
    let (events, others): (Vec<&Object>, Vec<&Object>) =
        within.partition(|object| object.kind() == Kind::Event);
    actions.extend(others.iter().filter(|object| !object.is_deleted()).map(|object| delete(object)));
    if others.is_empty() {
        let remove = |object: &Object| Action::Remove { key: object.key(), uid: object.uid().into() };
        actions.extend(events.into_iter().map(remove));
        actions.push(Action::Remove { key: namespace.key(), uid: namespace.uid().into() });
    }
    actions
}
