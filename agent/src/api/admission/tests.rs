use std::sync::Arc;

use k8s_openapi::api::apps::v1::{Deployment, DeploymentCondition, DeploymentStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::*;
use crate::objects::pod::is_unknown;
use crate::objects::{Key, Kind, Object, Typed as _};
use crate::store::{Durability, Store};

/// A store of its own, with a namespace.
pub(crate) struct World {
    pub store: Arc<Store>,
    pub ranges: Ranges,
    _directory: tempfile::TempDir,
}

impl World {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(directory.path()).unwrap());
        let ranges =
            Ranges::new("node", "10.96.0.0/28", "30000-30003", Some("10.96.0.10".parse().unwrap())).unwrap();
        let world = Self { store, ranges, _directory: directory };
        world
            .apply(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}}))
            .unwrap();
        world
    }

    fn apply(&self, manifest: Value) -> Result<(Object, Applied), Refusal> {
        apply(&self.store, &self.ranges, &Origin::User, "default", manifest)
    }

    fn refused(&self, manifest: Value) -> String {
        self.apply(manifest).map(|(object, _)| object.to_value()).unwrap_err().to_string()
    }

    fn get(&self, kind: Kind, name: &str) -> Value {
        let namespace = if kind.namespaced() { "default" } else { "" };
        let key = Key::new(kind, namespace, name);
        self.store.read(|objects| objects.get(&key).map(Object::to_value)).unwrap_or_default()
    }
}

fn pod(name: &str, container: Value) -> Value {
    let mut container = container;
    for (field, value) in [("name", "main"), ("image", "app:1")] {
        container.as_object_mut().unwrap().entry(field).or_insert(value.into());
    }
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {"containers": [container]}})
}

fn deployment(image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "main", "image": image}]}},
        },
    })
}

fn service(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec})
}

#[test]
fn what_is_applied_twice_is_unchanged() {
    let world = World::new();
    let secret =
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"a": "b"}});
    let ports = json!({"type": "NodePort", "selector": {"a": "b"}, "ports": [{"port": 80}]});
    for manifest in [pod("p", json!({})), deployment("app:1"), secret, service("s", ports)] {
        assert_eq!(world.apply(manifest.clone()).unwrap().1, Applied::Created);
        assert_eq!(world.apply(manifest.clone()).unwrap().1, Applied::Unchanged, "{manifest}");
    }
}

#[test]
fn a_new_pod_is_pending_and_nothing_more_is_known_of_it() {
    let world = World::new();
    let (created, _) = world.apply(pod("p", json!({"resources": {"requests": {"cpu": "1"}}}))).unwrap();
    assert_eq!(created.to_value()["status"], json!({"phase": "Pending", "qosClass": "Burstable"}));
    assert!(is_unknown(Pod::of(&created).unwrap()));
    assert_eq!(world.get(Kind::Pod, "p")["status"]["phase"], "Pending");
    // An agent that starts knows nothing of it: it may have run for long.
    let (store, directory) = (world.store, world._directory);
    drop(store);
    let store = Store::open(directory.path()).unwrap();
    let status = store.read(|objects| objects.find::<Pod>("default", "p").unwrap().status.clone());
    assert_eq!(status, None);
}

#[test]
fn a_status_of_this_very_moment_is_no_change() {
    let world = World::new();
    let moment = Time(Timestamp::new(1_790_000_000, 123_456_789).unwrap());
    world.apply(deployment("app:1")).unwrap();
    let progressing = DeploymentCondition {
        type_: Some("Progressing".into()),
        last_update_time: Some(moment),
        ..DeploymentCondition::default()
    };
    let key = Key::new(Kind::Deployment, "default", "web");
    let put = world.store.update(&key, Durability::Written, |object| {
        let mut object = object.clone();
        let status = DeploymentStatus { conditions: Some(vec![progressing]), ..Default::default() };
        Deployment::of_mut(&mut object)?.status = Some(status);
        Some(object)
    });
    put.unwrap();
    assert_eq!(world.apply(deployment("app:1")).unwrap().1, Applied::Unchanged);
    patch(&world.store, &world.ranges, &key, &json!({"spec": {"replicas": 1}})).unwrap();
    assert_eq!(world.get(Kind::Deployment, "web")["metadata"]["generation"], 1);
    assert_eq!(world.apply(deployment("app:2")).unwrap().1, Applied::Configured);
    assert_eq!(world.get(Kind::Deployment, "web")["metadata"]["generation"], 2);
}

