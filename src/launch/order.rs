//! The order of the container's mounts in mountinfo(5), which since Linux 6.8 is that of their ids: a
//! mount gets its id when it is made and not when it is attached. The trees that the parent opens would
//! come before every file system that the child makes.
//!
//! So the child clones such a tree again when its turn has come. open_tree(2) lets it do so with a
//! detached tree from another mount namespace only below a file system that was made and never attached
//! (Linux 6.15): the parent puts the trees on one. Where the kernel refuses that, they are used as they are.

use std::cell::OnceCell;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Mode, fstat, mkdirat, mknodat};
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};

use crate::plan::step::{MountFrom, Step};
use crate::rootfs::mount::new_file_system;
use crate::sys::{During, Failure};

/// The trees that are mounted after a new file system, by their place among the sources.
fn late(steps: &[Step]) -> Vec<usize> {
    let mounts = steps.iter().filter_map(|step| match step {
        Step::Mount(mount) => Some(&mount.from),
        _ => None,
    });
    let new = |from: &&MountFrom| matches!(from, MountFrom::New { .. } | MountFrom::Long { .. });
    let after = mounts.skip_while(|from| !new(from));
    after.filter_map(MountFrom::source).map(|source| source.0).collect()
}

/// A file system that nobody sees, and the trees that lie on it. It must live until the child has cloned
/// them.
#[derive(Debug)]
pub(super) struct Shelf {
    /// The trees, by their place among the sources.
    pub trees: Vec<usize>,
    _file_system: OwnedFd,
}

impl Shelf {
    /// Puts the trees on one, up to the first that the kernel refuses; None where there is none.
    pub fn of(steps: &[Step], sources: &[OnceCell<OwnedFd>]) -> Option<Self> {
        let mut late = late(steps);
        late.retain(|index| sources.get(*index).is_some_and(|slot| slot.get().is_some()));
        if late.is_empty() {
            return None;
        }
        let file_system = new_file_system(c"tmpfs", None, None, &[], 0).ok()?;
        let put = |index: &usize| put(sources.get(*index)?.get()?, &file_system, *index);
        let trees = late.iter().map_while(|index| put(index).map(|()| *index)).collect();
        Some(Self { trees, _file_system: file_system })
    }
}

fn put(tree: &OwnedFd, file_system: &OwnedFd, index: usize) -> Option<()> {
    let name = index.to_string();
    match FileType::from_raw_mode(fstat(tree).ok()?.st_mode) {
        FileType::Directory => mkdirat(file_system, &name, Mode::RWXU).ok()?,
        _ => mknodat(file_system, &name, FileType::RegularFile, Mode::RWXU, 0).ok()?,
    }
    move_mount(tree, c"", file_system, &name, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH).ok()
}

/// A tree from the shelf with an id of now. The child calls it: no allocation.
pub(super) fn again(tree: BorrowedFd<'_>) -> Result<OwnedFd, Failure> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let whole = OpenTreeFlags::AT_RECURSIVE | OpenTreeFlags::AT_EMPTY_PATH;
    open_tree(tree, c"", flags | whole).during("open_tree")
}
