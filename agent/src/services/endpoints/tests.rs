use serde_json::{Value, json};

use super::super::examples::{endpoints, objects, pod, service};
use super::*;

/// What reconcile makes of a Service `web` and others: the subsets, as JSON.
fn subsets_of(spec: Value, pods: &[Object]) -> Value {
    let all = objects([service("web", spec)].into_iter().chain(pods.iter().cloned()));
    let decision = reconcile(&Key::new(Kind::Service, "default", "web"), &all, Timestamp::UNIX_EPOCH);
    match decision.actions.as_slice() {
        [Action::Create(Object::Endpoints(made))] => serde_json::to_value(&made.subsets).unwrap(),
        other => panic!("{other:?}"),
    }
}

fn ips(subsets: &Value, which: &str) -> Vec<String> {
    let subsets = subsets.as_array().unwrap().iter();
    let addresses = subsets.flat_map(|subset| subset[which].as_array().cloned().unwrap_or_default());
    addresses.map(|address| address["ip"].as_str().unwrap().to_owned()).collect()
}

fn ports() -> Value {
    json!([{"port": 80, "protocol": "TCP", "targetPort": "http"}])
}

#[test]
fn ready_pods_are_addresses_and_others_are_not_ready() {
    let pods = [
        pod("c", "web", true, &["10.88.0.10"]),
        pod("a", "web", true, &["10.88.0.9"]),
        pod("b", "web", false, &["10.88.0.3"]),
        pod("x", "other", true, &["10.88.0.4"]),
        pod("unborn", "web", false, &[]),
    ];
    let subsets = subsets_of(json!({"clusterIP": "10.96.0.1", "ports": ports()}), &pods);
    assert_eq!(ips(&subsets, "addresses"), ["10.88.0.9", "10.88.0.10"], "in the order of the addresses");
    assert_eq!(ips(&subsets, "notReadyAddresses"), ["10.88.0.3"]);
    assert_eq!(subsets[0]["ports"], json!([{"port": 8080, "protocol": "TCP"}]));
    let target = json!({"kind": "Pod", "namespace": "default", "name": "a", "uid": "uid-a"});
    assert_eq!(subsets[0]["addresses"][0]["targetRef"], target);
    assert_eq!(subsets[0]["addresses"][0]["nodeName"], "node");
    let published = json!({"clusterIP": "None", "publishNotReadyAddresses": true, "ports": ports()});
    assert_eq!(ips(&subsets_of(published, &pods), "addresses").len(), 3);
}

#[test]
fn pods_that_end_or_have_ended_leave_at_once() {
    let mut ending = pod("a", "web", true, &["10.88.0.2"]);
    ending.metadata_mut().deletion_timestamp =
        Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(Timestamp::UNIX_EPOCH));
    let mut ended = pod("b", "web", true, &["10.88.0.3"]);
    let status = Pod::of_mut(&mut ended).and_then(|pod| pod.status.as_mut());
    status.unwrap().phase = Some("Succeeded".into());
    let subsets = subsets_of(json!({"clusterIP": "10.96.0.1", "ports": ports()}), &[ending, ended]);
    assert_eq!(subsets, json!([]));
}

#[test]
fn ports_are_found_by_number_and_by_name() {
    let ports = json!([
        {"name": "same", "port": 80},
        {"name": "number", "port": 81, "targetPort": 9},
        {"name": "named", "port": 53, "protocol": "UDP", "targetPort": "dns"},
        {"name": "wrong-protocol", "port": 54, "targetPort": "dns"},
        {"name": "nowhere", "port": 55, "targetPort": "nowhere"},
    ]);
    let found = json!([
        {"name": "named", "port": 5353, "protocol": "UDP"},
        {"name": "number", "port": 9, "protocol": "TCP"},
        {"name": "same", "port": 80, "protocol": "TCP"},
    ]);
    for address in ["10.96.0.1", "None"] {
        let subsets = subsets_of(
            json!({"clusterIP": address, "ports": ports}),
            &[pod("a", "web", true, &["10.88.0.2"])],
        );
        assert_eq!(subsets[0]["ports"], found, "{address}");
    }
}

#[test]
fn pods_with_other_ports_are_subsets_of_their_own() {
    let mut other = pod("b", "web", true, &["10.88.0.3"]);
    let spec = Pod::of_mut(&mut other).and_then(|pod| pod.spec.as_mut()).unwrap();
    spec.containers[0].ports.as_mut().unwrap()[0].container_port = 9090;
    let pods = [pod("a", "web", true, &["10.88.0.2"]), other, pod("c", "web", true, &["10.88.0.4"])];
    let subsets = subsets_of(json!({"clusterIP": "10.96.0.1", "ports": ports()}), &pods);
    assert_eq!(ips(&json!([subsets[0]]), "addresses"), ["10.88.0.2", "10.88.0.4"]);
    assert_eq!(ips(&json!([subsets[1]]), "addresses"), ["10.88.0.3"]);
}

#[test]
fn families_are_the_services() {
    let pods = [pod("a", "web", true, &["10.88.0.2", "fd00::2"])];
    let of = |spec| ips(&subsets_of(spec, &pods), "addresses");
    assert_eq!(of(json!({"clusterIP": "10.96.0.1", "ports": ports()})), ["10.88.0.2"]);
    assert_eq!(of(json!({"clusterIP": "fd00:96::1", "ports": ports()})), ["fd00::2"]);
    let both =
        json!({"clusterIPs": ["10.96.0.1", "fd00:96::1"], "ipFamilies": ["IPv4", "IPv6"], "ports": ports()});
    assert_eq!(of(both), ["10.88.0.2", "fd00::2"]);
    assert_eq!(of(json!({"clusterIP": "None", "ports": ports()})), ["10.88.0.2"]);
    assert_eq!(
        of(json!({"clusterIP": "None", "ipFamilies": ["IPv6"]})),
        ["fd00::2"],
        "headless, without ports"
    );
}

