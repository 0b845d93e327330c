//! Deployments, ReplicaSets, StatefulSets, DaemonSets.

use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use super::super::value::{Look as _, pairs};
use super::{Columns, containers, created, name, selector};

fn wanted(object: &Value) -> i64 {
    object.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(1)
}

fn of(object: &Value, pointer: &str) -> String {
    object.number(pointer).to_string()
}

fn made_of(object: &Value) -> [String; 3] {
    let [names, images] = containers(&object["spec"]["template"]);
    [names, images, selector(&object["spec"]["selector"])]
}

pub const DEPLOYMENT: Columns = Columns {
    headings: &["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE", "CONTAINERS*", "IMAGES*", "SELECTOR*"],
    cells: deployment,
};

fn deployment(deployment: &Value, now: Timestamp) -> Vec<String> {
    let mut cells = vec![
        name(deployment),
        format!("{}/{}", deployment.number("/status/readyReplicas"), wanted(deployment)),
        of(deployment, "/status/updatedReplicas"),
        of(deployment, "/status/availableReplicas"),
        created(deployment, now),
    ];
    cells.extend(made_of(deployment));
    cells
}

pub const REPLICA_SET: Columns = Columns {
    headings: &["NAME", "DESIRED", "CURRENT", "READY", "AGE", "CONTAINERS*", "IMAGES*", "SELECTOR*"],
    cells: replica_set,
};

fn replica_set(set: &Value, now: Timestamp) -> Vec<String> {
    let mut cells = vec![
        name(set),
        wanted(set).to_string(),
        of(set, "/status/replicas"),
        of(set, "/status/readyReplicas"),
        created(set, now),
    ];
    cells.extend(made_of(set));
    cells
}

pub const STATEFUL_SET: Columns =
    Columns { headings: &["NAME", "READY", "AGE", "CONTAINERS*", "IMAGES*"], cells: stateful_set };

fn stateful_set(set: &Value, now: Timestamp) -> Vec<String> {
    let ready = format!("{}/{}", set.number("/status/readyReplicas"), wanted(set));
    let mut cells = vec![name(set), ready, created(set, now)];
    cells.extend(made_of(set));
    cells
}

pub const DAEMON_SET: Columns = Columns {
    headings: &[
        "NAME",
        "DESIRED",
        "CURRENT",
        "READY",
        "UP-TO-DATE",
        "AVAILABLE",
        "NODE SELECTOR",
        "AGE",
        "CONTAINERS*",
        "IMAGES*",
        "SELECTOR*",
    ],
    cells: daemon_set,
};

fn daemon_set(set: &Value, now: Timestamp) -> Vec<String> {
    let mut cells = vec![
        name(set),
        of(set, "/status/desiredNumberScheduled"),
        of(set, "/status/currentNumberScheduled"),
        of(set, "/status/numberReady"),
        of(set, "/status/updatedNumberScheduled"),
        of(set, "/status/numberAvailable"),
        pairs(set, "/spec/template/spec/nodeSelector", "<none>"),
        created(set, now),
    ];
    cells.extend(made_of(set));
    cells
}
