//! The label that a security module is to confine a process by: AppArmor's profile, SELinux's context.
//!
//! Both are written to files of the process's own below /proc and count from its next execve(2).

use std::ffi::CString;

use oci_spec::runtime::{Linux, Process};

use super::step::{FsOption, MountFrom, Step};
use super::{Facts, PlanError};
use crate::spec::SpecError;

/// The security modules of this host that give processes labels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SecurityModules {
    /// Is AppArmor on?
    pub apparmor: bool,
    /// Is SELinux on?
    pub selinux: bool,
}

/// A label that a process gives itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Label {
    /// The AppArmor profile of what it executes next: attr/apparmor/exec.
    AppArmor {
        /// Its name.
        profile: CString,
        /// What is written: `exec NAME`.
        command: CString,
    },
    /// The SELinux context of what it executes next: attr/exec.
    SeLinux(CString),
    /// The SELinux context of the keys that it makes: attr/keycreate.
    SeLinuxKey(CString),
}

/// The labels of a process: that of its keyring, and those of its program.
pub(super) struct Labels {
    pub keyring: Option<Step>,
    pub program: Vec<Step>,
}

/// Plans the labels of a process.
pub(super) fn plan(process: &Process, facts: &Facts<'_>) -> Result<Labels, PlanError> {
    let mut labels = Labels { keyring: None, program: vec![] };
    let profile = set(process.apparmor_profile());
    let context = set(process.selinux_label());
    if profile.is_none() && context.is_none() {
        return Ok(labels);
    }
    let modules = (facts.security_modules)();
    if let Some(profile) = profile {
        match modules.apparmor {
            true => {
                let text = |text: &str| c_string("process.apparmorProfile", text);
                let (command, profile) = (text(&format!("exec {profile}"))?, text(profile)?);
                labels.program.push(Step::Label(Label::AppArmor { profile, command }));
            }
            // So it is.
            false if profile == "unconfined" => {}
            false => return Err(missing("process.apparmorProfile", "AppArmor")),
        }
    }
    if let Some(context) = context {
        if !modules.selinux {
            return Err(missing("process.selinuxLabel", "SELinux"));
        }
        labels.keyring = Some(step(Label::SeLinuxKey, "process.selinuxLabel", context)?);
        labels.program.push(step(Label::SeLinux, "process.selinuxLabel", context)?);
    }
    Ok(labels)
}

/// Gives the new file systems among `steps` the context that linux.mountLabel wants; those of the kernel
/// have their own, as has mqueue, whose superblock comes with the IPC namespace.
pub(super) fn mounts(linux: Option<&Linux>, facts: &Facts<'_>, steps: &mut [Step]) -> Result<(), PlanError> {
    let Some(context) = linux.and_then(|linux| set(linux.mount_label())) else { return Ok(()) };
    if !(facts.security_modules)().selinux {
        return Err(missing("linux.mountLabel", "SELinux"));
    }
    let context = c_string("linux.mountLabel", context)?;
    for step in steps {
        let Step::Mount(mount) = step else { continue };
        if let MountFrom::New { fstype, options, .. } = &mut mount.from
            && !matches!(fstype.to_bytes(), b"proc" | b"sysfs" | b"cgroup2" | b"mqueue")
        {
            options.push(FsOption::Value(c"context".into(), context.clone()));
        }
    }
    Ok(())
}

fn set(label: &Option<String>) -> Option<&str> {
    label.as_deref().filter(|label| !label.is_empty())
}

fn step(label: fn(CString) -> Label, path: &str, text: &str) -> Result<Step, PlanError> {
    Ok(Step::Label(label(c_string(path, text)?)))
}

fn c_string(path: &str, text: &str) -> Result<CString, PlanError> {
    CString::new(text).map_err(|_| SpecError::invalid(path, "has a NUL byte in it").into())
}

fn missing(path: &str, module: &str) -> PlanError {
    SpecError::invalid(path, format!("this host does not have {module} on: remove it, or boot with {module}"))
        .into()
}
