//! Which columns a kind has, and what is in them. Pure.

mod batch;
mod core;
mod network;
mod volumes;
mod workloads;

pub use core::{count, in_order, last_seen};
pub use network::addresses as endpoint_addresses;
pub use volumes::modes;

use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use super::age;
use super::table::Table;
use super::value::{Look as _, or};
use crate::objects::Kind;

/// What is said of each object: headings, of which only `-o wide` shows those that end in a star, and the cells of an object.
struct Columns {
    headings: &'static [&'static str],
    cells: fn(&Value, Timestamp) -> Vec<String>,
}

/// At the end of a heading.
const WIDE: char = '*';

fn columns(kind: Kind) -> Columns {
    match kind {
        Kind::Pod => core::POD,
        Kind::Namespace => core::NAMESPACE,
        Kind::ConfigMap => core::CONFIG_MAP,
        Kind::Secret => core::SECRET,
        Kind::ResourceQuota => core::RESOURCE_QUOTA,
        Kind::LimitRange => core::LIMIT_RANGE,
        Kind::RuntimeClass => core::RUNTIME_CLASS,
        Kind::Event => core::EVENT,
        Kind::Service => network::SERVICE,
        Kind::Endpoints => network::ENDPOINTS,
        Kind::Ingress => network::INGRESS,
        Kind::PersistentVolume => volumes::VOLUME,
        Kind::PersistentVolumeClaim => volumes::CLAIM,
        Kind::Deployment => workloads::DEPLOYMENT,
        Kind::ReplicaSet => workloads::REPLICA_SET,
        Kind::StatefulSet => workloads::STATEFUL_SET,
        Kind::DaemonSet => workloads::DAEMON_SET,
        Kind::Job => batch::JOB,
        Kind::CronJob => batch::CRON_JOB,
    }
}

/// Objects of a kind as rows.
pub fn table(kind: Kind, objects: &[Value], wide: bool, now: Timestamp) -> Table {
    let columns = columns(kind);
    let shown: Vec<bool> = columns.headings.iter().map(|heading| wide || !heading.ends_with(WIDE)).collect();
    let headings = columns.headings.iter().map(|heading| heading.trim_end_matches(WIDE).to_owned());
    let row = |object| of_shown((columns.cells)(object, now), &shown);
    Table { headings: of_shown(headings, &shown), rows: objects.iter().map(row).collect() }
}

fn of_shown(cells: impl IntoIterator<Item = String>, shown: &[bool]) -> Vec<String> {
    cells.into_iter().zip(shown).filter_map(|(cell, shown)| shown.then_some(cell)).collect()
}

fn name(object: &Value) -> String {
    object.text("/metadata/name").to_owned()
}

fn created(object: &Value, now: Timestamp) -> String {
    age::since(object.text("/metadata/creationTimestamp"), now)
}

fn or_none(text: &str) -> String {
    or(text, "<none>").to_owned()
}

/// Names and images of a template's containers.
fn containers(template: &Value) -> [String; 2] {
    ["/name", "/image"].map(|field| {
        let all: Vec<&str> =
            template.items("/spec/containers").iter().map(|container| container.text(field)).collect();
        all.join(",")
    })
}

/// A label selector in words: `app=web,tier in (a,b)`.
pub fn selector(selector: &Value) -> String {
    let mut terms: Vec<String> = selector
        .fields("/matchLabels")
        .iter()
        .map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default()))
        .collect();
    for expression in selector.items("/matchExpressions") {
        let values: Vec<&str> = expression.items("/values").iter().filter_map(Value::as_str).collect();
        let (key, values) = (expression.text("/key"), values.join(","));
        terms.push(match expression.text("/operator") {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "DoesNotExist" => format!("!{key}"),
            _ => key.to_owned(),
        });
    }
    or(&terms.join(","), "<none>").to_owned()
}

#[cfg(test)]
mod tests;
