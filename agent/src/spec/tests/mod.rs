//! Tables of what is sent.

mod container;
mod environment;
mod pull_secrets;
mod sandbox;
mod security;

use std::net::IpAddr;
use std::path::Path;

use k8s_openapi::api::core::v1::{Container, Pod};
use serde_json::{Value, json};

use super::{ContainerInputs, Settings, SpecError, UserRanges};
use crate::cri::api;
use crate::objects::{Kind, Object, Objects};
use crate::reconcile::observed::NodeFacts;

fn settings(state: &Path) -> Settings {
    let resolv_conf = state.join("resolv.conf");
    std::fs::write(&resolv_conf, "nameserver 192.0.2.53\nsearch example.org.\noptions ndots:1 timeout:3\n")
        .expect("resolv.conf");
    Settings {
        node: NodeFacts {
            name: "node-1".into(),
            addresses: vec![address("192.0.2.1"), address("2001:db8::1")],
            ..Default::default()
        },
        logs: "/logs".into(),
        cluster_domain: "cluster.local".into(),
        cluster_dns: Some(address("10.96.0.10")),
        resolv_conf,
        seccomp: "/state/seccomp".into(),
        users: UserRanges::below(state.join("pods")),
    }
}

fn with_settings<R>(test: impl FnOnce(&Settings) -> R) -> R {
    let state = tempfile::tempdir().expect("a directory");
    test(&settings(state.path()))
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// A Pod web/front with this spec; containers without a name are called main.
fn pod(spec: Value) -> Pod {
    let mut spec = spec;
    if spec.get("containers").is_none() {
        spec["containers"] = json!([{"name": "main", "image": "web:1"}]);
    }
    for container in spec["containers"].as_array_mut().expect("containers") {
        if container.get("name").is_none() {
            container["name"] = json!("main");
        }
    }
    let metadata = json!({"namespace": "web", "name": "front", "uid": "u-1", "labels": {"app": "front"}, "annotations": {"a": "b\"\n"}});
    serde_json::from_value(json!({"metadata": metadata, "spec": spec})).expect("a Pod")
}

fn objects(all: &[(Kind, Value)]) -> Objects {
    all.iter().map(|(kind, value)| Object::from_value(*kind, value.clone()).expect("an object")).collect()
}

fn image() -> api::Image {
    api::Image { id: "sha256:1".into(), ..Default::default() }
}

fn first(pod: &Pod) -> &Container {
    &pod.spec.as_ref().expect("a spec").containers[0]
}

/// The first container of a Pod.
fn container_of_image(
    spec: Value,
    image: &api::Image,
    objects: &Objects,
) -> Result<api::ContainerConfig, SpecError> {
    let pod = pod(spec);
    let addresses = [address("10.88.0.5"), address("fd00::5")];
    let inputs = ContainerInputs {
        objects,
        addresses: &addresses,
        mounts: Vec::new(),
        image,
        attempt: 3,
        hosts_file: None,
        termination_file: None,
    };
    with_settings(|settings| super::container(&pod, first(&pod), &inputs, settings))
}

fn container(container: Value) -> Result<api::ContainerConfig, SpecError> {
    container_of_image(json!({"containers": [container]}), &image(), &Objects::default())
}
