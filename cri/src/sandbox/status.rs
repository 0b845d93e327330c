//! PodSandboxStatus, and what is told to who listens to events.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Value, json};
use tonic::Status;

use super::{blocking, list};
use crate::api;
use crate::cni::Attachment;
use crate::container;
use crate::runtime::Runtime;
use crate::state::{self, Pod};

/// PodSandboxStatus.
pub async fn status(
    runtime: &Arc<Runtime>,
    request: api::PodSandboxStatusRequest,
) -> Result<api::PodSandboxStatusResponse, Status> {
    let pod = runtime.pods.find(&request.pod_sandbox_id).map_err(super::not_there)?.get();
    let timestamp = state::now();
    let info = if request.verbose {
        let (runtime, pod) = (Arc::clone(runtime), Arc::clone(&pod));
        blocking(move || Ok(HashMap::from([("info".into(), info(&runtime, &pod).to_string())]))).await?
    } else {
        HashMap::new()
    };
    let containers_statuses = containers(runtime, &pod.id).await;
    Ok(api::PodSandboxStatusResponse { status: Some(of(&pod)), info, containers_statuses, timestamp })
}

async fn containers(runtime: &Arc<Runtime>, pod: &str) -> Vec<api::ContainerStatus> {
    let mut statuses = Vec::new();
    for container in runtime.containers.list() {
        if container.pod != pod {
            continue;
        }
        let request = api::ContainerStatusRequest { container_id: container.id.clone(), verbose: false };
        // One that was removed at this moment is not there.
        if let Ok(answer) = container::container_status(runtime, request).await {
            statuses.extend(answer.status);
        }
    }
    statuses
}

/// The CRI's words for a record.
fn of(pod: &Pod) -> api::PodSandboxStatus {
    let linux = pod.config.linux.clone().unwrap_or_default();
    let options = linux.security_context.unwrap_or_default().namespace_options.unwrap_or_default();
    let mut addresses = pod.network.addresses.iter().cloned();
    api::PodSandboxStatus {
        id: pod.id.clone(),
        metadata: pod.config.metadata.clone(),
        state: list::state(pod).into(),
        created_at: pod.created,
        network: Some(api::PodSandboxNetworkStatus {
            ip: addresses.next().unwrap_or_default(),
            additional_ips: addresses.map(|ip| api::PodIp { ip }).collect(),
        }),
        linux: Some(api::LinuxPodSandboxStatus {
            namespaces: Some(api::Namespace { options: Some(options) }),
        }),
        labels: pod.config.labels.clone(),
        annotations: pod.config.annotations.clone(),
        runtime_handler: pod.handler.clone(),
    }
}

/// What people ask for with `crictl inspectp`. Names that other runtimes have are theirs.
fn info(runtime: &Runtime, pod: &Pod) -> Value {
    let attachment: Option<Attachment> =
        pod.network.attachment.clone().and_then(|value| serde_json::from_value(value).ok());
    let pins = [("network", &pod.network.namespace), ("ipc", &pod.ipc), ("uts", &pod.uts)];
    let namespaces: Vec<Value> = pins
        .into_iter()
        .filter_map(|(kind, path)| Some(json!({"type": kind, "path": path.as_ref()?})))
        .collect();
    let (network, result) = match &attachment {
        Some(Attachment::Cni(cni)) => ("cni", cni.result.clone()),
        Some(Attachment::Bridge { .. }) => ("bridge", None),
        None => ("none", None),
    };
    let mut info = json!({
        "sandboxID": pod.id,
        "pid": pod.init.as_ref().map_or(0, |init| init.pid),
        "netNamespaceClosed": pod.network.namespace.is_none(),
        "runtimeHandler": pod.handler,
        "cgroupParent": pod.cgroup_parent,
        "network": network,
        "cniResult": result,
        "runtimeSpec": {"linux": {"namespaces": namespaces}},
        "hostname": pod.config.hostname,
        "logDirectory": pod.config.log_directory,
    });
    if let (Some(attachment), Some(namespace)) = (&attachment, &pod.network.namespace) {
        let config = runtime.config();
        let checked = runtime.network.check(&config.network, &pod.id, namespace, attachment);
        info["networkCheck"] = checked.map_or_else(|error| error.to_string(), |()| "ok".into()).into();
    }
    info
}

/// Tells who listens that something has happened to the Pod itself; its id then stands for a container's.
pub fn tell(runtime: &Runtime, pod: &Pod, event: api::ContainerEventType) {
    if !runtime.events.is_heard() {
        return;
    }
    runtime.events.send(api::ContainerEventResponse {
        container_id: pod.id.clone(),
        container_event_type: event.into(),
        created_at: state::now(),
        pod_sandbox_status: Some(of(pod)),
        containers_statuses: container::statuses_of(runtime, &pod.id),
    });
}
