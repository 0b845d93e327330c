//! Which namespaces the clone makes, which are joined, by whom and in which order.
//!
//! A namespace that the host owns can be joined only with the host's privileges: by the child where
//! it keeps them, by the parent around the clone where the child starts in a new user namespace, and
//! by an intermediate process where the user namespace itself is joined, since what is made after
//! that must belong to it. user_namespaces(7), setns(2).

use std::ffi::CString;
use std::path::PathBuf;

use oci_spec::runtime::LinuxIdMapping;

use super::step::{Source, SourceId, Step};
use super::{Builder, PlanError};
use crate::namespaces::Kind;
use crate::spec::{SpecError, joined_path};

/// The namespaces of a container as the launch needs them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Namespaces {
    /// CLONE_NEW* flags of clone3(2).
    pub clone_flags: u64,
    /// Joined by the parent around the clone and left again.
    pub around_clone: Vec<(Kind, SourceId)>,
    /// Joined by an intermediate process, the user namespace last; it then makes the child.
    pub through: Vec<(Kind, SourceId)>,
    /// Mappings of a new user namespace.
    pub mappings: Option<Mappings>,
}

/// The contents of /proc/PID/uid_map and gid_map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mappings {
    /// uid_map.
    pub uid: String,
    /// gid_map.
    pub gid: String,
    /// newuidmap(1), where only it may write uid_map.
    pub uid_helper: Option<PathBuf>,
    /// newgidmap(1), where only it may write gid_map.
    pub gid_helper: Option<PathBuf>,
    /// Write `deny` to setgroups first: what an unprivileged writer of gid_map must do.
    pub deny_setgroups: bool,
}

/// Plans the namespaces, and pushes the steps that join what the child joins.
pub(super) fn plan(b: &mut Builder<'_>) -> Result<Namespaces, PlanError> {
    let mut plan = Namespaces::default();
    let mut joins = Vec::new();
    let offsets = time_offsets(b)?;
    for namespace in b.linux().and_then(|l| l.namespaces().as_deref()).unwrap_or_default() {
        let kind = Kind::from(namespace.typ());
        match joined_path(namespace) {
            Some(path) => joins.push((kind, b.source(Source::Namespace { kind, path: path.into() }))),
            // A cgroup namespace is rooted at the cgroup of who makes it: made by the child.
            None if kind == Kind::Cgroup => {}
            // One of clone3(2) takes no offsets any more: made by the child.
            None if kind == Kind::Time && offsets.is_some() => {}
            None => plan.clone_flags |= kind.flag(),
        }
    }
    // The user namespace last: after it those of the host could not be joined any more. Without
    // privileges it comes first: before it none could be.
    joins.sort_by_key(|(kind, _)| (*kind == Kind::User) == b.facts.may_administer());
    if b.joins(Kind::User) {
        plan.through = joins;
    } else if b.creates(Kind::User) {
        if b.joins(Kind::Mount) {
            let reason = "a new user namespace has no privileges in a mount namespace of the host: make a new mount namespace too";
            return Err(PlanError::Namespace { kind: Kind::Mount, reason: reason.into() });
        }
        plan.around_clone = joins;
    } else {
        for (kind, source) in joins {
            match kind {
                Kind::Pid => plan.around_clone.push((kind, source)),
                _ => b.steps.push(Step::JoinNamespace(kind, source)),
            }
        }
    }
    b.steps.extend(offsets.map(Step::TimeOffsets));
    if b.creates(Kind::User) {
        plan.mappings = Some(mappings(b)?);
    }
    Ok(plan)
}

/// The kernel lets an unprivileged process map one id, its own; more of them a program maps that is
/// set-user-ID root and asks /etc/subuid and /etc/subgid.
fn mappings(b: &Builder<'_>) -> Result<Mappings, PlanError> {
    let linux = b.linux();
    let uids = linux.and_then(|linux| linux.uid_mappings().as_deref());
    let gids = linux.and_then(|linux| linux.gid_mappings().as_deref());
    let helper = |name: &'static str, field, mappings: Option<&[LinuxIdMapping]>| {
        if !b.facts.setgroups_denied || matches!(mappings, Some([one]) if one.size() == 1) {
            return Ok(None);
        }
        (b.facts.find_program)(name).map(Some).ok_or_else(|| {
            let reason = format!(
                "linux.{field} maps more than one id, which a user needs {name}(1) for, and $PATH has none: \
                 install it (Debian: package uidmap), or map only your own id"
            );
            PlanError::Namespace { kind: Kind::User, reason }
        })
    };
    let uid_helper = helper("newuidmap", "uidMappings", uids)?;
    let gid_helper = helper("newgidmap", "gidMappings", gids)?;
    // newgidmap writes it itself where it must.
    let deny_setgroups = b.facts.setgroups_denied && gid_helper.is_none();
    Ok(Mappings { uid: lines(uids), gid: lines(gids), uid_helper, gid_helper, deny_setgroups })
}

/// linux.timeOffsets, for a time namespace of the container's own.
fn time_offsets(b: &Builder<'_>) -> Result<Option<CString>, PlanError> {
    let offsets = b.linux().and_then(|linux| linux.time_offsets().as_ref()).filter(|all| !all.is_empty());
    let Some(offsets) = offsets else { return Ok(None) };
    if !b.creates(Kind::Time) {
        let reason = "set without a time namespace of the container's own: add {\"type\": \"time\"} to linux.namespaces";
        return Err(SpecError::invalid("linux.timeOffsets", reason).into());
    }
    super::tuning::time_offsets(offsets).map(Some)
}

pub(super) fn lines(mappings: Option<&[LinuxIdMapping]>) -> String {
    let line = |m: &LinuxIdMapping| format!("{} {} {}\n", m.container_id(), m.host_id(), m.size());
    mappings.unwrap_or_default().iter().map(line).collect()
}

/// The file of a namespace that the process `pid` is in.
pub fn path_of(kind: Kind, pid: i32) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/ns/{}", kind.file()))
}
