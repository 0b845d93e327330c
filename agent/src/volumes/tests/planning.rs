//! What a plan is made from. Without root.

use serde_json::{Value, json};

use super::pod;
use crate::objects::{Kind, Object, Objects};
use crate::volumes::plan;

fn objects(all: &[(Kind, Value)]) -> Objects {
    all.iter().map(|(kind, value)| Object::from_value(*kind, value.clone()).expect("an object")).collect()
}

fn map(data: &Value, revision: u64) -> (Kind, Value) {
    let metadata =
        json!({ "name": "m", "namespace": "web", "uid": "m1", "resourceVersion": revision.to_string() });
    (Kind::ConfigMap, json!({ "metadata": metadata, "data": data }))
}

#[test]
fn what_is_missing_is_named() {
    let cases = [
        (json!({"configMap": {"name": "none"}}), "volume v: configmap \"none\" not found"),
        (json!({"secret": {"secretName": "none"}}), "volume v: secret \"none\" not found"),
        (
            json!({"configMap": {"name": "m", "items": [{"key": "b", "path": "b"}]}}),
            "volume v: configmap \"m\" has no key \"b\"",
        ),
        (
            json!({"configMap": {"name": "m", "items": [{"key": "a", "path": "../b"}]}}),
            "volume v: path \"../b\": a relative path that does not begin with .. is needed",
        ),
        (
            json!({"configMap": {"name": "m", "items": [{"key": "a", "path": "x"}, {"key": "a", "path": "x/y"}]}}),
            "volume v: path \"x/y\": one of \"x/y\" and \"x\" would be file and directory",
        ),
        (
            json!({"persistentVolumeClaim": {"claimName": "none"}}),
            "volume v: persistentvolumeclaim \"none\" not found",
        ),
        (
            json!({"hostPath": {"path": "../etc"}}),
            "volume v: hostPath ../etc: an absolute path without .. is needed",
        ),
        (
            json!({"projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}),
            "volume v: projected.sources[0]: not supported by this agent",
        ),
    ];
    let objects = objects(&[map(&json!({"a": "1"}), 1)]);
    for (volume, error) in cases {
        let pod = pod("u", &volume, &json!({}), &json!({}));
        assert_eq!(plan(&pod, &objects).expect_err("an error").to_string(), error);
    }
}

#[test]
fn what_is_optional_may_be_missing() {
    let objects = objects(&[map(&json!({"a": "1"}), 1)]);
    for volume in [
        json!({"configMap": {"name": "none", "optional": true}}),
        json!({"secret": {"secretName": "none", "optional": true}}),
        json!({"configMap": {"name": "m", "optional": true, "items": [{"key": "b", "path": "b"}]}}),
    ] {
        assert!(plan(&pod("u", &volume, &json!({}), &json!({})), &objects).is_ok(), "{volume}");
    }
}

#[test]
fn a_volume_that_nobody_mounts_is_not_asked_for() {
    let mut pod = pod("u", &json!({"configMap": {"name": "none"}}), &json!({}), &json!({}));
    pod.spec.as_mut().expect("a spec").containers[0].volume_mounts = None;
    assert_eq!(plan(&pod, &Objects::default()).expect("a plan").volumes, []);
}

#[test]
fn the_revision_follows_what_the_plan_is_made_from() {
    let volume = json!({"projected": {"sources": [
        {"configMap": {"name": "m"}},
        {"downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
    ]}});
    let first = pod("u", &volume, &json!({}), &json!({}));
    let revision = |pod, objects: &Objects| plan(pod, objects).expect("a plan").revision;
    let before = objects(&[map(&json!({"a": "1"}), 1)]);
    assert_eq!(revision(&first, &before), revision(&first, &before));
    assert_ne!(revision(&first, &before), revision(&first, &objects(&[map(&json!({"a": "2"}), 2)])));
    let mut labelled = first.clone();
    labelled.metadata.labels.get_or_insert_default().insert("app".into(), "y".into());
    assert_ne!(revision(&first, &before), revision(&labelled, &before));
    // A status is no reason to write files.
    let mut running = first.clone();
    running.metadata.resource_version = Some("7".into());
    running.status = Some(Default::default());
    assert_eq!(revision(&first, &before), revision(&running, &before));
}

#[test]
fn a_secret_is_not_seen_in_a_plan() {
    let secret =
        json!({ "metadata": { "name": "s", "namespace": "web" }, "data": { "password": "aHVudGVyMg==" } });
    let objects = objects(&[(Kind::Secret, secret)]);
    let pod = pod("u", &json!({"secret": {"secretName": "s"}}), &json!({}), &json!({}));
    let text = format!("{:?}", plan(&pod, &objects).expect("a plan"));
    assert!(text.contains("secret web/s password") && !text.contains("hunter2"), "{text}");
    assert!(!text.contains("104, 117"), "{text}");
}

#[test]
fn facts_of_the_pod_become_files() {
    let volume = json!({"downwardAPI": {"items": [
        {"path": "name", "fieldRef": {"fieldPath": "metadata.name"}},
        {"path": "app", "fieldRef": {"fieldPath": "metadata.labels['app']"}},
        {"path": "cpu", "resourceFieldRef": {"containerName": "c", "resource": "limits.cpu", "divisor": "1m"}},
        {"path": "memory", "resourceFieldRef": {"containerName": "c", "resource": "requests.memory", "divisor": "1Mi"}},
    ]}});
    let mut pod = pod("u", &volume, &json!({}), &json!({}));
    pod.spec.as_mut().expect("a spec").containers[0].resources =
        serde_json::from_value(json!({"limits": {"cpu": "1500m"}, "requests": {"memory": "65Mi"}}))
            .expect("resources");
    let plan = plan(&pod, &Objects::default()).expect("a plan");
    let super::super::plan::Source::Files { files, secret: false } = &plan.volumes[0].source else {
        panic!("{plan:?}")
    };
    let text = |path: &str| String::from_utf8_lossy(files[path].content.bytes()).into_owned();
    assert_eq!(["name", "app", "cpu", "memory"].map(text), ["pod-u", "x", "1500", "65"]);
}
