//! Files that a container finds beside its image: /etc/hosts, where it writes its last words, its log's directory, its volumes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::Container;

use crate::{spec, volumes};

/// What a container writes its last words to.
pub(super) fn termination_file(state: &Path, uid: &str, container: &str, attempt: u32) -> PathBuf {
    volumes::directory(state, uid).join("containers").join(container).join(attempt.to_string())
}

/// The /etc/hosts of a Pod's containers.
pub(super) fn hosts_file(state: &Path, uid: &str) -> PathBuf {
    volumes::directory(state, uid).join("etc-hosts")
}

/// What a container finds beside its image.
pub(super) struct Files {
    /// The text of its /etc/hosts; None where it is the image's own.
    pub hosts: Option<String>,
    pub hosts_at: PathBuf,
    pub termination: PathBuf,
    pub logs: PathBuf,
    /// The Pod's own directory.
    pub volumes: PathBuf,
    /// Whether mounts may be read-only with all below them.
    pub recursive: bool,
}

impl Files {
    /// Makes them; what is to be mounted.
    pub fn make(
        &self,
        container: &Container,
        plan: &volumes::Plan,
        env: &BTreeMap<String, String>,
    ) -> Result<Vec<spec::VolumeMount>, String> {
        let made = |path: &Path, done: std::io::Result<()>| {
            done.map_err(|error| format!("cannot make {}: {error}", path.display()))
        };
        made(&self.logs, std::fs::create_dir_all(&self.logs))?;
        let parent = self.termination.parent().unwrap_or(&self.termination);
        made(parent, std::fs::create_dir_all(parent))?;
        made(&self.termination, open_to_all(&self.termination))?;
        if let Some(text) = &self.hosts
            && std::fs::read_to_string(&self.hosts_at).ok().as_ref() != Some(text)
        {
            made(&self.hosts_at, std::fs::write(&self.hosts_at, text))?;
        }
        volumes::mounts(container, plan, &self.volumes, env, self.recursive)
            .map_err(|error| error.to_string())
    }
}

/// Whatever user the container runs as may write its last words.
fn open_to_all(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path, "")?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666))
}
