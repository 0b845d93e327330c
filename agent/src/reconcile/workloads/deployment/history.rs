//! Revisions: which ReplicaSet was of which template, and the way back to one.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::Deployment;

use super::super::owned;
use super::rollout::{HASH, is_of_template};
use crate::api::admission::{APPLIED, ORIGIN};
use crate::objects::{Object, Objects, Typed};

/// Annotations of ReplicaSets.
pub(super) mod annotation {
    /// Which one of a Deployment's templates it has, counted from 1. Also on the Deployment.
    pub const REVISION: &str = "deployment.kubernetes.io/revision";
    /// Revisions that it was before it was rolled back to.
    pub const HISTORY: &str = "deployment.kubernetes.io/revision-history";
    /// The Deployment's replicas when it got its size.
    pub const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
    /// The same, with surge.
    pub const MAX: &str = "deployment.kubernetes.io/max-replicas";
    /// Why there was a change, for people.
    pub const CAUSE: &str = "kubernetes.io/change-cause";
    /// Of kubectl.
    pub const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
}

/// Bytes of the history of revisions that are kept.
const LONGEST_HISTORY: usize = 2000;

/// Annotations of one object, which its ReplicaSets do not share with it.
fn is_own(name: &str) -> bool {
    use annotation::{DESIRED, HISTORY, LAST_APPLIED, MAX, REVISION};
    [REVISION, HISTORY, DESIRED, MAX, LAST_APPLIED, APPLIED, ORIGIN].contains(&name)
}

/// 0 where there is none.
pub(super) fn revision(annotations: &BTreeMap<String, String>) -> i64 {
    annotations.get(annotation::REVISION).and_then(|revision| revision.parse().ok()).unwrap_or(0)
}

/// Gives a ReplicaSet its Deployment's annotations and a revision, if it has no higher one.
pub(super) fn note_revision(
    annotations: &mut BTreeMap<String, String>,
    to: i64,
    from: Option<&BTreeMap<String, String>>,
) {
    let shared = from.into_iter().flatten().filter(|(name, _)| !is_own(name));
    annotations.extend(shared.map(|(name, value)| (name.clone(), value.clone())));
    let before = revision(annotations);
    if before >= to {
        return;
    }
    if let Some(old) = annotations.insert(annotation::REVISION.to_owned(), to.to_string()) {
        let history = annotations.entry(annotation::HISTORY.to_owned()).or_default();
        if !history.is_empty() {
            history.push(',');
        }
        history.push_str(&old);
        while history.len() > LONGEST_HISTORY {
            *history = history.split_once(',').map_or(String::new(), |(_, rest)| rest.to_owned());
        }
    }
}

/// Remembers for which replicas of the Deployment a ReplicaSet has its size.
pub(super) fn note_size(annotations: &mut BTreeMap<String, String>, replicas: i32, limit: i32) {
    annotations.insert(annotation::DESIRED.to_owned(), replicas.to_string());
    annotations.insert(annotation::MAX.to_owned(), limit.to_string());
}

/// The revisions of a Deployment that are kept, the oldest first, with the reasons that were given for them.
pub fn history(object: &Object, objects: &Objects) -> Vec<(i64, Option<String>)> {
    let Object::Deployment(deployment) = object else { return Vec::new() };
    let annotations =
        owned::replica_sets(deployment, objects).filter_map(|set| set.metadata.annotations.as_ref());
    let mut revisions: Vec<_> = annotations
        .map(|all| (revision(all), all.get(annotation::CAUSE).cloned()))
        .filter(|(revision, _)| *revision > 0)
        .collect();
    revisions.sort();
    revisions
}

/// The Deployment with the template of one of its revisions; as it is, where it has that already. 0: the revision before the present
/// one. The error is one line for people.
pub fn rollback(deployment: &Deployment, to: i64, objects: &Objects) -> Result<Deployment, String> {
    let name = deployment.name();
    if deployment.spec.paused == Some(true) {
        return Err(format!("cannot roll back deployment \"{name}\": it is paused; resume it first"));
    }
    let mut sets: Vec<_> = owned::replica_sets(deployment, objects)
        .filter_map(|set| Some((revision(set.metadata.annotations.as_ref()?), set)))
        .collect();
    sets.sort_by_key(|(revision, _)| -revision);
    let found = match to {
        0 => sets.get(1),
        to => sets.iter().find(|(revision, _)| *revision == to),
    };
    let Some((_, set)) = found else {
        return Err(match to {
            0 => format!("no rollout history found for deployment \"{name}\""),
            to => format!("unable to find specified revision {to} in history of deployment \"{name}\""),
        });
    };
    if is_of_template(set, &deployment.spec.template) {
        return Ok(deployment.clone());
    }
    let mut deployment = deployment.clone();
    deployment.spec.template = set.spec.template.clone().unwrap_or_default();
    if let Some(labels) = deployment.spec.template.metadata.as_mut().and_then(|it| it.labels.as_mut()) {
        labels.remove(HASH);
    }
    // Reasons go with templates.
    let annotations = deployment.metadata.annotations.get_or_insert_default();
    annotations.retain(|name, _| is_own(name));
    let shared = set.metadata.annotations.iter().flatten().filter(|(name, _)| !is_own(name));
    annotations.extend(shared.map(|(name, value)| (name.clone(), value.clone())));
    Ok(deployment)
}
