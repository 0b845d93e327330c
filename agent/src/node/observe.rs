//! What the runtime says of Pods, as [`crate::reconcile::observed`] has it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

use jiff::Timestamp;
use tonic::Status;

use crate::cri::api;
use crate::reconcile::observed::{Container, Sandbox, State};
use crate::spec::{self, MANAGED, annotation, label};

/// All that the runtime has of one Pod.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// From labels.
    pub namespace: String,
    /// From labels.
    pub name: String,
    /// The newest first.
    pub sandboxes: Vec<Sandbox>,
    /// Of each name the newest attempt first.
    pub containers: Vec<Container>,
}

/// Asks for the agent's Pods, or one of them by its uid.
pub async fn ask(node: &super::Node, uid: Option<&str>) -> Result<BTreeMap<String, Seen>, Status> {
    let mut selector =
        std::collections::HashMap::from([(MANAGED.to_owned(), node.settings.node.name.clone())]);
    if let Some(uid) = uid {
        selector.insert(label::POD_UID.into(), uid.into());
    }
    let mut runtime = node.runtime.runtime();
    let filter = api::PodSandboxFilter { label_selector: selector.clone(), ..Default::default() };
    let sandboxes =
        runtime.list_pod_sandbox(api::ListPodSandboxRequest { filter: Some(filter) }).await?.into_inner();
    let filter = api::ContainerFilter { label_selector: selector, ..Default::default() };
    let containers =
        runtime.list_containers(api::ListContainersRequest { filter: Some(filter) }).await?.into_inner();
    let mut pods: BTreeMap<String, Seen> = BTreeMap::new();
    for item in sandboxes.items {
        let request = api::PodSandboxStatusRequest { pod_sandbox_id: item.id.clone(), verbose: false };
        let Some(status) =
            present(runtime.pod_sandbox_status(request).await)?.and_then(|answer| answer.status)
        else {
            continue;
        };
        let pod = of_labels(&mut pods, &item.labels);
        pod.sandboxes.push(sandbox(&status));
    }
    for item in containers.containers {
        let request = api::ContainerStatusRequest { container_id: item.id.clone(), verbose: false };
        let Some(status) = present(runtime.container_status(request).await)?.and_then(|answer| answer.status)
        else {
            continue;
        };
        let container = container(&status, &item.pod_sandbox_id, &node.state);
        of_labels(&mut pods, &item.labels).containers.push(container);
    }
    for pod in pods.values_mut() {
        pod.sandboxes.sort_by_key(|sandbox| std::cmp::Reverse((sandbox.attempt, sandbox.created)));
        pod.containers.sort_by(|a, b| a.name.cmp(&b.name).then(b.attempt.cmp(&a.attempt)));
    }
    Ok(pods)
}

/// What somebody removed meanwhile is not there.
fn present<T>(answer: Result<tonic::Response<T>, Status>) -> Result<Option<T>, Status> {
    match answer {
        Ok(answer) => Ok(Some(answer.into_inner())),
        Err(status) if status.code() == tonic::Code::NotFound => Ok(None),
        Err(status) => Err(status),
    }
}

fn of_labels<'a>(
    pods: &'a mut BTreeMap<String, Seen>,
    given: &std::collections::HashMap<String, String>,
) -> &'a mut Seen {
    let of = |name: &str| given.get(name).cloned().unwrap_or_default();
    let pod = pods.entry(of(label::POD_UID)).or_default();
    pod.namespace = of(label::POD_NAMESPACE);
    pod.name = of(label::POD_NAME);
    pod
}

/// A sandbox as its status says.
pub fn sandbox(status: &api::PodSandboxStatus) -> Sandbox {
    let network = status.network.clone().unwrap_or_default();
    let addresses = std::iter::once(network.ip).chain(network.additional_ips.into_iter().map(|ip| ip.ip));
    Sandbox {
        id: status.id.clone(),
        attempt: status.metadata.as_ref().map_or(0, |metadata| metadata.attempt),
        ready: status.state() == api::PodSandboxState::SandboxReady,
        addresses: addresses.filter_map(|address| address.parse::<IpAddr>().ok()).collect(),
        created: time(status.created_at).unwrap_or_default(),
    }
}

/// A container as its status says.
pub fn container(status: &api::ContainerStatus, sandbox: &str, state: &Path) -> Container {
    let metadata = status.metadata.clone().unwrap_or_default();
    let at = match status.state() {
        api::ContainerState::ContainerCreated => {
            State::Created { at: time(status.created_at).unwrap_or_default() }
        }
        api::ContainerState::ContainerRunning => {
            State::Running { since: time(status.started_at).unwrap_or_default() }
        }
        api::ContainerState::ContainerExited => State::Exited {
            started: time(status.started_at),
            finished: time(status.finished_at).unwrap_or_default(),
            code: status.exit_code,
            reason: reason(status),
            message: last_words(status, state)
                .unwrap_or_else(|| by_name(&status.message, &status.id, &metadata.name)),
        },
        api::ContainerState::ContainerUnknown => State::Unknown,
    };
    let name_given = status.image.as_ref().map(|image| {
        if image.user_specified_image.is_empty() { &image.image } else { &image.user_specified_image }
    });
    Container {
        id: status.id.clone(),
        sandbox: sandbox.to_owned(),
        name: metadata.name,
        attempt: metadata.attempt,
        state: at,
        image: name_given.cloned().unwrap_or_default(),
        image_id: status.image_ref.clone(),
        hash: status.annotations.get(annotation::HASH).cloned().unwrap_or_default(),
    }
}

/// What the runtime says of a container, with its name for its id: what another attempt comes to is said in the same words then, and equal
/// events are counted.
pub fn by_name(message: &str, id: &str, name: &str) -> String {
    if id.is_empty() { message.to_owned() } else { message.replace(id, name) }
}

/// As kubelet's: the runtime's word, or one from the exit code.
fn reason(status: &api::ContainerStatus) -> String {
    match (status.reason.as_str(), status.exit_code) {
        ("", 0) => "Completed".into(),
        ("", _) => "Error".into(),
        (reason, _) => reason.to_owned(),
    }
}

/// What the container left in its termination message file, or said last. None: nothing.
fn last_words(status: &api::ContainerStatus, state: &Path) -> Option<String> {
    let uid = status.labels.get(label::POD_UID)?;
    let metadata = status.metadata.as_ref()?;
    let file = super::files::termination_file(state, uid, &metadata.name, metadata.attempt);
    let words =
        spec::termination_message(&status.annotations, status.exit_code, &file, Path::new(&status.log_path));
    (!words.is_empty()).then_some(words)
}

/// Nanoseconds since 1970; 0 is no time.
fn time(nanoseconds: i64) -> Option<Timestamp> {
    (nanoseconds != 0).then(|| Timestamp::from_nanosecond(nanoseconds.into()).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_start_is_told_in_the_same_words_each_time() {
        let message = |id: &str| {
            let status = api::ContainerStatus {
                id: id.into(),
                metadata: Some(api::ContainerMetadata { name: "web".into(), attempt: 1 }),
                state: api::ContainerState::ContainerExited.into(),
                reason: "StartError".into(),
                message: format!("container {id} could not be started: no such file"),
                ..Default::default()
            };
            match container(&status, "sandbox", Path::new("/nonexistent")).state {
                State::Exited { message, .. } => message,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(message("1f2e"), "container web could not be started: no such file");
        assert_eq!(message("1f2e"), message("77aa"));
        assert_eq!(by_name("said", "", "web"), "said");
    }
}
