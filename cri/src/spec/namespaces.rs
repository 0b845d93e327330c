//! Which namespaces a container makes, and which of its Pod's it joins: namespaces(7).

use serde_json::{Value, json};

use super::{Invalid, Request};
use crate::api::{NamespaceMode, NamespaceOption};

const FIELD: &str = "linux.security_context.namespace_options";

/// Network, IPC and UTS are the Pod's whatever the container says: they cannot be a container's own.
pub(super) fn namespaces(request: &Request<'_>) -> Result<Vec<Value>, Invalid> {
    let options = request.security().namespace_options.clone().unwrap_or_default();
    check_user(&options)?;
    let mut all = vec![json!({"type": "mount"})];
    // As containerd: a privileged container works on the host's cgroups.
    all.extend((!request.security().privileged).then(|| json!({"type": "cgroup"})));
    let pins =
        [("network", &request.pod.network.namespace), ("ipc", &request.pod.ipc), ("uts", &request.pod.uts)];
    for (kind, path) in pins {
        all.extend(path.as_ref().map(|path| json!({"type": kind, "path": path})));
    }
    all.extend(pid(request, options.pid)?);
    Ok(all)
}

fn pid(request: &Request<'_>, mode: i32) -> Result<Option<Value>, Invalid> {
    let joined = request.pid_namespace.as_ref().map(|path| json!({"type": "pid", "path": path}));
    let refuse = |reason: String| Err(Invalid::new(format!("{FIELD}.pid"), reason));
    match NamespaceMode::try_from(mode) {
        Ok(NamespaceMode::Container) => Ok(Some(json!({"type": "pid"}))),
        Ok(NamespaceMode::Node) => Ok(None),
        Ok(_) if joined.is_some() => Ok(joined),
        // A Pod of the host's PID namespace has no other to share.
        Ok(NamespaceMode::Pod) if pods_mode(request) == NamespaceMode::Node as i32 => Ok(None),
        Ok(mode) => refuse(format!("{}: there is no such PID namespace in the Pod", mode.as_str_name())),
        Err(_) => refuse(format!("{mode} is no mode: POD, CONTAINER, NODE or TARGET")),
    }
}

fn pods_mode(request: &Request<'_>) -> i32 {
    let linux = request.pod.config.linux.as_ref();
    let security = linux.and_then(|linux| linux.security_context.as_ref());
    security.and_then(|security| security.namespace_options.as_ref()).map_or(0, |options| options.pid)
}

fn check_user(options: &NamespaceOption) -> Result<(), Invalid> {
    match options.userns_options.as_ref().map(|user| user.mode) {
        None => Ok(()),
        Some(mode) if mode == NamespaceMode::Node as i32 => Ok(()),
        Some(_) => {
            let reason = "user namespaces are not supported yet: use NODE (hostUsers: true)";
            Err(Invalid::new(format!("{FIELD}.userns_options"), reason))
        }
    }
}