#[test]
fn others_changes_stay_and_what_a_manifest_drops_goes() {
    let world = World::new();
    let mut manifest = deployment("app:1");
    manifest["metadata"]["labels"] = json!({"a": "1"});
    world.apply(manifest).unwrap();
    let key = Key::new(Kind::Deployment, "default", "web");
    patch(&world.store, &world.ranges, &key, &json!({"spec": {"replicas": 3}})).unwrap();
    assert_eq!(world.apply(deployment("app:2")).unwrap().1, Applied::Configured);
    let live = world.get(Kind::Deployment, "web");
    assert_eq!(live["spec"]["replicas"], 3);
    assert_eq!(live["metadata"]["labels"], Value::Null);
    assert_eq!(live["spec"]["template"]["spec"]["containers"][0]["image"], "app:2");
    assert_eq!(live["metadata"]["generation"], 3);
}

#[test]
fn a_secret_is_in_no_annotation() {
    let world = World::new();
    let manifest = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"},
        "stringData": {"a": "hunter2"}, "data": {"b": "aHVudGVyMg=="}});
    let (object, _) = world.apply(manifest).unwrap();
    let applied = &object.metadata().annotations.as_ref().unwrap()[APPLIED];
    assert!(!applied.contains("hunter2") && !applied.contains("aHVudGVyMg"), "{applied}");
    let without =
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"b": "AAAA"}});
    world.apply(without).unwrap();
    assert_eq!(world.get(Kind::Secret, "s")["data"], json!({"b": "AAAA"}));
}

#[test]
fn bad_input_says_what_is_wrong_where() {
    let world = World::new();
    let cases = [
        (json!({"kind": "Pod"}), "Pod: apiVersion: it is not set"),
        (json!({"apiVersion": "v1"}), "kind: it is not set"),
        (json!({"apiVersion": "v1", "kind": "Pot"}), "no matches for kind \"Pot\" in version \"v1\""),
        (
            json!({"apiVersion": "v1", "kind": "Deployment"}),
            "no matches for kind \"Deployment\" in version \"v1\", but in \"apps/v1\"",
        ),
        (pod("p", json!({"imagee": "x"})), "pod default/p: spec.containers[0].imagee: unknown field"),
        (pod("p", json!({"image": 1})), "pod default/p: spec.containers[0].image: a string is wanted"),
        (
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "none"}}),
            "configmap none/c: namespaces \"none\" not found: create it first",
        ),
        (
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "c-"}}),
            "ConfigMap: metadata.name",
        ),
    ];
    for (manifest, expected) in cases {
        let message = world.refused(manifest);
        assert!(message.starts_with(expected), "{message}\n{expected}");
    }
}

