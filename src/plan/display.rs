//! A plan in words: the lines of `--dry-run`, the names of `--timings`, the subjects of errors.
//!
//! Steps are also written by the child into a buffer on its stack, so nothing here allocates.

use std::fmt::{self, Display, Formatter};

use super::step::{DeviceStep, FsOption, HookStep, MountFrom, MountStep, Source, Step};
use super::{Label, Plan};
use crate::namespaces::Kind;
use crate::resctrl::GroupPlan;
use crate::text::Text;

/// One line of a plan.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct PlanLine {
    /// Who does it: `parent` before and around the clone, `child` after it.
    pub process: &'static str,
    /// What is done.
    pub step: String,
}

impl Plan {
    /// The plan, one line a step, in the order of its execution.
    pub fn lines(&self) -> Vec<PlanLine> {
        let parent = |step: String| PlanLine { process: "parent", step };
        let mut lines = Vec::new();
        if let Some(cgroup) = &self.cgroup {
            let or_not = if cgroup.is_optional() { ", or do without if that is not permitted" } else { "" };
            lines.push(parent(match &cgroup.scope {
                Some(scope) => format!(
                    "after the clone: have {} make scope {} in {}",
                    scope.manager, scope.unit.scope, scope.unit.slice
                ),
                None => format!("create cgroup {}{or_not}", cgroup.path),
            }));
            lines.extend(cgroup.owner.map(|uid| parent(format!("give the cgroup to uid {uid}"))));
            lines.extend(cgroup.limits.lines().map(parent));
        }
        lines.extend(self.resctrl.iter().flat_map(GroupPlan::lines).map(parent));
        let opened = self.sources.iter().filter(|source| **source != Source::ByChild);
        lines.extend(opened.map(|source| parent(source.to_string())));
        for (kind, _) in self.namespaces.around_clone.iter().chain(&self.namespaces.through) {
            lines.push(parent(format!("join {kind} namespace")));
        }
        lines.push(parent(format!("clone3{}", flag_names(self.namespaces.clone_flags))));
        if let Some(mappings) = &self.namespaces.mappings {
            let one_line = |map: &str| map.trim_end().replace('\n', ", ");
            for (ids, map, helper) in
                [("uids", &mappings.uid, &mappings.uid_helper), ("gids", &mappings.gid, &mappings.gid_helper)]
            {
                let by = helper.as_ref().map(|path| format!(" with {}", path.display())).unwrap_or_default();
                lines.push(parent(format!("map {ids} {}{by}", one_line(map))));
            }
        }
        lines.extend(self.cgroup.iter().filter_map(|cgroup| cgroup.limits.device_line()).map(parent));
        lines.extend(self.resctrl.iter().map(|_| parent("move the process to the resctrl group".into())));
        if let Some(adj) = self.oom_score_adj {
            lines.push(parent(format!("set oom_score_adj {adj}")));
        }
        lines.extend(self.net_devices.devices.iter().map(|device| parent(device.to_string())));
        lines.extend(self.hooks.runtime.iter().map(|hook| parent(format!("{}", Hook(hook)))));
        let child = |step: String| PlanLine { process: "child", step };
        lines.extend(self.steps.iter().map(|step| child(step.to_string())));
        let name = self.program.args.first().map(|a| a.to_string_lossy()).unwrap_or_default();
        lines.push(child(format!("execute {name}")));
        lines.extend(self.hooks.poststart.iter().map(|hook| parent(format!("{}", Hook(hook)))));
        lines
    }
}

fn flag_names(flags: u64) -> String {
    const KINDS: [Kind; 8] =
        [Kind::User, Kind::Ipc, Kind::Uts, Kind::Network, Kind::Pid, Kind::Mount, Kind::Cgroup, Kind::Time];
    let new: Vec<&str> = KINDS.iter().filter(|k| flags & k.flag() != 0).map(|k| k.name()).collect();
    match new.is_empty() {
        true => String::new(),
        false => format!(" with new {} namespaces", new.join(", ")),
    }
}

impl Display for Source {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tree { path, recursive: true } => write!(f, "clone mount tree {}", path.display()),
            Self::Tree { path, recursive: false } => write!(f, "clone mount {}", path.display()),
            Self::Unfollowed { path, .. } => write!(f, "clone mount {}, not followed", path.display()),
            Self::MappedTree { path, recursive, .. } => {
                let tree = if *recursive { "mount tree" } else { "mount" };
                write!(f, "clone {tree} {}, id-mapped", path.display())
            }
            Self::MappedNew { target, fstype, options, .. } => {
                write!(f, "make {} for {}, id-mapped", Text(fstype), Text(target))?;
                write_options(options, f)
            }
            Self::Namespace { kind, path } => write!(f, "open {kind} namespace {}", path.display()),
            Self::Root => f.write_str("take the mounted root file system"),
            Self::CgroupTree => f.write_str("clone mount of the container's cgroup"),
            Self::ByChild => f.write_str("leave a mount to the child"),
        }
    }
}

