//! Numbers of replicas and revisions of templates.

use std::sync::Arc;

use hyper::body::Bytes;
use serde_json::{Value, json};

use super::answer::{self, Answer, Failure, resource};
use super::path::Query;
use super::{read, write};
use crate::api::Api;
use crate::objects::{Key, Kind, Object, Typed as _};
use crate::reconcile::workloads;

/// An object's `Scale`.
pub fn scale(api: &Api, key: &Key) -> Result<Answer, Failure> {
    let object = read::object(api, key)?.to_value();
    let number = |pointer: &str| object.pointer(pointer).and_then(Value::as_i64);
    Ok(answer::json(&json!({
        "apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": object["metadata"],
        "spec": {"replicas": number("/spec/replicas").unwrap_or(1)},
        "status": {"replicas": number("/status/replicas").unwrap_or(0)},
    })))
}

/// Sets the replicas of a `Scale`, of which a merge patch is a part.
pub async fn set_scale(api: &Arc<Api>, key: Key, body: Bytes) -> Result<Answer, Failure> {
    let scale: Value = serde_json::from_slice(&body)
        .map_err(|error| Failure::new(400, format!("the body is not JSON: {error}")))?;
    let replicas = scale.pointer("/spec/replicas").and_then(Value::as_i64);
    let replicas = replicas.filter(|replicas| i32::try_from(*replicas).is_ok_and(|replicas| replicas >= 0));
    let replicas =
        replicas.ok_or_else(|| Failure::new(422, "spec.replicas: it has to be a number of 0 or more"))?;
    write::patch_by(api, key, json!({"spec": {"replicas": replicas}})).await
}

/// How far a rollout is, in kubectl's words.
pub fn status(api: &Api, key: &Key) -> Result<Answer, Failure> {
    let object = read::object(api, key)?;
    let (message, done) = workloads::rollout_status(&object).map_err(|message| Failure::new(422, message))?;
    Ok(answer::json(&json!({"message": message, "done": done})))
}

/// All revisions, with what changed in them.
pub fn history(api: &Api, key: &Key) -> Result<Answer, Failure> {
    let object = read::object(api, key)?;
    let revisions = api.store.read(|objects| workloads::history(&object, objects));
    let revisions: Vec<Value> = revisions
        .into_iter()
        .map(|(revision, cause)| json!({"revision": revision, "changeCause": cause}))
        .collect();
    Ok(answer::json(&json!({"revisions": revisions})))
}

/// Goes back to a revision: `toRevision`, 0 for the one before.
pub async fn rollback(api: &Arc<Api>, key: Key, query: &Query) -> Result<Answer, Failure> {
    let revision: i64 = query.parsed("toRevision")?.unwrap_or(0);
    if key.kind != Kind::Deployment {
        let message = format!("{}: only Deployments go back to a revision", resource(key.kind));
        return Err(Failure::new(422, message));
    }
    let object = read::object(api, &key)?;
    let Object::Deployment(deployment) = &object else { return Err(Failure::not_found(&key)) };
    if deployment.spec.paused == Some(true) {
        let message = format!(
            "you cannot rollback a paused deployment; resume it first with 'rollout resume deployment/{}' and try again",
            deployment.name()
        );
        return Err(Failure::new(422, message));
    }
    let back = api.store.read(|objects| workloads::rollback(deployment, revision, objects));
    let back = back.map_err(|message| Failure::new(422, message))?.wrap();
    if back == object {
        return Ok(answer::json(&json!({"message": "skipped rollback (current template already matches)"})));
    }
    write::replace_by(api, key, back.to_value()).await
}
