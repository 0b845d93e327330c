//! What a Pod's configuration asks for, checked before anything is made. Pure.

use crate::api::{self, NamespaceMode};
use crate::config::Config;
use crate::spec::Invalid;

use super::sysctl::{self, Sysctl};
use super::{cgroup, resolv_conf};

/// UTS's limit for a hostname, uname(2).
const HOST_NAME_MAX: usize = 64;

/// A Pod's wishes, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wishes {
    /// A network namespace of its own, and with it a UTS namespace.
    pub network: bool,
    /// An IPC namespace and a /dev/shm of its own.
    pub ipc: bool,
    /// What the Pod's hostname is.
    pub hostname: String,
    /// In the order of their names.
    pub sysctls: Vec<Sysctl>,
    /// As [`crate::state::Pod::cgroup_parent`].
    pub cgroup_parent: String,
}

impl Wishes {
    /// Checks a configuration; `host_name` is what a Pod without one of its own has.
    pub fn of(
        config: &api::PodSandboxConfig,
        handler: &str,
        settings: &Config,
        host_name: &str,
    ) -> Result<Self, Invalid> {
        metadata(config)?;
        runtime_handler(handler, settings)?;
        let linux = config.linux.clone().unwrap_or_default();
        let security = linux.security_context.clone().unwrap_or_default();
        if security.run_as_group.is_some() && security.run_as_user.is_none() {
            return invalid("linux.security_context.run_as_group", "needs run_as_user beside it");
        }
        let options = security.namespace_options.unwrap_or_default();
        let (network, ipc) = namespaces(&options)?;
        let hostname = match config.hostname.as_str() {
            "" => host_name,
            name => name,
        };
        hostname_is_one(hostname)?;
        if let Some(dns) = &config.dns_config {
            resolv_conf::check(dns)?;
        }
        if !config.log_directory.is_empty() && !config.log_directory.starts_with('/') {
            return invalid("log_directory", format!("{:?} is not absolute", config.log_directory));
        }
        cgroup::resources(&linux)?;
        Ok(Self {
            network,
            ipc,
            hostname: hostname.into(),
            sysctls: sysctl::check(&linux.sysctls, network, ipc)?,
            cgroup_parent: cgroup::parent(&linux.cgroup_parent, settings.cgroup_driver)?,
        })
    }
}

fn metadata(config: &api::PodSandboxConfig) -> Result<(), Invalid> {
    let Some(metadata) = &config.metadata else { return invalid("metadata", "missing") };
    let parts = [("name", &metadata.name), ("namespace", &metadata.namespace), ("uid", &metadata.uid)];
    for (field, value) in parts {
        if value.is_empty() {
            return invalid(format!("metadata.{field}"), "missing");
        }
        if value.len() > 253 || value.chars().any(char::is_control) {
            return invalid(format!("metadata.{field}"), "longer than 253 bytes, or with control characters");
        }
    }
    Ok(())
}

fn runtime_handler(handler: &str, settings: &Config) -> Result<(), Invalid> {
    if handler.is_empty() || settings.runtimes.contains_key(handler) {
        return Ok(());
    }
    let known: Vec<&str> = settings.runtimes.keys().map(String::as_str).collect();
    let known = if known.is_empty() { "none is configured".into() } else { known.join(", ") };
    Err(Invalid {
        field: "runtime_handler".into(),
        reason: format!("{handler:?} is unknown ({known}): add [runtimes.{handler}] to the configuration"),
    })
}

/// Does the Pod have a network and an IPC namespace of its own?
fn namespaces(options: &api::NamespaceOption) -> Result<(bool, bool), Invalid> {
    const FIELD: &str = "linux.security_context.namespace_options";
    let known = |field: &str, mode: i32| match NamespaceMode::try_from(mode) {
        Ok(mode) => Ok(mode),
        Err(_) => invalid(format!("{FIELD}.{field}"), format!("{mode} is no mode")),
    };
    let own = |field: &str, mode: i32| match known(field, mode)? {
        NamespaceMode::Pod => Ok(true),
        NamespaceMode::Node => Ok(false),
        mode => {
            invalid(format!("{FIELD}.{field}"), format!("{}: a Pod's is POD or NODE", mode.as_str_name()))
        }
    };
    if known("pid", options.pid)? == NamespaceMode::Target {
        return invalid(format!("{FIELD}.pid"), "TARGET: only a container's can be");
    }
    if let Some(user) = &options.userns_options {
        let node =
            user.mode == i32::from(NamespaceMode::Node) && user.uids.is_empty() && user.gids.is_empty();
        if !node {
            return invalid(
                format!("{FIELD}.userns_options"),
                "user namespaces are not supported yet: leave it out, or NODE without mappings",
            );
        }
    }
    Ok((own("network", options.network)?, own("ipc", options.ipc)?))
}

