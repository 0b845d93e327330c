//! What changes objects: each of them through [`crate::api::admission`], on a thread that may wait for the disk.

use std::collections::btree_map::{BTreeMap, Entry};
use std::sync::Arc;

use hyper::body::Bytes;
use serde_json::{Value, json};

use super::answer::{self, Answer, Failure, resource};
use super::path::{List, Query};
use super::read;
use crate::api::Api;
use crate::api::admission::{self, Applied, Origin};
use crate::objects::{Key, Kind, Object, yaml};
use crate::reconcile::garbage;
use crate::store::{Durability, now};

/// Applies a text of YAML, in the order of kinds that need each other. A line of JSON for each object, in the text's order, tells what
/// became of it; one that is refused does not keep back the others.
pub async fn apply(api: &Arc<Api>, query: Query, body: Bytes) -> Result<Answer, Failure> {
    let text =
        String::from_utf8(body.into()).map_err(|_| Failure::new(400, "the manifest is not UTF-8 text"))?;
    let api = Arc::clone(api);
    blocking(move || {
        let documents = yaml::documents(&text).map_err(|error| Failure::new(400, error.to_string()))?;
        let mut manifests: Vec<(usize, Value)> = Vec::new();
        for (line, document) in documents {
            match document.get("kind").and_then(Value::as_str) {
                Some("List") => match document.get("items").and_then(Value::as_array) {
                    Some(items) => manifests.extend(items.iter().map(|item| (line, item.clone()))),
                    None => return Err(Failure::new(400, format!("line {line}: a List without items"))),
                },
                _ => manifests.push((line, document)),
            }
        }
        let mut order: Vec<usize> = (0..manifests.len()).collect();
        // Stable: those of one kind stay in their order.
        order.sort_by_key(|at| manifests.get(*at).map(|(_, manifest)| kind_of(manifest)));
        let mut answers = vec![Value::Null; manifests.len()];
        let mut places = BTreeMap::new();
        for at in order {
            if let (Some((line, manifest)), Some(answer)) = (manifests.get_mut(at), answers.get_mut(at)) {
                let manifest = manifest.take();
                let before = name_of(&query, &manifest).and_then(|key| match places.entry(key) {
                    Entry::Occupied(before) => Some(*before.get()),
                    Entry::Vacant(place) => {
                        place.insert(*line);
                        None
                    }
                });
                *answer = apply_one(&api, &query, *line, manifest, before);
            }
        }
        let lines: String = answers.iter().map(|answer| format!("{answer}\n")).collect();
        Ok(answer::text(lines))
    })
    .await
}

/// The key that a manifest has, if it has a name.
fn name_of(query: &Query, manifest: &Value) -> Option<Key> {
    let kind = kind_of(manifest)?;
    let text =
        |pointer: &str| manifest.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty());
    let namespace = text("/metadata/namespace").or(query.get("namespace")).unwrap_or("default");
    Some(Key::new(kind, if kind.namespaced() { namespace } else { "" }, text("/metadata/name")?))
}

/// `before` is the line of another one of this name, which is kept.
fn apply_one(api: &Api, query: &Query, line: usize, manifest: Value, before: Option<usize>) -> Value {
    let text =
        |pointer: &str| manifest.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (kind, name) = (text("/kind"), text("/metadata/name"));
    let twice = |before| {
        let places =
            format!("it is in two places: line {before}, which is kept, and line {line}, which is not");
        Failure::new(400, format!("{} {name}: {places}", kind.to_ascii_lowercase()))
    };
    let done = before.map_or_else(|| one(api, query, manifest), |before| Err(twice(before)));
    let answer = match done {
        Ok((object, applied)) => {
            return json!({
                "kind": object.kind().name(),
                "resource": resource(object.kind()),
                "namespace": object.metadata().namespace,
                "name": object.metadata().name,
                "result": match applied {
                    Applied::Created => "created",
                    Applied::Configured => "configured",
                    Applied::Unchanged => "unchanged",
                },
            });
        }
        Err(failure) => failure,
    };
    json!({"kind": kind, "name": name, "line": line, "error": answer.status()})
}

fn one(api: &Api, query: &Query, manifest: Value) -> Result<(Object, Applied), Failure> {
    let asked = query.get("namespace");
    let own = manifest.pointer("/metadata/namespace").and_then(Value::as_str).filter(|own| !own.is_empty());
    if let (Some(asked), Some(own), Some(kind)) = (asked, own, kind_of(&manifest))
        && kind.namespaced()
        && asked != own
    {
        return Err(Failure::new(
            400,
            format!(
                "the namespace from the provided object \"{own}\" does not match the namespace \"{asked}\". \
                 You must pass '--namespace={own}' to perform this operation."
            ),
        ));
    }
    let namespace = asked.or(own).unwrap_or("default").to_owned();
    if query.flag("create") {
        let created = admission::create(&api.store, &api.ranges, &namespace, manifest)?;
        return Ok((created, Applied::Created));
    }
    Ok(admission::apply(&api.store, &api.ranges, &Origin::User, &namespace, manifest)?)
}

fn kind_of(manifest: &Value) -> Option<Kind> {
    let text = |name: &str| manifest.get(name).and_then(Value::as_str).unwrap_or_default();
    Kind::of_manifest(text("apiVersion"), text("kind"))
}

