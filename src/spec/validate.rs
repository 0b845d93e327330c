//! What the specification and the kernel forbid whatever the host: found before anything is made.

use std::path::Path;

use oci_spec::runtime::{Hook, Linux, LinuxIdMapping, LinuxIntelRdt, LinuxNamespace, Process, Spec};

use super::{OCI_VERSION, SpecError};
use crate::namespaces::Kind;
use crate::resctrl::{DEFAULT_GROUP, is_kernels_own};

type Checked = Result<(), SpecError>;

fn refuse(path: impl Into<String>, reason: impl Into<String>) -> Checked {
    Err(SpecError::invalid(path, reason))
}

pub(super) fn spec(spec: &Spec) -> Checked {
    version(spec.version())?;
    spec.process().as_ref().map_or(Ok(()), process)?;
    match spec.root() {
        Some(root) if !root.path().as_os_str().is_empty() => no_nul("root.path", root.path())?,
        _ => refuse("root", "missing: set root.path to the root file system's directory")?,
    }
    for (index, mount) in spec.mounts().iter().flatten().enumerate() {
        if mount.destination().as_os_str().is_empty() {
            refuse(format!("mounts[{index}].destination"), "empty")?;
        }
        no_nul(format!("mounts[{index}].destination"), mount.destination())?;
        for option in mount.options().iter().flatten() {
            no_nul(format!("mounts[{index}].options"), Path::new(option))?;
        }
    }
    hooks(spec)?;
    let nothing = Linux::default();
    let linux = spec.linux().as_ref();
    namespaces(linux)?;
    let has = |kind| has_namespace(linux, kind);
    if spec.hostname().as_ref().is_some_and(|h| !h.is_empty()) && !has(Kind::Uts) {
        refuse("hostname", "would rename the host: add a uts namespace")?;
    }
    if spec.domainname().as_ref().is_some_and(|d| !d.is_empty()) && !has(Kind::Uts) {
        refuse("domainname", "would rename the host: add a uts namespace")?;
    }
    if !has(Kind::Mount) {
        let masked = linux.and_then(|l| l.masked_paths().as_ref()).is_some_and(|p| !p.is_empty());
        let readonly = linux.and_then(|l| l.readonly_paths().as_ref()).is_some_and(|p| !p.is_empty());
        if masked || readonly || spec.root().as_ref().is_some_and(|r| r.readonly() == Some(true)) {
            refuse(
                "linux.namespaces",
                "a read-only root, masked and read-only paths would change the host: add a mount namespace",
            )?;
        }
    }
    for key in linux.and_then(|l| l.sysctl().as_ref()).into_iter().flat_map(|s| s.keys()) {
        sysctl(key, &has)?;
    }
    if let Some(rdt) = linux.and_then(|linux| linux.intel_rdt().as_ref()) {
        intel_rdt(rdt)?;
    }
    mappings(linux.unwrap_or(&nothing), linux.is_some_and(|_| has(Kind::User)))
}

fn version(version: &str) -> Checked {
    let major = version.split('.').next().unwrap_or_default();
    if major != "1" || version.split('.').count() < 3 {
        let reason = format!("{version:?} is unknown: this is a runtime for versions 1.0.0 to {OCI_VERSION}");
        refuse("ociVersion", reason)?;
    }
    Ok(())
}

pub(super) fn process(process: &Process) -> Checked {
    let args = process.args().as_deref().unwrap_or_default();
    if args.first().is_none_or(|program| program.is_empty()) {
        refuse("process.args", "empty: name the program to run")?;
    }
    if !process.cwd().is_absolute() {
        refuse("process.cwd", format!("{:?} is not an absolute path", process.cwd()))?;
    }
    no_nul("process.cwd", process.cwd())?;
    ids(process)?;
    for (index, arg) in args.iter().enumerate() {
        no_nul(format!("process.args[{index}]"), Path::new(arg))?;
    }
    for (index, variable) in process.env().iter().flatten().enumerate() {
        no_nul(format!("process.env[{index}]"), Path::new(variable))?;
    }
    let limits = process.rlimits().as_deref().unwrap_or_default();
    for (index, limit) in limits.iter().enumerate() {
        let path = format!("process.rlimits[{index}]");
        if limits[..index].iter().any(|earlier| earlier.typ() == limit.typ()) {
            refuse(&path, format!("{} is set twice", limit.typ()))?;
        }
        if limit.soft() > limit.hard() {
            refuse(&path, format!("{}: soft {} is above hard {}", limit.typ(), limit.soft(), limit.hard()))?;
        }
    }
    if let Some(adj) = process.oom_score_adj().filter(|adj| !(-1000..=1000).contains(adj)) {
        refuse("process.oomScoreAdj", format!("{adj} is outside of -1000..1000"))?;
    }
    Ok(())
}

