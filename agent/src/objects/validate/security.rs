//! Rules of security contexts.

use k8s_openapi::api::core::v1::{
    AppArmorProfile, PodSecurityContext, PodSpec, SeccompProfile, SecurityContext,
};

use super::names;
use super::path::{At, Broken};

/// The greatest id of a user or group.
const MOST: i64 = i32::MAX as i64;

pub(super) fn pod(context: &PodSecurityContext, spec: &PodSpec, at: &At<'_>, broken: &mut Broken) {
    for (field, id) in [
        ("runAsUser", context.run_as_user),
        ("runAsGroup", context.run_as_group),
        ("fsGroup", context.fs_group),
    ] {
        broken.range(&at.field(field), id, 0, MOST);
    }
    let root = context.run_as_non_root == Some(true) && context.run_as_user == Some(0);
    broken.that(!root, &at.field("runAsUser"), "0 cannot be together with runAsNonRoot");
    for (index, group) in context.supplemental_groups.iter().flatten().enumerate() {
        let list = at.field("supplementalGroups");
        broken.range(&list.item(index), Some(*group), 0, MOST);
    }
    let policy = context.supplemental_groups_policy.as_ref();
    broken.one_of(&at.field("supplementalGroupsPolicy"), policy, &["Merge", "Strict"]);
    let policy = context.fs_group_change_policy.as_ref();
    broken.one_of(&at.field("fsGroupChangePolicy"), policy, &["Always", "OnRootMismatch"]);
    for (index, sysctl) in context.sysctls.iter().flatten().enumerate() {
        let list = at.field("sysctls");
        let at = list.item(index).field("name").to_string();
        sysctl_is_own(&sysctl.name, spec).unwrap_or_else(|why| {
            broken.0.push(super::Invalid { path: at, why: format!("\"{}\" {why}", sysctl.name) });
        });
    }
    profiles(context.seccomp_profile.as_ref(), context.app_armor_profile.as_ref(), at, broken);
}

/// A sysctl is one of a namespace that the Pod has of its own.
fn sysctl_is_own(name: &str, spec: &PodSpec) -> Result<(), &'static str> {
    let name = name.replace('/', ".");
    let part = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_*".contains(&byte))
    };
    if !name.split('.').all(part) || !name.contains('.') {
        return Err("is no sysctl");
    }
    let ipc =
        ["kernel.shm", "kernel.msg", "kernel.sem", "fs.mqueue."].iter().any(|start| name.starts_with(start));
    match () {
        () if name.starts_with("net.") && spec.host_network == Some(true) => {
            Err("is the host's, with hostNetwork")
        }
        () if ipc && spec.host_ipc == Some(true) => Err("is the host's, with hostIPC"),
        () if name.starts_with("net.") || ipc => Ok(()),
        () => Err("is of no namespace: it would be the whole machine's"),
    }
}

pub(super) fn container(context: &SecurityContext, spec: &PodSpec, at: &At<'_>, broken: &mut Broken) {
    for (field, id) in [("runAsUser", context.run_as_user), ("runAsGroup", context.run_as_group)] {
        broken.range(&at.field(field), id, 0, MOST);
    }
    let root = context.run_as_non_root == Some(true) && context.run_as_user == Some(0);
    broken.that(!root, &at.field("runAsUser"), "0 cannot be together with runAsNonRoot");
    broken.one_of(&at.field("procMount"), context.proc_mount.as_ref(), &["Default", "Unmasked"]);
    let unmasked = context.proc_mount.as_deref() == Some("Unmasked") && spec.host_users != Some(false);
    broken.that(!unmasked, &at.field("procMount"), "Unmasked needs hostUsers: false");
    if context.allow_privilege_escalation == Some(false) {
        let at = at.field("allowPrivilegeEscalation");
        broken.that(context.privileged != Some(true), &at, "false cannot be together with privileged");
        let added = context.capabilities.iter().flat_map(|capabilities| capabilities.add.iter().flatten());
        let admin = added.into_iter().any(|name| matches!(name.as_str(), "SYS_ADMIN" | "CAP_SYS_ADMIN"));
        broken.that(!admin, &at, "false cannot be together with CAP_SYS_ADMIN");
    }
    profiles(context.seccomp_profile.as_ref(), context.app_armor_profile.as_ref(), at, broken);
}

fn profiles(
    seccomp: Option<&SeccompProfile>,
    apparmor: Option<&AppArmorProfile>,
    at: &At<'_>,
    broken: &mut Broken,
) {
    if let Some(profile) = seccomp {
        local(&profile.type_, profile.localhost_profile.as_ref(), &at.field("seccompProfile"), broken);
        broken.rule_if(
            &at.field("seccompProfile.localhostProfile"),
            profile.localhost_profile.as_ref(),
            names::path_below,
        );
    }
    if let Some(profile) = apparmor {
        local(&profile.type_, profile.localhost_profile.as_ref(), &at.field("appArmorProfile"), broken);
    }
}

fn local(kind: &String, profile: Option<&String>, at: &At<'_>, broken: &mut Broken) {
    broken.one_of(&at.field("type"), Some(kind), &["RuntimeDefault", "Unconfined", "Localhost"]);
    let profile_is_there = profile.is_some_and(|profile| !profile.is_empty());
    let why = if profile_is_there { "it is for the type Localhost" } else { "the type Localhost needs it" };
    broken.that(profile_is_there == (kind == "Localhost"), &at.field("localhostProfile"), why);
}
