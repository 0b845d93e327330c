//! Merging: a manifest into what is there, and a patch into an object. Pure.

use serde_json::{Map, Value};

use crate::objects::Kind;

/// The object after a manifest: what it says is set; what the manifest `before` it said, and it does not, goes; what others have set stays.
/// Lists are the manifest's as a whole.
pub(super) fn apply(kind: Kind, before: &Value, live: Value, manifest: &Value) -> Value {
    let mut merged = live;
    remove_gone(before, &mut merged, manifest);
    overlay(&mut merged, manifest);
    if kind == Kind::Secret {
        remove_gone_keys(before, &mut merged, manifest);
    }
    drop_what_excludes(kind, &mut merged, manifest);
    merged
}

/// A JSON merge patch (RFC 7386).
pub(super) fn patch(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(target) = target else { return };
    for (name, value) in patch {
        if value.is_null() {
            target.remove(name);
        } else {
            self::patch(target.entry(name).or_insert(Value::Null), value);
        }
    }
}

/// Of maps only what the manifest said of them goes, for others may have put more there.
fn remove_gone(before: &Value, live: &mut Value, manifest: &Value) {
    let (Value::Object(before), Value::Object(live)) = (before, live) else { return };
    for (name, value) in before {
        let Some(of_live) = live.get_mut(name) else { continue };
        let given = manifest.get(name);
        remove_gone(value, of_live, given.unwrap_or(&Value::Null));
        let emptied = of_live.as_object().is_some_and(Map::is_empty);
        if given.is_none() && (!value.is_object() || !of_live.is_object() || emptied) {
            live.remove(name);
        }
    }
}

fn overlay(live: &mut Value, manifest: &Value) {
    match (live, manifest) {
        (Value::Object(live), Value::Object(manifest)) => {
            for (name, value) in manifest {
                overlay(live.entry(name).or_insert(Value::Null), value);
            }
        }
        (live, manifest) => *live = manifest.clone(),
    }
}

/// A Secret's `stringData` has become `data`, where what was in it is removed.
fn remove_gone_keys(before: &Value, merged: &mut Value, manifest: &Value) {
    let has = |of: &Value, key: &str| {
        ["data", "stringData"]
            .iter()
            .any(|name| of.pointer(&format!("/{name}")).is_some_and(|map| map.get(key).is_some()))
    };
    let plain = before.get("stringData").and_then(Value::as_object);
    let Some(data) = merged.get_mut("data").and_then(Value::as_object_mut) else { return };
    for key in plain.into_iter().flat_map(Map::keys).filter(|key| !has(manifest, key)) {
        data.remove(key);
    }
}

/// Fields that a default or an allocation has set for another type than the manifest's now: they are not for this one.
fn drop_what_excludes(kind: Kind, merged: &mut Value, manifest: &Value) {
    let strategy = match kind {
        Kind::Deployment => "strategy",
        Kind::StatefulSet | Kind::DaemonSet => "updateStrategy",
        Kind::Service => return drop_of_other_services(merged, manifest),
        _ => return,
    };
    let given = manifest.pointer(&format!("/spec/{strategy}/rollingUpdate")).is_some();
    if let Some(strategy) = merged.pointer_mut(&format!("/spec/{strategy}")).and_then(Value::as_object_mut)
        && strategy.get("type").is_some_and(|name| name != "RollingUpdate")
        && !given
    {
        strategy.remove("rollingUpdate");
    }
}

fn drop_of_other_services(merged: &mut Value, manifest: &Value) {
    let Some(spec) = merged.get_mut("spec").and_then(Value::as_object_mut) else { return };
    let mut drop = |name: &str| {
        if manifest.pointer(&format!("/spec/{name}")).is_none() {
            spec.remove(name);
        }
    };
    let of_type = manifest.pointer("/spec/type").and_then(Value::as_str).unwrap_or("ClusterIP");
    if of_type == "ExternalName" {
        ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy"]
            .into_iter()
            .for_each(&mut drop);
    }
    if of_type != "NodePort" {
        drop("externalTrafficPolicy");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_manifest_is_merged_as_kubectl_does() {
        let before = json!({"metadata": {"labels": {"a": "1", "b": "1"}}, "spec": {"template": {"x": 1}, "paused": true}});
        let live = json!({"metadata": {"uid": "u", "labels": {"a": "1", "b": "1", "by-others": "1"}},
            "spec": {"replicas": 5, "paused": true, "template": {"x": 1, "list": [1, 2]}}, "status": {"replicas": 5}});
        let manifest =
            json!({"metadata": {"labels": {"a": "2"}}, "spec": {"template": {"x": 2, "list": [3]}}});
        assert_eq!(
            apply(Kind::Deployment, &before, live, &manifest),
            json!({"metadata": {"uid": "u", "labels": {"a": "2", "by-others": "1"}},
                "spec": {"replicas": 5, "template": {"x": 2, "list": [3]}}, "status": {"replicas": 5}})
        );
    }

    #[test]
    fn a_secrets_keys_go_with_the_manifest() {
        let before = json!({"data": {"a": ""}, "stringData": {"b": "", "c": ""}});
        let live = json!({"data": {"a": "AAAA", "b": "AAAA", "c": "AAAA", "others": "AAAA"}});
        let manifest = json!({"stringData": {"c": "x"}});
        let merged = apply(Kind::Secret, &before, live, &manifest);
        assert_eq!(merged, json!({"data": {"c": "AAAA", "others": "AAAA"}, "stringData": {"c": "x"}}));
    }

    #[test]
    fn another_strategy_has_none_of_the_olds_numbers() {
        let live =
            json!({"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%"}}}});
        let manifest = json!({"spec": {"strategy": {"type": "Recreate"}}});
        let merged = apply(Kind::Deployment, &Value::Null, live, &manifest);
        assert_eq!(merged, json!({"spec": {"strategy": {"type": "Recreate"}}}));
    }

    #[test]
    fn a_patch_is_that_of_the_rfc() {
        let mut target = json!({"a": {"b": 1, "c": 2}, "d": [1, 2], "e": 1});
        patch(&mut target, &json!({"a": {"b": null, "x": {"y": null}}, "d": [3], "e": {"f": 1}}));
        assert_eq!(target, json!({"a": {"c": 2, "x": {}}, "d": [3], "e": {"f": 1}}));
    }
}
