//! Strategic merge patches, kubectl's default: lists whose items have a key are merged by it, others are replaced. Pure.
//!
//! The agent takes merge patches (RFC 7386): one is made of what the patch makes of the object as it is now.

use serde_json::{Map, Value};

/// What a map of a patch says of itself.
const DIRECTIVE: &str = "$patch";
/// The fields of a map that stay.
const RETAIN: &str = "$retainKeys";

/// By which field the items of a list are known, as Kubernetes' types have it. None: the list is replaced as a whole.
fn key_of(list: &str, within: &str) -> Option<&'static str> {
    Some(match list {
        "containers"
        | "initContainers"
        | "ephemeralContainers"
        | "volumes"
        | "env"
        | "imagePullSecrets"
        | "resourceClaims"
        | "schedulingGates" => "name",
        // A container's, and a Service's.
        "ports" if within.ends_with("ontainers") => "containerPort",
        "ports" => "port",
        "volumeMounts" => "mountPath",
        "volumeDevices" => "devicePath",
        "hostAliases" => "ip",
        "topologySpreadConstraints" => "topologyKey",
        "ownerReferences" => "uid",
        _ => return None,
    })
}

/// The merge patch that does to an object what a strategic one would; or why the patch is none.
pub fn to_merge(object: &Value, patch: &Value) -> Result<Value, String> {
    let map = patch.as_object().ok_or("it is no map of fields")?;
    let after = of_map(object, map, "", "")?;
    if !after.is_object() {
        return Err(format!("{DIRECTIVE}: an object is deleted by delete"));
    }
    Ok(difference(object, &after).unwrap_or_else(|| Map::new().into()))
}

/// A map after a patch; null where it is deleted. `within` is the list that it is an item of, if it is one.
fn of_map(live: &Value, patch: &Map<String, Value>, path: &str, within: &str) -> Result<Value, String> {
    let mut after = live.as_object().cloned().unwrap_or_default();
    match directive(patch) {
        None | Some("merge") => {}
        Some("delete") => return Ok(Value::Null),
        Some("replace") => after.clear(),
        Some(_) => return Err(format!("{path}.{DIRECTIVE}: it is merge, replace or delete")),
    }
    if let Some(retained) = patch.get(RETAIN) {
        let retained = retained.as_array().ok_or_else(|| format!("{path}.{RETAIN}: it is no list"))?;
        after.retain(|name, _| retained.iter().any(|retained| retained == name));
    }
    for (name, value) in patch.iter().filter(|(name, _)| !matches!(name.as_str(), DIRECTIVE | RETAIN)) {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        if name.starts_with('$') {
            return Err(format!("{path}: only {DIRECTIVE} and {RETAIN} are supported"));
        }
        let old = after.remove(name).unwrap_or_default();
        let new = match value {
            Value::Object(map) => of_map(&old, map, &path, "")?,
            Value::Array(items) => match key_of(name, within) {
                Some(key) => of_list(&old, items, &path, name, key)?.into(),
                None if name == "finalizers" => union(&old, items).into(),
                None => value.clone(),
            },
            value => value.clone(),
        };
        if !new.is_null() {
            after.insert(name.clone(), new);
        }
    }
    Ok(after.into())
}

fn directive(patch: &Map<String, Value>) -> Option<&str> {
    patch.get(DIRECTIVE).map(|directive| directive.as_str().unwrap_or_default())
}

