//! What the container's process is: program, environment, ids, capabilities, limits.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ffi::CString;

use oci_spec::runtime::{Capabilities, LinuxSeccomp, PosixRlimitType, Process, Spec};

use super::step::{CapabilityMasks, Credentials, FilterStep, ResourceLimit, Step};
use super::{Facts, PlanError};
use crate::seccomp::Filter;
use crate::spec::SpecError;

/// Where a program without a `/` is looked for when the environment has no PATH.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What execve(2) gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// The paths to try, in order: one for a name with a `/`, one per PATH entry else.
    pub candidates: Vec<CString>,
    /// argv; its first is the name that messages use.
    pub args: Vec<CString>,
    /// The environment.
    pub env: Vec<CString>,
}

/// What a container has that is created without a process, and so can never be started: no program
/// and no capabilities.
pub(super) fn unset() -> Process {
    let mut process = Process::default();
    process.set_args(None).set_capabilities(None).set_no_new_privileges(Some(true));
    process
}

/// Plans the program. `notify` is the container's NOTIFY_SOCKET.
pub(super) fn program(process: &Process, facts: &Facts<'_>, notify: Option<&str>) -> Program {
    let args = process.args().as_deref().unwrap_or_default();
    let env = process.env().as_deref().unwrap_or_default();
    let variable = |name: &str| env.iter().rev().find_map(|v| v.strip_prefix(name)?.strip_prefix('='));
    let name = args.first().map(String::as_str).unwrap_or_default();
    let candidates = if name.contains('/') {
        vec![c_string(name)]
    } else {
        let path = variable("PATH").unwrap_or(DEFAULT_PATH);
        // An empty entry means the working directory to a shell; a container's config means it never.
        path.split(':').filter(|d| !d.is_empty()).map(|d| c_string(&format!("{d}/{name}"))).collect()
    };
    let bytes: Vec<Cow<'_, [u8]>> = env.iter().map(|variable| crate::spec::bytes_of(variable)).collect();
    // Validation has found the text free of NUL bytes, and the bytes of a variable have none.
    let mut env: Vec<CString> =
        last_of_each(&bytes).into_iter().map(|v| CString::new(v).unwrap_or_default()).collect();
    if !bytes.iter().any(|variable| variable.starts_with(b"HOME=")) {
        env.push(c_string(&format!("HOME={}", (facts.home)(process.user().uid()))));
    }
    if facts.listen_fds > 0 {
        env.push(c_string(&format!("LISTEN_FDS={}", facts.listen_fds)));
        env.push(c_string("LISTEN_PID=1"));
        if let Some(names) = &facts.listen_fd_names {
            env.push(c_string(&format!("LISTEN_FDNAMES={names}")));
        }
    }
    if let Some(socket) = notify {
        env.push(c_string(&format!("NOTIFY_SOCKET={socket}")));
    }
    Program { candidates, args: args.iter().map(|a| c_string(a)).collect(), env }
}

