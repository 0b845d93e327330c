//! A Pod's volumes: what they are ([`plan`], pure), and their directories, files and mounts on this machine.
//!
//! All are below `STATE/pods/UID/volumes/NAME`. What is made from ConfigMaps, Secrets and the Pod itself is put there by a swapped
//! symbolic link, so that a reader sees all of the old or all of the new.

use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{Container, Pod};

use crate::objects::Objects;
use crate::spec::VolumeMount;

/// Why a volume is not there; a reason as kubelet's (`FailedMount`). No secrets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("volume {volume}: {message}")]
pub struct VolumeError {
    /// Its name in the Pod.
    pub volume: String,
    /// For people.
    pub message: String,
}

/// What has to be there for a Pod. Plain data, of the objects as they are now.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Changes when anything of the plan does.
    pub revision: u64,
}

/// What a Pod's volumes are to be.
pub fn plan(pod: &Pod, objects: &Objects) -> Result<Plan, VolumeError> {
    let _ = (pod, objects);
    Ok(Plan { revision: 0 })
}

/// Makes or updates them. Blocks.
pub fn prepare(plan: &Plan, directory: &Path) -> Result<(), VolumeError> {
    let _ = (plan, directory);
    Ok(())
}

/// Unmounts and removes all volumes of a Pod. Nothing is followed out of it; what others gave (hostPath, nfs, claims) keeps its files. Blocks.
pub fn tear_down(directory: &Path) -> Result<(), VolumeError> {
    let _ = directory;
    Ok(())
}

/// The mounts of a container, subPaths resolved without leaving their volume. Blocks.
pub fn mounts(
    pod: &Pod,
    container: &Container,
    plan: &Plan,
    directory: &Path,
) -> Result<Vec<VolumeMount>, VolumeError> {
    let _ = (pod, container, plan, directory);
    Ok(Vec::new())
}

/// The volumes' directory of a Pod.
pub fn directory(state: &Path, uid: &str) -> PathBuf {
    state.join("pods").join(uid)
}
