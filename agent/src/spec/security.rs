//! Security contexts: what a container says goes before what its Pod says.

use std::path::{Component, Path};

use k8s_openapi::api::core::v1::{
    AppArmorProfile, Container, Pod, PodSecurityContext, SELinuxOptions, SeccompProfile, SecurityContext,
};

use super::{
    Settings, SpecError, host_network, machine,
    users::{self, UserRange},
};
use crate::cri::api::{
    self, Int64Value, LinuxContainerSecurityContext, NamespaceMode, NamespaceOption, SeLinuxOption,
    SecurityProfile, SupplementalGroupsPolicy, security_profile::ProfileType,
};

const MASKED: [&str; 12] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// The namespaces of a Pod's containers.
pub(super) fn namespaces(pod: &Pod, range: Option<UserRange>) -> NamespaceOption {
    let spec = pod.spec.as_ref();
    let is = |flag: Option<bool>| flag == Some(true);
    let node_or =
        |node: bool, other: NamespaceMode| i32::from(if node { NamespaceMode::Node } else { other });
    let shared = is(spec.and_then(|spec| spec.share_process_namespace));
    let pid = if shared { NamespaceMode::Pod } else { NamespaceMode::Container };
    NamespaceOption {
        network: node_or(host_network(pod), NamespaceMode::Pod),
        pid: node_or(is(spec.and_then(|spec| spec.host_pid)), pid),
        ipc: node_or(is(spec.and_then(|spec| spec.host_ipc)), NamespaceMode::Pod),
        target_id: String::new(),
        userns_options: Some(users::namespace(range)),
    }
}

/// fsGroup first, as kubelet has it.
pub(super) fn supplemental_groups(context: Option<&PodSecurityContext>) -> Vec<i64> {
    let groups = context.and_then(|context| context.supplemental_groups.as_deref()).unwrap_or_default();
    context.and_then(|context| context.fs_group).into_iter().chain(groups.iter().copied()).collect()
}

pub(super) fn groups_policy(context: Option<&PodSecurityContext>) -> i32 {
    match context.and_then(|context| context.supplemental_groups_policy.as_deref()) {
        Some("Strict") => SupplementalGroupsPolicy::Strict.into(),
        _ => SupplementalGroupsPolicy::Merge.into(),
    }
}

pub(super) fn selinux(options: &SELinuxOptions) -> SeLinuxOption {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    SeLinuxOption {
        user: text(&options.user),
        role: text(&options.role),
        r#type: text(&options.type_),
        level: text(&options.level),
    }
}

/// Whether any container asks for everything.
pub(super) fn is_privileged(container: &Container) -> bool {
    container.security_context.as_ref().and_then(|context| context.privileged) == Some(true)
}

/// A container's. The image says the user where nobody else does.
pub(super) fn context(
    pod: &Pod,
    container: &Container,
    image: &api::Image,
    range: Option<UserRange>,
    settings: &Settings,
) -> Result<LinuxContainerSecurityContext, SpecError> {
    let none = SecurityContext::default();
    let own = container.security_context.as_ref().unwrap_or(&none);
    let of_pod = pod.spec.as_ref().and_then(|spec| spec.security_context.as_ref());
    let wrong = |path: &str, why: String| {
        SpecError::config(format!("container {}: securityContext{path}: {why}", container.name))
    };
    let asked = own.run_as_user.or(of_pod.and_then(|context| context.run_as_user));
    let non_root = own.run_as_non_root.or(of_pod.and_then(|context| context.run_as_non_root)) == Some(true);
    let (user, username) = user(asked, image);
    if non_root {
        check_non_root(asked, user, &username).map_err(|why| wrong(".runAsNonRoot", why))?;
    }
    let seccomp_profile = own.seccomp_profile.as_ref().or(of_pod.and_then(|c| c.seccomp_profile.as_ref()));
    let apparmor_profile =
        own.app_armor_profile.as_ref().or(of_pod.and_then(|c| c.app_armor_profile.as_ref()));
    let selinux_options = own.se_linux_options.as_ref().or(of_pod.and_then(|c| c.se_linux_options.as_ref()));
    let unmasked = own.proc_mount.as_deref() == Some("Unmasked");
    let group = own.run_as_group.or(of_pod.and_then(|context| context.run_as_group));
    Ok(LinuxContainerSecurityContext {
        capabilities: own.capabilities.as_ref().map(|capabilities| api::Capability {
            add_capabilities: capabilities.add.clone().unwrap_or_default(),
            drop_capabilities: capabilities.drop.clone().unwrap_or_default(),
            add_ambient_capabilities: Vec::new(),
        }),
        privileged: is_privileged(container),
        namespace_options: Some(namespaces(pod, range)),
        selinux_options: selinux_options.map(selinux),
        run_as_user: user.map(|value| Int64Value { value }),
        run_as_group: group.map(|value| Int64Value { value }),
        run_as_username: username,
        readonly_rootfs: own.read_only_root_filesystem == Some(true),
        supplemental_groups: supplemental_groups(of_pod),
        supplemental_groups_policy: groups_policy(of_pod),
        no_new_privs: own.allow_privilege_escalation == Some(false),
        masked_paths: if unmasked { Vec::new() } else { masked() },
        readonly_paths: if unmasked { Vec::new() } else { READ_ONLY.map(Into::into).into() },
        seccomp: Some(seccomp(seccomp_profile, settings).map_err(|why| wrong(".seccompProfile", why))?),
        apparmor: apparmor_profile.map(apparmor).transpose().map_err(|why| wrong(".appArmorProfile", why))?,
        ..Default::default()
    })
}