fn hostname_is_one(name: &str) -> Result<(), Invalid> {
    if name.len() > HOST_NAME_MAX {
        return invalid("hostname", format!("{name:?} is longer than {HOST_NAME_MAX} bytes"));
    }
    if !name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_')) {
        return invalid("hostname", format!("{name:?}: only letters, digits, - and . are allowed"));
    }
    Ok(())
}

fn invalid<T>(field: impl Into<String>, reason: impl Into<String>) -> Result<T, Invalid> {
    Err(Invalid { field: field.into(), reason: reason.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> api::PodSandboxConfig {
        api::PodSandboxConfig {
            metadata: Some(api::PodSandboxMetadata {
                name: "web".into(),
                uid: "u".into(),
                namespace: "shop".into(),
                attempt: 0,
            }),
            ..Default::default()
        }
    }

    fn with(change: impl FnOnce(&mut api::PodSandboxConfig)) -> Result<Wishes, String> {
        let mut config = config();
        change(&mut config);
        Wishes::of(&config, "", &Config::default(), "node-1").map_err(|error| error.to_string())
    }

    fn with_options(change: impl FnOnce(&mut api::NamespaceOption)) -> Result<Wishes, String> {
        with(|config| {
            let linux = config.linux.get_or_insert_default();
            change(linux.security_context.get_or_insert_default().namespace_options.get_or_insert_default());
        })
    }

    #[test]
    fn a_pod_without_wishes_has_namespaces_of_its_own_and_the_hosts_name() {
        let wishes = with(|_| ()).unwrap();
        assert!(wishes.network && wishes.ipc);
        assert_eq!(wishes.hostname, "node-1");
        assert_eq!(wishes.cgroup_parent, "");
    }

    #[test]
    fn what_is_missing_is_named() {
        assert_eq!(with(|config| config.metadata = None).unwrap_err(), "metadata: missing");
        let without = |field: &str| {
            with(|config| {
                let metadata = config.metadata.as_mut().unwrap();
                match field {
                    "name" => metadata.name.clear(),
                    "uid" => metadata.uid.clear(),
                    _ => metadata.namespace.clear(),
                }
            })
        };
        for field in ["name", "namespace", "uid"] {
            assert_eq!(without(field).unwrap_err(), format!("metadata.{field}: missing"));
        }
    }

    #[test]
    fn modes_of_namespaces_are_checked() {
        let node = with_options(|options| {
            options.network = NamespaceMode::Node.into();
            options.ipc = NamespaceMode::Node.into();
            options.pid = NamespaceMode::Node.into();
        });
        let node = node.unwrap();
        assert!(!node.network && !node.ipc);
        let error = with_options(|options| options.network = NamespaceMode::Container.into()).unwrap_err();
        assert_eq!(
            error,
            "linux.security_context.namespace_options.network: CONTAINER: a Pod's is POD or NODE"
        );
        let error = with_options(|options| options.pid = NamespaceMode::Target.into()).unwrap_err();
        assert_eq!(error, "linux.security_context.namespace_options.pid: TARGET: only a container's can be");
        let error = with_options(|options| options.ipc = 17).unwrap_err();
        assert_eq!(error, "linux.security_context.namespace_options.ipc: 17 is no mode");
    }

    #[test]
    fn user_namespaces_are_not_there_yet() {
        let user = |mode: NamespaceMode| {
            with_options(|options| {
                options.userns_options = Some(api::UserNamespace { mode: mode.into(), ..Default::default() });
            })
        };
        user(NamespaceMode::Node).unwrap();
        for mode in [NamespaceMode::Pod, NamespaceMode::Container, NamespaceMode::Target] {
            assert!(user(mode).unwrap_err().contains("not supported yet"));
        }
    }

    #[test]
    fn a_group_needs_its_user() {
        let error = with(|config| {
            let security = config.linux.get_or_insert_default().security_context.get_or_insert_default();
            security.run_as_group = Some(api::Int64Value { value: 1 });
        });
        assert_eq!(error.unwrap_err(), "linux.security_context.run_as_group: needs run_as_user beside it");
    }

    #[test]
    fn hostnames_and_log_directories_are_checked() {
        assert!(with(|config| config.hostname = "a".repeat(65)).unwrap_err().contains("longer than 64"));
        assert!(with(|config| config.hostname = "a\nb".into()).unwrap_err().contains("only letters"));
        assert!(with(|config| config.log_directory = "logs".into()).unwrap_err().contains("not absolute"));
    }

    #[test]
    fn an_unknown_runtime_handler_is_told_the_known_ones() {
        let mut settings = Config::default();
        let error = |settings: &Config| Wishes::of(&config(), "kata", settings, "n").unwrap_err().to_string();
        assert!(error(&settings).contains("none is configured"));
        settings.runtimes.insert("runc".into(), Default::default());
        settings.runtimes.insert("crun".into(), Default::default());
        let said =
            "runtime_handler: \"kata\" is unknown (crun, runc): add [runtimes.kata] to the configuration";
        assert_eq!(error(&settings), said);
        Wishes::of(&config(), "crun", &settings, "n").unwrap();
    }
}
