//! Every decision before the clone: a [`Spec`] and [`Facts`] in, a [`Plan`] out.
//!
//! Nothing here has an effect: no clone, mount, mkdir or cgroup write. A plan is plain data that can
//! be printed (`rcrun run --dry-run`), compared and tested without privileges. Once it exists nobody
//! reads the configuration again.

mod added_mounts;
mod devices;
mod display;
mod exec;
mod hooks;
mod idmap;
mod index_set;
mod labels;
mod long_options;
mod mount_options;
mod mounts;
mod namespaces;
mod net_devices;
mod process;
mod propagation;
mod root;
pub mod step;
mod tuning;

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use oci_spec::runtime::{Linux, LinuxSeccomp, Process, Spec};

pub use added_mounts::{AddedMounts, added_mounts, removed_mounts};
pub use display::PlanLine;
pub use exec::{ExecPlan, ExecRequest, exec};
pub use hooks::{Hooks, hooks};
pub use index_set::IndexSet;
pub use labels::{Label, SecurityModules};
pub use mount_options::mount_option_names;
pub use namespaces::{Mappings, Namespaces, path_of};
pub use net_devices::{NetDevice, NetDevices};
pub use process::{Program, notifying_filter};
use step::{ResourceLimit, Source, SourceId, Step};
pub use tuning::{MEMORY_POLICY_FLAGS, MEMORY_POLICY_MODES, Tuning};

use crate::cgroups::systemd::ScopePlan;
use crate::cgroups::{CgroupError, CgroupPath, Limits};
use crate::id::ContainerId;
use crate::namespaces::Kind;
use crate::resctrl::GroupPlan;
use crate::seccomp::Filter;
use crate::spec::{SpecError, has_namespace, joins_namespace};

/// Everything that a launch does, decided.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The container's name.
    pub id: ContainerId,
    /// What the parent opens before the clone; steps refer to it by index.
    pub sources: Vec<Source>,
    /// The container's cgroup; None with `--cgroup-manager disabled`.
    pub cgroup: Option<CgroupPlan>,
    /// The resctrl group that the process is moved to.
    pub resctrl: Option<GroupPlan>,
    /// What the clone makes and joins.
    pub namespaces: Namespaces,
    /// The network devices that the parent moves.
    pub net_devices: NetDevices,
    /// oom_score_adj, written by the parent.
    pub oom_score_adj: Option<i32>,
    /// Resource limits that the parent sets, since a user namespace's root may not raise them.
    pub resource_limits: Vec<ResourceLimit>,
    /// What the child does, in order.
    pub steps: Vec<Step>,
    /// What the child becomes.
    pub program: Program,
    /// The hooks.
    pub hooks: Hooks,
    /// What is done differently than asked.
    pub warning: Option<String>,
}

impl Plan {
    /// The tree of the root where it is attached in rcrun's own mount namespace, for want of one of the
    /// container's: it has to be taken away.
    pub fn root_on_host(&self) -> Option<SourceId> {
        let own = self.namespaces.clone_flags & Kind::Mount.flag() != 0;
        self.steps.iter().find_map(|step| match step {
            Step::AttachRoot(source, _) if !own => Some(*source),
            _ => None,
        })
    }
}

/// The container's cgroup and what is written there before the clone.
#[derive(Clone, Debug)]
pub struct CgroupPlan {
    /// Below the cgroup2 mount.
    pub path: CgroupPath,
    /// Limits and the device program.
    pub limits: Limits,
    /// The scope that systemd makes it as; None where rcrun makes it.
    pub scope: Option<ScopePlan>,
    /// The user whom the cgroup is given to.
    pub owner: Option<u32>,
    /// Is there to be a container even if rcrun may not make the cgroup or load the device program?
    pub rootless: bool,
}

impl CgroupPlan {
    /// May the container do without it? Limits that were asked for are never left out.
    pub fn is_optional(&self) -> bool {
        self.rootless && self.limits.settings.is_empty()
    }
}