/// 4294967295 is -1 to setresuid(2) and its kin: "leave it as it is", which is root.
fn ids(process: &Process) -> Checked {
    let user = process.user();
    let additional = user.additional_gids().iter().flatten().map(|gid| ("additionalGids", *gid));
    let ids = [("uid", user.uid()), ("gid", user.gid())].into_iter().chain(additional);
    match ids.into_iter().find(|(_, id)| *id == u32::MAX) {
        Some((field, id)) => refuse(format!("process.user.{field}"), format!("{id} is nobody's id")),
        None => Ok(()),
    }
}

fn hooks(spec: &Spec) -> Checked {
    let Some(hooks) = spec.hooks() else { return Ok(()) };
    #[allow(deprecated)]
    let prestart = hooks.prestart();
    let stages: [(&str, &Option<Vec<Hook>>); 6] = [
        ("prestart", prestart),
        ("createRuntime", hooks.create_runtime()),
        ("createContainer", hooks.create_container()),
        ("startContainer", hooks.start_container()),
        ("poststart", hooks.poststart()),
        ("poststop", hooks.poststop()),
    ];
    for (stage, list) in stages {
        for (index, hook) in list.iter().flatten().enumerate() {
            let path = format!("hooks.{stage}[{index}]");
            if !hook.path().is_absolute() {
                refuse(format!("{path}.path"), format!("{:?} is not an absolute path", hook.path()))?;
            }
            if hook.timeout().is_some_and(|seconds| !(1..=i64::from(u32::MAX / 1000)).contains(&seconds)) {
                refuse(format!("{path}.timeout"), "must be a number of seconds above 0")?;
            }
            for text in hook.args().iter().flatten().chain(hook.env().iter().flatten()) {
                no_nul(&path, Path::new(text))?;
            }
        }
    }
    Ok(())
}

fn namespaces(linux: Option<&Linux>) -> Checked {
    let list = linux.and_then(|l| l.namespaces().as_deref()).unwrap_or_default();
    for (index, namespace) in list.iter().enumerate() {
        if list[..index].iter().any(|earlier| earlier.typ() == namespace.typ()) {
            let kind = Kind::from(namespace.typ());
            refuse(format!("linux.namespaces[{index}]"), format!("a second {kind} namespace"))?;
        }
        if let Some(path) = joined_path(namespace).filter(|path| !path.is_absolute()) {
            refuse(format!("linux.namespaces[{index}].path"), format!("{path:?} is not an absolute path"))?;
        }
    }
    Ok(())
}

/// The file of a namespace that is joined; none, or an empty one, makes a new namespace.
pub(crate) fn joined_path(namespace: &LinuxNamespace) -> Option<&Path> {
    namespace.path().as_deref().filter(|path| !path.as_os_str().is_empty())
}

/// Does the configuration join a namespace of this kind?
pub(crate) fn joins_namespace(linux: Option<&Linux>, kind: Kind) -> bool {
    let list = linux.and_then(|l| l.namespaces().as_deref()).unwrap_or_default();
    list.iter().any(|namespace| Kind::from(namespace.typ()) == kind && joined_path(namespace).is_some())
}

/// Does the configuration create or join a namespace of this kind?
pub(crate) fn has_namespace(linux: Option<&Linux>, kind: Kind) -> bool {
    let list = linux.and_then(|l| l.namespaces().as_deref()).unwrap_or_default();
    list.iter().any(|namespace| Kind::from(namespace.typ()) == kind)
}

