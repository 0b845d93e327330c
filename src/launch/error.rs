//! Why a launch failed.

use std::fmt::{self, Display, Formatter};
use std::path::PathBuf;

use rustix::io::Errno;

use crate::cgroups::CgroupError;
use crate::launch::hooks::HookError;
use crate::namespaces::Kind;
use crate::resctrl::ResctrlError;
use crate::sys::Failure;

/// A launch's failed operation with its object.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum LaunchError {
    #[error("{what}: {failure}")]
    Open { what: String, failure: Failure },
    #[error("{kind} namespace {path:?}: the file is no {kind} namespace")]
    NamespaceKind { kind: Kind, path: PathBuf },
    #[error(
        "{step}: would change the host, whose {kind} namespace {path:?} is: leave it out, or join another"
    )]
    OwnNamespace { kind: Kind, path: PathBuf, step: String },
    #[error("join {kind} namespace: setns: {error}")]
    Join { kind: Kind, error: Errno },
    #[error("clone3: {error}{}", clone_hint(.error))]
    Clone { error: Errno },
    #[error("write {file} of the new user namespace: {error}: is the range delegated to this user?")]
    Mapping { file: &'static str, error: std::io::Error },
    #[error(
        "write {file} of the new user namespace: {helper:?}: {reason}: it permits this user's own id and the ranges in {}; inside a container or with no_new_privs it gains no privileges", subordinate_file(.file)
    )]
    MappingHelper { file: &'static str, helper: PathBuf, reason: String },
    #[error("set oom_score_adj {value}: {error}{}", oom_hint(.error))]
    OomScoreAdj { value: i32, error: std::io::Error },
    #[error(
        "process.execCPUAffinity.initial {cpus}: sched_setaffinity: {error}: does this host have such CPUs?"
    )]
    Cpus { cpus: String, error: Errno },
    #[error("linux.netDevices: rtnetlink: {error}")]
    Netlink { error: Errno },
    #[error("linux.netDevices[{device:?}]: {operation}: {error}{}", net_device_hint(.error))]
    NetDevice { device: String, operation: &'static str, error: Errno },
    #[error("set {name}: prlimit: {error}")]
    ResourceLimit { name: &'static str, error: Errno },
    #[error("{0}")]
    Record(Box<dyn std::error::Error + Send + Sync>),
    #[error("{0}")]
    Child(ChildError),
    #[error("the container's process was ended before its program ran: {how}")]
    Died { how: String },
    #[error("hook {path}: {error}")]
    Hook { path: String, error: HookError },
    #[error("interrupted by signal {signal}")]
    Interrupted { signal: u32 },
    #[error(
        "given up: its program did not run in time; does another process of the container stop it (SIGSTOP), or its file system hang?"
    )]
    Late,
    #[error("the container's process said something unexpected: {error}")]
    Protocol { error: Errno },
    #[error("{what} {path:?}: {operation}: {error}")]
    Socket { what: &'static str, path: PathBuf, operation: &'static str, error: Errno },
    #[error("write {path:?}: {error}")]
    Write { path: PathBuf, error: std::io::Error },
    #[error("terminal: {operation}: {error}")]
    Terminal { operation: &'static str, error: Errno },
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    #[error(transparent)]
    Resctrl(#[from] ResctrlError),
    #[error("{0}")]
    Call(#[from] Failure),
}

/// The child's last words, unchanged.
#[derive(Debug)]
pub struct ChildError {
    /// errno of the failed call, 0 where there is none.
    pub errno: i32,
    /// What failed and on what.
    pub text: String,
}

impl Display for ChildError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        match self.errno {
            0 => Ok(()),
            errno => write!(f, ": {}", Errno::from_raw_os_error(errno)),
        }
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.operation)?;
        if !self.note.as_str().is_empty() {
            write!(f, "{}: ", self.note.as_str())?;
        }
        write!(f, "{}", self.errno)
    }
}

impl std::error::Error for Failure {}

fn subordinate_file(map: &str) -> &'static str {
    if map == "uid_map" { "/etc/subuid" } else { "/etc/subgid" }
}

fn clone_hint(error: &Errno) -> &'static str {
    match *error {
        Errno::ACCESS => {
            ": to be born in the cgroup needs write access to cgroup.procs of the common ancestor's cgroup"
        }
        Errno::PERM => ": making namespaces needs root, or a new user namespace beside them",
        Errno::NOSPC | Errno::USERS => ": a limit below /proc/sys/user/ is reached",
        Errno::AGAIN => ": a limit of processes is reached (pids.max, RLIMIT_NPROC)",
        _ => "",
    }
}

fn net_device_hint(error: &Errno) -> &'static str {
    match *error {
        Errno::NODEV => ": no such network device where rcrun runs",
        Errno::PERM => ": moving it needs CAP_NET_ADMIN in both network namespaces",
        Errno::EXIST => ": a device of that name is in the container already",
        Errno::INVAL => ": a device that cannot leave its network namespace (lo, a bridge, ...)",
        _ => "",
    }
}

fn oom_hint(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::PermissionDenied => ": lowering it needs CAP_SYS_RESOURCE",
        _ => "",
    }
}
