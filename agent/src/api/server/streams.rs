//! The runtime's own URLs for exec, attach and port forwarding, and which container of a Pod is meant.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use serde_json::json;

use super::answer::{self, Answer, Failure};
use super::path::Query;
use super::read;
use crate::api::Api;
use crate::cri::api as cri;
use crate::objects::{Key, Object};

/// How long the runtime may take to answer.
const PATIENCE: Duration = Duration::from_secs(15);
/// The annotation that names the container that is meant where none is named.
const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";

/// A URL at which a command runs in a container.
pub async fn exec(api: &Api, key: &Key, query: &Query) -> Result<Answer, Failure> {
    let cmd: Vec<String> = query.all("command").map(str::to_owned).collect();
    if cmd.is_empty() {
        return Err(Failure::new(400, "you must specify at least one command for the container"));
    }
    let tty = query.flag("tty");
    let request = cri::ExecRequest {
        container_id: running(api, key, query.get("container")).await?,
        cmd,
        tty,
        stdin: query.flag("stdin"),
        stdout: true,
        // A terminal has one output.
        stderr: !tty,
    };
    url(ask("Exec", api.runtime.runtime().exec(request)).await?.url)
}

/// A URL of a container's own input and output.
pub async fn attach(api: &Api, key: &Key, query: &Query) -> Result<Answer, Failure> {
    let tty = query.flag("tty");
    let request = cri::AttachRequest {
        container_id: running(api, key, query.get("container")).await?,
        stdin: query.flag("stdin"),
        tty,
        stdout: true,
        stderr: !tty,
    };
    url(ask("Attach", api.runtime.runtime().attach(request)).await?.url)
}

/// A URL of connections to ports of a Pod.
pub async fn port_forward(api: &Api, key: &Key, query: &Query) -> Result<Answer, Failure> {
    let pod = pod(api, key)?;
    let mut ports = Vec::new();
    for port in query.all("ports").flat_map(|ports| ports.split(',')) {
        let parsed = port.parse::<u16>().ok().filter(|port| *port > 0);
        let port = parsed.ok_or_else(|| Failure::new(400, format!("ports={port}: it is no port")))?;
        ports.push(i32::from(port));
    }
    if ports.is_empty() {
        return Err(Failure::new(400, "ports: at least one is needed"));
    }
    let labels = [("io.kubernetes.pod.uid".to_owned(), uid(&pod).to_owned())].into();
    let state = cri::PodSandboxStateValue { state: cri::PodSandboxState::SandboxReady as i32 };
    let filter = cri::PodSandboxFilter { label_selector: labels, state: Some(state), ..Default::default() };
    let request = cri::ListPodSandboxRequest { filter: Some(filter) };
    let sandboxes = ask("ListPodSandbox", api.runtime.runtime().list_pod_sandbox(request)).await?.items;
    let newest = sandboxes.into_iter().max_by_key(|sandbox| sandbox.created_at);
    let newest = newest.ok_or_else(|| {
        Failure::new(409, format!("unable to forward port because pod {} is not running", key.name))
    })?;
    let request = cri::PortForwardRequest { pod_sandbox_id: newest.id, port: ports };
    url(ask("PortForward", api.runtime.runtime().port_forward(request)).await?.url)
}

fn url(url: String) -> Result<Answer, Failure> {
    Ok(answer::json(&json!({"url": url})))
}

/// A call of the runtime, with a limit of time.
pub async fn ask<T>(
    what: &str,
    call: impl Future<Output = Result<tonic::Response<T>, tonic::Status>>,
) -> Result<T, Failure> {
    match tokio::time::timeout(PATIENCE, call).await {
        Ok(Ok(answer)) => Ok(answer.into_inner()),
        Ok(Err(status)) if status.code() == tonic::Code::Unavailable => {
            Err(Failure::new(503, format!("the runtime does not answer to {what}: {}", status.message())))
        }
        Ok(Err(status)) => Err(Failure::new(500, format!("the runtime's {what}: {}", status.message()))),
        Err(_) => Err(Failure::new(504, format!("the runtime's {what} took longer than {PATIENCE:?}"))),
    }
}

/// The Pod of a key.
pub fn pod(api: &Api, key: &Key) -> Result<std::sync::Arc<Pod>, Failure> {
    match read::object(api, key)? {
        Object::Pod(pod) => Ok(pod),
        _ => Err(Failure::not_found(key)),
    }
}

/// Its uid.
pub fn uid(pod: &Pod) -> &str {
    pod.metadata.uid.as_deref().unwrap_or_default()
}

/// The container of a Pod that is meant: the one that is named, or the Pod's default one, which is the first.
pub fn container(pod: &Pod, named: Option<&str>) -> Result<String, Failure> {
    let spec = pod.spec.as_ref();
    let all: Vec<&str> = spec
        .into_iter()
        .flat_map(|spec| spec.containers.iter().chain(spec.init_containers.iter().flatten()))
        .map(|container| container.name.as_str())
        .collect();
    let annotations = pod.metadata.annotations.as_ref();
    let default = annotations.and_then(|annotations| annotations.get(DEFAULT_CONTAINER));
    let default = default.map(String::as_str).filter(|name| all.contains(name)).or(all.first().copied());
    let pod = pod.metadata.name.as_deref().unwrap_or_default();
    match named {
        Some(named) if all.contains(&named) => Ok(named.to_owned()),
        Some(named) => Err(Failure::new(
            400,
            format!("container {named} is not valid for pod {pod}; it has {}", all.join(", ")),
        )),
        None => default
            .map(str::to_owned)
            .ok_or_else(|| Failure::new(400, format!("pod {pod} has no containers"))),
    }
}

/// The containers of a name of a Pod that the runtime has, the newest first.
pub async fn attempts(api: &Api, pod: &Pod, name: &str) -> Result<Vec<cri::Container>, Failure> {
    let label = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let labels = [label("io.kubernetes.pod.uid", uid(pod)), label("io.kubernetes.container.name", name)];
    let filter = cri::ContainerFilter { label_selector: labels.into(), ..Default::default() };
    let request = cri::ListContainersRequest { filter: Some(filter) };
    let mut containers =
        ask("ListContainers", api.runtime.runtime().list_containers(request)).await?.containers;
    let attempt =
        |container: &cri::Container| container.metadata.as_ref().map_or(0, |metadata| metadata.attempt);
    containers.sort_by_key(|container| std::cmp::Reverse((attempt(container), container.created_at)));
    Ok(containers)
}

async fn running(api: &Api, key: &Key, named: Option<&str>) -> Result<String, Failure> {
    let pod = pod(api, key)?;
    let name = container(&pod, named)?;
    let newest = attempts(api, &pod, &name).await?.into_iter().next();
    match newest {
        Some(container) if container.state == cri::ContainerState::ContainerRunning as i32 => {
            Ok(container.id)
        }
        _ => Err(Failure::new(409, format!("container {name} of pod {} is not running", key.name))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_container_that_is_meant() {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "web", "annotations": {DEFAULT_CONTAINER: "side"}},
            "spec": {"containers": [{"name": "main"}, {"name": "side"}], "initContainers": [{"name": "first"}]},
        }))
        .unwrap();
        assert_eq!(container(&pod, None).unwrap(), "side");
        assert_eq!(container(&pod, Some("first")).unwrap(), "first");
        let message = container(&pod, Some("none")).unwrap_err().message;
        assert!(message.contains("none is not valid for pod web") && message.contains("main, side, first"));
    }
}
