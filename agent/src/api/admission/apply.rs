//! `apply`: what a manifest says is put, and what it does not say any more goes away.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::put::{self, Step};
use super::{APPLIED, Applied, ORIGIN, Origin, Ranges, Refusal, merge};
use crate::objects::{Key, Kind, Object, fields};
use crate::store::Store;

/// What a manifest may say of an object's metadata and the server does not read, as Kubernetes' does not.
const OF_THE_SERVER: [&str; 8] = [
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "managedFields",
    "selfLink",
];

/// A manifest whose fields are known and of their types.
pub(super) struct Manifest {
    /// Without a name where one is generated.
    pub key: Key,
    /// As JSON, without status, nulls and what is the server's.
    pub value: Value,
    /// Typed, of a value that is whole.
    pub object: Object,
}

/// Puts a manifest, or merges it into what is there as `kubectl apply` does.
pub fn apply(
    store: &Arc<Store>,
    ranges: &Ranges,
    origin: &Origin,
    namespace: &str,
    manifest: Value,
) -> Result<(Object, Applied), Refusal> {
    let manifest = read(namespace, manifest)?;
    let key = &manifest.key;
    if key.name.is_empty() {
        let message = format!("{}: metadata.name: a name is needed (only create makes one up)", key.kind);
        return Err(Refusal::new(422, message));
    }
    let applied = last_applied(key.kind, &manifest.value);
    put::put(store, ranges, key, |live| match live {
        None => Ok(Step::Create(marked(manifest.object.clone(), &applied, origin))),
        Some(live) => {
            may_apply(live, origin)?;
            let before =
                live.metadata().annotations.as_ref().and_then(|annotations| annotations.get(APPLIED));
            let before = before.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
            let merged = merge::apply(key.kind, &before, live.to_value(), &manifest.value);
            let object = fields::typed(key.kind, merged).map_err(|error| invalid(key, &error))?;
            Ok(Step::Update(marked(object, &applied, origin)))
        }
    })
}

/// Whether this manifest is the last one that was applied to the object, and from the same place. Of Secrets nobody knows.
pub fn is_applied(store: &Store, origin: &Origin, namespace: &str, manifest: Value) -> bool {
    let Ok(manifest) = read(namespace, manifest) else { return false };
    let key = &manifest.key;
    let is_it = |live: &Object| {
        let annotations = live.metadata().annotations.as_ref();
        let said = |name: &str| annotations.and_then(|annotations| annotations.get(name)).map(String::as_str);
        let from = match origin {
            Origin::User => None,
            Origin::File(file) => Some(file.as_str()),
        };
        !live.is_deleted()
            && said(ORIGIN) == from
            && said(APPLIED) == Some(last_applied(key.kind, &manifest.value).as_str())
    };
    key.kind != Kind::Secret && store.read(|objects| objects.get(key).is_some_and(is_it))
}

/// Reads a manifest: its kind, its fields, their types.
pub(super) fn read(namespace: &str, mut manifest: Value) -> Result<Manifest, Refusal> {
    let kind = kind(&manifest)?;
    fields::without_nulls(&mut manifest);
    let named = |what: &str| manifest.pointer(&format!("/metadata/{what}")).and_then(Value::as_str);
    let key = match kind.namespaced() {
        true => Key::new(kind, named("namespace").unwrap_or(namespace), named("name").unwrap_or_default()),
        false => Key::new(kind, "", named("name").unwrap_or_default()),
    };
    let errors = fields::check(kind, &manifest);
    let object = fields::typed(kind, manifest.clone()).map_err(|error| invalid(&key, &error))?;
    if !errors.is_empty() {
        let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
        return Err(Refusal::new(400, format!("{key}: {}", errors.join("; "))));
    }
    let object = without_servers(object, &key);
    if let Some(map) = manifest.as_object_mut() {
        map.remove("status");
        let metadata = map.entry("metadata").or_insert_with(|| Value::Object(Map::new()));
        strip_metadata(metadata, &key);
    }
    Ok(Manifest { key, value: manifest, object })
}

