//! `create`, `replace` and `patch`: for what is not applied, as scaling and rollouts.

use std::fs;

use serde_json::Value;

use super::apply::{Manifest, invalid, read};
use super::put::{self, Step, not_found};
use super::{APPLIED, ORIGIN, Ranges, Refusal, merge};
use crate::objects::{Key, Object, fields};
use crate::store::Store;

/// What a made-up end of a name is made of: no vowels, so that no words come out.
const LETTERS: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
/// How many letters are made up.
const SUFFIX: usize = 5;

/// Puts a new object. With `metadata.generateName` alone its name is made up.
pub fn create(store: &Store, ranges: &Ranges, namespace: &str, manifest: Value) -> Result<Object, Refusal> {
    let Manifest { mut key, mut object, .. } = read(namespace, manifest)?;
    if key.name.is_empty()
        && let Some(prefix) = object.metadata().generate_name.clone()
    {
        key.name = format!("{prefix}{}", made_up());
        object.metadata_mut().name = Some(key.name.clone());
    }
    let created = put::put(store, ranges, &key, |live| match live {
        Some(_) => Err(Refusal::new(409, format!("{} \"{}\" already exists", key.kind.plural(), key.name))),
        None => Ok(Step::Create(object.clone())),
    });
    created.map(|(object, _)| object)
}

/// Puts an object in the place of one that is there: what the manifest leaves out goes. A `metadata.resourceVersion` in it has to be that of
/// the object.
pub fn replace(store: &Store, ranges: &Ranges, key: &Key, manifest: Value) -> Result<Object, Refusal> {
    let revision =
        manifest.pointer("/metadata/resourceVersion").and_then(Value::as_str).map(ToOwned::to_owned);
    let manifest = read(&key.namespace, manifest)?;
    if manifest.key != *key {
        return Err(Refusal::new(400, format!("{key}: the manifest is of {}", manifest.key)));
    }
    let replaced = put::put(store, ranges, key, |live| {
        let live = live.ok_or_else(|| not_found(key))?;
        same_revision(live, revision.as_deref())?;
        Ok(Step::Update(with_servers(manifest.object.clone(), live)?))
    });
    replaced.map(|(object, _)| object)
}

/// Changes an object by a JSON merge patch (RFC 7386); null removes. Status and identity cannot be patched.
pub fn patch(store: &Store, ranges: &Ranges, key: &Key, patch: &Value) -> Result<Object, Refusal> {
    let revision = patch.pointer("/metadata/resourceVersion").and_then(Value::as_str);
    let patched = put::put(store, ranges, key, |live| {
        let live = live.ok_or_else(|| not_found(key))?;
        same_revision(live, revision)?;
        let mut value = live.to_value();
        merge::patch(&mut value, patch);
        let errors = fields::check(key.kind, &value);
        // First: where a value is of a wrong type, no field is known.
        let object = fields::typed(key.kind, value).map_err(|error| invalid(key, &error))?;
        if !errors.is_empty() {
            let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
            return Err(Refusal::new(400, format!("{key}: {}", errors.join("; "))));
        }
        if object.key() != *key {
            return Err(Refusal::new(422, format!("{key}: metadata.name: it cannot be changed")));
        }
        Ok(Step::Update(with_servers(object, live)?))
    });
    patched.map(|(object, _)| object)
}

fn same_revision(live: &Object, wanted: Option<&str>) -> Result<(), Refusal> {
    match wanted {
        Some(wanted) if live.metadata().resource_version.as_deref() != Some(wanted) => {
            let message =
                format!("{}: it was changed by somebody else meanwhile: get it and try again", live.key());
            Err(Refusal::new(409, message))
        }
        _ => Ok(()),
    }
}

/// With the live object's status, and of its metadata what is the server's.
fn with_servers(object: Object, live: &Object) -> Result<Object, Refusal> {
    let (mut value, of_live) = (object.to_value(), live.to_value());
    if let Some(map) = value.as_object_mut() {
        match of_live.get("status") {
            Some(status) => map.insert("status".into(), status.clone()),
            None => map.remove("status"),
        };
    }
    let mut object = fields::typed(object.kind(), value).map_err(|error| invalid(&live.key(), &error))?;
    let kept = live.metadata().annotations.clone().unwrap_or_default();
    let metadata = object.metadata_mut();
    metadata.deletion_timestamp.clone_from(&live.metadata().deletion_timestamp);
    metadata.deletion_grace_period_seconds = live.metadata().deletion_grace_period_seconds;
    for name in [APPLIED, ORIGIN] {
        match kept.get(name) {
            Some(value) => {
                _ = metadata.annotations.get_or_insert_default().insert(name.into(), value.clone())
            }
            None => _ = metadata.annotations.as_mut().and_then(|annotations| annotations.remove(name)),
        }
    }
    Ok(object)
}

/// Letters that nobody guesses.
fn made_up() -> String {
    let uuid = fs::read_to_string("/proc/sys/kernel/random/uuid").unwrap_or_default();
    let digits: Vec<u8> = uuid.bytes().filter(u8::is_ascii_hexdigit).collect();
    let letters = digits.chunks(3).take(SUFFIX).map(|digits| {
        let number =
            digits.iter().fold(0, |number, digit| number * 16 + (*digit as char).to_digit(16).unwrap_or(0));
        char::from(LETTERS[number as usize % LETTERS.len()])
    });
    letters.collect()
}
