//! What a Pod is for the runtime: the CRI's messages of its sandbox and its containers. Pure.

use std::net::IpAddr;
use std::path::PathBuf;

use k8s_openapi::api::core::v1::{Container, Pod};

use crate::cri::api;
use crate::objects::Objects;
use crate::reconcile::observed::NodeFacts;

/// The label that says that a sandbox or container is this agent's; its value is the node's name.
pub const MANAGED: &str = "io.rcrun.agent";

/// What the agent is set to.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Names and addresses of the machine.
    pub node: NodeFacts,
    /// `/var/log/pods`.
    pub logs: PathBuf,
    /// `cluster.local`.
    pub cluster_domain: String,
    /// Where cluster DNS answers. None: there is none.
    pub cluster_dns: Option<IpAddr>,
    /// The machine's own resolv.conf.
    pub resolv_conf: PathBuf,
}

/// A mount of a volume in a container.
#[derive(Clone, Debug, PartialEq)]
pub struct VolumeMount {
    /// On the host; for image volumes see `image`.
    pub host_path: PathBuf,
    /// In the container.
    pub container_path: String,
    /// No writing.
    pub readonly: bool,
    /// Also what is mounted below.
    pub recursive_readonly: bool,
    /// Of Kubernetes: None, HostToContainer, Bidirectional.
    pub propagation: Option<String>,
    /// An image volume: its reference.
    pub image: Option<String>,
    /// Within the image.
    pub image_sub_path: String,
}

/// Why there is no message: a reason as kubelet's (`CreateContainerConfigError`) and what is wrong. No secrets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SpecError {
    /// For `waiting.reason`.
    pub reason: &'static str,
    /// For people.
    pub message: String,
}

/// The sandbox of a Pod.
pub fn sandbox(pod: &Pod, attempt: u32, settings: &Settings) -> Result<api::PodSandboxConfig, SpecError> {
    let _ = (pod, attempt, settings);
    Err(SpecError { reason: "CreatePodSandboxError", message: "not yet".into() })
}

/// What a container's message is made from, beside the Pod.
pub struct ContainerInputs<'a> {
    /// For ConfigMaps, Secrets, Services' variables.
    pub objects: &'a Objects,
    /// The sandbox's addresses.
    pub addresses: &'a [IpAddr],
    /// Of [`crate::volumes`].
    pub mounts: Vec<VolumeMount>,
    /// As the runtime says: ImageStatus.
    pub image: &'a api::Image,
    /// Restarts.
    pub attempt: u32,
}

/// A container of a Pod.
pub fn container(
    pod: &Pod,
    container: &Container,
    inputs: &ContainerInputs<'_>,
    settings: &Settings,
) -> Result<api::ContainerConfig, SpecError> {
    let _ = (pod, container, inputs, settings);
    Err(SpecError { reason: "CreateContainerConfigError", message: "not yet".into() })
}

/// A number that another spec of the container would not have, for the annotation that a changed container is noticed by.
pub fn hash(container: &Container) -> String {
    let _ = container;
    String::new()
}

/// The `Guaranteed`, `Burstable` or `BestEffort` of a Pod.
pub fn qos_class(pod: &Pod) -> &'static str {
    let _ = pod;
    "BestEffort"
}

/// The logins for an image of a Pod: of its imagePullSecrets, those that are there.
pub fn pull_secrets(pod: &Pod, image: &str, objects: &Objects) -> Vec<api::AuthConfig> {
    let _ = (pod, image, objects);
    Vec::new()
}
