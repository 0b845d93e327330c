//! ConfigMaps, Secrets, namespaces, volumes, and whatever has no words of its own.

use std::collections::BTreeSet;

use serde_json::Value;

use super::super::columns;
use super::super::value::{Look as _, or};
use super::layout::Text;
use super::{conditions, metadata};

pub fn config_map(text: &mut Text, map: &Value) {
    metadata(text, map);
    text.line(0, "\nData\n====");
    for (name, value) in map.fields("/data") {
        text.line(0, format!("{name}:\n----\n{}\n", value.as_str().unwrap_or_default()));
    }
    text.line(0, "\nBinaryData\n====");
    for (name, value) in map.fields("/binaryData") {
        text.line(0, format!("{name}: {} bytes\n", decoded_length(value)));
    }
}

/// Never what is in it.
pub fn secret(text: &mut Text, secret: &Value) {
    metadata(text, secret);
    text.line(0, "");
    text.field(0, "Type", or(secret.text("/type"), "Opaque"));
    text.line(0, "\nData\n====");
    for (name, value) in secret.fields("/data") {
        text.field(0, name, format!("{} bytes", decoded_length(value)));
    }
    // What follows is aligned by itself.
    text.line(0, "");
}

/// Of base64, without decoding it.
fn decoded_length(value: &Value) -> usize {
    let text = value.as_str().unwrap_or_default();
    text.trim_end_matches('=').len() * 3 / 4
}

/// With its quotas and limits.
pub fn namespace(text: &mut Text, namespace: &Value, more: &[Value]) {
    metadata(text, namespace);
    text.field(0, "Status", or(namespace.text("/status/phase"), "Active"));
    let quotas: Vec<&Value> = more.iter().filter(|object| object.text("/kind") == "ResourceQuota").collect();
    if quotas.is_empty() {
        text.line(0, "\nNo resource quota.");
    }
    for quota in quotas {
        text.line(0, "\nResource Quotas");
        text.field(1, "Name", quota.text("/metadata/name"));
        amounts(text, 1, quota);
    }
    let ranges: Vec<&Value> = more.iter().filter(|object| object.text("/kind") == "LimitRange").collect();
    if ranges.is_empty() {
        text.line(0, "\nNo LimitRange resource.");
    }
    if !ranges.is_empty() {
        text.line(0, "\nResource Limits");
        limits(text, 1, &ranges);
    }
}

/// A LimitRange.
pub fn limit_range(text: &mut Text, range: &Value) {
    metadata(text, range);
    limits(text, 0, &[range]);
}

/// Of each type and resource the bounds, a dash for those that there are not.
fn limits(text: &mut Text, level: usize, ranges: &[&Value]) {
    const HEADINGS: [&str; 7] =
        ["Type", "Resource", "Min", "Max", "Default Request", "Default Limit", "Max Limit/Request Ratio"];
    const BOUNDS: [&str; 5] = ["min", "max", "defaultRequest", "default", "maxLimitRequestRatio"];
    text.row(level, &HEADINGS);
    text.row(level, &HEADINGS.map(|heading| "-".repeat(heading.len())).each_ref().map(String::as_str));
    for limit in ranges.iter().flat_map(|range| range.items("/spec/limits")) {
        let named = BOUNDS.iter().filter_map(|bound| limit.get(bound)?.as_object());
        for resource in named.flat_map(serde_json::Map::keys).collect::<BTreeSet<_>>() {
            let bound =
                |name: &&str| limit.get(name).and_then(|of| of.get(resource)?.as_str()).unwrap_or("-");
            let mut row = vec![limit.text("/type"), resource.as_str()];
            row.extend(BOUNDS.iter().map(bound));
            text.row(level, &row);
        }
    }
}

/// A ResourceQuota.
pub fn quota(text: &mut Text, quota: &Value) {
    metadata(text, quota);
    amounts(text, 0, quota);
}

fn amounts(text: &mut Text, level: usize, quota: &Value) {
    text.row(level, &["Resource", "Used", "Hard"]);
    text.row(level, &["--------", "----", "----"]);
    let hard = if quota.has("/status/hard") { "/status/hard" } else { "/spec/hard" };
    for (resource, hard) in quota.fields(hard) {
        let used = quota.pointer("/status/used").and_then(|used| used.get(resource)?.as_str()).unwrap_or("0");
        text.row(level, &[resource, used, hard.as_str().unwrap_or_default()]);
    }
}

/// A claim, with the Pods that use it.
pub fn claim(text: &mut Text, claim: &Value, pods: &[Value]) {
    volume(text, claim);
    let names: Vec<String> = pods.iter().map(|pod| pod.text("/metadata/name").to_owned()).collect();
    text.list(0, "Used By", &names);
}

/// PersistentVolumes and claims.
pub fn volume(text: &mut Text, volume: &Value) {
    metadata(text, volume);
    text.field(0, "StorageClass", volume.text("/spec/storageClassName"));
    let state = match volume.has("/metadata/deletionTimestamp") {
        true => "Terminating",
        false => or(volume.text("/status/phase"), "Pending"),
    };
    text.field(0, "Status", state);
    text.optional(0, "Reason", volume.text("/status/reason"));
    text.optional(0, "Message", volume.text("/status/message"));
    text.optional(0, "Volume", volume.text("/spec/volumeName"));
    let claim = volume.text("/spec/claimRef/name");
    if !claim.is_empty() {
        text.field(0, "Claim", format!("{}/{claim}", volume.text("/spec/claimRef/namespace")));
    }
    text.optional(0, "Reclaim Policy", volume.text("/spec/persistentVolumeReclaimPolicy"));
    let capacity = match volume.plain("/spec/capacity/storage") {
        none if none.is_empty() => volume.plain("/status/capacity/storage"),
        capacity => capacity,
    };
    text.field(0, "Capacity", capacity);
    text.field(0, "Access Modes", columns::modes(volume, "/spec/accessModes"));
    text.field(0, "VolumeMode", or(volume.text("/spec/volumeMode"), "Filesystem"));
    for source in ["local", "hostPath", "nfs"] {
        if volume.has(&format!("/spec/{source}")) {
            text.line(0, "Source:");
            text.field(1, "Type", source);
            tree(text, 1, &volume["spec"][source]);
        }
    }
    conditions(text, volume);
}

/// Field by field.
pub fn anything(text: &mut Text, object: &Value) {
    metadata(text, object);
    if let Some(map) = object.as_object() {
        let shown =
            map.iter().filter(|(name, _)| !matches!(name.as_str(), "metadata" | "apiVersion" | "kind"));
        for (name, value) in shown {
            entry(text, 0, name, value);
        }
    }
}

fn tree(text: &mut Text, level: usize, value: &Value) {
    if let Some(map) = value.as_object() {
        map.iter().for_each(|(name, value)| entry(text, level, name, value));
    }
}

fn entry(text: &mut Text, level: usize, name: &str, value: &Value) {
    match value {
        Value::Object(_) => {
            text.line(level, format!("{name}:"));
            tree(text, level + 1, value);
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            text.line(level, format!("{name}:"));
            for item in items {
                tree(text, level + 1, item);
            }
        }
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(|item| item.plain("")).collect();
            text.field(level, name, items.join(", "));
        }
        value => text.field(level, name, value.plain("")),
    }
}
