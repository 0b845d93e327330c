//! From the CRI's wishes to an OCI configuration: pure. Facts about host, image and Pod come in as values, files of the
//! host through [`HostFiles`]. Format: the OCI runtime specification 1.3, config.md and config-linux.md.
//!
//! In: a [`Request`]. Out: a [`Made`], or an [`Invalid`] that names the field of the CRI's message; it is an INVALID_ARGUMENT.
//! What the kubelet is used to is what containerd and runc make of the same wishes; docs/cri-security.md has the table.

mod capabilities;
mod defaults;
mod devices;
mod host;
mod labels;
mod mounts;
mod namespaces;
mod process;
mod resources;
mod seccomp;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::LazyLock;

pub use host::{HostFacts, HostFiles, Mounted, Node, ThisHost};
use oci_spec::runtime::{Process, Spec};
pub use resources::resources;
use serde_json::{Value, json};

use crate::api;
use crate::config::Config;
use crate::state::Pod;

/// What a container is made of.
#[derive(Debug)]
pub struct Request<'a> {
    /// The container's id.
    pub id: &'a str,
    /// Its Pod.
    pub pod: &'a Pod,
    /// As CreateContainer was told.
    pub container: &'a api::ContainerConfig,
    /// What its image says.
    pub image: &'a ImageFacts,
    /// The user, looked up in the image's /etc/passwd and /etc/group.
    pub user: User,
    /// Where `/etc/hostname`, `/etc/resolv.conf`, `/dev/shm` of the Pod are on the host.
    pub files: PodFiles,
    /// The PID namespace to join, a path; None: as the options say (its own, or the host's).
    pub pid_namespace: Option<PathBuf>,
    /// `linux.cgroupsPath`.
    pub cgroup: String,
    /// `root.path`.
    pub root: PathBuf,
    /// The handler's profile.
    pub profile: &'a crate::config::RuntimeProfile,
    /// The configuration.
    pub config: &'a Config,
    /// Facts about the host.
    pub host: &'a HostFacts,
    /// Its files; [`ThisHost`] but in tests.
    pub host_files: &'a dyn HostFiles,
}

/// What a container becomes.
#[derive(Debug)]
pub struct Made {
    /// Its config.json.
    pub spec: Spec,
    /// Directories of the host, mode 0755, to be made with their parents before it starts: sources of mounts that are not there.
    pub make_directories: Vec<PathBuf>,
}

/// What an image's configuration says about running.
#[derive(Clone, Debug, Default)]
pub struct ImageFacts {
    /// `Entrypoint`.
    pub entrypoint: Vec<String>,
    /// `Cmd`.
    pub cmd: Vec<String>,
    /// `Env`.
    pub env: Vec<String>,
    /// `WorkingDir`.
    pub working_dir: String,
    /// `User`.
    pub user: String,
    /// `StopSignal`.
    pub stop_signal: String,
    /// `Volumes`.
    pub volumes: Vec<String>,
}

/// Who runs.
#[derive(Clone, Debug, Default)]
pub struct User {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Further groups, those of the image's /etc/group too where the policy says so.
    pub additional_gids: Vec<u32>,
    /// Of /etc/passwd.
    pub home: String,
}

/// Files of the Pod on the host.
#[derive(Clone, Debug, Default)]
pub struct PodFiles {
    /// Mounted at /etc/hostname where nothing else is.
    pub hostname: Option<PathBuf>,
    /// Mounted at /etc/resolv.conf where nothing else is.
    pub resolv_conf: Option<PathBuf>,
    /// Mounted at /etc/hosts where nothing else is.
    pub hosts: Option<PathBuf>,
    /// Mounted at /dev/shm.
    pub shm: Option<PathBuf>,
    /// Volumes of the image: target to directory.
    pub volumes: BTreeMap<String, PathBuf>,
}

/// A wish that cannot be met; the message names the field.
#[derive(Debug, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct Invalid {
    /// `linux.security_context.seccomp` and the like.
    pub field: String,
    /// Why, and what to do.
    pub reason: String,
}

impl Invalid {
    fn new(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { field: field.into(), reason: reason.into() }
    }
}

impl From<Invalid> for tonic::Status {
    fn from(invalid: Invalid) -> Self {
        Self::invalid_argument(invalid.to_string())
    }
}

