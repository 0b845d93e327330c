//! The order of the container's mounts in mountinfo(5), which since Linux 6.8 is that of their ids: a
//! mount gets its id when it is made and not when it is attached. The trees that the parent opens would
//! come before every file system that the child makes.
//!
//! So the child clones such a tree again when its turn has come. open_tree(2) lets it do so with a
//! detached tree from another mount namespace only below a file system that was made and never attached
//! (Linux 6.15): the parent puts the trees on one. Where the kernel refuses that, they are used as they are.

use std::cell::OnceCell;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Mode, fstat, mkdirat, mknodat};
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};

use crate::plan::step::{MountFrom, Step};
use crate::rootfs::mount::new_file_system;

/// The trees that are mounted after a new file system, by their place among the sources.
pub(super) fn late(steps: &[Step]) -> Vec<usize> {
    let mounts = steps.iter().filter_map(|step| match step {
        Step::Mount(mount) => Some(&mount.from),
        _ => None,
    });
    let new = |from: &&MountFrom| matches!(from, MountFrom::New { .. } | MountFrom::Long { .. });
    let after = mounts.skip_while(|from| !new(from));
    after.filter_map(|from| if let MountFrom::Tree(source) = from { Some(source.0) } else { None }).collect()
}

/// Puts the trees on a file system that nobody sees. What comes back keeps them: it must live until the
/// child has cloned them.
pub(super) fn keep(late: &[usize], sources: &[OnceCell<OwnedFd>]) -> Option<OwnedFd> {
    let trees: Vec<_> = late.iter().filter_map(|index| sources.get(*index)?.get()).collect();
    if trees.is_empty() {
        return None;
    }
    let shelf = new_file_system(c"tmpfs", None, None, &[], 0).ok()?;
    for (number, tree) in trees.into_iter().enumerate() {
        let name = number.to_string();
        let kind = FileType::from_raw_mode(fstat(tree).ok()?.st_mode);
        match kind {
            FileType::Directory => mkdirat(&shelf, &name, Mode::RWXU).ok()?,
            _ => mknodat(&shelf, &name, FileType::RegularFile, Mode::RWXU, 0).ok()?,
        }
        move_mount(tree, c"", &shelf, &name, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH).ok()?;
    }
    Some(shelf)
}

/// The tree with an id of now. The child calls it: no allocation.
pub(super) fn again(tree: BorrowedFd<'_>) -> Option<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let whole = OpenTreeFlags::AT_RECURSIVE | OpenTreeFlags::AT_EMPTY_PATH;
    open_tree(tree.as_fd(), c"", flags | whole).ok()
}
