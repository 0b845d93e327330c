//! What goes with something else: objects whose owner is gone, everything in a namespace that is deleted.
//!
//! Background (as by default): the owner goes at once, what it owned is deleted after it. Foreground: the owner waits, marked by a
//! deletionTimestamp and the finalizer `foregroundDeletion`, until what it owns is gone. Orphan: it is marked with `orphan` until
//! nothing names it as its owner any more.

use k8s_openapi::api::core::v1::{Namespace, NamespaceStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{OwnerReference, Time};
use k8s_openapi::jiff::Timestamp;

use super::{Action, Decision, claims};
use crate::objects::{Key, Kind, Object, Objects, Typed as _};

const FOREGROUND: &str = "foregroundDeletion";
const ORPHAN: &str = "orphan";

/// What becomes of what an object owns, when that is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Propagation {
    /// It is deleted after the object.
    #[default]
    Background,
    /// It is deleted before the object.
    Foreground,
    /// It stays.
    Orphan,
}

/// Begins the deletion of anything but a Pod: what the object is to be until it may go; None: it may be removed at once.
pub fn begin_deletion(
    object: &Object,
    propagation: Propagation,
    desired: &Objects,
    now: Timestamp,
) -> Option<Object> {
    let finalizer = match propagation {
        Propagation::Background => None,
        Propagation::Foreground => Some(FOREGROUND),
        Propagation::Orphan => Some(ORPHAN),
    };
    let finalizer = finalizer.filter(|_| owned(object, desired).next().is_some());
    if finalizer.is_none() && object.kind() != Kind::Namespace && !claims::in_use(object, desired) {
        return None;
    }
    let mut marked = object.clone();
    let metadata = marked.metadata_mut();
    metadata.deletion_timestamp.get_or_insert(Time(now));
    if let Some(finalizer) = finalizer {
        let finalizers = metadata.finalizers.get_or_insert_default();
        if !finalizers.iter().any(|is| is == finalizer) {
            finalizers.push(finalizer.into());
        }
    }
    Some(marked)
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
        // Pods, claims and volumes end in their own ways.
        Object::Pod(_) => {}
        _ if is_marked(object, ORPHAN) => {
            decision.actions.extend(owned(object, desired).map(|owned| disowned(owned, object.uid())));
            decision.actions.extend(remove_unless_used(object, desired));
        }
        _ if is_marked(object, FOREGROUND) => {
            let left = owned(object, desired);
            decision.actions.extend(left.filter(|left| !left.is_deleted()).map(delete));
            if owned(object, desired).next().is_none() {
                decision.actions.extend(remove_unless_used(object, desired));
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
        // An owner may wait for this one.
        let owners = changed.metadata().owner_references.iter().flatten();
        keys.extend(
            owners
                .filter_map(|owner| key_of(owner, changed))
                .filter(|key| desired.get(key).is_some_and(Object::is_deleted)),
        );
    }
    let namespace = Key::new(Kind::Namespace, "", changed.key().namespace);
    if desired.get(&namespace).is_some_and(Object::is_deleted) {
        keys.push(namespace);
    }
    keys
}

fn is_marked(object: &Object, finalizer: &str) -> bool {
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

fn owned<'a>(owner: &'a Object, desired: &'a Objects) -> impl Iterator<Item = &'a Object> + use<'a> {
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

fn remove_unless_used(object: &Object, desired: &Objects) -> Option<Action> {
    // Claims and volumes are removed by their own decision.
    let own = matches!(object.kind(), Kind::PersistentVolume | Kind::PersistentVolumeClaim);
    (!own && !claims::in_use(object, desired))
        .then(|| Action::Remove { key: object.key(), uid: object.uid().into() })
}

/// The object without this owner.
fn disowned(object: &Object, owner: &str) -> Action {
    let mut object = object.clone();
    let metadata = object.metadata_mut();
    let mut owners = metadata.owner_references.take().unwrap_or_default();
    owners.retain(|reference| reference.uid != owner);
    metadata.owner_references = (!owners.is_empty()).then_some(owners);
    Action::Update(object)
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
