//! What of an object cannot be changed.

use serde_json::Value;

use super::Invalid;
use super::path::{At, Broken};
use crate::objects::Object;

/// All rules that a change breaks: fields that cannot be changed, for one.
pub fn check_change(before: &Object, after: &Object) -> Vec<Invalid> {
    let mut broken = Broken::default();
    let again = format!("it cannot be changed: delete the {} and apply it again", before.kind().name());
    let fixed = |broken: &mut Broken, paths: &[&str]| {
        let (before, after) = (before.to_value(), after.to_value());
        for path in paths {
            let pointer = format!("/{}", path.replace('.', "/"));
            if before.pointer(&pointer) != after.pointer(&pointer) {
                broken.add(&At::Field(&At::Object, path), again.as_str());
            }
        }
    };
    match (before, after) {
        (Object::Pod(_), Object::Pod(_)) => pod(before, after, &mut broken),
        (Object::Deployment(_), _) | (Object::ReplicaSet(_), _) | (Object::DaemonSet(_), _) => {
            fixed(&mut broken, &["spec.selector"]);
        }
        (Object::StatefulSet(_), _) => {
            let all = ["selector", "serviceName", "podManagementPolicy", "volumeClaimTemplates"];
            let all: Vec<_> = all.iter().map(|field| format!("spec.{field}")).collect();
            fixed(&mut broken, &all.iter().map(String::as_str).collect::<Vec<_>>());
        }
        (Object::Job(_), _) => {
            fixed(
                &mut broken,
                &["spec.selector", "spec.template", "spec.completions", "spec.completionMode"],
            );
        }
        (Object::PersistentVolumeClaim(_), _) => {
            fixed(
                &mut broken,
                &[
                    "spec.accessModes",
                    "spec.resources",
                    "spec.selector",
                    "spec.storageClassName",
                    "spec.volumeMode",
                ],
            );
            // The agent sets it when it binds.
            let name = |object: &Object| object.to_value().pointer("/spec/volumeName").cloned();
            if name(before).is_some_and(|name| name != "") {
                fixed(&mut broken, &["spec.volumeName"]);
            }
        }
        (Object::PersistentVolume(_), _) => {
            fixed(&mut broken, &["spec.hostPath", "spec.local", "spec.nfs", "spec.volumeMode"]);
        }
        (Object::RuntimeClass(_), _) => fixed(&mut broken, &["handler"]),
        (Object::Secret(one), Object::Secret(_)) => {
            fixed(&mut broken, &["type"]);
            immutable(one.immutable, before, after, &["data"], &mut broken);
        }
        (Object::ConfigMap(one), Object::ConfigMap(_)) => {
            immutable(one.immutable, before, after, &["data", "binaryData"], &mut broken);
        }
        (Object::Service(_), Object::Service(_)) => service(before, after, &mut broken),
        _ => {}
    }
    broken.0
}

fn immutable(is: Option<bool>, before: &Object, after: &Object, paths: &[&str], broken: &mut Broken) {
    if is != Some(true) {
        return;
    }
    let why = format!("the {} is immutable: delete it and apply it again", before.kind().name());
    let (before, after) = (before.to_value(), after.to_value());
    for path in paths.iter().chain(&["immutable"]).filter(|path| before.get(path) != after.get(path)) {
        broken.add(&At::Field(&At::Object, path), why.as_str());
    }
}

/// An address is kept, but where the Service has had none, or shall have none.
fn service(before: &Object, after: &Object, broken: &mut Broken) {
    let address = |object: &Object| {
        let value = object.to_value();
        value.pointer("/spec/clusterIP").and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let (before, after) = (address(before), address(after));
    if !before.is_empty() && !after.is_empty() && before != after {
        let why = format!("{before}: it cannot be changed: delete the Service and apply it again");
        broken.add(&At::Field(&At::Object, "spec.clusterIP"), why);
    }
}

/// Of a Pod the images can be changed, its deadline made shorter, and tolerations added.
fn pod(before: &Object, after: &Object, broken: &mut Broken) {
    let (before, mut after) = (before.to_value(), after.to_value());
    for list in ["containers", "initContainers"] {
        let of = |value: &Value| {
            value.pointer(&format!("/spec/{list}")).and_then(Value::as_array).cloned().unwrap_or_default()
        };
        let live = of(&before);
        let wanted = after.pointer_mut(&format!("/spec/{list}")).and_then(Value::as_array_mut);
        for (wanted, live) in wanted.into_iter().flatten().zip(&live) {
            if wanted.get("name") == live.get("name") && wanted.get("image") != live.get("image") {
                wanted["image"] = live["image"].clone();
                // By default it follows the image's tag.
                wanted["imagePullPolicy"] = live["imagePullPolicy"].clone();
            }
        }
    }
    let deadline = |value: &Value| value.pointer("/spec/activeDeadlineSeconds").and_then(Value::as_i64);
    let shorter =
        deadline(&after).is_some_and(|after| deadline(&before).is_none_or(|before| after <= before));
    let spec =
        (before.get("spec").cloned().unwrap_or_default(), after.get("spec").cloned().unwrap_or_default());
    let (mut before, mut after) = spec;
    for (before, after) in before.as_object_mut().into_iter().zip(after.as_object_mut()) {
        if shorter {
            before.remove("activeDeadlineSeconds");
            after.remove("activeDeadlineSeconds");
        }
        before.remove("tolerations");
        after.remove("tolerations");
    }
    let mut paths = Vec::new();
    differences("spec", &before, &after, &mut paths);
    for path in paths {
        let why = "a Pod's image can be changed, and little else: delete the Pod and apply it again";
        broken.add(&At::Field(&At::Object, &path), why);
    }
}

/// The paths at which two values differ.
fn differences(path: &str, before: &Value, after: &Value, paths: &mut Vec<String>) {
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => {
            let names: std::collections::BTreeSet<_> = before.keys().chain(after.keys()).collect();
            for name in names {
                let of = |map: &serde_json::Map<String, Value>| map.get(name).cloned().unwrap_or_default();
                differences(&format!("{path}.{name}"), &of(before), &of(after), paths);
            }
        }
        (Value::Array(before), Value::Array(after)) if before.len() == after.len() => {
            for (index, (before, after)) in before.iter().zip(after).enumerate() {
                differences(&format!("{path}[{index}]"), before, after, paths);
            }
        }
        (before, after) if before != after => paths.push(path.into()),
        _ => {}
    }
}
