//! What goes, and what stays.

use serde_json::{Value, json};

use super::*;

fn object(kind: Kind, name: &str, more: Value) -> Object {
    let mut value = json!({"metadata": {"name": name, "uid": name}});
    if kind.namespaced() {
        value["metadata"]["namespace"] = "web".into();
    }
    if let (Some(metadata), Some(more)) = (value["metadata"].as_object_mut(), more.as_object()) {
        metadata.extend(more.clone());
    }
    match kind {
        Kind::Pod => value["spec"] = json!({"containers": []}),
        Kind::ReplicaSet => value["spec"] = json!({"selector": {}}),
        Kind::Deployment => value["spec"] = json!({"selector": {}, "template": {}}),
        _ => {}
    }
    Object::from_value(kind, value).expect("an object")
}

fn owned_by(owners: &[(&str, &str, &str)]) -> Value {
    let owner = |(version, kind, name): &(&str, &str, &str)| json!({"apiVersion": version, "kind": kind, "name": name, "uid": name});
    json!({"ownerReferences": owners.iter().map(owner).collect::<Vec<_>>()})
}

const SET: (&str, &str, &str) = ("apps/v1", "ReplicaSet", "set");

fn deleted(objects: &Objects, kind: Kind, name: &str) -> Vec<Action> {
    let namespace = if kind.namespaced() { "web" } else { "" };
    reconcile(&Key::new(kind, namespace, name), objects).actions
}

