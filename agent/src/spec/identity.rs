//! Labels and annotations by which sandboxes and containers are found again: kubelet's, and one of the agent's own.

use std::collections::HashMap;

use k8s_openapi::api::core::v1::{Container, Pod};

use crate::objects::Typed as _;

/// The label that says that a sandbox or container is this agent's; its value is the node's name.
pub const MANAGED: &str = "io.rcrun.agent";

/// The annotation with a container's [`hash`].
pub const HASH: &str = annotation::HASH;

/// Names of labels.
#[allow(missing_docs)]
pub mod label {
    pub const POD_NAME: &str = "io.kubernetes.pod.name";
    pub const POD_NAMESPACE: &str = "io.kubernetes.pod.namespace";
    pub const POD_UID: &str = "io.kubernetes.pod.uid";
    pub const CONTAINER_NAME: &str = "io.kubernetes.container.name";
}

/// Names of containers' annotations.
#[allow(missing_docs)]
pub mod annotation {
    pub const HASH: &str = "io.kubernetes.container.hash";
    pub const RESTART_COUNT: &str = "io.kubernetes.container.restartCount";
    pub const TERMINATION_MESSAGE_PATH: &str = "io.kubernetes.container.terminationMessagePath";
    pub const TERMINATION_MESSAGE_POLICY: &str = "io.kubernetes.container.terminationMessagePolicy";
    pub const PRE_STOP: &str = "io.kubernetes.container.preStopHandler";
    pub const PORTS: &str = "io.kubernetes.container.ports";
    pub const TERMINATION_GRACE_PERIOD: &str = "io.kubernetes.pod.terminationGracePeriod";
}

fn of_pod(pod: &Pod, node: &str) -> [(String, String); 4] {
    [
        (label::POD_NAME.into(), pod.name().into()),
        (label::POD_NAMESPACE.into(), pod.namespace().into()),
        (label::POD_UID.into(), pod.uid().into()),
        (MANAGED.into(), node.into()),
    ]
}

/// A sandbox has the Pod's own labels, too.
pub(super) fn sandbox_labels(pod: &Pod, node: &str) -> HashMap<String, String> {
    let own = pod.metadata.labels.iter().flatten().map(|(name, value)| (name.clone(), value.clone()));
    own.chain(of_pod(pod, node)).collect()
}

pub(super) fn container_labels(pod: &Pod, container: &Container, node: &str) -> HashMap<String, String> {
    let name = (label::CONTAINER_NAME.to_owned(), container.name.clone());
    of_pod(pod, node).into_iter().chain([name]).collect()
}

/// What is to be known of a container when its Pod's object is gone.
pub(super) fn container_annotations(
    pod: &Pod,
    container: &Container,
    attempt: u32,
) -> HashMap<String, String> {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let mut annotations = HashMap::from([
        (annotation::HASH.to_owned(), hash(container)),
        (annotation::RESTART_COUNT.to_owned(), attempt.to_string()),
        (annotation::TERMINATION_MESSAGE_PATH.to_owned(), text(&container.termination_message_path)),
        (annotation::TERMINATION_MESSAGE_POLICY.to_owned(), text(&container.termination_message_policy)),
    ]);
    if let Some(grace) = pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds) {
        annotations.insert(annotation::TERMINATION_GRACE_PERIOD.into(), grace.to_string());
    }
    let hook = container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.pre_stop.as_ref());
    if let Some(json) = hook.and_then(|hook| serde_json::to_string(hook).ok()) {
        annotations.insert(annotation::PRE_STOP.into(), json);
    }
    let ports = container.ports.as_ref().filter(|ports| !ports.is_empty());
    if let Some(json) = ports.and_then(|ports| serde_json::to_string(ports).ok()) {
        annotations.insert(annotation::PORTS.into(), json);
    }
    annotations
}

/// A number that another container would not have, for the annotation that a changed one is noticed by. As kubelet's it is of name
/// and image alone: these can change in a Pod, and a new agent with other defaults must restart nothing.
pub fn hash(container: &Container) -> String {
    let image = container.image.as_deref().unwrap_or_default();
    format!("{:x}", crate::fnv::hash(container.name.bytes().chain([0]).chain(image.bytes())))
}