/// The kind that a manifest names.
fn kind(manifest: &Value) -> Result<Kind, Refusal> {
    let text = |name: &str| manifest.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let refused = |message: String| Refusal::new(400, message);
    let kind = text("kind")
        .ok_or_else(|| refused("kind: it is not set: a manifest names its kind, as \"Pod\"".into()))?;
    let version = text("apiVersion").ok_or_else(|| {
        refused(format!("{kind}: apiVersion: it is not set: a manifest names its version, as \"v1\""))
    })?;
    match Kind::of_manifest(version, kind) {
        Some(Kind::Event) => Err(refused("Event: events are the agent's to make".into())),
        Some(kind) => Ok(kind),
        None => {
            let other = Kind::ALL.iter().find(|known| known.name() == kind);
            let hint = other.map(|known| format!(", but in \"{}\"", known.api_version())).unwrap_or_default();
            Err(refused(format!("no matches for kind \"{kind}\" in version \"{version}\"{hint}")))
        }
    }
}

/// Takes away what the server writes, and sets the namespace.
fn without_servers(mut object: Object, key: &Key) -> Object {
    let metadata = object.metadata_mut();
    metadata.uid = None;
    metadata.resource_version = None;
    metadata.generation = None;
    metadata.creation_timestamp = None;
    metadata.deletion_timestamp = None;
    metadata.deletion_grace_period_seconds = None;
    metadata.managed_fields = None;
    metadata.self_link = None;
    metadata.namespace = key.kind.namespaced().then(|| key.namespace.clone());
    if let Some(annotations) = &mut metadata.annotations {
        annotations.remove(APPLIED);
        annotations.remove(ORIGIN);
        if annotations.is_empty() {
            metadata.annotations = None;
        }
    }
    super::put::clear_status(&mut object);
    object
}

fn strip_metadata(metadata: &mut Value, key: &Key) {
    let Some(metadata) = metadata.as_object_mut() else { return };
    for name in OF_THE_SERVER {
        metadata.remove(name);
    }
    metadata.remove("namespace");
    if key.kind.namespaced() {
        metadata.insert("namespace".into(), key.namespace.as_str().into());
    }
    if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
        annotations.remove(APPLIED);
        annotations.remove(ORIGIN);
    }
}

/// The manifest as it is kept beside the object; of a Secret the keys alone.
fn last_applied(kind: Kind, manifest: &Value) -> String {
    if kind != Kind::Secret {
        return manifest.to_string();
    }
    let mut manifest = manifest.clone();
    for name in ["data", "stringData"] {
        let values = manifest
            .get_mut(name)
            .and_then(Value::as_object_mut)
            .into_iter()
            .flat_map(|map| map.values_mut());
        values.for_each(|value| *value = "".into());
    }
    manifest.to_string()
}

fn marked(mut object: Object, applied: &str, origin: &Origin) -> Object {
    let annotations = object.metadata_mut().annotations.get_or_insert_default();
    annotations.insert(APPLIED.into(), applied.into());
    match origin {
        Origin::User => annotations.remove(ORIGIN),
        Origin::File(name) => annotations.insert(ORIGIN.into(), name.clone()),
    };
    object
}

/// What comes from a file is changed in that file. Which of two files has an object is decided before it comes here.
fn may_apply(live: &Object, origin: &Origin) -> Result<(), Refusal> {
    let from = live.metadata().annotations.as_ref().and_then(|annotations| annotations.get(ORIGIN));
    match (from, origin) {
        (Some(file), Origin::User) => {
            let key = live.key();
            Err(Refusal::new(
                409,
                format!("{key}: it comes from {file} in the manifests' directory: change it there"),
            ))
        }
        _ => Ok(()),
    }
}

/// A value that does not fit, by its path.
pub(super) fn invalid(key: &Key, why: &dyn std::fmt::Display) -> Refusal {
    Refusal::new(400, format!("{key}: {why}"))
}
