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

#[cfg(test)]
mod tests {
    use super::super::tests::Wish;
    use super::*;
    use crate::api::UserNamespace;

    fn wish(pid: NamespaceMode) -> Wish {
        Wish::with(|wish| wish.security().namespace_options.get_or_insert_default().pid = pid.into())
    }

    fn of(wish: &Wish, kind: &str) -> Option<Value> {
        let config = wish.json();
        let all = config["linux"]["namespaces"].as_array().unwrap();
        all.iter().find(|namespace| namespace["type"] == kind).cloned()
    }

    #[test]
    fn those_of_the_pod_are_joined() {
        for (kind, path) in [("network", "/run/netns/p0"), ("ipc", "/run/p0/ipc"), ("uts", "/run/p0/uts")] {
            assert_eq!(of(&Wish::new(), kind).unwrap()["path"], path);
        }
        let hosts = Wish::with(|wish| {
            wish.pod.network.namespace = None;
            wish.pod.ipc = None;
        });
        assert_eq!((of(&hosts, "network"), of(&hosts, "ipc")), (None, None));
        assert!(of(&hosts, "mount").unwrap().get("path").is_none());
        assert!(of(&hosts, "cgroup").unwrap().get("path").is_none());
        assert_eq!(of(&Wish::with(Wish::privileged), "cgroup"), None);
    }

    #[test]
    fn the_pid_namespace_is_as_the_mode_says() {
        let joined = Some(json!({"type": "pid", "path": "/proc/7/ns/pid"}));
        assert_eq!(of(&wish(NamespaceMode::Pod), "pid"), joined);
        assert_eq!(of(&wish(NamespaceMode::Target), "pid"), joined);
        assert_eq!(of(&wish(NamespaceMode::Container), "pid"), Some(json!({"type": "pid"})));
        assert_eq!(of(&wish(NamespaceMode::Node), "pid"), None);
        let mut hosts = wish(NamespaceMode::Pod);
        hosts.pid_namespace = None;
        assert_eq!(
            hosts.error(),
            "linux.security_context.namespace_options.pid: POD: there is no such PID namespace in the Pod"
        );
        hosts.pods_security().namespace_options.get_or_insert_default().pid = NamespaceMode::Node.into();
        assert_eq!(of(&hosts, "pid"), None);
        let strange = Wish::with(|wish| wish.security().namespace_options.get_or_insert_default().pid = 9);
        assert_eq!(
            strange.error(),
            "linux.security_context.namespace_options.pid: 9 is no mode: POD, CONTAINER, NODE or TARGET"
        );
    }

    #[test]
    fn user_namespaces_come_later() {
        let user = |mode: NamespaceMode| {
            Wish::with(|wish| {
                wish.security().namespace_options.get_or_insert_default().userns_options =
                    Some(UserNamespace { mode: mode.into(), ..Default::default() });
                wish.security().namespace_options.get_or_insert_default().pid =
                    NamespaceMode::Container.into();
            })
        };
        assert_eq!(of(&user(NamespaceMode::Node), "user"), None);
        for mode in [NamespaceMode::Pod, NamespaceMode::Container, NamespaceMode::Target] {
            assert_eq!(
                user(mode).error(),
                "linux.security_context.namespace_options.userns_options: user namespaces are not supported yet: use \
                 NODE (hostUsers: true)"
            );
        }
    }
}
