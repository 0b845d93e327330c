//! Files that a container finds beside its image: /etc/hosts, where it writes its last words, its log's directory, its volumes.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
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
            && !holds(&self.hosts_at, text)
        {
            made(&self.hosts_at, std::fs::write(&self.hosts_at, text))?;
        }
        volumes::mounts(container, plan, &self.volumes, env, self.recursive)
            .map_err(|error| error.to_string())
    }
}

/// Whether a file holds this text and nothing else. The Pod's containers may have made it as long as they like.
fn holds(path: &Path, text: &str) -> bool {
    let Ok(file) = File::open(path) else { return false };
    let mut found = Vec::new();
    let read = file.take(text.len() as u64 + 1).read_to_end(&mut found);
    read.is_ok() && found == text.as_bytes()
}

/// Whatever user the container runs as may write its last words.
fn open_to_all(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path, "")?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The most memory that this process ever had, in KiB.
    fn most_memory() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").expect("status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("VmHWM");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    #[test]
    fn a_file_that_containers_made_long_is_not_read_whole() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("etc-hosts");
        assert!(!holds(&path, "hosts\n"));
        std::fs::write(&path, "hosts\n").expect("written");
        assert!(holds(&path, "hosts\n") && !holds(&path, "hosts") && !holds(&path, "hosts\nmore\n"));
        File::options().write(true).open(&path).and_then(|file| file.set_len(1 << 30)).expect("made long");
        assert!(!holds(&path, "hosts\n"));
        assert!(most_memory() < 512 << 10, "{} KiB", most_memory());
    }
}
