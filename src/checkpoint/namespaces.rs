//! Namespaces that a container shares with others, named by their path in config.json.

use std::os::fd::{AsRawFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags};

use super::CriuError;
use super::rpc::{InheritFd, JoinNamespace, Options};
use crate::namespaces::Kind;
use crate::spec::Spec;

/// Kinds that CRIU leaves as they are and takes back as descriptors.
const EXTERNAL: [(Kind, &str); 2] = [(Kind::Network, "extRootNetNS"), (Kind::Pid, "extRootPidNS")];

fn key(kind: Kind) -> Option<&'static str> {
    EXTERNAL.iter().find(|(external, _)| *external == kind).map(|(_, key)| *key)
}

fn joined(spec: &Spec) -> impl Iterator<Item = (Kind, std::path::PathBuf)> {
    let list = spec.linux().as_ref().and_then(|linux| linux.namespaces().as_deref()).unwrap_or_default();
    list.iter().filter_map(|namespace| {
        let path = namespace.path().as_ref().filter(|path| !path.as_os_str().is_empty())?;
        Some((Kind::from(namespace.typ()), path.clone()))
    })
}

/// Tells CRIU which of the namespaces it dumps are not the container's own.
pub fn dump(spec: &Spec, pid: i32, options: &mut Options) -> Result<(), CriuError> {
    for (kind, _) in joined(spec) {
        let Some(key) = key(kind) else { continue };
        // The process's own file: whatever the path leads to by now, this is the one it is in.
        let path = crate::plan::path_of(kind, pid);
        let stat = rustix::fs::stat(&path).map_err(|error| CriuError::Namespace { kind, path, error })?;
        options.external.push(format!("{}[{}]:{key}", kind.file(), stat.st_ino));
    }
    Ok(())
}

/// Tells CRIU which namespaces to restore into. The descriptors are for CRIU to inherit.
pub fn restore(spec: &Spec, options: &mut Options) -> Result<Vec<OwnedFd>, CriuError> {
    let mut files = Vec::new();
    for (kind, path) in joined(spec) {
        match key(kind) {
            Some(key) => {
                let flags = OFlags::RDONLY | OFlags::CLOEXEC;
                let file = rustix::fs::openat(CWD, &path, flags, Mode::empty())
                    .map_err(|error| CriuError::Namespace { kind, path, error })?;
                options.inherit_fd.push(InheritFd { key: key.into(), fd: file.as_raw_fd() });
                files.push(file);
            }
            None if matches!(kind, Kind::Cgroup | Kind::Time) => return Err(CriuError::NoJoin { kind }),
            None => options
                .join_ns
                .push(JoinNamespace { kind: kind.file().into(), file: path.to_string_lossy().into_owned() }),
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(namespaces: &str) -> Spec {
        let text = format!(r#"{{"ociVersion": "1.0.0", "linux": {{"namespaces": {namespaces}}}}}"#);
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn only_joined_network_and_pid_namespaces_are_external() {
        let spec = spec(
            r#"[{"type": "network", "path": "/proc/self/ns/net"}, {"type": "pid"},
                {"type": "ipc", "path": "/proc/self/ns/ipc"}]"#,
        );
        let pid = std::process::id() as i32;
        let mut options = Options::default();
        dump(&spec, pid, &mut options).unwrap();
        let inode = rustix::fs::stat("/proc/self/ns/net").unwrap().st_ino;
        assert_eq!(options.external, [format!("net[{inode}]:extRootNetNS")]);

        let mut options = Options::default();
        let files = restore(&spec, &mut options).unwrap();
        assert_eq!(files.len(), 1);
        assert_eq!(options.inherit_fd[0].key, "extRootNetNS");
        assert_eq!(options.inherit_fd[0].fd, files[0].as_raw_fd());
        assert_eq!(options.join_ns[0].kind, "ipc");
    }

    #[test]
    fn what_criu_cannot_join_is_refused() {
        let missing = spec(r#"[{"type": "network", "path": "/no/netns"}]"#);
        let error = restore(&missing, &mut Options::default()).unwrap_err().to_string();
        assert!(error.contains("/no/netns"), "{error}");
        let cgroup = spec(r#"[{"type": "cgroup", "path": "/proc/self/ns/cgroup"}]"#);
        let error = restore(&cgroup, &mut Options::default()).unwrap_err().to_string();
        assert!(error.contains("cgroup"), "{error}");
    }
}