/// A list after a patch: its items are merged with those of the same key, what the patch does not name stays.
fn of_list(live: &Value, patch: &[Value], path: &str, list: &str, key: &str) -> Result<Vec<Value>, String> {
    let mut live = live.as_array().cloned().unwrap_or_default();
    let mut given: Vec<(&Value, &Map<String, Value>)> = Vec::new();
    for (at, item) in patch.iter().enumerate() {
        let map = item.as_object().ok_or_else(|| format!("{path}[{at}]: it is no map of fields"))?;
        let named = || map.get(key).ok_or_else(|| format!("{path}[{at}].{key}: items are known by it"));
        match directive(map) {
            None => given.push((named()?, map)),
            Some("delete") => {
                let gone = named()?;
                live.retain(|item| &item[key] != gone);
            }
            Some("replace") => live.clear(),
            Some(_) => return Err(format!("{path}[{at}].{DIRECTIVE}: it is replace or delete")),
        }
    }
    let place = |named: &Value| live.iter().position(|item| &item[key] == named);
    let named = |item: &Value| given.iter().any(|(named, _)| *named == &item[key]);
    let mut kept = live.iter().enumerate().filter(|(_, item)| !named(item)).peekable();
    let mut after = Vec::new();
    for (at, (name, map)) in given.iter().enumerate() {
        let there = place(name);
        // In the patch's order; those between stay before what they were before. What is new comes first.
        while let Some((_, item)) = kept.next_if(|(at, _)| there.is_some_and(|there| *at < there)) {
            after.push(item.clone());
        }
        let old = there.and_then(|there| live.get(there)).unwrap_or(&Value::Null);
        after.push(of_map(old, map, &format!("{path}[{at}]"), list)?);
    }
    after.extend(kept.map(|(_, item)| item.clone()));
    Ok(after)
}

fn union(live: &Value, items: &[Value]) -> Vec<Value> {
    let mut after = live.as_array().cloned().unwrap_or_default();
    for item in items {
        if !after.contains(item) {
            after.push(item.clone());
        }
    }
    after
}