/// The OCI configuration of a container.
pub fn container(request: &Request<'_>) -> Result<Made, Invalid> {
    check(request)?;
    let capabilities = capabilities::sets(request)?;
    let labels = labels::labels(request)?;
    let mounts = mounts::mounts(request)?;
    let mut process = process::process(request, &capabilities)?;
    let mut linux = json!({
        "cgroupsPath": request.cgroup,
        "namespaces": namespaces::namespaces(request)?,
    });
    linux["maskedPaths"] = json!(masked(request));
    linux["readonlyPaths"] = json!(read_only(request));
    let devices = devices::devices(request)?;
    linux["resources"] = resources::json(request.resources(), "linux.resources")?;
    linux["resources"]["devices"] = devices.rules.into();
    linux["devices"] = devices.nodes.into();
    let optional = [
        ("seccomp", seccomp::profile(request, &capabilities.bounding)?),
        ("rootfsPropagation", mounts.root_propagation.map(Value::from)),
        ("mountLabel", labels.mount.map(Value::from)),
    ];
    set(&mut linux, optional);
    let labels = [
        ("apparmorProfile", labels.apparmor.map(Value::from)),
        ("selinuxLabel", labels.process.map(Value::from)),
    ];
    set(&mut process, labels);
    let config = json!({
        "ociVersion": rcrun::spec::OCI_VERSION,
        "process": process,
        "root": {"path": request.root, "readonly": request.security().readonly_rootfs},
        "mounts": mounts.list,
        "annotations": annotations(request),
        "linux": linux,
    });
    let spec = serde_json::from_value(config)
        .map_err(|error| Invalid::new("config", format!("no OCI configuration comes of it: {error}")))?;
    Ok(Made { spec, make_directories: mounts.make_directories })
}

/// The OCI process of an exec: the container's own with other arguments.
pub fn exec(container: &Spec, args: &[String], terminal: bool) -> Result<Process, Invalid> {
    process::exec(container, args, terminal)
}

/// What excludes each other, and what is for later.
fn check(request: &Request<'_>) -> Result<(), Invalid> {
    let security = request.security();
    let pod = request.pod.config.linux.as_ref().and_then(|linux| linux.security_context.as_ref());
    if security.privileged && !pod.is_some_and(|pod| pod.privileged) {
        let reason = "its Pod sandbox was made without it: set it in the sandbox's security context, too";
        return Err(Invalid::new("linux.security_context.privileged", reason));
    }
    if let Some(device) = request.container.cdi_devices.first() {
        return Err(Invalid::new("CDI_devices", format!("{:?}: CDI is not supported yet", device.name)));
    }
    Ok(())
}

fn set<const N: usize>(object: &mut Value, fields: [(&str, Option<Value>); N]) {
    for (name, value) in fields {
        if let Some(value) = value {
            object[name] = value;
        }
    }
}

/// On the wire an empty list is none: the kubelet sends its defaults, or means an unmasked /proc. Who says nothing at all of
/// security gets the defaults, too.
fn masked<'a>(request: &Request<'a>) -> Vec<&'a str> {
    match request.given_security() {
        Some(security) if security.privileged => Vec::new(),
        Some(security) => security.masked_paths.iter().map(String::as_str).collect(),
        None => defaults::MASKED.to_vec(),
    }
}

fn read_only<'a>(request: &Request<'a>) -> Vec<&'a str> {
    match request.given_security() {
        Some(security) if security.privileged => Vec::new(),
        Some(security) => security.readonly_paths.iter().map(String::as_str).collect(),
        None => defaults::READ_ONLY.to_vec(),
    }
}

/// What other tools look for, under the names that containerd has given them. The CRI's own annotations must not change what
/// a runtime does, and stay in the record.
fn annotations(request: &Request<'_>) -> BTreeMap<&'static str, String> {
    let pod = request.pod.config.metadata.clone().unwrap_or_default();
    let container = request.container.metadata.clone().unwrap_or_default();
    let image = request.container.image.clone().unwrap_or_default();
    let name = if image.user_specified_image.is_empty() { image.image } else { image.user_specified_image };
    BTreeMap::from([
        ("io.kubernetes.cri.container-type", "container".to_owned()),
        ("io.kubernetes.cri.sandbox-id", request.pod.id.clone()),
        ("io.kubernetes.cri.sandbox-name", pod.name),
        ("io.kubernetes.cri.sandbox-namespace", pod.namespace),
        ("io.kubernetes.cri.sandbox-uid", pod.uid),
        ("io.kubernetes.cri.container-name", container.name),
        ("io.kubernetes.cri.image-name", name),
    ])
}

static NO_SECURITY: LazyLock<api::LinuxContainerSecurityContext> = LazyLock::new(Default::default);
static NO_RESOURCES: LazyLock<api::LinuxContainerResources> = LazyLock::new(Default::default);

impl<'a> Request<'a> {
    fn given_security(&self) -> Option<&'a api::LinuxContainerSecurityContext> {
        self.container.linux.as_ref()?.security_context.as_ref()
    }

    fn security(&self) -> &'a api::LinuxContainerSecurityContext {
        self.given_security().unwrap_or(&NO_SECURITY)
    }

    fn resources(&self) -> &'a api::LinuxContainerResources {
        let linux = self.container.linux.as_ref();
        linux.and_then(|linux| linux.resources.as_ref()).unwrap_or(&NO_RESOURCES)
    }
}

#[cfg(test)]
mod tests;
