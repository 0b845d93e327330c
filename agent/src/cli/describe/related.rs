//! What belongs to an object and is not in it.

use serde_json::Value;

use super::super::Session;
use super::super::client::{Error, Result};
use super::super::value::Look as _;
use super::super::watch::Query;
use crate::objects::{Key, Kind};

/// A Service's Endpoints, a Deployment's ReplicaSets, the Pods of a ReplicaSet and the like and of a claim, the Services and Endpoints around
/// an Ingress, a namespace's quotas and limits.
pub async fn to(session: &Session<'_>, kind: Kind, object: &Value) -> Result<Vec<Value>> {
    let namespace = object.text("/metadata/namespace");
    match kind {
        Kind::Service => {
            let key = Key::new(Kind::Endpoints, namespace, object.text("/metadata/name"));
            match session.client.get(&key).await {
                Err(error @ Error::Server { .. }) if error.is_not_found() => Ok(Vec::new()),
                endpoints => Ok(vec![endpoints?]),
            }
        }
        Kind::Deployment => owned(session, Kind::ReplicaSet, object).await,
        Kind::ReplicaSet | Kind::StatefulSet | Kind::DaemonSet => owned(session, Kind::Pod, object).await,
        Kind::PersistentVolumeClaim => {
            let mut pods = all(session, Kind::Pod, namespace).await?;
            let claim = object.text("/metadata/name");
            pods.retain(|pod| {
                let mut volumes = pod.items("/spec/volumes").iter();
                volumes.any(|volume| volume.text("/persistentVolumeClaim/claimName") == claim)
            });
            Ok(pods)
        }
        Kind::Ingress => {
            let mut related = all(session, Kind::Service, namespace).await?;
            related.extend(all(session, Kind::Endpoints, namespace).await?);
            Ok(related)
        }
        Kind::Namespace => {
            let name = object.text("/metadata/name");
            let mut related = all(session, Kind::ResourceQuota, name).await?;
            related.extend(all(session, Kind::LimitRange, name).await?);
            Ok(related)
        }
        _ => Ok(Vec::new()),
    }
}

async fn all(session: &Session<'_>, kind: Kind, namespace: &str) -> Result<Vec<Value>> {
    let namespace = Some(namespace.to_owned());
    let query = Query { kind, namespace, labels: String::new(), fields: String::new() };
    query.list(&session.client).await
}

async fn owned(session: &Session<'_>, kind: Kind, owner: &Value) -> Result<Vec<Value>> {
    let mut owned = all(session, kind, owner.text("/metadata/namespace")).await?;
    let uid = owner.text("/metadata/uid");
    owned.retain(|object| {
        let mut owners = object.items("/metadata/ownerReferences").iter();
        owners.any(|owner| owner.text("/uid") == uid && owner.flag("/controller"))
    });
    Ok(owned)
}