/// The merge patch from one value to another; None where they are the same.
fn difference(before: &Value, after: &Value) -> Option<Value> {
    let (Value::Object(before), Value::Object(of_after)) = (before, after) else {
        return (before != after).then(|| after.clone());
    };
    let mut patch = Map::new();
    for name in before.keys().filter(|name| !of_after.contains_key(*name)) {
        patch.insert(name.clone(), Value::Null);
    }
    for (name, value) in of_after {
        if let Some(value) = difference(before.get(name).unwrap_or(&Value::Null), value) {
            patch.insert(name.clone(), value);
        }
    }
    (!patch.is_empty()).then(|| patch.into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn deployment() -> Value {
        json!({"spec": {"replicas": 2, "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}},
            "template": {"spec": {
                "containers": [
                    {"name": "a", "image": "x:1", "args": ["-v"], "env": [{"name": "K", "value": "1"}, {"name": "L", "value": "2"}],
                     "ports": [{"containerPort": 80, "name": "web"}]},
                    {"name": "b", "image": "y:1"}],
                "tolerations": [{"key": "t"}],
                "volumes": [{"name": "v", "emptyDir": {}}]}}}})
    }

    /// What a patch makes of the Pods' template, as the agent merges it.
    fn after(patch: Value) -> Value {
        fn merge(target: &mut Value, patch: &Value) {
            let Value::Object(patch) = patch else { return *target = patch.clone() };
            if !target.is_object() {
                *target = json!({});
            }
            for (name, value) in patch {
                match value {
                    Value::Null => _ = target.as_object_mut().unwrap().remove(name),
                    value => merge(&mut target[name], value),
                }
            }
        }
        let mut object = deployment();
        let patch = json!({"spec": {"template": {"spec": patch}}});
        merge(&mut object, &to_merge(&deployment(), &patch).unwrap());
        object["spec"]["template"]["spec"].clone()
    }

    fn names(list: &Value) -> Vec<&str> {
        list.as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap()).collect()
    }

    #[test]
    fn a_container_is_added_and_the_others_stay() {
        let spec = after(json!({"containers": [{"name": "c", "image": "z"}]}));
        assert_eq!(names(&spec["containers"]), ["c", "a", "b"]);
        assert_eq!(spec["containers"][1], deployment()["spec"]["template"]["spec"]["containers"][0]);
        assert_eq!(spec["volumes"], json!([{"name": "v", "emptyDir": {}}]));
    }

    #[test]
    fn items_are_merged_by_their_keys() {
        let spec = after(json!({"containers": [{"name": "b", "image": "y:2"}, {"name": "a",
            "env": [{"name": "L", "value": "3"}, {"name": "K", "$patch": "delete"}, {"name": "M", "value": "4"}],
            "ports": [{"containerPort": 80, "name": "http"}, {"containerPort": 81}], "args": null}]}));
        assert_eq!(
            spec["containers"],
            json!([{"name": "b", "image": "y:2"},
                {"name": "a", "image": "x:1", "env": [{"name": "L", "value": "3"}, {"name": "M", "value": "4"}],
                 "ports": [{"containerPort": 80, "name": "http"}, {"containerPort": 81}]}])
        );
        let spec = after(json!({"containers": [{"name": "b", "image": "y:2"}]}));
        assert_eq!(names(&spec["containers"]), ["a", "b"], "in their places");
    }

    #[test]
    fn items_are_deleted_and_lists_replaced_where_the_patch_says_so() {
        let spec = after(json!({"containers": [{"name": "a", "$patch": "delete"}]}));
        assert_eq!(names(&spec["containers"]), ["b"]);
        let spec = after(json!({"containers": [{"$patch": "replace"}, {"name": "c", "image": "z"}]}));
        assert_eq!(spec["containers"], json!([{"name": "c", "image": "z"}]));
        let spec = after(json!({"tolerations": [{"key": "u"}]}));
        assert_eq!(spec["tolerations"], json!([{"key": "u"}]), "its items have no key");
        let spec = after(
            json!({"volumes": [{"name": "v", "$retainKeys": ["name", "configMap"], "configMap": {"name": "m"}}]}),
        );
        assert_eq!(spec["volumes"], json!([{"name": "v", "configMap": {"name": "m"}}]));
    }

    #[test]
    fn maps_are_replaced_where_the_patch_says_so() {
        let patch = json!({"spec": {"strategy": {"$patch": "replace", "type": "Recreate"}}});
        let expected = json!({"spec": {"strategy": {"type": "Recreate", "rollingUpdate": null}}});
        assert_eq!(to_merge(&deployment(), &patch).unwrap(), expected);
        let patch = json!({"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}});
        assert_eq!(to_merge(&deployment(), &patch).unwrap(), expected);
        let patch = json!({"spec": {"replicas": 2, "strategy": {"type": "RollingUpdate"}}});
        assert_eq!(to_merge(&deployment(), &patch).unwrap(), json!({}), "it is so already");
    }

    #[test]
    fn what_is_no_strategic_patch_is_an_error() {
        for (patch, why) in [
            (json!([1]), "it is no map of fields"),
            (json!({"spec": {"volumes": [{"emptyDir": {}}]}}), "spec.volumes[0].name: items are known by it"),
            (
                json!({"spec": {"volumes": [{"$patch": "x"}]}}),
                "spec.volumes[0].$patch: it is replace or delete",
            ),
            (json!({"$patch": "delete"}), "$patch: an object is deleted by delete"),
            (json!({"spec": {"$patch": "x"}}), "spec.$patch: it is merge, replace or delete"),
            (
                json!({"spec": {"$setElementOrder/volumes": []}}),
                "spec.$setElementOrder/volumes: only $patch and $retainKeys are supported",
            ),
        ] {
            assert_eq!(to_merge(&deployment(), &patch).unwrap_err(), why);
        }
    }

    #[test]
    fn services_ports_are_known_by_their_number() {
        let service = json!({"spec": {"ports": [{"port": 80, "targetPort": 80}, {"port": 443}]}});
        let patch = json!({"spec": {"ports": [{"port": 80, "targetPort": 8080}]}});
        let expected = json!({"spec": {"ports": [{"port": 80, "targetPort": 8080}, {"port": 443}]}});
        assert_eq!(to_merge(&service, &patch).unwrap(), expected);
    }
}