#[test]
fn services_get_addresses_and_ports_of_their_own() {
    let world = World::new();
    let spec = |more: Value| {
        let mut spec = json!({"selector": {"a": "b"}, "ports": [{"port": 80}]});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        spec
    };
    let other = world.refused(service("other", spec(json!({"ipFamilies": ["IPv6"]}))));
    assert_eq!(
        other,
        "service default/other: spec.ipFamilies: IPv6: Services have IPv4 here, of 10.96.0.0/28"
    );
    let names = json!({"clusterIP": "None", "ipFamilies": ["IPv4", "IPv6"]});
    world.apply(service("names", spec(names))).unwrap();
    let mut seen = std::collections::BTreeSet::new();
    for n in 0..13 {
        let (object, _) = world.apply(service(&format!("s{n}"), spec(json!({})))).unwrap();
        seen.insert(object.to_value()["spec"]["clusterIP"].as_str().unwrap().to_owned());
    }
    assert_eq!(seen.len(), 13);
    assert!(
        !seen.contains("10.96.0.10") && !seen.contains("10.96.0.0") && !seen.contains("10.96.0.15"),
        "{seen:?}"
    );
    let full = world.refused(service("more", spec(json!({}))));
    assert_eq!(full, "service default/more: spec.clusterIP: no address of 10.96.0.0/28 is free");
    let (headless, _) = world.apply(service("headless", spec(json!({"clusterIP": "None"})))).unwrap();
    assert_eq!(headless.to_value()["spec"]["clusterIPs"], json!(["None"]));
    for (address, expected) in
        [("10.96.0.10", "is cluster DNS's"), ("10.1.1.1", "is not in the range"), ("x", "not an address")]
    {
        let message = world.refused(service("asked", spec(json!({"clusterIP": address}))));
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn a_port_that_is_taken_names_by_whom() {
    let world = World::new();
    let node_port =
        |port: Value| json!({"type": "NodePort", "clusterIP": null, "selector": {"a": "b"}, "ports": [port]});
    world.apply(service("one", node_port(json!({"port": 80, "nodePort": 30001})))).unwrap();
    let message = world.refused(service("two", node_port(json!({"port": 80, "nodePort": 30001}))));
    assert_eq!(
        message,
        "service default/two: spec.ports[0].nodePort: 30001: port taken by service default/one"
    );
    let message = world.refused(service("two", node_port(json!({"port": 80, "nodePort": 80}))));
    assert!(message.ends_with("80 is not in the range 30000-30003"), "{message}");
    let (first, _) = world.apply(service("two", node_port(json!({"port": 80})))).unwrap();
    let (again, _) = world.apply(service("two", node_port(json!({"port": 80, "name": "http"})))).unwrap();
    let port = |object: &Object| object.to_value()["spec"]["ports"][0]["nodePort"].clone();
    assert_eq!(port(&first), port(&again));
    let plain = json!({"selector": {"a": "b"}, "ports": [{"port": 80}]});
    let (plain, _) = world.apply(service("two", plain)).unwrap();
    assert_eq!(plain.to_value()["spec"]["type"], "ClusterIP");
    assert_eq!(port(&plain), Value::Null);
    let host = |name| pod(name, json!({"ports": [{"containerPort": 80, "hostPort": 8080}]}));
    world.apply(host("a")).unwrap();
    assert_eq!(world.refused(host("b")), "pod default/b: hostPort 8080: port taken by pod default/a");
}

#[test]
fn quotas_and_limit_ranges_are_kept() {
    let world = World::new();
    let quota = json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q"},
        "spec": {"hard": {"pods": "2", "requests.cpu": "1", "count/secrets": 1}}});
    world.apply(quota).unwrap();
    let cpu = |cpu: &str| json!({"resources": {"requests": {"cpu": cpu}}});
    assert_eq!(
        world.refused(pod("a", json!({}))),
        "pods \"a\" is forbidden: failed quota: q: must specify requests.cpu for: main"
    );
    let range = json!({"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "r"},
        "spec": {"limits": [{"type": "Container", "max": {"cpu": "800m"}, "defaultRequest": {"cpu": "300m"},
            "maxLimitRequestRatio": {"cpu": "3"}}]}});
    world.apply(range).unwrap();
    let (object, _) = world.apply(pod("a", json!({}))).unwrap();
    let resources = &object.to_value()["spec"]["containers"][0]["resources"];
    assert_eq!(*resources, json!({"limits": {"cpu": "800m"}, "requests": {"cpu": "300m"}}));
    assert_eq!(
        world.refused(pod("b", cpu("900m"))),
        "pods \"b\" is forbidden: maximum cpu usage per Container is 800m, but request is 900m"
    );
    assert_eq!(
        world.refused(pod("b", cpu("200m"))),
        "pods \"b\" is forbidden: cpu max limit to request ratio per Container is 3, but provided ratio is 4"
    );
    assert_eq!(
        world.refused(pod("b", cpu("800m"))),
        "pods \"b\" is forbidden: exceeded quota: q, requested: requests.cpu=800m, used: requests.cpu=300m, limited: requests.cpu=1"
    );
    world.apply(pod("b", cpu("700m"))).unwrap();
    let full = world.refused(pod("c", cpu("300m")));
    assert!(full.contains("requested: pods=1,requests.cpu=300m, used: pods=2,requests.cpu=1"), "{full}");
    assert_eq!(world.apply(pod("a", json!({}))).unwrap().1, Applied::Unchanged);
    // A Pod that is there is not judged again by limits that came after it.
    let tight = json!({"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "r"},
        "spec": {"limits": [{"type": "Container", "max": {"cpu": "100m"}}]}});
    world.apply(tight).unwrap();
    let mut labelled = pod("a", json!({}));
    labelled["metadata"]["labels"] = json!({"app": "a"});
    assert_eq!(world.apply(labelled).unwrap().1, Applied::Configured);
    let secret = |name| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}});
    world.apply(secret("one")).unwrap();
    assert!(world.refused(secret("two")).contains("requested: count/secrets=1"));
}