/// What the host is like, read before planning.
pub struct Facts<'a> {
    /// Does this path lead to a directory (Ok(false): to something else)?
    pub is_directory: &'a dyn Fn(&Path) -> Result<bool, rustix::io::Errno>,
    /// Where the symbolic link at this path leads; None for anything else.
    pub link_target: &'a dyn Fn(&Path) -> Result<Option<PathBuf>, rustix::io::Errno>,
    /// The mount points of whole procfs and sysfs file systems.
    pub pseudo_mounts: &'a dyn Fn() -> Vec<PathBuf>,
    /// The home directory of a user of the container, from its /etc/passwd; `/` where unknown.
    pub home: &'a dyn Fn(u32) -> String,
    /// rcrun's own permitted capabilities.
    pub permitted_capabilities: u64,
    /// Does rcrun run in a user namespace that is not the initial one?
    pub in_user_namespace: bool,
    /// Does the network namespace that rcrun is in belong to its user namespace?
    pub owns_network: &'a dyn Fn() -> bool,
    /// May the new user namespace's groups not be set, because rcrun is unprivileged?
    pub setgroups_denied: bool,
    /// Where $PATH has a program.
    pub find_program: &'a dyn Fn(&str) -> Option<PathBuf>,
    /// The number of descriptors that LISTEN_FDS passes.
    pub listen_fds: u32,
    /// LISTEN_FDNAMES.
    pub listen_fd_names: Option<String>,
    /// Rows and columns of the terminal that rcrun itself is on, where it relays the process's.
    pub window_size: &'a dyn Fn() -> Option<(u16, u16)>,
    /// Which security modules give processes labels here?
    pub security_modules: &'a dyn Fn() -> SecurityModules,
    /// A filter that was compiled from this profile before.
    pub known_filter: &'a dyn Fn(&LinuxSeccomp) -> Option<Filter>,
}

impl Facts<'_> {
    /// A host on which every path is a directory and rcrun may do all: for tests and fuzzers.
    #[doc(hidden)]
    pub fn of_no_host() -> Facts<'static> {
        Facts {
            is_directory: &|_| Ok(true),
            link_target: &|_| Ok(None),
            pseudo_mounts: &|| vec![],
            find_program: &|_| None,
            home: &|_| "/".into(),
            permitted_capabilities: u64::MAX,
            in_user_namespace: false,
            owns_network: &|| true,
            setgroups_denied: false,
            listen_fds: 0,
            listen_fd_names: None,
            window_size: &|| None,
            security_modules: &SecurityModules::default,
            known_filter: &|_| None,
        }
    }

    /// May rcrun mount, and make namespaces without a user namespace of their own?
    fn may_administer(&self) -> bool {
        self.permits(caps::Capability::CAP_SYS_ADMIN)
    }

    fn permits(&self, capability: caps::Capability) -> bool {
        self.permitted_capabilities & capability.bitmask() != 0
    }
}

/// What is planned.
pub struct Request<'a> {
    /// The container's name.
    pub id: &'a ContainerId,
    /// The checked configuration.
    pub spec: &'a Spec,
    /// The bundle's directory, absolute: bind sources may be relative to it.
    pub bundle: &'a Path,
    /// The root file system's directory, absolute.
    pub root: &'a Path,
    /// The cgroup, planned by [`crate::cgroups`].
    pub cgroup: Option<CgroupPlan>,
    /// The resctrl group, planned by [`crate::resctrl`].
    pub resctrl: Option<GroupPlan>,
    /// Stop before the program until `start`.
    pub create_only: bool,
    /// `--no-pivot`.
    pub no_pivot: bool,
    /// `--no-new-keyring`.
    pub no_new_keyring: bool,
    /// `--preserve-fds`.
    pub preserve_fds: u32,
    /// The directory that holds the container's notify.sock, bound at /run/notify.
    pub notify: Option<PathBuf>,
    /// Is the root file system a detached mount that was made already?
    pub root_is_mount: bool,
    /// Bring up the loopback device of a new network namespace.
    pub loopback: bool,
}

impl<'a> Request<'a> {
    /// A container without a cgroup and without options: for tests and fuzzers.
    #[doc(hidden)]
    pub fn plain(id: &'a ContainerId, spec: &'a Spec) -> Self {
        Request {
            id,
            spec,
            bundle: Path::new("/bundle"),
            root: Path::new("/bundle/rootfs"),
            cgroup: None,
            resctrl: None,
            create_only: false,
            no_pivot: false,
            no_new_keyring: false,
            preserve_fds: 0,
            notify: None,
            root_is_mount: false,
            loopback: false,
        }
    }
}

/// Why a configuration cannot be planned on this host.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum PlanError {
    #[error(transparent)]
    Spec(#[from] SpecError),
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    #[error("config.json: mounts[{index}]: bind source {source_path:?} for {target:?}: {error}")]
    BindSource { index: usize, source_path: PathBuf, target: String, error: rustix::io::Errno },
    #[error("config.json: mounts[{index}].options: {option:?} is no option of a bind mount")]
    BindOption { index: usize, option: String },
    #[error("config.json: mounts[{index}].type: missing: name a file system, or add the option bind")]
    MountType { index: usize },
    #[error("config.json: linux.devices[{index}] {path:?}: {reason}")]
    Device { index: usize, path: PathBuf, reason: String },
    #[error("config.json: linux.namespaces: {kind}: {reason}")]
    Namespace { kind: Kind, reason: String },
}