#[test]
fn a_hostname_is_of_the_subdomains_service() {
    let mut named = pod("a", "web", true, &["10.88.0.2"]);
    let spec = Pod::of_mut(&mut named).and_then(|pod| pod.spec.as_mut()).unwrap();
    (spec.hostname, spec.subdomain) = (Some("one".into()), Some("web".into()));
    let headless = json!({"clusterIP": "None", "ports": ports()});
    let subsets = subsets_of(headless.clone(), std::slice::from_ref(&named));
    assert_eq!(subsets[0]["addresses"][0]["hostname"], "one");
    let spec = Pod::of_mut(&mut named).and_then(|pod| pod.spec.as_mut()).unwrap();
    spec.subdomain = Some("other".into());
    assert_eq!(subsets_of(headless, &[named])[0]["addresses"][0].get("hostname"), None);
}

#[test]
fn nothing_is_done_where_it_is_so_already_or_is_anothers() {
    let key = Key::new(Kind::Service, "default", "web");
    let ask = |all: &Objects| reconcile(&key, all, Timestamp::UNIX_EPOCH).actions;
    let mut all = objects([
        service("web", json!({"clusterIP": "10.96.0.1", "ports": ports()})),
        pod("a", "web", true, &["10.88.0.2"]),
    ]);
    let [Action::Create(made)] = &ask(&all)[..] else { panic!("no Endpoints") };
    let owner = &made.metadata().owner_references.as_ref().unwrap()[0];
    assert_eq!(
        (owner.uid.as_str(), made.metadata().labels.as_ref().unwrap()["l"].as_str()),
        ("uid-web", "web")
    );
    let mut made = made.clone();
    made.metadata_mut().uid = Some("uid-endpoints".into());
    all.insert(made);
    assert_eq!(ask(&all), []);

    all.insert(pod("a", "web", false, &["10.88.0.2"]));
    let [Action::Update(Object::Endpoints(changed))] = &ask(&all)[..] else { panic!("no change") };
    assert_eq!(changed.uid(), "uid-endpoints");
    assert!(changed.subsets.as_ref().unwrap()[0].addresses.is_none());

    for spec in [
        json!({"selector": {}, "clusterIP": "10.96.0.1"}),
        json!({"type": "ExternalName", "externalName": "a.b"}),
    ] {
        assert_eq!(ask(&objects([service("web", spec)])), []);
    }
    assert_eq!(ask(&objects([endpoints("web", &[], json!([]))])), [], "a user's, without a Service");
}

#[test]
fn a_pod_concerns_the_services_that_select_it_or_name_it() {
    let all = objects([
        service("web", json!({"ports": ports()})),
        service("other", json!({"ports": ports()})),
        pod("a", "web", true, &["10.88.0.2"]),
    ]);
    let web = Key::new(Kind::Service, "default", "web");
    assert_eq!(dependents(&pod("a", "web", true, &[]), &all), std::slice::from_ref(&web));
    assert_eq!(dependents(&pod("a", "none", true, &[]), &all), []);
    let [Action::Create(made)] = &reconcile(&web, &all, Timestamp::UNIX_EPOCH).actions[..] else { panic!() };
    let mut all = all;
    all.insert(made.clone());
    assert_eq!(
        dependents(&pod("a", "none", true, &[]), &all),
        std::slice::from_ref(&web),
        "its labels have changed"
    );
    assert_eq!(dependents(made, &all), [web], "somebody changed the Endpoints");
}

#[test]
fn endpoints_of_before_stand_until_their_pods_are_known() {
    let spec = json!({"clusterIP": "10.96.0.1", "ports": ports()});
    let unknown = |name: &str| {
        let mut pod = pod(name, "web", true, &[]);
        Pod::of_mut(&mut pod).unwrap().status = None;
        pod
    };
    let known = pod("b", "web", true, &["10.88.0.3"]);
    let before = [pod("a", "web", true, &["10.88.0.2"]), known.clone()];
    let all = objects([service("web", spec.clone())].into_iter().chain(before));
    let key = Key::new(Kind::Service, "default", "web");
    let made = match reconcile(&key, &all, Timestamp::UNIX_EPOCH).actions.remove(0) {
        Action::Create(made) => made,
        other => panic!("{other:?}"),
    };
    let with = |pods: &[Object]| {
        let all = [service("web", spec.clone()), made.clone()].into_iter().chain(pods.iter().cloned());
        let all = objects(all);
        (are_of_before(&all), reconcile(&key, &all, Timestamp::UNIX_EPOCH).actions)
    };
    assert_eq!(with(&[unknown("a"), unknown("b")]), (true, vec![]));
    assert_eq!(with(&[unknown("a"), known.clone()]), (true, vec![]));
    // One that is gone, or known not to be ready, leaves; one that is new keeps nobody.
    assert_eq!(with(&[known.clone(), unknown("c")]).1.len(), 1);
    assert!(!with(&[known.clone(), unknown("c")]).0);
    assert_eq!(with(&[pod("a", "web", false, &["10.88.0.2"]), known]).1.len(), 1);
}
