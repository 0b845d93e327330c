//! What changes objects: each of them through [`crate::api::admission`], on a thread that may wait for the disk.

use std::sync::Arc;

use hyper::body::Bytes;
use serde_json::{Value, json};

use super::answer::{self, Answer, Failure, resource};
use super::path::{List, Query};
use super::read;
use crate::api::Api;
use crate::api::admission::{self, Applied, Origin};
use crate::objects::{Key, Kind, Object, defaults, fields, validate, yaml};
use crate::reconcile::garbage;
use crate::store::{Durability, now};

/// Applies a text of YAML, in the order of kinds that need each other. A line of JSON for each object tells what became of it; one
/// that is refused does not keep back the others.
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
        // Stable: those of one kind stay in their order.
        manifests.sort_by_key(|(_, manifest)| kind_of(manifest));
        let mut lines = String::new();
        for (line, manifest) in manifests {
            lines.push_str(&apply_one(&api, &query, line, manifest).to_string());
            lines.push('\n');
        }
        Ok(answer::text(lines))
    })
    .await
}

fn apply_one(api: &Api, query: &Query, line: usize, manifest: Value) -> Value {
    let text =
        |pointer: &str| manifest.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (kind, name) = (text("/kind"), text("/metadata/name"));
    let answer = match one(api, query, manifest) {
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
        return create_one(api, &namespace, manifest).map(|object| (object, Applied::Created));
    }
    Ok(admission::apply(&api.store, &api.ranges, &Origin::User, &namespace, manifest)?)
}

fn create_one(api: &Api, namespace: &str, manifest: Value) -> Result<Object, Failure> {
    if let (Some(kind), Some(name)) =
        (kind_of(&manifest), manifest.pointer("/metadata/name").and_then(Value::as_str))
    {
        let key = Key::new(kind, if kind.namespaced() { namespace } else { "" }, name);
        if api.store.read(|objects| objects.get(&key).is_some()) {
            return Err(Failure::exists(&key));
        }
    }
    Ok(admission::apply(&api.store, &api.ranges, &Origin::User, namespace, manifest)?.0)
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
        let object = create_one(&api, namespace, manifest)?;
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
    let of_key = |pointer: &str| manifest.pointer(pointer).and_then(Value::as_str);
    if of_key("/metadata/name") != Some(&key.name) {
        return Err(Failure::new(400, format!("metadata.name: it is not {}, as the path is", key.name)));
    }
    change(api, key, move |_| manifest).await
}

/// Changes an object by a JSON merge patch (RFC 7396).
pub async fn patch(api: &Arc<Api>, key: Key, body: Bytes) -> Result<Answer, Failure> {
    let patch = parse(&body)?;
    change(api, key, move |mut before| {
        merge(&mut before, &patch);
        before
    })
    .await
}

/// Changes an object as `to` says; what it says of status, identity and deletion is not heard.
pub async fn change(
    api: &Arc<Api>,
    key: Key,
    to: impl FnOnce(Value) -> Value + Send + 'static,
) -> Result<Answer, Failure> {
    let api = Arc::clone(api);
    blocking(move || Ok(answer::json(&change_now(&api, &key, to)?.to_value()))).await
}