#[test]
fn what_the_runtime_cannot_is_refused() {
    let world = World::new();
    // The node's name does not wait for the runtime's answer.
    let (object, _) = world.apply(pod("early", json!({}))).unwrap();
    assert_eq!(object.to_value()["spec"]["nodeName"], "node");
    let mut manifest = pod("p", json!({}));
    manifest["spec"]["hostUsers"] = false.into();
    let message = world.refused(manifest.clone());
    assert!(
        message.contains("spec.hostUsers: whether the runtime has user namespaces is not known yet"),
        "{message}"
    );
    world.ranges.set_features(Features::default());
    let message = world.refused(manifest.clone());
    assert_eq!(message, "pod default/p: spec.hostUsers: the runtime does not report user namespaces");
    let can = HandlerFeatures { user_namespaces: true, recursive_read_only: true };
    let handlers = [(String::new(), can), ("old".to_owned(), HandlerFeatures::default())];
    let features = Features { handlers: handlers.into(), ..Features::default() };
    world.ranges.set_features(features);
    // Of a RuntimeClass, it is the handler's word that counts.
    let class = json!({"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": "c"}, "handler": "old"});
    world.apply(class).unwrap();
    let mut classy = manifest.clone();
    classy["metadata"]["name"] = "classy".into();
    classy["spec"]["runtimeClassName"] = "c".into();
    let message = world.refused(classy);
    assert!(
        message.contains("spec.hostUsers: the runtime's handler old does not report user names"),
        "{message}"
    );
    let (object, _) = world.apply(manifest.clone()).unwrap();
    assert_eq!(object.to_value()["spec"]["nodeName"], "node");
    assert_eq!(world.apply(manifest).unwrap().1, Applied::Unchanged);
    assert_eq!(world.apply(pod("early", json!({}))).unwrap().1, Applied::Unchanged);
    let mut other = pod("q", json!({}));
    other["spec"]["nodeName"] = "other".into();
    assert_eq!(world.refused(other), "pod default/q: spec.nodeName: \"other\": the only node is node");
    let volume = |node: &str| {
        let term = json!({"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}]});
        json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "v"}, "spec": {"capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteOnce"], "local": {"path": "/v"}, "nodeAffinity": {"required": {"nodeSelectorTerms": [term]}}}})
    };
    world.apply(volume("node")).unwrap();
    let message = world.refused(volume("other"));
    assert_eq!(message, "persistentvolume v: spec.nodeAffinity.required: other: the only node is node");
}