/// A plan in the making.
struct Builder<'a> {
    spec: &'a Spec,
    bundle: &'a Path,
    facts: &'a Facts<'a>,
    sources: Vec<Source>,
    steps: Vec<Step>,
    readonly_later: Vec<CString>,
    /// The steps that open trees, where that is up to the child.
    open_trees: Vec<Step>,
}

impl<'a> Builder<'a> {
    fn source(&mut self, source: Source) -> SourceId {
        self.sources.push(source);
        SourceId(self.sources.len() - 1)
    }

    /// A tree of the host, opened by the parent where it may, else by the child.
    fn tree(&mut self, path: PathBuf, recursive: bool) -> SourceId {
        let by_child = Some(c_path(&path));
        self.tree_or_step(path, by_child, recursive, true)
    }

    /// The same of the path itself, whatever it is.
    fn unfollowed(&mut self, path: PathBuf, recursive: bool) -> SourceId {
        let by_child = Some(c_path(&path));
        self.tree_or_step(path, by_child, recursive, false)
    }

    /// The root file system's tree: the child finds it as its working directory.
    fn root_tree(&mut self, path: &Path) -> SourceId {
        self.tree_or_step(path.into(), None, true, true)
    }

    fn tree_or_step(
        &mut self,
        path: PathBuf,
        by_child: Option<CString>,
        recursive: bool,
        follow: bool,
    ) -> SourceId {
        if self.facts.may_administer() {
            return self.source(match follow {
                true => Source::Tree { path, recursive },
                false => Source::Unfollowed { path, recursive },
            });
        }
        let source = self.source(Source::ByChild);
        self.open_trees.push(Step::OpenTree { source, path: by_child, recursive, follow });
        source
    }

    fn linux(&self) -> Option<&'a Linux> {
        self.spec.linux().as_ref()
    }

    fn joins(&self, kind: Kind) -> bool {
        joins_namespace(self.linux(), kind)
    }

    fn creates(&self, kind: Kind) -> bool {
        has_namespace(self.linux(), kind) && !self.joins(kind)
    }

    /// Is the container in a user namespace that is not rcrun's?
    fn user_namespace(&self) -> bool {
        self.creates(Kind::User) || self.joins(Kind::User)
    }

    /// Are there mounts and no mount namespace? They are made in rcrun's own, on a mount of the root that
    /// goes away with the container.
    fn mounts_on_host(&self) -> bool {
        !has_namespace(self.linux(), Kind::Mount)
            && self.spec.mounts().as_ref().is_some_and(|m| !m.is_empty())
    }

    /// Is the root a mount of the container's own?
    fn owns_root(&self) -> bool {
        self.creates(Kind::Mount) || self.mounts_on_host()
    }
}

