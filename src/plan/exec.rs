//! The plan of `exec`: a further process in a running container.
//!
//! It shares the child's code after the join; the join has an order of its own: the PID namespace
//! around the clone, all others at once by the child, ids and groups after that.

use std::ffi::CString;
use std::path::PathBuf;

use oci_spec::runtime::{Linux, Process};

use super::step::{ResourceLimit, Source, SourceId, Step};
use super::{Facts, IndexSet, Namespaces, PlanError, Program, Tuning, labels, process, tuning};
use crate::namespaces::Kind;

/// What is planned.
pub struct ExecRequest<'a> {
    /// The process to run.
    pub process: &'a Process,
    /// The container's configuration: what it says about every process.
    pub linux: Option<&'a Linux>,
    /// CLONE_NEW* flags of the namespaces that the container does not share with the host, without
    /// the PID namespace.
    pub join_flags: u64,
    /// The container's PID namespace, where it has one of its own.
    pub pid_namespace: Option<PathBuf>,
    /// The container's user namespace, where it has one of its own.
    pub user_namespace: Option<PathBuf>,
    /// Is the container's root not the root of its mount namespace?
    pub chroot: bool,
    /// The container's session keyring; None with `--no-new-keyring`.
    pub keyring: Option<CString>,
    /// `--preserve-fds`.
    pub preserve_fds: u32,
    /// Is there something that only the parent can do for the process, when it exists?
    pub awaits_parent: bool,
}

impl<'a> ExecRequest<'a> {
    /// Nothing to join and no options: for tests and fuzzers.
    #[doc(hidden)]
    pub fn plain(process: &'a Process) -> Self {
        Self {
            process,
            join_flags: 0,
            pid_namespace: None,
            user_namespace: None,
            chroot: false,
            keyring: None,
            preserve_fds: 0,
            linux: None,
            awaits_parent: false,
        }
    }
}

/// What `exec` does.
#[derive(Clone, Debug)]
pub struct ExecPlan {
    /// What the parent opens before the clone.
    pub sources: Vec<Source>,
    /// The PID namespace, joined around the clone.
    pub namespaces: Namespaces,
    /// oom_score_adj, written by the parent.
    pub oom_score_adj: Option<i32>,
    /// Resource limits that the parent sets.
    pub resource_limits: Vec<ResourceLimit>,
    /// The CPUs that the child is born with.
    pub initial_cpus: Option<IndexSet>,
    /// What the child does, in order.
    pub steps: Vec<Step>,
    /// What the child becomes.
    pub program: Program,
    /// What is done differently than asked.
    pub warning: Option<String>,
}

/// Plans a further process.
pub fn exec(request: &ExecRequest<'_>, facts: &Facts<'_>) -> Result<ExecPlan, PlanError> {
    let process = request.process;
    let mut steps = Vec::new();
    if process.oom_score_adj().is_some() || request.awaits_parent {
        steps.push(Step::AwaitParent);
    }
    let (initial_cpus, cpus) = tuning::affinity(process)?;
    steps.extend(cpus.map(|cpus| Step::Tune(Box::new(Tuning::Affinity(cpus)))));
    let mut sources = Vec::new();
    let mut namespaces = Namespaces::default();
    let mut join_flags = request.join_flags;
    let mut source = |kind, path: &PathBuf| {
        sources.push(Source::Namespace { kind, path: path.clone() });
        (kind, SourceId(sources.len() - 1))
    };
    match (&request.pid_namespace, &request.user_namespace) {
        // Only in the user namespace, which rcrun may not visit and leave, it may join the other.
        (Some(pid), Some(user)) if !facts.may_administer() => {
            namespaces.through = vec![source(Kind::User, user), source(Kind::Pid, pid)];
            join_flags &= !Kind::User.flag();
        }
        (Some(pid), _) => namespaces.around_clone = vec![source(Kind::Pid, pid)],
        (None, _) => {}
    }
    steps.push(Step::JoinContainer { flags: join_flags, chroot: request.chroot });
    if request.user_namespace.is_some() {
        steps.push(Step::BecomeNamespaceRoot);
    }
    steps.push(Step::NewSession);
    let labels = labels::plan(process, facts)?;
    if let Some(name) = &request.keyring {
        steps.extend(labels.keyring);
        steps.push(Step::NewKeyring(name.clone()));
    }
    if process.terminal() == Some(true) {
        let size = super::terminal_size(process, facts);
        steps.push(Step::Terminal { size, console: false });
    }
    steps.extend(labels.program);
    steps.push(Step::CloseDescriptors(3 + facts.listen_fds + request.preserve_fds));
    steps.extend(tuning::steps(process, request.linux)?);
    let seccomp = request.linux.and_then(|linux| linux.seccomp().as_ref());
    let last =
        process::steps(process, facts, request.user_namespace.is_some(), facts.setgroups_denied, seccomp)?;
    steps.push(last.bounding);
    steps.extend(last.steps);
    steps.extend(last.last.map(Step::ResourceLimit));
    steps.extend(last.filter);
    Ok(ExecPlan {
        sources,
        namespaces,
        oom_score_adj: process.oom_score_adj(),
        resource_limits: last.limits_by_parent,
        initial_cpus,
        steps,
        program: process::program(process, facts, None),
        warning: last.warning,
    })
}
