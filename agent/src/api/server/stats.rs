//! What Pods use, for `top`.

use serde_json::{Value, json};

use super::answer::{self, Answer, Failure};
use super::path::Query;
use super::streams::ask;
use crate::api::Api;
use crate::metrics::{self, ContainerUsage};

/// Of each container: processor time used until now, with the time of that, and memory. A rate is the difference of two.
pub async fn all(api: &Api, query: &Query) -> Result<Answer, Failure> {
    let asked = async { metrics::usage(&api.runtime).await.map(tonic::Response::new) };
    let usage = ask("ListPodSandboxStats", asked).await?;
    let namespace = query.get("namespace");
    let wanted = usage.iter().filter(|of| namespace.is_none_or(|namespace| of.namespace == namespace));
    Ok(answer::json(&json!({"containers": wanted.map(container).collect::<Vec<_>>()})))
}

fn container(usage: &ContainerUsage) -> Value {
    json!({
        "namespace": usage.namespace,
        "pod": usage.pod,
        "container": usage.container,
        "id": usage.id,
        "cpuNanoseconds": usage.cpu_nanoseconds,
        "cpuAt": usage.cpu_at,
        "memoryBytes": usage.memory_working_set,
    })
}