/// The environment with one entry a name, the last: getenv(3) would find the first.
fn last_of_each<'v>(env: &'v [Cow<'_, [u8]>]) -> Vec<&'v [u8]> {
    let mut names = BTreeSet::new();
    let mut is_first = |variable: &&'v [u8]| names.insert(variable.split(|byte| *byte == b'=').next());
    let mut last: Vec<&[u8]> = env.iter().rev().map(AsRef::as_ref).filter(|v| is_first(v)).collect();
    last.reverse();
    last
}

/// The last steps of a process, in the order that keeps each possible: directory and limits while it
/// is still privileged, then its credentials.
pub(super) fn steps(
    process: &Process,
    facts: &Facts<'_>,
    user_namespace: bool,
    setgroups_denied: bool,
    seccomp: Option<&LinuxSeccomp>,
) -> Result<ProcessSteps, PlanError> {
    let limits: Vec<ResourceLimit> = process
        .rlimits()
        .iter()
        .flatten()
        .map(|limit| {
            let (resource, name) = rlimit(limit.typ());
            ResourceLimit { resource, name, soft: limit.soft(), hard: limit.hard() }
        })
        .collect();
    let mut steps = Vec::new();
    let mut by_parent = Vec::new();
    let (limits, last) = few_descriptors_last(limits);
    if user_namespace && !limits.is_empty() {
        by_parent = limits;
        steps.push(Step::ResourceLimitsByParent);
    } else {
        steps.extend(limits.into_iter().map(Step::ResourceLimit));
    }
    steps.push(Step::WorkingDirectory(super::c_path(process.cwd())));
    let bounding = process.capabilities().as_ref().map_or(0, |sets| mask(sets.bounding()));
    let (mut credentials, warning) = credentials(process, facts, user_namespace, setgroups_denied)?;
    let filter = match seccomp {
        Some(seccomp) => Some(filter(seccomp, &mut credentials, facts, user_namespace)?),
        None => None,
    };
    steps.push(Step::Credentials(Box::new(credentials)));
    Ok(ProcessSteps {
        bounding: Step::BoundingSet(bounding),
        steps,
        limits_by_parent: by_parent,
        last,
        filter,
        warning,
    })
}

/// So many descriptors are enough for what the child opens once its limits are set.
const ENOUGH_DESCRIPTORS: u64 = 64;

/// Takes a RLIMIT_NOFILE that leaves too few descriptors for the launch itself out of `limits`: its
/// hard limit is set with the others, for raising one needs privileges, and it as a whole at the very
/// end, for lowering one needs none.
fn few_descriptors_last(limits: Vec<ResourceLimit>) -> (Vec<ResourceLimit>, Option<ResourceLimit>) {
    let is_few =
        |limit: &ResourceLimit| limit.resource == libc::RLIMIT_NOFILE && limit.soft < ENOUGH_DESCRIPTORS;
    let last = limits.iter().find(|limit| is_few(limit)).copied();
    let early = |limit: ResourceLimit| match is_few(&limit) {
        false => Some(limit),
        true => (limit.hard >= ENOUGH_DESCRIPTORS).then_some(ResourceLimit { soft: limit.hard, ..limit }),
    };
    (limits.into_iter().filter_map(early).collect(), last)
}

/// What [`steps`] gives.
pub(super) struct ProcessSteps {
    /// Any time before the other steps, but after the last program that is to have more.
    pub bounding: Step,
    pub steps: Vec<Step>,
    pub limits_by_parent: Vec<ResourceLimit>,
    /// To be set when nothing is opened any more.
    pub last: Option<ResourceLimit>,
    /// To be loaded at the very end.
    pub filter: Option<Step>,
    /// What is done differently than asked.
    pub warning: Option<String>,
}

/// The step that loads a filter with a listener, None where there is no such filter: `start` has to know
/// what the child will send. `known` is [`Facts::known_filter`].
pub fn notifying_filter(
    spec: &Spec,
    known: &dyn Fn(&LinuxSeccomp) -> Option<Filter>,
) -> Result<Option<Step>, PlanError> {
    let seccomp = spec.linux().as_ref().and_then(|linux| linux.seccomp().as_ref());
    // Nobody listens without a path, and most profiles have none.
    let Some(seccomp) = seccomp.filter(|seccomp| seccomp.listener_path().is_some()) else { return Ok(None) };
    let filter = known_or_compiled(seccomp, known)?;
    Ok(filter.listener.is_some().then(|| Step::Seccomp(Box::new(FilterStep { filter, drop_to: None }))))
}

fn known_or_compiled(
    seccomp: &LinuxSeccomp,
    known: &dyn Fn(&LinuxSeccomp) -> Option<Filter>,
) -> Result<Filter, SpecError> {
    known(seccomp).map_or_else(|| crate::seccomp::compile(seccomp), Ok)
}

/// Plans the filter. Loading it takes no_new_privs or CAP_SYS_ADMIN: a process that is to have
/// neither gets the capability lent until then.
fn filter(
    seccomp: &LinuxSeccomp,
    credentials: &mut Credentials,
    facts: &Facts<'_>,
    user_namespace: bool,
) -> Result<Step, PlanError> {
    let filter = known_or_compiled(seccomp, facts.known_filter)?;
    let admin = caps::Capability::CAP_SYS_ADMIN.bitmask();
    let sets = &mut credentials.capabilities;
    let mut drop_to = None;
    if !credentials.no_new_privileges && sets.effective & admin == 0 {
        if !user_namespace && !facts.may_administer() {
            let reason =
                "a seccomp filter needs it, or CAP_SYS_ADMIN, which rcrun does not have: set it to true";
            return Err(SpecError::invalid("process.noNewPrivileges", reason).into());
        }
        drop_to = Some(*sets);
        sets.permitted |= admin;
        sets.effective |= admin;
    }
    Ok(Step::Seccomp(Box::new(FilterStep { filter, drop_to })))
}

fn credentials(
    process: &Process,
    facts: &Facts<'_>,
    user_namespace: bool,
    setgroups_denied: bool,
) -> Result<(Credentials, Option<String>), PlanError> {
    let user = process.user();
    let additional = user.additional_gids().clone().unwrap_or_default();
    let mut sets = match process.capabilities() {
        Some(sets) => CapabilityMasks {
            effective: mask(sets.effective()),
            permitted: mask(sets.permitted()),
            inheritable: mask(sets.inheritable()),
            ambient: mask(sets.ambient()),
        },
        // Without a word about capabilities the process gets none, as runc has it.
        None => CapabilityMasks::default(),
    };
    if !user_namespace {
        let missing = (sets.permitted | sets.effective | sets.inheritable) & !facts.permitted_capabilities;
        if missing != 0 {
            let names = capability_names(missing).join(", ");
            return Err(SpecError::invalid(
                "process.capabilities",
                format!("rcrun itself does not have {names} to give: remove it, or run rcrun with it"),
            )
            .into());
        }
    }
    // What the kernel would not grant is left out with a warning, as config.md has it: buildah asks for it.
    let stray = sets.ambient & !(sets.permitted & sets.inheritable);
    sets.ambient &= !stray;
    let warning = (stray != 0).then(|| {
        let names = capability_names(stray).join(", ");
        format!(
            "process.capabilities.ambient: {names} left out: only what is permitted and inheritable can be ambient, \
             capabilities(7)"
        )
    });
    let groups = match (setgroups_denied, additional.is_empty()) {
        (true, true) => None,
        (true, false) => {
            let reason = "an unprivileged user namespace with one mapped group denies setgroups(2)";
            return Err(SpecError::invalid("process.user.additionalGids", reason).into());
        }
        (false, _) => Some(additional.into_iter().map(rustix::process::Gid::from_raw).collect()),
    };
    let credentials = Credentials {
        uid: user.uid(),
        gid: user.gid(),
        groups,
        capabilities: sets,
        no_new_privileges: process.no_new_privileges().unwrap_or(false),
        umask: user.umask().unwrap_or(0o022) & 0o777,
    };
    Ok((credentials, warning))
}

/// A set of capabilities as a bit mask.
fn mask(set: &Option<Capabilities>) -> u64 {
    let bit = |capability: &oci_spec::runtime::Capability| {
        format!("CAP_{capability}").parse::<caps::Capability>().map_or(0, |c| c.bitmask())
    };
    set.iter().flatten().map(bit).fold(0, |mask, bit| mask | bit)
}

/// The names of the capabilities in a bit mask.
fn capability_names(mask: u64) -> Vec<String> {
    let mut known: Vec<caps::Capability> =
        caps::all().into_iter().filter(|c| c.bitmask() & mask != 0).collect();
    known.sort_by_key(|c| c.index());
    known.iter().map(ToString::to_string).collect()
}

fn rlimit(kind: PosixRlimitType) -> (u32, &'static str) {
    use PosixRlimitType as T;
    let (resource, name) = match kind {
        T::RlimitCpu => (libc::RLIMIT_CPU, "RLIMIT_CPU"),
        T::RlimitFsize => (libc::RLIMIT_FSIZE, "RLIMIT_FSIZE"),
        T::RlimitData => (libc::RLIMIT_DATA, "RLIMIT_DATA"),
        T::RlimitStack => (libc::RLIMIT_STACK, "RLIMIT_STACK"),
        T::RlimitCore => (libc::RLIMIT_CORE, "RLIMIT_CORE"),
        T::RlimitRss => (libc::RLIMIT_RSS, "RLIMIT_RSS"),
        T::RlimitNproc => (libc::RLIMIT_NPROC, "RLIMIT_NPROC"),
        T::RlimitNofile => (libc::RLIMIT_NOFILE, "RLIMIT_NOFILE"),
        T::RlimitMemlock => (libc::RLIMIT_MEMLOCK, "RLIMIT_MEMLOCK"),
        T::RlimitAs => (libc::RLIMIT_AS, "RLIMIT_AS"),
        T::RlimitLocks => (libc::RLIMIT_LOCKS, "RLIMIT_LOCKS"),
        T::RlimitSigpending => (libc::RLIMIT_SIGPENDING, "RLIMIT_SIGPENDING"),
        T::RlimitMsgqueue => (libc::RLIMIT_MSGQUEUE, "RLIMIT_MSGQUEUE"),
        T::RlimitNice => (libc::RLIMIT_NICE, "RLIMIT_NICE"),
        T::RlimitRtprio => (libc::RLIMIT_RTPRIO, "RLIMIT_RTPRIO"),
        T::RlimitRttime => (libc::RLIMIT_RTTIME, "RLIMIT_RTTIME"),
    };
    (resource, name)
}

/// Text that validation has found free of NUL bytes.
fn c_string(text: &str) -> CString {
    CString::new(text).unwrap_or_default()
}
