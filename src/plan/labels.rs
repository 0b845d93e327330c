//! The label that a security module is to confine a process by: AppArmor's profile, SELinux's context.
//!
//! Both are written to files of the process's own below /proc and count from its next execve(2).

use std::ffi::{CStr, CString};

use oci_spec::runtime::Process;

use super::step::{FsOption, MountFrom, Source, Step};
use super::{Builder, Facts, PlanError};
use crate::namespaces::Kind;
use crate::spec::{SpecError, has_namespace};

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

/// Gives the new file systems of the plan the context that linux.mountLabel wants, those that mask
/// directories included; those of the kernel have their own. A terminal has that of its devpts.
pub(super) fn mounts(b: &mut Builder<'_>) -> Result<(), PlanError> {
    let Some(context) = b.linux().and_then(|linux| set(linux.mount_label())) else { return Ok(()) };
    if !(b.facts.security_modules)().selinux {
        return Err(missing("linux.mountLabel", "SELinux"));
    }
    let context = c_string("linux.mountLabel", context)?;
    let option = FsOption::Value(c"context".into(), context.clone());
    let own_ipc = has_namespace(b.linux(), Kind::Ipc);
    for source in &mut b.sources {
        if let Source::MappedNew { options, .. } = source {
            options.push(option.clone());
        }
    }
    for step in &mut b.steps {
        match step {
            Step::Mount(mount) => label(&mut mount.from, &context, &option, own_ipc),
            Step::MaskPath { options, .. } => options.push(option.clone()),
            _ => {}
        }
    }
    Ok(())
}

fn label(from: &mut MountFrom, context: &CStr, option: &FsOption, own_ipc: bool) {
    match from {
        MountFrom::New { fstype, options, root_context, .. } => match fstype.to_bytes() {
            b"proc" | b"sysfs" | b"cgroup2" => {}
            // Its superblock comes with the IPC namespace, before it is mounted: it takes no option. The
            // host's keeps its context.
            b"mqueue" => *root_context = own_ipc.then(|| context.into()),
            _ => options.push(option.clone()),
        },
        MountFrom::Long { options, data, .. } => {
            options.push(option.clone());
            // In quotes: a context may have commas in it.
            let more = [data.to_bytes(), b",context=\"", context.to_bytes(), b"\""].concat();
            *data = CString::new(more).unwrap_or_default();
        }
        MountFrom::Tree(_) | MountFrom::Mapped { .. } | MountFrom::Existing | MountFrom::Reconfigured(_) => {}
    }
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
