//! What the parent opens before the clone, with the host's view and privileges.

use std::cell::OnceCell;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::{Errno, fcntl_dupfd_cloexec};
use rustix::mount::{OpenTreeFlags, open_tree};

use super::LaunchError;
use super::idmap::IdMaps;
use crate::namespaces::Kind;
use crate::plan::step::{Source, Step};
use crate::rootfs::mount::new_file_system;
use crate::sys::{During, Failure};

/// Opens every source, in the order of the plan; the slots of those that the child opens stay empty.
/// `root` is the root file system's directory, already open, and the path that it was opened by, and its mount
/// where it was made already; `cgroup` the container's.
pub fn sources(
    sources: &[Source],
    (root, mounted): (Option<(&Path, BorrowedFd<'_>)>, Option<BorrowedFd<'_>>),
    cgroup: Option<BorrowedFd<'_>>,
) -> Result<Vec<OnceCell<OwnedFd>>, LaunchError> {
    let maps = IdMaps::default();
    let each = sources.iter().map(|source| match source {
        Source::ByChild => Ok(OnceCell::new()),
        Source::Tree { path, recursive } => {
            let opened = match root {
                // By descriptor: what was checked is what gets mounted.
                Some((known, fd)) if known == path => tree_of(fd, *recursive),
                _ => tree(path, *recursive, true),
            };
            opened
                .map(OnceCell::from)
                .map_err(|failure| LaunchError::Open { what: source.to_string(), failure })
        }
        Source::Unfollowed { path, recursive } => tree(path, *recursive, false)
            .map(OnceCell::from)
            .map_err(|failure| LaunchError::Open { what: source.to_string(), failure }),
        Source::MappedTree { path, recursive, follow, map } => {
            let mapped =
                tree(path, *recursive, *follow).and_then(|tree| maps.apply(tree.as_fd(), map).map(|()| tree));
            mapped
                .map(OnceCell::from)
                .map_err(|failure| LaunchError::Open { what: source.to_string(), failure })
        }
        Source::MappedNew { fstype, source: device, options, attributes, map, .. } => {
            let made = new_file_system(fstype, device.as_deref(), None, options, *attributes);
            made.and_then(|mount| maps.apply(mount.as_fd(), map).map(|()| mount))
                .map(OnceCell::from)
                .map_err(|failure| LaunchError::Open { what: source.to_string(), failure })
        }
        Source::Namespace { kind, path } => namespace(*kind, path).map(OnceCell::from),
        Source::Root => {
            let mounted = mounted.ok_or(Errno::NOENT).during("fcntl (there is no such mount)");
            let opened = mounted.and_then(|mount| fcntl_dupfd_cloexec(mount, 0).during("fcntl"));
            opened
                .map(OnceCell::from)
                .map_err(|failure| LaunchError::Open { what: source.to_string(), failure })
        }
        Source::CgroupTree => {
            let cgroup = cgroup.ok_or(Errno::NOENT).during("open_tree (the container has no cgroup)");
            let opened = cgroup.and_then(|cgroup| tree_of(cgroup, false));
            opened
                .map(OnceCell::from)
                .map_err(|failure| LaunchError::Open { what: source.to_string(), failure })
        }
    });
    each.collect()
}

/// A detached copy of what `path` leads to. The child uses it too: no allocation for a C string.
pub(super) fn tree(path: impl rustix::path::Arg, recursive: bool, follow: bool) -> Result<OwnedFd, Failure> {
    let link = if follow { OpenTreeFlags::empty() } else { OpenTreeFlags::AT_SYMLINK_NOFOLLOW };
    open_tree(CWD, path, tree_flags(recursive) | link).during("open_tree")
}

fn tree_of(fd: BorrowedFd<'_>, recursive: bool) -> Result<OwnedFd, Failure> {
    open_tree(fd, c"", tree_flags(recursive) | OpenTreeFlags::AT_EMPTY_PATH).during("open_tree")
}

fn tree_flags(recursive: bool) -> OpenTreeFlags {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if recursive { flags | OpenTreeFlags::AT_RECURSIVE } else { flags }
}

fn namespace(kind: Kind, path: &Path) -> Result<OwnedFd, LaunchError> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let what = || format!("open {kind} namespace {}", path.display());
    let file = rustix::fs::open(path, flags, Mode::empty())
        .during("open")
        .map_err(|failure| LaunchError::Open { what: what(), failure })?;
    match crate::sys::process::namespace_kind(file.as_fd()) {
        Ok(flag) if u64::from(flag) == kind.flag() => Ok(file),
        _ => Err(LaunchError::NamespaceKind { kind, path: path.into() }),
    }
}

/// Refuses steps that would change a namespace of rcrun's own, the host's: validation has seen that
/// the configuration joins one of that kind, only its file tells which.
pub fn check_joined(
    sources: &[Source],
    opened: &[OnceCell<OwnedFd>],
    steps: &[Step],
) -> Result<(), LaunchError> {
    for (source, file) in sources.iter().zip(opened) {
        let (Source::Namespace { kind, path }, Some(file)) = (source, file.get()) else { continue };
        let Some(step) = steps.iter().find(|step| changes(step) == Some(*kind)) else { continue };
        let theirs = rustix::fs::fstat(file).during("fstat")?;
        let ours = rustix::fs::stat(format!("/proc/self/ns/{}", kind.file())).during("stat")?;
        if (theirs.st_dev, theirs.st_ino) == (ours.st_dev, ours.st_ino) {
            let (kind, path, step) = (*kind, path.clone(), step.to_string());
            return Err(LaunchError::OwnNamespace { kind, path, step });
        }
    }
    Ok(())
}

/// The kind of namespace that a step changes for all who are in it.
fn changes(step: &Step) -> Option<Kind> {
    match step {
        Step::Hostname(_) | Step::Domainname(_) => Some(Kind::Uts),
        Step::Sysctl(path, _) => crate::spec::sysctl_namespace(path.to_str().ok()?),
        _ => None,
    }
}

/// The host's /proc/sys, proven to be on procfs: nothing that is mounted over it gets our writes.
pub fn proc_sys() -> Result<OwnedFd, LaunchError> {
    procfs("/proc/sys")
}

/// The host's /proc, proven to be procfs.
pub fn proc() -> Result<OwnedFd, LaunchError> {
    procfs("/proc")
}

fn procfs(path: &str) -> Result<OwnedFd, LaunchError> {
    const PROC_SUPER_MAGIC: u64 = 0x9fa0;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let open = || {
        let directory = rustix::fs::open(path, flags, Mode::empty()).during("open")?;
        match rustix::fs::fstatfs(&directory).during("fstatfs")?.f_type as u64 {
            PROC_SUPER_MAGIC => Ok(directory),
            _ => Err(Errno::NODEV).during("fstatfs (no procfs is mounted there)"),
        }
    };
    open().map_err(|failure| LaunchError::Open { what: path.into(), failure })
}