/// Makes an object of JSON.
pub async fn create(api: &Arc<Api>, list: List, body: Bytes) -> Result<Answer, Failure> {
    let mut manifest = parse(&body)?;
    complete_kind(&mut manifest, list.kind)?;
    let api = Arc::clone(api);
    blocking(move || {
        let namespace = list.namespace.as_deref().unwrap_or("default");
        let object = admission::create(&api.store, &api.ranges, namespace, manifest)?;
        let mut answer = answer::json(&object.to_value());
        *answer.status_mut() = hyper::StatusCode::CREATED;
        Ok(answer)
    })
    .await
}

/// Replaces an object by JSON; its status stays.
pub async fn replace(api: &Arc<Api>, key: Key, body: Bytes) -> Result<Answer, Failure> {
    let mut manifest = parse(&body)?;
    complete_kind(&mut manifest, key.kind)?;
    replace_by(api, key, manifest).await
}

/// The same, of a value.
pub async fn replace_by(api: &Arc<Api>, key: Key, manifest: Value) -> Result<Answer, Failure> {
    let api = Arc::clone(api);
    blocking(move || {
        Ok(answer::json(&admission::replace(&api.store, &api.ranges, &key, manifest)?.to_value()))
    })
    .await
}

/// Changes an object by a JSON merge patch (RFC 7396).
pub async fn patch(api: &Arc<Api>, key: Key, body: Bytes) -> Result<Answer, Failure> {
    let patch = parse(&body)?;
    patch_by(api, key, patch).await
}

/// The same, of a value.
pub async fn patch_by(api: &Arc<Api>, key: Key, patch: Value) -> Result<Answer, Failure> {
    let api = Arc::clone(api);
    blocking(move || {
        // As others say it that there is none.
        read::object(&api, &key)?;
        Ok(answer::json(&admission::patch(&api.store, &api.ranges, &key, &patch)?.to_value()))
    })
    .await
}

/// Begins an object's deletion, by `gracePeriodSeconds` and `propagationPolicy` of the query or of a `DeleteOptions`.
pub async fn delete(api: &Arc<Api>, key: Key, query: Query, body: Bytes) -> Result<Answer, Failure> {
    let options = if body.is_empty() { Value::Null } else { parse(&body)? };
    let grace = match query.parsed::<u64>("gracePeriodSeconds")? {
        Some(grace) => Some(grace),
        None => options.get("gracePeriodSeconds").and_then(Value::as_u64),
    };
    let policy = query.get("propagationPolicy").or_else(|| options.get("propagationPolicy")?.as_str());
    let policy = policy.unwrap_or("Background").to_owned();
    if !matches!(policy.as_str(), "Background" | "Foreground" | "Orphan") {
        return Err(Failure::new(
            400,
            format!("propagationPolicy {policy}: it is Background, Foreground or Orphan"),
        ));
    }
    let uid = options.pointer("/preconditions/uid").and_then(Value::as_str).map(str::to_owned);
    let api = Arc::clone(api);
    blocking(move || {
        let object = read::object(&api, &key)?;
        let is_meant = uid.as_deref().is_none_or(|uid| uid == object.uid());
        if policy == "Orphan" && is_meant {
            orphan(&api, &object)?;
        }
        if policy == "Foreground" && is_meant {
            // Marked; it goes when what it owns has gone.
            let waits = api.store.read(|objects| garbage::waits_for_owned(&object, objects));
            let mark = |live: &Object| (live.uid() == object.uid()).then(|| garbage::marked(live, now()));
            if waits {
                let marked = api.store.update(&key, Durability::Synced, mark)?;
                return Ok(answer::json(&marked.to_value()));
            }
        }
        let object = match admission::delete(&api.store, &key, uid.as_deref(), grace) {
            Ok(deleted) => deleted,
            // Gone meanwhile, by somebody else's delete.
            Err(refusal) if refusal.status == 404 => object,
            Err(refusal) => return Err(refusal.into()),
        };
        Ok(answer::json(&object.to_value()))
    })
    .await
}

/// Takes an object's name off those it owns, so that they outlive it. It is marked first, or its controller would adopt them again.
fn orphan(api: &Api, owner: &Object) -> Result<(), Failure> {
    let update = |key: &Key, change: &dyn Fn(&Object) -> Option<Object>| {
        match api.store.update(key, Durability::Synced, change) {
            // Gone meanwhile.
            Err(crate::store::StoreError::NotFound(_)) => Ok(()),
            done => done.map(drop),
        }
    };
    let mark = |live: &Object| (live.uid() == owner.uid()).then(|| garbage::marked_for_orphans(live, now()));
    update(&owner.key(), &mark)?;
    let owned: Vec<Key> = api.store.read(|objects| garbage::owned(owner, objects).map(Object::key).collect());
    for key in owned {
        update(&key, &|object| Some(garbage::without_owner(object, owner.uid())))?;
    }
    Ok(())
}

fn parse(body: &Bytes) -> Result<Value, Failure> {
    serde_json::from_slice(body).map_err(|error| Failure::new(400, format!("the body is not JSON: {error}")))
}

/// Kind and version may be left out where the path says them.
fn complete_kind(manifest: &mut Value, kind: Kind) -> Result<(), Failure> {
    let Some(map) = manifest.as_object_mut() else {
        return Err(Failure::new(400, "the body is no object"));
    };
    map.entry("apiVersion").or_insert_with(|| kind.api_version().into());
    map.entry("kind").or_insert_with(|| kind.name().into());
    if kind_of(manifest) != Some(kind) {
        return Err(Failure::new(400, format!("the body is not of the kind {kind}, as the path is")));
    }
    Ok(())
}

/// Work that waits for the disk.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(Failure::new(500, format!("the request's work was cut off: {error}"))),
    }
}