#[test]
fn deletions_begin_gracefully() {
    let world = World::new();
    world.apply(pod("p", json!({}))).unwrap();
    let key = Key::new(Kind::Pod, "default", "p");
    let grace =
        |grace| delete(&world.store, &key, None, grace).unwrap().metadata().deletion_grace_period_seconds;
    assert_eq!(grace(Some(60)), Some(60));
    assert_eq!(grace(None), Some(30), "a shorter one");
    assert_eq!(grace(Some(90)), Some(30), "no longer one");
    assert_eq!(grace(Some(0)), Some(0));
    assert!(world.refused(pod("p", json!({}))).contains("it is being deleted"));
    assert_eq!(delete(&world.store, &key, Some("other"), None).unwrap_err().status, 409);

    world.apply(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}})).unwrap();
    let namespace = Key::new(Kind::Namespace, "", "n");
    let deleted = delete(&world.store, &namespace, None, None).unwrap().to_value();
    assert_eq!(deleted["status"]["phase"], "Terminating");
    let inside =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "n"}});
    assert!(world.refused(inside).contains("is being deleted"));
    assert_eq!(
        delete(&world.store, &Key::new(Kind::Namespace, "", "default"), None, None).unwrap_err().status,
        403
    );
    let gone = Key::new(Kind::ConfigMap, "default", "none");
    assert_eq!(delete(&world.store, &gone, None, None).unwrap_err().message, "configmaps \"none\" not found");
}

#[test]
fn names_are_made_up_and_revisions_compared() {
    let world = World::new();
    let manifest = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "c-"}});
    let made = create(&world.store, &world.ranges, "default", manifest).unwrap();
    let key = made.key();
    assert!(key.name.starts_with("c-") && key.name.len() == 7, "{key}");
    let mut value = made.to_value();
    value["data"] = json!({"a": "b"});
    let replaced = replace(&world.store, &world.ranges, &key, value.clone()).unwrap();
    assert_eq!(replaced.to_value()["data"], json!({"a": "b"}));
    assert_eq!(replace(&world.store, &world.ranges, &key, value).unwrap_err().status, 409);
    let message = patch(&world.store, &world.ranges, &key, &json!({"dta": {}})).unwrap_err().message;
    assert!(message.ends_with("dta: unknown field"), "{message}");
    let message = patch(&world.store, &world.ranges, &key, &json!({"data": [1]})).unwrap_err().message;
    assert!(message.contains(": data: ") && !message.contains("unknown field"), "{message}");
    assert_eq!(create(&world.store, &world.ranges, "default", made.to_value()).unwrap_err().status, 409);
}

#[test]
fn what_a_file_says_is_changed_in_the_file() {
    let world = World::new();
    let file = |name: &str| {
        apply(&world.store, &world.ranges, &Origin::File(name.into()), "default", deployment("app:1"))
    };
    assert_eq!(file("a.yaml").unwrap().1, Applied::Created);
    assert!(world.refused(deployment("app:2")).contains("it comes from a.yaml in the manifests' directory"));
    let key = Key::new(Kind::Deployment, "default", "web");
    patch(&world.store, &world.ranges, &key, &json!({"spec": {"replicas": 2}})).unwrap();
    assert_eq!(file("a.yaml").unwrap().1, Applied::Unchanged);
    assert_eq!(world.get(Kind::Deployment, "web")["spec"]["replicas"], 2);
    assert_eq!(file("b.yaml").unwrap().1, Applied::Configured);
}

#[test]
fn ranges_that_are_none_are_errors() {
    for (services, ports) in [
        ("10.96.0.0", "1-2"),
        ("10.96.0.1/16", "1-2"),
        ("10.96.0.0/30", "1-2"),
        ("10.96.0.0/99", "1-2"),
        ("x/16", "1-2"),
        ("10.96.0.0/16,fd00:96::/112", "1-2"),
        ("10.96.0.0/16", "2-1"),
        ("10.96.0.0/16", "0-1"),
        ("10.96.0.0/16", "1-99999"),
        ("10.96.0.0/16", "80"),
    ] {
        assert!(Ranges::new("node", services, ports, None).is_err(), "{services} {ports}");
    }
    assert!(Ranges::new("node", "fd00::/108", "1-1", None).is_ok());
}
