//! A Pod's volumes: what they are ([`plan`], pure), and their directories, files and mounts on this machine.
//!
//! Each is `STATE/pods/UID/volumes/NAME`; those with secrets are on one tmpfs for all Pods, `STATE/secrets/UID/NAME`. What is made
//! from ConfigMaps, Secrets and the Pod itself is put there by a swapped symbolic link, so that a reader sees all of the old or all
//! of the new. What others gave (hostPath, local volumes) is used where it is. docs/agent-volumes.md says what is supported.
//!
//! What a container writes is hostile: paths within its volumes are resolved by descriptors, never out of the volume.

mod atomic;
mod container;
mod file_system;
mod host_path;
mod mount;
mod nfs;
mod ownership;
mod plan;
mod prepare;
mod sub_path;
mod tree;
mod usage;
mod walk;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{Container, Pod};

use crate::objects::Objects;
use crate::spec::VolumeMount;

/// The process that mounts and unmounts nfs volumes: this program with that argument and a request.
pub use nfs::{VERB as NFS, serve as serve_nfs};
pub use plan::Plan;
pub(crate) use prepare::names;

/// Why a volume is not there; a reason as kubelet's (`FailedMount`). No secrets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("volume {volume}: {message}")]
pub struct VolumeError {
    /// Its name in the Pod.
    pub volume: String,
    /// For people.
    pub message: String,
}

/// What a Pod's volumes are to be: those that a container mounts.
pub fn plan(pod: &Pod, objects: &Objects) -> Result<Plan, VolumeError> {
    plan::of(pod, objects)
}

/// Its emptyDirs alone, for which no other object is needed.
pub fn empty_directories(pod: &Pod) -> Plan {
    plan::empty_directories(pod)
}

/// Makes or updates them. What is there already stays. Blocks: on nfs for as long as the server takes, half a minute at most.
pub fn prepare(plan: &Plan, directory: &Path) -> Result<(), VolumeError> {
    prepare::prepare(plan, directory)
}

/// Unmounts and removes all volumes of a Pod, and its directory. Nothing is followed out of it; what others gave (hostPath, nfs, claims) keeps its files. Blocks: on nfs
/// for as long as the server takes, ten seconds at most.
pub fn tear_down(directory: &Path) -> Result<(), VolumeError> {
    prepare::tear_down(directory)
}

/// Unmounts and removes all volumes of a Pod that is over, as [`tear_down`] does; what else the agent has in its directory stays. Blocks
/// in the same way.
pub fn release(directory: &Path) -> Result<(), VolumeError> {
    prepare::release(directory)
}

/// The mounts of a container, subPaths resolved without leaving their volume; made anew with each start of it. `environment` is the
/// container's, for subPathExpr; `recursive`: whether the runtime makes all below a mount read-only. Blocks.
pub fn mounts(
    container: &Container,
    plan: &Plan,
    directory: &Path,
    environment: &BTreeMap<String, String>,
    recursive: bool,
) -> Result<Vec<VolumeMount>, VolumeError> {
    container::mounts(container, plan, directory, environment, recursive)
}

/// A volume that holds more than its sizeLimit allows, for which the Pod is evicted. Blocks.
pub fn exceeded(plan: &Plan, directory: &Path) -> Option<VolumeError> {
    usage::exceeded(plan, directory)
}

/// What all emptyDirs on disk hold, in bytes. Blocks.
pub fn disk_usage_of(plan: &Plan, directory: &Path) -> u64 {
    usage::of_all(plan, directory)
}

/// What a directory holds, in bytes; 0 where it is not there. Blocks.
pub fn disk_usage(directory: &Path) -> u64 {
    usage::bytes(directory)
}

/// The volumes' directory of a Pod.
pub fn directory(state: &Path, uid: &str) -> PathBuf {
    state.join("pods").join(uid)
}

/// Where the volumes of a Pod's directory are that hold secrets: beside `pods`, on a tmpfs.
fn secrets(directory: &Path) -> Option<(PathBuf, PathBuf)> {
    let root = directory.parent()?.parent()?.join("secrets");
    let of_pod = root.join(directory.file_name()?);
    Some((root, of_pod))
}