#[test]
fn what_has_no_owner_left_is_deleted() {
    let pod = |owners: &[(&str, &str, &str)]| object(Kind::Pod, "pod", owned_by(owners));
    let set = object(Kind::ReplicaSet, "set", json!({}));
    let other = object(Kind::ReplicaSet, "set", json!({"uid": "another"}));
    let unknown = ("example.org/v1", "Thing", "thing");
    let gone = ("v1", "ConfigMap", "gone");
    type Owner<'a> = (&'a str, &'a str, &'a str);
    let cases: [(&[Owner<'_>], Vec<Object>, bool); 7] = [
        (&[], vec![], false),
        (&[SET], vec![set.clone()], false),
        (&[SET], vec![], true),
        (&[SET], vec![other], true),
        (&[SET, gone], vec![set], false),
        (&[SET, unknown], vec![], false),
        (&[SET, gone], vec![], true),
    ];
    for (owners, others, goes) in cases {
        let pod = pod(owners);
        let objects: Objects = others.into_iter().chain([pod.clone()]).collect();
        let expected = if goes { vec![delete(&pod)] } else { vec![] };
        assert_eq!(deleted(&objects, Kind::Pod, "pod"), expected, "{owners:?}");
    }
}

#[test]
fn a_removed_owner_is_told_to_what_it_owned() {
    let set = object(Kind::ReplicaSet, "set", json!({}));
    let pod = object(Kind::Pod, "pod", owned_by(&[SET]));
    let mut objects: Objects = [set.clone(), pod.clone()].into_iter().collect();
    assert_eq!(dependents(&set, &objects), []);
    objects.remove(&set.key());
    assert_eq!(dependents(&set, &objects), [pod.key()]);
}

#[test]
fn in_the_foreground_an_owner_waits() {
    let set = object(Kind::ReplicaSet, "set", json!({}));
    let pod = object(Kind::Pod, "pod", owned_by(&[SET]));
    let mut objects: Objects = [set.clone(), pod.clone()].into_iter().collect();
    assert!(waits_for_owned(&set, &objects) && !waits_for_owned(&pod, &objects));
    objects.insert(marked(&set, Timestamp::UNIX_EPOCH));
    assert_eq!(deleted(&objects, Kind::ReplicaSet, "set"), [delete(&pod)]);
    let mut ending = pod.clone();
    ending.metadata_mut().deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
    objects.insert(ending);
    assert_eq!(deleted(&objects, Kind::ReplicaSet, "set"), []);
    objects.remove(&pod.key());
    assert_eq!(dependents(&pod, &objects), [set.key()]);
    let removed = Action::Remove { key: set.key(), uid: "set".into() };
    assert_eq!(deleted(&objects, Kind::ReplicaSet, "set"), [removed]);
    assert!(!waits_for_owned(&set, &objects));
}

#[test]
fn in_the_foreground_the_last_go_first() {
    let deployment = object(Kind::Deployment, "deployment", json!({}));
    let set = object(Kind::ReplicaSet, "set", owned_by(&[("apps/v1", "Deployment", "deployment")]));
    let pod = object(Kind::Pod, "pod", owned_by(&[SET]));
    let mut objects: Objects = [deployment.clone(), set.clone(), pod.clone()].into_iter().collect();
    objects.insert(marked(&deployment, Timestamp::UNIX_EPOCH));
    let of_set = marked(&set, Timestamp::UNIX_EPOCH);
    assert_eq!(deleted(&objects, Kind::Deployment, "deployment"), [Action::Update(of_set.clone())]);
    objects.insert(of_set);
    assert_eq!(deleted(&objects, Kind::Deployment, "deployment"), []);
    assert_eq!(deleted(&objects, Kind::ReplicaSet, "set"), [delete(&pod)]);
}

#[test]
fn an_owner_of_orphans_goes_when_its_name_is_off_them() {
    let set = object(Kind::ReplicaSet, "set", json!({}));
    let other = ("v1", "ConfigMap", "other");
    let pods = [("one", vec![SET]), ("two", vec![SET, other])];
    let pods = pods.map(|(name, owners)| object(Kind::Pod, name, owned_by(&owners)));
    let mut objects: Objects = [set.clone()].into_iter().chain(pods.clone()).collect();
    let marked = marked_for_orphans(&marked(&set, Timestamp::UNIX_EPOCH), Timestamp::UNIX_EPOCH);
    assert_eq!(marked.metadata().finalizers.as_deref(), Some(["orphan".to_owned()].as_slice()));
    objects.insert(marked);
    let updates = deleted(&objects, Kind::ReplicaSet, "set");
    let [Action::Update(one), Action::Update(two)] = updates.as_slice() else { panic!("{updates:?}") };
    assert_eq!(one.metadata().owner_references, None);
    assert_eq!(two.metadata().owner_references.as_ref().map(Vec::len), Some(1));
    objects.insert(one.clone());
    // By what it was before.
    assert_eq!(dependents(&pods[0], &objects), [set.key()]);
    assert_eq!(deleted(&objects, Kind::ReplicaSet, "set"), [Action::Update(two.clone())]);
    objects.insert(two.clone());
    let removed = Action::Remove { key: set.key(), uid: "set".into() };
    assert_eq!(deleted(&objects, Kind::ReplicaSet, "set"), [removed]);
    assert_eq!(marked_for_orphans(&pods[0], Timestamp::UNIX_EPOCH), pods[0]);
}

#[test]
fn a_namespace_goes_when_it_is_empty() {
    let namespace = object(Kind::Namespace, "web", json!({}));
    let map = object(Kind::ConfigMap, "map", json!({}));
    let pod = object(Kind::Pod, "pod", json!({"deletionTimestamp": "1970-01-01T00:00:00Z"}));
    let event = object(Kind::Event, "event", json!({}));
    let elsewhere = object(Kind::ConfigMap, "map", json!({"namespace": "other"}));
    let mut objects: Objects =
        [namespace.clone(), map.clone(), pod.clone(), event.clone(), elsewhere].into_iter().collect();
    assert_eq!(deleted(&objects, Kind::Namespace, "web"), []);
    let mut going = namespace.clone();
    going.metadata_mut().deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
    objects.insert(going);
    let actions = deleted(&objects, Kind::Namespace, "web");
    let [Action::Status(terminating), rest @ ..] = actions.as_slice() else { panic!("{actions:?}") };
    assert_eq!(terminating.to_value()["status"]["phase"], "Terminating");
    assert_eq!(rest, [delete(&map)]);
    objects.insert(terminating.clone());
    // What comes late goes too.
    assert_eq!(dependents(&map, &objects), [namespace.key()]);
    objects.remove(&map.key());
    assert_eq!(deleted(&objects, Kind::Namespace, "web"), []);
    objects.remove(&pod.key());
    let removed = |object: &Object| Action::Remove { key: object.key(), uid: object.uid().into() };
    assert_eq!(deleted(&objects, Kind::Namespace, "web"), [removed(&event), removed(&namespace)]);
}
