//! Who controls what: owner references, adoption, release.

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference};

use crate::objects::{Key, Kind, Object, Objects, Typed, selector};
use crate::reconcile::garbage::without_owner;
use crate::reconcile::{Action, Decision};

/// A reference to an object as controller.
pub(super) fn reference(owner: &impl Typed) -> OwnerReference {
    let kind = owner.key().kind;
    OwnerReference {
        api_version: kind.api_version().to_owned(),
        kind: kind.name().to_owned(),
        name: owner.name().to_owned(),
        uid: owner.uid().to_owned(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// The reference to an object's controller.
fn controller_reference(metadata: &ObjectMeta) -> Option<&OwnerReference> {
    metadata.owner_references.as_deref()?.iter().find(|owner| owner.controller == Some(true))
}

/// The key of an object's controller, if that is of a kind that the agent has.
pub(super) fn controller(object: &Object) -> Option<Key> {
    let owner = controller_reference(object.metadata())?;
    let kind = Kind::of_manifest(&owner.api_version, &owner.kind)?;
    Some(Key::new(kind, object.metadata().namespace.clone().unwrap_or_default(), owner.name.clone()))
}

/// Whether an object is controlled by one with this uid.
pub(super) fn is_controlled_by(metadata: &ObjectMeta, uid: &str) -> bool {
    controller_reference(metadata).is_some_and(|owner| owner.uid == uid)
}

/// The ReplicaSets of a Deployment.
pub(super) fn replica_sets<'a>(
    deployment: &'a Deployment,
    desired: &'a Objects,
) -> impl Iterator<Item = &'a ReplicaSet> {
    let sets = desired.list_in::<ReplicaSet>(deployment.namespace());
    sets.filter(|set| is_controlled_by(&set.metadata, deployment.uid()))
}

/// Those of `all` that the owner controls: orphans that it selects are adopted, what it does not select any more is let go.
pub(super) fn claim<'a, T: Typed + 'a>(
    owner: &impl Typed,
    selects: &LabelSelector,
    all: impl Iterator<Item = &'a T>,
    decision: &mut Decision,
) -> Vec<&'a T> {
    let mut claimed = Vec::new();
    for object in all {
        let metadata = object.meta();
        let selected = || selector::selects(selects, metadata.labels.as_ref());
        match controller_reference(metadata) {
            Some(reference) if reference.uid != owner.uid() => {}
            Some(_) if selected() => claimed.push(object),
            Some(_) if metadata.deletion_timestamp.is_none() => {
                decision.actions.push(Action::Update(released(object, owner.uid())));
            }
            None if metadata.deletion_timestamp.is_none() && selected() => {
                decision.actions.push(Action::Update(adopted(object, owner)));
                claimed.push(object);
            }
            _ => {}
        }
    }
    claimed
}

fn adopted<T: Typed>(object: &T, owner: &impl Typed) -> Object {
    let mut object = object.clone().wrap();
    object.metadata_mut().owner_references.get_or_insert_default().push(reference(owner));
    object
}

fn released<T: Typed>(object: &T, uid: &str) -> Object {
    without_owner(&object.clone().wrap(), uid)
}
