//! Objects for the tests of this folder.

use std::net::IpAddr;

use serde_json::{Value, json};

use crate::objects::{Kind, Object, Objects};

/// Of the JSON of a manifest.
pub fn object(kind: Kind, value: Value) -> Object {
    Object::from_value(kind, value).unwrap()
}

/// A Service of the namespace default, which selects its own name as the label app.
pub fn service(name: &str, spec: Value) -> Object {
    let mut spec = spec;
    spec.as_object_mut().unwrap().entry("selector").or_insert(json!({"app": name}));
    object(
        Kind::Service,
        json!({"metadata": {"namespace": "default", "name": name, "uid": format!("uid-{name}"), "labels": {"l": name}}, "spec": spec}),
    )
}

/// A Pod of it that is running.
pub fn pod(name: &str, app: &str, ready: bool, ips: &[&str]) -> Object {
    let ips: Vec<_> = ips.iter().map(|ip| json!({"ip": ip})).collect();
    let ready = if ready { "True" } else { "False" };
    let ports = json!([{"name": "http", "containerPort": 8080}, {"name": "dns", "containerPort": 5353, "protocol": "UDP"}]);
    object(
        Kind::Pod,
        json!({
            "metadata": {"namespace": "default", "name": name, "uid": format!("uid-{name}"), "labels": {"app": app}},
            "spec": {"nodeName": "node", "containers": [{"name": "main", "ports": ports}]},
            "status": {"phase": "Running", "podIPs": ips, "conditions": [{"type": "Ready", "status": ready}]},
        }),
    )
}

/// Endpoints of a Service, with one subset.
pub fn endpoints(name: &str, ips: &[IpAddr], ports: Value) -> Object {
    let addresses: Vec<_> = ips.iter().map(|ip| json!({"ip": ip})).collect();
    object(
        Kind::Endpoints,
        json!({"metadata": {"namespace": "default", "name": name}, "subsets": [{"addresses": addresses, "ports": ports}]}),
    )
}

/// All of these.
pub fn objects(all: impl IntoIterator<Item = Object>) -> Objects {
    all.into_iter().collect()
}