/// As number or name: what was asked for, or the image's, or root.
fn user(asked: Option<i64>, image: &api::Image) -> (Option<i64>, String) {
    match (asked, &image.uid) {
        (Some(uid), _) => (Some(uid), String::new()),
        (None, Some(uid)) => (Some(uid.value), String::new()),
        (None, None) if !image.username.is_empty() => (None, image.username.clone()),
        (None, None) => (Some(0), String::new()),
    }
}

fn check_non_root(asked: Option<i64>, user: Option<i64>, username: &str) -> Result<(), String> {
    match (asked, user) {
        (Some(0), _) => Err("runAsUser is 0, which is root".into()),
        (Some(_), _) => Ok(()),
        (None, Some(0)) => Err("the image runs as root: set runAsUser".into()),
        (None, Some(_)) => Ok(()),
        (None, None) => Err(format!(
            "the image's user {username:?} is a name, which may be root's: set runAsUser to its number"
        )),
    }
}

fn masked() -> Vec<String> {
    MASKED.iter().map(|path| (*path).to_owned()).chain(machine::thermal_throttle().iter().cloned()).collect()
}

fn profile(kind: ProfileType, localhost_ref: String) -> SecurityProfile {
    SecurityProfile { profile_type: kind.into(), localhost_ref }
}

/// As kubelet: without a profile nothing is filtered.
fn seccomp(wanted: Option<&SeccompProfile>, settings: &Settings) -> Result<SecurityProfile, String> {
    let Some(wanted) = wanted else { return Ok(profile(ProfileType::Unconfined, String::new())) };
    match wanted.type_.as_str() {
        "RuntimeDefault" => Ok(profile(ProfileType::RuntimeDefault, String::new())),
        "Unconfined" => Ok(profile(ProfileType::Unconfined, String::new())),
        "Localhost" => {
            let name = wanted.localhost_profile.as_deref().unwrap_or_default();
            let inside = Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
            if name.is_empty() || !inside {
                return Err(format!(
                    "localhostProfile: {name:?}: a path below {} is needed, without ..",
                    settings.seccomp.display()
                ));
            }
            let path = settings.seccomp.join(name).display().to_string();
            Ok(profile(ProfileType::Localhost, path))
        }
        other => Err(format!("type: {other:?}: one of RuntimeDefault, Localhost, Unconfined is needed")),
    }
}

fn apparmor(wanted: &AppArmorProfile) -> Result<SecurityProfile, String> {
    match (wanted.type_.as_str(), wanted.localhost_profile.as_deref().unwrap_or_default()) {
        ("RuntimeDefault", _) => Ok(profile(ProfileType::RuntimeDefault, String::new())),
        ("Unconfined", _) => Ok(profile(ProfileType::Unconfined, String::new())),
        ("Localhost", "") => Err("localhostProfile: the name of a loaded profile is needed".into()),
        ("Localhost", name) => Ok(profile(ProfileType::Localhost, name.to_owned())),
        (other, _) => Err(format!("type: {other:?}: one of RuntimeDefault, Localhost, Unconfined is needed")),
    }
}
