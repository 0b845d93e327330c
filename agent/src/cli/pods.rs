//! The Pods that a name stands for: a Pod itself, or one of a Deployment's, a Service's and so on.

use serde_json::Value;

use super::Session;
use super::client::{Error, Result};
use super::columns;
use super::podwords::condition;
use super::target::{Target, prefix};
use super::value::{Look as _, pairs};
use super::watch::Query;
use crate::objects::{Key, Kind};

/// All Pods of an object, the best one first: running and ready before others, then the older.
pub async fn of(session: &Session<'_>, target: &Target, namespace: &str) -> Result<Vec<Value>> {
    let key = target.key(namespace).ok_or_else(|| Error::usage("a name is needed"))?;
    let object = session.client.get(&key).await?;
    if target.kind == Kind::Pod {
        return Ok(vec![object]);
    }
    let labels = match target.kind {
        // Its Pods are those that it owns: see below.
        Kind::Job => String::new(),
        Kind::Service => pairs(&object, "/spec/selector", ""),
        Kind::Deployment | Kind::ReplicaSet | Kind::StatefulSet | Kind::DaemonSet => {
            match object.pointer("/spec/selector").map(columns::selector) {
                Some(selector) if selector != "<none>" => selector,
                _ => String::new(),
            }
        }
        kind => return Err(Error::usage(format!("cannot find the Pods of a {kind}"))),
    };
    if labels.is_empty() && target.kind != Kind::Job {
        return Err(Error::usage(format!("{}/{} selects no Pods", prefix(target.kind), key.name)));
    }
    let mut pods = by_labels(session, namespace, labels).await?;
    if !matches!(target.kind, Kind::Service | Kind::Deployment) {
        let uid = object.text("/metadata/uid");
        pods.retain(|pod| {
            let owners = pod.items("/metadata/ownerReferences");
            (owners.is_empty() && target.kind != Kind::Job)
                || owners.iter().any(|owner| owner.text("/uid") == uid)
        });
    }
    if pods.is_empty() {
        return Err(Error::usage(format!("{}/{} has no Pods now", prefix(target.kind), key.name)));
    }
    pods.sort_by_key(|pod| {
        let running = pod.text("/status/phase") == "Running" && !pod.has("/metadata/deletionTimestamp");
        let created = pod.text("/metadata/creationTimestamp").to_owned();
        (!running, !condition(pod, "Ready"), created, pod.text("/metadata/name").to_owned())
    });
    Ok(pods)
}

/// Pods with labels.
pub async fn by_labels(session: &Session<'_>, namespace: &str, labels: String) -> Result<Vec<Value>> {
    let query =
        Query { kind: Kind::Pod, namespace: Some(namespace.to_owned()), labels, fields: String::new() };
    query.list(&session.client).await
}

/// The key of a Pod.
pub fn key(pod: &Value) -> Key {
    Key::new(Kind::Pod, pod.text("/metadata/namespace"), pod.text("/metadata/name"))
}

/// The names of a Pod's containers in the order in which they start.
pub fn containers(pod: &Value) -> Vec<&str> {
    let all = ["/spec/initContainers", "/spec/containers"].map(|pointer| pod.items(pointer));
    all.into_iter().flatten().map(|container| container.text("/name")).collect()
}