/// Writes one step.
pub(super) fn step(step: &Step, f: &mut Formatter<'_>) -> fmt::Result {
    match step {
        Step::AwaitParent => f.write_str("wait for the parent"),
        Step::AwaitRecord => f.write_str("wait until the container is recorded"),
        Step::JoinNamespace(kind, _) => write!(f, "join {kind} namespace"),
        Step::BecomeNamespaceRoot => f.write_str("become root of the user namespace"),
        Step::Unshare(kind) => write!(f, "make {kind} namespace"),
        Step::TimeOffsets(_) => f.write_str("make time namespace with offsets"),
        Step::LoopbackUp => f.write_str("bring up the loopback device"),
        Step::NewSession => f.write_str("make session"),
        Step::NewKeyring(name) => write!(f, "make session keyring {}", Text(name)),
        Step::Hostname(name) => write!(f, "set hostname {}", Text(name)),
        Step::Domainname(name) => write!(f, "set domainname {}", Text(name)),
        Step::OpenTree { path: None, .. } => f.write_str("clone mount tree of the root file system"),
        Step::OpenTree { path: Some(path), recursive: true, .. } => {
            write!(f, "clone mount tree {}", Text(path))
        }
        Step::OpenTree { path: Some(path), recursive: false, .. } => write!(f, "clone mount {}", Text(path)),
        Step::Propagation(_) => f.write_str("cut mount propagation to the host"),
        Step::LeaveHost => f.write_str("leave the host's file systems"),
        Step::AttachRoot(..) => f.write_str("attach root file system"),
        Step::EnterRoot(path) => write!(f, "enter root file system {}", Text(path)),
        Step::Mount(step) => mount(step, f),
        Step::Device(DeviceStep { path, .. }) => write!(f, "make device {}", Text(path)),
        Step::Symlink(target, path) => write!(f, "link {} to {}", Text(path), Text(target)),
        Step::CopySymlink(target, path) => write!(f, "copy link {} to {}", Text(path), Text(target)),
        Step::Unmount(path) => write!(f, "unmount {}", Text(path)),
        Step::RuntimeHooks => f.write_str("wait for prestart and createRuntime hooks"),
        Step::Hook(hook) => write!(f, "{}", Hook(hook)),
        Step::Terminal { .. } => f.write_str("make terminal"),
        Step::PivotRoot => f.write_str("pivot root"),
        Step::DropHostMount(path) => write!(f, "drop the host's {}", Text(path)),
        Step::Chroot { .. } => f.write_str("change root"),
        Step::Sysctl(path, value) => write!(f, "set sysctl {} = {}", Text(path), Text(value)),
        Step::MakeDirectory(path) => write!(f, "make working directory {}", Text(path)),
        Step::ReadonlyRoot => f.write_str("make root read-only"),
        Step::RootPropagation(_) => f.write_str("set propagation of the root"),
        Step::ReadonlyPath(path) => write!(f, "make read-only {}", Text(path)),
        Step::MaskPath { path, options } => {
            write!(f, "mask {}", Text(path))?;
            write_options(options, f)
        }
        Step::WorkingDirectory(path) => write!(f, "enter working directory {}", Text(path)),
        Step::ResourceLimit(limit) => write!(f, "set {} to {}:{}", limit.name, limit.soft, limit.hard),
        Step::ResourceLimitsByParent => f.write_str("set resource limits"),
        Step::Label(Label::AppArmor { profile, .. }) => write!(f, "set AppArmor profile {}", Text(profile)),
        Step::Label(Label::SeLinux(context)) => write!(f, "set SELinux context {}", Text(context)),
        Step::Label(Label::SeLinuxKey(context)) => write!(f, "set SELinux context of keys {}", Text(context)),
        Step::Tune(tuning) => tuning.fmt(f),
        Step::BoundingSet(_) => f.write_str("set capability bounding set"),
        Step::Credentials(c) => {
            write!(f, "set uid {}, gid {}, capabilities", c.uid, c.gid)?;
            f.write_str(if c.no_new_privileges { ", no_new_privs" } else { "" })
        }
        Step::CheckExecutable => f.write_str("look for the program"),
        Step::JoinContainer { .. } => f.write_str("join the container's namespaces"),
        Step::AwaitStart => f.write_str("wait for start"),
        Step::CloseDescriptors(first) => write!(f, "close descriptors from {first} on"),
        Step::Seccomp(step) => {
            write!(f, "load seccomp filter, {} instructions", step.filter.program.len())?;
            f.write_str(if step.drop_to.is_some() { ", drop CAP_SYS_ADMIN" } else { "" })
        }
    }
}

fn mount(step: &MountStep, f: &mut Formatter<'_>) -> fmt::Result {
    let target = Text(&step.target);
    match &step.from {
        MountFrom::New { fstype, options, .. } | MountFrom::Long { fstype, options, .. } => {
            write!(f, "mount {} on {target}", Text(fstype))?;
            write_options(options, f)
        }
        MountFrom::Mapped { .. } => write!(f, "mount id-mapped file system on {target}"),
        MountFrom::Tree(_) => write!(f, "bind mount on {target}"),
        MountFrom::Reconfigured(_) => write!(f, "remount {target} with options"),
        MountFrom::Existing => write!(f, "remount {target}"),
    }
}

fn write_options(options: &[FsOption], f: &mut Formatter<'_>) -> fmt::Result {
    for (index, option) in options.iter().enumerate() {
        write!(f, "{}{option}", if index == 0 { ": " } else { "," })?;
    }
    Ok(())
}

impl Display for FsOption {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) => write!(f, "{}", Text(name)),
            Self::Value(key, value) => write!(f, "{}={}", Text(key), Text(value)),
        }
    }
}

/// A hook by its stage, position and program.
pub(crate) struct Hook<'a>(pub &'a HookStep);

impl Display for Hook<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "run {} hook {} {}", self.0.stage, self.0.index, Text(&self.0.path))
    }
}
