//! `features`: what this version implements, as the runtime specification's features.md has it.

use std::collections::BTreeMap;

use rcrun::seccomp;
use serde::Serialize;

use rcrun::plan::{MEMORY_POLICY_FLAGS, MEMORY_POLICY_MODES};

use super::{Command, Context, output};

/// Flags of `features`.
#[derive(clap::Args)]
pub struct Features {}

impl Command for Features {
    const NAME: &'static str = "features";
    const ABOUT: &'static str = "Print what this version implements as JSON";

    fn run(self, _: &Context) -> anyhow::Result<u8> {
        let mut text = output::json_pretty(&Document::new(), "    ")?;
        text.push('\n');
        output::print(&text)?;
        Ok(0)
    }
}

/// The whole document. A field that is left out means "unknown", so nothing is.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    oci_version_min: &'static str,
    oci_version_max: &'static str,
    hooks: [&'static str; 6],
    mount_options: Vec<String>,
    linux: Linux,
    annotations: BTreeMap<&'static str, &'static str>,
    potentially_unsafe_config_annotations: [&'static str; 0],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Linux {
    namespaces: [&'static str; 8],
    capabilities: Vec<String>,
    cgroup: Cgroup,
    seccomp: Seccomp,
    apparmor: Enabled,
    selinux: Enabled,
    intel_rdt: IntelRdt,
    memory_policy: MemoryPolicy,
    mount_extensions: MountExtensions,
    net_devices: Enabled,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Cgroup {
    v1: bool,
    v2: bool,
    systemd: bool,
    systemd_user: bool,
    rdma: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Seccomp {
    enabled: bool,
    actions: [&'static str; seccomp::ACTIONS.len()],
    operators: [&'static str; seccomp::OPERATORS.len()],
    archs: [&'static str; seccomp::ARCHITECTURES.len()],
    known_flags: [&'static str; seccomp::FLAGS.len()],
    supported_flags: [&'static str; seccomp::FLAGS.len()],
}

#[derive(Serialize)]
struct Enabled {
    enabled: bool,
}

#[derive(Serialize)]
struct IntelRdt {
    enabled: bool,
    schemata: bool,
    monitoring: bool,
}

#[derive(Serialize)]
struct MemoryPolicy {
    modes: [&'static str; 7],
    flags: [&'static str; 3],
}

#[derive(Serialize)]
struct MountExtensions {
    idmap: Enabled,
}

impl Document {
    fn new() -> Self {
        let mut mount_options = rcrun::plan::mount_option_names();
        mount_options.sort_unstable();
        Self {
            oci_version_min: "1.0.0",
            oci_version_max: rcrun::spec::OCI_VERSION,
            hooks: [
                "prestart",
                "createRuntime",
                "createContainer",
                "startContainer",
                "poststart",
                "poststop",
            ],
            mount_options,
            linux: Linux {
                namespaces: ["cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"],
                capabilities: capabilities(),
                cgroup: Cgroup { v1: false, v2: true, systemd: true, systemd_user: true, rdma: true },
                seccomp: Seccomp {
                    enabled: true,
                    actions: seccomp::ACTIONS,
                    operators: seccomp::OPERATORS,
                    archs: seccomp::ARCHITECTURES,
                    known_flags: seccomp::FLAGS,
                    supported_flags: seccomp::FLAGS,
                },
                apparmor: Enabled { enabled: true },
                selinux: Enabled { enabled: true },
                intel_rdt: IntelRdt { enabled: true, schemata: true, monitoring: true },
                mount_extensions: MountExtensions { idmap: Enabled { enabled: true } },
                memory_policy: MemoryPolicy { modes: MEMORY_POLICY_MODES, flags: MEMORY_POLICY_FLAGS },
                net_devices: Enabled { enabled: true },
            },
            annotations: BTreeMap::from([
                ("org.opencontainers.runc.checkpoint.enabled", "true"),
                ("org.rcrun.version", env!("CARGO_PKG_VERSION")),
            ]),
            potentially_unsafe_config_annotations: [],
        }
    }
}

/// Names of all capabilities that a process can be given, by number.
fn capabilities() -> Vec<String> {
    let mut all: Vec<_> = caps::all().into_iter().collect();
    all.sort_unstable_by_key(|capability| capability.index());
    all.into_iter().map(|capability| capability.to_string()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_is_of_the_specifications_type() {
        let text = serde_json::to_string(&Document::new()).unwrap();
        let features: oci_spec::runtime::Features = serde_json::from_str(&text).unwrap();
        let linux = features.linux().as_ref().unwrap();
        assert_eq!(linux.cgroup().as_ref().unwrap().v2(), &Some(true));
        let seccomp = linux.seccomp().as_ref().unwrap();
        assert_eq!(seccomp.enabled(), &Some(true));
        assert_eq!(seccomp.actions().as_ref().unwrap().len(), 9);
        assert_eq!(seccomp.known_flags(), seccomp.supported_flags());
        assert!(features.mount_options().as_ref().unwrap().contains(&"rbind".to_owned()));
    }

    #[test]
    fn capabilities_come_by_number() {
        let names = capabilities();
        assert_eq!(names[0], "CAP_CHOWN");
        assert_eq!(names[40], "CAP_CHECKPOINT_RESTORE");
    }
}