/// Plans a container's first process.
pub fn plan(request: Request<'_>, facts: &Facts<'_>) -> Result<Plan, PlanError> {
    let spec = request.spec;
    let mut b = Builder {
        spec,
        bundle: request.bundle,
        facts,
        sources: vec![],
        steps: vec![],
        readonly_later: vec![],
        open_trees: vec![],
    };
    check_privileges(&b)?;
    propagation::check(&b)?;
    let unset = process::unset();
    let process = match spec.process() {
        Some(process) => process,
        // Wanted when it is started: config.md, "process".
        None if request.create_only => &unset,
        None => return Err(SpecError::missing_process().into()),
    };
    let hooks = hooks(spec);
    let user_namespace = b.user_namespace();
    let oom_score_adj = process.oom_score_adj();

    // A scope is made around a process that exists, and a resctrl group takes no other.
    let in_scope = request.cgroup.as_ref().is_some_and(|cgroup| cgroup.scope.is_some());
    let hooked = !hooks.create_container.is_empty() || !hooks.start_container.is_empty();
    let moves = b.linux().and_then(|l| l.net_devices().as_ref()).is_some_and(|devices| !devices.is_empty());
    if b.creates(Kind::User)
        || oom_score_adj.is_some()
        || hooked
        || in_scope
        || moves
        || request.resctrl.is_some()
    {
        b.steps.push(Step::AwaitParent);
    }
    let namespaces = namespaces::plan(&mut b)?;
    let net_devices = net_devices::plan(&b)?;
    if user_namespace {
        b.steps.push(Step::BecomeNamespaceRoot);
    }
    let labels = labels::plan(process, facts)?;
    b.steps.extend(labels.keyring.filter(|_| !request.no_new_keyring));
    identity(&mut b, &request);
    let unhooked = b.steps.len();
    root::file_systems(&mut b, &request, &hooks)?;
    if process.terminal() == Some(true) {
        let size = terminal_size(process, facts);
        b.steps.push(Step::Terminal { size, console: has_namespace(b.linux(), Kind::Mount) });
    }
    if !hooks.runtime.is_empty() {
        b.steps.push(Step::RuntimeHooks);
    }
    b.steps.extend(hooks.create_container.iter().cloned().map(Step::Hook));
    root::enter(&mut b, &request, process.cwd());
    labels::mounts(&mut b)?;
    b.steps.extend(labels.program);
    b.steps.push(Step::CloseDescriptors(3 + facts.listen_fds + request.preserve_fds));
    let tuning = tuning::steps(process, b.linux())?;
    b.steps.extend(tuning);
    let seccomp = b.linux().and_then(|linux| linux.seccomp().as_ref());
    let groups_denied = namespaces.mappings.as_ref().map_or(facts.setgroups_denied, |m| m.deny_setgroups);
    let process_steps = process::steps(process, facts, user_namespace, groups_denied, seccomp)?;
    // A set of credentials goes with each capability that is dropped, and the kernel frees them late: early on
    // they do not count against the container's memory when its program needs it most.
    match hooks.create_container.is_empty() {
        true => b.steps.insert(unhooked, process_steps.bounding),
        false => b.steps.push(process_steps.bounding),
    }
    b.steps.extend(process_steps.steps);
    // A process that nobody knows of must not outlive its parent.
    b.steps.push(Step::AwaitRecord);
    if request.create_only {
        b.steps.extend(spec.process().as_ref().map(|_| Step::CheckExecutable));
        b.steps.push(Step::AwaitStart);
    }
    b.steps.extend(hooks.start_container.iter().cloned().map(Step::Hook));
    b.steps.extend(process_steps.last.map(Step::ResourceLimit));
    b.steps.extend(process_steps.filter);
    let notify = request.notify.as_ref().map(|_| "/run/notify/notify.sock");
    let program = process::program(process, facts, notify);
    Ok(Plan {
        id: request.id.clone(),
        sources: b.sources,
        cgroup: request.cgroup,
        resctrl: request.resctrl,
        namespaces,
        net_devices,
        oom_score_adj,
        resource_limits: process_steps.limits_by_parent,
        steps: b.steps,
        program,
        hooks,
        warning: process_steps.warning,
    })
}

/// Session, keyring, cgroup namespace, names.
fn identity(b: &mut Builder<'_>, request: &Request<'_>) {
    let spec = b.spec;
    b.steps.push(Step::NewSession);
    if !request.no_new_keyring {
        b.steps.push(Step::NewKeyring(c_text(&format!("_ses.{}", request.id))));
    }
    if b.creates(Kind::Cgroup) {
        b.steps.push(Step::Unshare(Kind::Cgroup));
    }
    if request.loopback && b.creates(Kind::Network) {
        b.steps.push(Step::LoopbackUp);
    }
    if let Some(name) = spec.hostname().as_ref().filter(|n| !n.is_empty()) {
        b.steps.push(Step::Hostname(c_text(name)));
    }
    if let Some(name) = spec.domainname().as_ref().filter(|n| !n.is_empty()) {
        b.steps.push(Step::Domainname(c_text(name)));
    }
}

/// Without privileges there is no container but in a user namespace.
fn check_privileges(b: &Builder<'_>) -> Result<(), PlanError> {
    let kinds = b.linux().and_then(|l| l.namespaces().as_deref()).unwrap_or_default();
    let may_chroot = b.facts.permits(caps::Capability::CAP_SYS_CHROOT) && kinds.is_empty();
    if b.facts.may_administer() || has_namespace(b.linux(), Kind::User) || may_chroot {
        return Ok(());
    }
    let reason = "missing: without CAP_SYS_ADMIN a container needs a user namespace: add one (rcrun spec \
                  --rootless writes such a config.json), or run rcrun as root";
    Err(PlanError::Namespace { kind: Kind::User, reason: reason.into() })
}

/// The size that a process's terminal begins with: set before its program runs, which may ask at once.
fn terminal_size(process: &Process, facts: &Facts<'_>) -> Option<(u16, u16)> {
    let configured = process.console_size().map(|size| (clamp(size.height()), clamp(size.width())));
    (facts.window_size)().or(configured)
}

fn clamp(cells: u64) -> u16 {
    u16::try_from(cells).unwrap_or(u16::MAX)
}

/// A path that validation has found free of NUL bytes.
fn c_path(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).unwrap_or_default()
}

/// Text that validation has found free of NUL bytes.
fn c_text(text: &str) -> CString {
    CString::new(text).unwrap_or_default()
}

#[cfg(test)]
mod tests;