fn sysctl(key: &str, has: &dyn Fn(Kind) -> bool) -> Checked {
    let path = format!("linux.sysctl[{key:?}]");
    let name = sysctl_path(key);
    if name.split('/').any(|part| part.is_empty() || part == "." || part == "..") || name.contains('\0') {
        refuse(&path, "not a sysctl's name")?;
    }
    let Some(needed) = sysctl_namespace(&name) else {
        return refuse(&path, "belongs to no namespace: it would change the host");
    };
    if !has(needed) {
        refuse(&path, format!("would change the host: add a {needed} namespace"))?;
    }
    Ok(())
}

/// The kind of namespace that a sysctl belongs to, by its path below /proc/sys.
pub fn sysctl_namespace(path: &str) -> Option<Kind> {
    match path {
        "kernel/domainname" | "kernel/hostname" => Some(Kind::Uts),
        "kernel/msgmax"
        | "kernel/msgmnb"
        | "kernel/msgmni"
        | "kernel/sem"
        | "kernel/shmall"
        | "kernel/shmmax"
        | "kernel/shmmni"
        | "kernel/shm_rmid_forced" => Some(Kind::Ipc),
        path if path.starts_with("fs/mqueue/") => Some(Kind::Ipc),
        path if path.starts_with("net/") => Some(Kind::Network),
        path if path.starts_with("user/") => Some(Kind::User),
        _ => None,
    }
}

/// A sysctl's path below /proc/sys. As sysctl(8) has it, the first separator tells which of `.` and
/// `/` separates; the other stands for itself (`net/ipv4/conf/eth0.1/forwarding`).
pub fn sysctl_path(key: &str) -> String {
    match key.find(['.', '/']).map(|at| &key[at..=at]) {
        Some(".") => key
            .chars()
            .map(|c| match c {
                '.' => '/',
                '/' => '.',
                c => c,
            })
            .collect(),
        _ => key.into(),
    }
}

fn mappings(linux: &Linux, user: bool) -> Checked {
    let joined = joins_namespace(Some(linux), Kind::User);
    let lists = [("linux.uidMappings", linux.uid_mappings()), ("linux.gidMappings", linux.gid_mappings())];
    for (path, list) in lists {
        let list: &[LinuxIdMapping] = list.as_deref().unwrap_or_default();
        match (user, joined, list.is_empty()) {
            (false, _, false) => refuse(path, "needs a user namespace in linux.namespaces")?,
            (true, true, false) => refuse(path, "a joined user namespace has its mappings already")?,
            (true, false, true) => refuse(path, "missing: a new user namespace needs its mappings")?,
            _ => {}
        }
        if let Some(index) = list.iter().position(|m| m.size() == 0) {
            refuse(format!("{path}[{index}].size"), "is 0")?;
        }
    }
    Ok(())
}

fn intel_rdt(rdt: &LinuxIntelRdt) -> Checked {
    const NAME_MAX: usize = 255;
    let clos = rdt.clos_id().as_deref().unwrap_or_default();
    let strange = |byte: u8| matches!(byte, b'/' | b'\n' | 0);
    let is_name = !matches!(clos, "." | "..")
        && !is_kernels_own(clos)
        && !clos.bytes().any(strange)
        && clos.len() <= NAME_MAX;
    if clos != DEFAULT_GROUP && !is_name {
        refuse("linux.intelRdt.closID", format!("{clos:?} is no name of a resctrl group"))?;
    }
    let bandwidth = rdt.mem_bw_schema().as_deref().unwrap_or_default();
    if !bandwidth.is_empty() && (!bandwidth.starts_with("MB:") || bandwidth.contains('\n')) {
        refuse("linux.intelRdt.memBwSchema", format!("{bandwidth:?} is no line that begins with MB:"))?;
    }
    for (index, line) in rdt.schemata().iter().flatten().enumerate() {
        if line.contains('\n') {
            refuse(format!("linux.intelRdt.schemata[{index}]"), "more than one line: make each an element")?;
        }
    }
    Ok(())
}

fn no_nul(path: impl Into<String>, text: &Path) -> Checked {
    if text.as_os_str().as_encoded_bytes().contains(&0) {
        refuse(path, "contains a NUL byte")?;
    }
    Ok(())
}
