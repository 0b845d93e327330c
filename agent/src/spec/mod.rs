//! What a Pod is for the runtime: the CRI's messages of its sandbox ([`sandbox`]) and its containers ([`container`]).
//!
//! Each follows from Pod, objects and settings alone, but for small files that are read as kubelet reads them: the host's
//! resolv.conf and hosts, a Pod's range of user ids ([`users`]), what a container left to be read ([`termination_message`]).
//!
//! What is sent is what kubelet sends of the same Pod, so that any runtime of Kubernetes' takes it.

mod container;
mod dns;
pub mod downward;
mod environment;
mod expand;
mod hostname;
mod identity;
mod machine;
mod pull_secrets;
mod qos;
mod resources;
mod sandbox;
mod security;
mod service_variables;
mod stop_signal;
mod termination;
#[cfg(test)]
mod tests;
pub mod users;

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{Container, Pod};
use k8s_openapi::api::node::v1::RuntimeClass;

use crate::cri::api;
use crate::objects::{Objects, Typed as _};
use crate::reconcile::observed::NodeFacts;

pub use container::container;
pub use environment::environment;
pub use expand::expand;
pub use hostname::hosts_file;
pub use identity::{HASH, MANAGED, annotation, hash, label};
pub use pull_secrets::{missing_pull_secrets, pull_secrets};
pub use qos::qos_class;
pub use sandbox::sandbox;
pub use termination::termination_message;
pub use users::UserRanges;

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
    /// Where seccomp profiles of type Localhost are.
    pub seccomp: PathBuf,
    /// Who gets which user ids.
    pub users: UserRanges,
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

impl SpecError {
    fn config(message: impl Into<String>) -> Self {
        Self { reason: "CreateContainerConfigError", message: message.into() }
    }

    fn sandbox(message: impl Into<String>) -> Self {
        Self { reason: "CreatePodSandboxError", message: message.into() }
    }
}

/// What a container's message is made from, beside the Pod.
pub struct ContainerInputs<'a> {
    /// For ConfigMaps, Secrets, Services' variables.
    pub objects: &'a Objects,
    /// The sandbox's addresses; those of the node where the Pod is in the host's network.
    pub addresses: &'a [IpAddr],
    /// Of [`crate::volumes`].
    pub mounts: Vec<VolumeMount>,
    /// As the runtime says: ImageStatus.
    pub image: &'a api::Image,
    /// Restarts.
    pub attempt: u32,
    /// A file with what [`hosts_file`] says, if it says anything.
    pub hosts_file: Option<&'a Path>,
    /// A file of the container's own, for its termination message.
    pub termination_file: Option<&'a Path>,
}

/// The name that the runtime has for a Pod's RuntimeClass; "" is its default.
pub fn runtime_handler(pod: &Pod, objects: &Objects) -> Result<String, SpecError> {
    let class = pod.spec.as_ref().and_then(|spec| spec.runtime_class_name.as_deref()).unwrap_or_default();
    if class.is_empty() {
        return Ok(String::new());
    }
    let found = objects.find::<RuntimeClass>("", class);
    found.map(|class| class.handler.clone()).ok_or_else(|| {
        SpecError::sandbox(format!(
            "runtimeclass {class} not found: apply it, or remove spec.runtimeClassName"
        ))
    })
}

/// The container of a name, init containers too.
pub fn container_of<'a>(pod: &'a Pod, name: &str) -> Option<&'a Container> {
    containers(pod).find(|container| container.name == name)
}

/// All containers, init containers first.
pub fn containers(pod: &Pod) -> impl Iterator<Item = &Container> {
    let spec = pod.spec.as_ref();
    let init = spec.and_then(|spec| spec.init_containers.as_deref()).unwrap_or_default();
    init.iter().chain(spec.map(|spec| spec.containers.as_slice()).unwrap_or_default())
}

/// Whether it is in the host's network.
pub fn host_network(pod: &Pod) -> bool {
    pod.spec.as_ref().and_then(|spec| spec.host_network) == Some(true)
}

/// `namespace/name`.
fn path_of(pod: &Pod) -> String {
    format!("{}/{}", pod.namespace(), pod.name())
}
