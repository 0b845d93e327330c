//! For tests: a process in namespaces of its own with a tmpfs over /tmp to play on. All that is
//! mounted there goes away with it. Needs root, as everything here does.

use std::ffi::{CStr, CString};
use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use rustix::fs::{Mode, OFlags, open};
use rustix::mount::{MountPropagationFlags, OpenTreeFlags, open_tree};
use rustix::thread::UnshareFlags;

use super::mount;
use crate::plan::step::{Attributes, MountFrom, MountStep, SourceId, TargetKind};
use crate::sys::Failure;
use crate::sys::mount::in_namespaces;

/// The root file system of the playground.
pub(super) const ROOT: &str = "/tmp/root";

/// Runs `body` in a new mount namespace, with an empty ROOT and beside it /tmp/outside.
pub(super) fn play(body: impl FnOnce(BorrowedFd<'_>)) {
    run(UnshareFlags::NEWNS, || {
        prepare();
        let root = path_fd(ROOT);
        body(root.as_fd());
    });
}

/// The same as root of a new user namespace.
pub(super) fn play_unprivileged(body: impl FnOnce(BorrowedFd<'_>)) {
    run(UnshareFlags::NEWUSER | UnshareFlags::NEWNS, || {
        fs::write("/proc/self/setgroups", "deny").unwrap();
        fs::write("/proc/self/uid_map", "0 0 1").unwrap();
        fs::write("/proc/self/gid_map", "0 0 1").unwrap();
        prepare();
        let root = path_fd(ROOT);
        body(root.as_fd());
    });
}

/// Runs `body` in a process in namespaces of its own; its panic is this one's.
pub(super) fn run(flags: UnshareFlags, body: impl FnOnce()) {
    report_panics_of_children();
    let status = in_namespaces(flags, || i32::from(catch_unwind(AssertUnwindSafe(body)).is_err()));
    assert_ne!(status, 99, "new namespaces are refused: these tests need root");
    assert_eq!(status, 0, "the process in the playground failed, see above");
}

/// The child of a fork must not meet a lock that another thread held at that moment, and both
/// changing the panic hook and the standard hook take locks. So it is changed once, here.
fn report_panics_of_children() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let harness = std::process::id();
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if std::process::id() == harness {
                return usual(panic);
            }
            let line = format!("{panic}\n");
            let _ = rustix::io::write(rustix::stdio::stderr(), line.as_bytes());
        }));
    });
}

fn prepare() {
    rustix::process::umask(Mode::empty());
    mount::set_propagation(MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).unwrap();
    tmpfs_on(path_fd("/tmp").as_fd());
    std::env::set_current_dir("/tmp").unwrap();
    fs::create_dir(ROOT).unwrap();
    fs::create_dir("/tmp/outside").unwrap();
}

/// Attaches a new tmpfs.
pub(super) fn tmpfs_on(target: BorrowedFd<'_>) {
    let mount = mount::new_file_system(c"tmpfs", Some(c"playground"), None, &[], 0).unwrap();
    mount::attach(mount.as_fd(), target).unwrap();
}

pub(super) fn path_fd(path: &str) -> OwnedFd {
    open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap()
}

/// Performs a step in a root where nothing is pinned.
pub(super) fn perform_at(
    root: BorrowedFd<'_>,
    step: &MountStep,
    tree: Option<BorrowedFd<'_>>,
) -> Result<Option<OwnedFd>, Failure> {
    mount::perform((root, &step.target), step, tree)
}

/// What the parent does for a bind.
pub(super) fn tree(path: &str) -> OwnedFd {
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    open_tree(rustix::fs::CWD, path, flags).unwrap()
}

pub(super) fn c(text: &str) -> CString {
    CString::new(text).unwrap()
}

/// A step that mounts `from` at `target`, and nothing more.
pub(super) fn step(from: MountFrom, target: &str, kind: TargetKind) -> MountStep {
    MountStep {
        from,
        target: c(target),
        kind,
        attributes: Attributes::default(),
        propagation: None,
        copy_up: false,
    }
}

/// A new file system without options.
pub(super) fn new(fstype: &CStr, target: &str) -> MountStep {
    let fstype = fstype.to_owned();
    let source = Some(fstype.clone());
    let from = MountFrom::New { source, fstype, options: Vec::new(), attributes: 0, root_context: None };
    step(from, target, TargetKind::Directory)
}

/// A bind of a directory.
pub(super) fn bind(target: &str) -> MountStep {
    step(MountFrom::Tree(SourceId(0)), target, TargetKind::Directory)
}

/// The last line of mountinfo for a mount point: what is visible there.
pub(super) fn mountinfo(point: &str) -> Option<String> {
    let all = fs::read_to_string("/proc/self/mountinfo").unwrap();
    all.lines().rfind(|line| line.split(' ').nth(4) == Some(point)).map(str::to_owned)
}
