//! Pods, and what needs no section of its own.

use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use super::super::age;
use super::super::podwords;
use super::super::value::{Look as _, or};
use super::{Columns, created, name, or_none};

pub const POD: Columns = Columns {
    headings: &[
        "NAME",
        "READY",
        "STATUS",
        "RESTARTS",
        "AGE",
        "IP*",
        "NODE*",
        "NOMINATED NODE*",
        "READINESS GATES*",
    ],
    cells: pod,
};

fn pod(pod: &Value, now: Timestamp) -> Vec<String> {
    let words = podwords::of(pod, now);
    vec![
        name(pod),
        words.ready,
        words.status,
        words.restarts,
        created(pod, now),
        or_none(pod.text("/status/podIP")),
        or_none(pod.text("/spec/nodeName")),
        or_none(pod.text("/status/nominatedNodeName")),
        readiness_gates(pod),
    ]
}

fn readiness_gates(pod: &Value) -> String {
    let gates = pod.items("/spec/readinessGates");
    if gates.is_empty() {
        return or_none("");
    }
    let open = gates.iter().filter(|gate| podwords::condition(pod, gate.text("/conditionType")));
    format!("{}/{}", open.count(), gates.len())
}

pub const NAMESPACE: Columns = Columns { headings: &["NAME", "STATUS", "AGE"], cells: namespace };

fn namespace(namespace: &Value, now: Timestamp) -> Vec<String> {
    let phase = match namespace.has("/metadata/deletionTimestamp") {
        true => "Terminating",
        false => or(namespace.text("/status/phase"), "Active"),
    };
    vec![name(namespace), phase.to_owned(), created(namespace, now)]
}

pub const CONFIG_MAP: Columns = Columns { headings: &["NAME", "DATA", "AGE"], cells: config_map };

fn config_map(map: &Value, now: Timestamp) -> Vec<String> {
    let entries = map.fields("/data").len() + map.fields("/binaryData").len();
    vec![name(map), entries.to_string(), created(map, now)]
}

pub const SECRET: Columns = Columns { headings: &["NAME", "TYPE", "DATA", "AGE"], cells: secret };

fn secret(secret: &Value, now: Timestamp) -> Vec<String> {
    let kind = or(secret.text("/type"), "Opaque").to_owned();
    vec![name(secret), kind, secret.fields("/data").len().to_string(), created(secret, now)]
}

pub const RESOURCE_QUOTA: Columns =
    Columns { headings: &["NAME", "REQUEST", "LIMIT", "AGE"], cells: resource_quota };

fn resource_quota(quota: &Value, now: Timestamp) -> Vec<String> {
    let (mut requests, mut limits) = (Vec::new(), Vec::new());
    let hard = match quota.has("/status/hard") {
        true => quota.fields("/status/hard"),
        false => quota.fields("/spec/hard"),
    };
    for (resource, hard) in hard {
        let used = quota.pointer("/status/used").and_then(|used| used.get(resource)?.as_str()).unwrap_or("0");
        let text = format!("{resource}: {used}/{}", hard.as_str().unwrap_or_default());
        if resource.starts_with("limits.") { limits.push(text) } else { requests.push(text) }
    }
    vec![name(quota), requests.join(", "), limits.join(", "), created(quota, now)]
}

pub const LIMIT_RANGE: Columns = Columns { headings: &["NAME", "CREATED AT"], cells: limit_range };

fn limit_range(range: &Value, _: Timestamp) -> Vec<String> {
    vec![name(range), range.text("/metadata/creationTimestamp").to_owned()]
}

pub const RUNTIME_CLASS: Columns = Columns { headings: &["NAME", "HANDLER", "AGE"], cells: runtime_class };

fn runtime_class(class: &Value, now: Timestamp) -> Vec<String> {
    vec![name(class), class.text("/handler").to_owned(), created(class, now)]
}

pub const EVENT: Columns = Columns {
    headings: &[
        "LAST SEEN",
        "TYPE",
        "REASON",
        "OBJECT",
        "SUBOBJECT*",
        "SOURCE*",
        "MESSAGE",
        "FIRST SEEN*",
        "COUNT*",
        "NAME*",
    ],
    cells: event,
};

/// When an Event was seen last.
pub fn last_seen(event: &Value) -> &str {
    let times = ["/lastTimestamp", "/series/lastObservedTime", "/eventTime", "/firstTimestamp"];
    let seen = times.iter().map(|pointer| event.text(pointer)).find(|time| !time.is_empty());
    seen.unwrap_or_else(|| event.text("/metadata/creationTimestamp"))
}

/// Puts Events in the order in which they were seen last; those of one second in the order in which the agent told them.
pub fn in_order(events: &mut [Value]) {
    events.sort_by_cached_key(|event| {
        let second = last_seen(event).parse::<Timestamp>().map_or(i64::MIN, Timestamp::as_second);
        (second, event.text("/metadata/resourceVersion").parse::<u64>().unwrap_or(0))
    });
}

/// How often.
pub fn count(event: &Value) -> i64 {
    event.number("/count").max(1)
}

fn event(event: &Value, now: Timestamp) -> Vec<String> {
    let first = match event.text("/firstTimestamp") {
        "" => last_seen(event),
        first => first,
    };
    let object = format!(
        "{}/{}",
        event.text("/involvedObject/kind").to_ascii_lowercase(),
        event.text("/involvedObject/name")
    );
    vec![
        age::since(last_seen(event), now),
        event.text("/type").to_owned(),
        event.text("/reason").to_owned(),
        object,
        event.text("/involvedObject/fieldPath").to_owned(),
        or(event.text("/source/component"), event.text("/reportingComponent")).to_owned(),
        event.text("/message").trim().to_owned(),
        age::since(first, now),
        count(event).to_string(),
        name(event),
    ]
}
