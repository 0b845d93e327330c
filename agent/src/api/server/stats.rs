//! What Pods use, for `top`.

use serde_json::{Value, json};

use super::answer::{self, Answer, Failure};
use super::path::Query;
use super::streams::ask;
use crate::api::Api;
use crate::cri::api as cri;
use crate::spec::MANAGED;

/// Of each container: processor time used until now, with the time of that, and memory. A rate is the difference of two.
pub async fn all(api: &Api, query: &Query) -> Result<Answer, Failure> {
    let request = cri::ListContainerStatsRequest { filter: None };
    let stats = ask("ListContainerStats", api.runtime.runtime().list_container_stats(request)).await?.stats;
    let namespace = query.get("namespace");
    let containers: Vec<Value> = stats.into_iter().filter_map(|stats| container(stats, namespace)).collect();
    Ok(answer::json(&json!({"containers": containers})))
}

fn container(stats: cri::ContainerStats, namespace: Option<&str>) -> Option<Value> {
    let attributes = stats.attributes?;
    let label = |name: &str| attributes.labels.get(name).map(String::as_str).unwrap_or_default();
    if !attributes.labels.contains_key(MANAGED)
        || namespace.is_some_and(|namespace| label("io.kubernetes.pod.namespace") != namespace)
    {
        return None;
    }
    let number = |value: &Option<cri::UInt64Value>| value.as_ref().map(|value| value.value);
    let (cpu, memory) = (stats.cpu.as_ref(), stats.memory.as_ref());
    Some(json!({
        "namespace": label("io.kubernetes.pod.namespace"),
        "pod": label("io.kubernetes.pod.name"),
        "container": label("io.kubernetes.container.name"),
        "id": attributes.id,
        "cpuNanoseconds": cpu.and_then(|cpu| number(&cpu.usage_core_nano_seconds)),
        "cpuAt": cpu.map(|cpu| cpu.timestamp),
        "memoryBytes": memory.and_then(|memory| number(&memory.working_set_bytes)),
    }))
}
