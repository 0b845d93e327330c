//! From the CRI's wishes to an OCI configuration: pure. Facts about host, image and Pod come in as values.

use std::collections::BTreeMap;
use std::path::PathBuf;

use oci_spec::runtime::{Process, Spec};

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

/// Facts about the host, read once a request.
#[derive(Clone, Debug, Default)]
pub struct HostFacts {
    /// Bits of the capabilities that may be given.
    pub capabilities: u64,
    /// The lowest oom_score_adj that may be set.
    pub lowest_oom_score_adj: i32,
    /// AppArmor is there.
    pub apparmor: bool,
    /// SELinux is there.
    pub selinux: bool,
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

/// The OCI configuration of a container.
pub fn container(_request: &Request<'_>) -> Result<Spec, Invalid> {
    todo!()
}

/// The OCI process of an exec: the container's own with other arguments.
pub fn exec(_container: &Spec, _args: &[String], _terminal: bool) -> Result<Process, Invalid> {
    todo!()
}