fn change_now(api: &Api, key: &Key, to: impl FnOnce(Value) -> Value) -> Result<Object, Failure> {
    let before = read::object(api, key)?;
    let value = before.to_value();
    let mut wanted = to(value.clone());
    let expected =
        wanted.pointer("/metadata/resourceVersion").and_then(Value::as_str).unwrap_or_default().to_owned();
    for (section, names) in [
        ("", &["status"][..]),
        (
            "/metadata",
            &[
                "name",
                "namespace",
                "uid",
                "creationTimestamp",
                "deletionTimestamp",
                "deletionGracePeriodSeconds",
                "generation",
                "resourceVersion",
                "managedFields",
                "ownerReferences",
            ][..],
        ),
    ] {
        let old = value.pointer(section);
        let Some(Value::Object(new)) = wanted.pointer_mut(section) else {
            return Err(Failure::new(400, format!("{}: it is no object", section.trim_start_matches('/'))));
        };
        for name in names {
            match old.and_then(|old| old.get(name)) {
                Some(kept) => new.insert((*name).to_owned(), kept.clone()),
                None => new.remove(*name),
            };
        }
    }
    let current = before.metadata().resource_version.as_deref().unwrap_or_default();
    if !expected.is_empty() && expected != current {
        return Err(Failure::new(409, format!("{key} was changed by somebody else meanwhile: try again")));
    }
    let after = judged(&before, wanted)?;
    let changed = api.store.update(key, Durability::Synced, |now| {
        (now.metadata().resource_version == before.metadata().resource_version).then_some(after)
    })?;
    if changed == before || changed.metadata().resource_version != before.metadata().resource_version {
        return Ok(changed);
    }
    Err(Failure::new(409, format!("{key} was changed by somebody else meanwhile: try again")))
}

/// The object that a value is, if it may replace the one before.
fn judged(before: &Object, wanted: Value) -> Result<Object, Failure> {
    let invalid =
        |all: Vec<String>| Failure::new(422, format!("{} is invalid: {}", before.key(), all.join("; ")));
    let mut manifest = wanted.clone();
    if let Some(map) = manifest.as_object_mut() {
        map.remove("status");
    }
    let unknown = fields::check(before.kind(), &user_fields(manifest));
    if !unknown.is_empty() {
        return Err(invalid(unknown.iter().map(ToString::to_string).collect()));
    }
    let mut after =
        Object::from_value(before.kind(), wanted).map_err(|error| invalid(vec![error.to_string()]))?;
    defaults::complete(&mut after);
    let broken: Vec<String> = validate::check(&after)
        .into_iter()
        .chain(validate::check_change(before, &after))
        .map(|broken| broken.to_string())
        .collect();
    if broken.is_empty() { Ok(after) } else { Err(invalid(broken)) }
}

/// Without what the store itself has put into the metadata.
fn user_fields(mut manifest: Value) -> Value {
    if let Some(Value::Object(metadata)) = manifest.get_mut("metadata") {
        metadata.retain(|name, _| {
            matches!(name.as_str(), "name" | "namespace" | "labels" | "annotations" | "generateName")
        });
    }
    manifest
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
        if policy == "Orphan" {
            orphan(&api, &key)?;
        }
        let object = read::object(&api, &key)?;
        if policy == "Foreground" && uid.as_deref().is_none_or(|uid| uid == object.uid()) {
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

/// Takes an object's name off those it owns, so that they outlive it.
fn orphan(api: &Api, key: &Key) -> Result<(), Failure> {
    let owner = read::object(api, key)?;
    let uid = owner.uid().to_owned();
    let owned: Vec<Key> = api.store.read(|objects| {
        let owned = |object: &Object| {
            let owners = object.metadata().owner_references.as_deref().unwrap_or_default();
            owners.iter().any(|owner| owner.uid == uid)
        };
        objects.iter().filter(|(_, object)| owned(object)).map(|(key, _)| key.clone()).collect()
    });
    for key in owned {
        let freed = api.store.update(&key, Durability::Synced, |object| {
            let mut object = object.clone();
            if let Some(owners) = &mut object.metadata_mut().owner_references {
                owners.retain(|owner| owner.uid != uid);
            }
            Some(object)
        });
        match freed {
            Err(crate::store::StoreError::NotFound(_)) => {}
            freed => drop(freed?),
        }
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

/// RFC 7396: null takes away, objects are merged, anything else replaces.
pub fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    if let Value::Object(target) = target {
        for (name, value) in patch {
            if value.is_null() {
                target.remove(name);
            } else {
                merge(target.entry(name).or_insert(Value::Null), value);
            }
        }
    }
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
