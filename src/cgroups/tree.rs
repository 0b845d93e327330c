//! Walking the cgroups below one, without following its depth on the stack or in descriptors.
//!
//! Whoever is root in a container with a cgroup namespace can make cgroups below its own: as many
//! and as deep as it likes.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Dir, FileType, Mode, OFlags, openat};
use rustix::io::Errno;

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC).union(OFlags::NOFOLLOW);

/// Calls `enter` with the directory of each cgroup from `top` on, outermost first, and `leave` with
/// the parent and the name of each one below `top` once those below it are done. A cgroup that
/// disappears meanwhile is passed over.
pub(super) fn walk(
    top: BorrowedFd<'_>,
    mut enter: impl FnMut(BorrowedFd<'_>) -> Result<(), Errno>,
    mut leave: impl FnMut(BorrowedFd<'_>, &CString) -> Result<(), Errno>,
) -> Result<(), Errno> {
    let mut current = openat(top, ".", DIRECTORY, Mode::empty())?;
    gone_is_fine(enter(current.as_fd()))?;
    // Per level: the names that are still to be visited; the last is the one below `current`.
    let mut levels = vec![children(current.as_fd())?];
    loop {
        match levels.last().and_then(|names| names.last()) {
            Some(name) => match openat(&current, name.as_c_str(), DIRECTORY, Mode::empty()) {
                Ok(child) => {
                    gone_is_fine(enter(child.as_fd()))?;
                    levels.push(gone_is_fine(children(child.as_fd()))?.unwrap_or_default());
                    current = child;
                }
                Err(Errno::NOENT | Errno::NODEV) => {
                    levels.last_mut().and_then(Vec::pop);
                }
                Err(errno) => return Err(errno),
            },
            None => {
                levels.pop();
                let Some(name) = levels.last_mut().and_then(Vec::pop) else { return Ok(()) };
                let parent = openat(&current, "..", DIRECTORY, Mode::empty())?;
                gone_is_fine(leave(parent.as_fd(), &name))?;
                current = parent;
            }
        }
    }
}

fn gone_is_fine<T>(result: Result<T, Errno>) -> Result<Option<T>, Errno> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(Errno::NOENT | Errno::NODEV) => Ok(None),
        Err(errno) => Err(errno),
    }
}

fn children(directory: BorrowedFd<'_>) -> Result<Vec<CString>, Errno> {
    entries(directory, FileType::Directory)
}

/// The names of one type in a directory, but `.` and `..`.
pub(super) fn entries(directory: BorrowedFd<'_>, kind: FileType) -> Result<Vec<CString>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        if entry.file_type() == kind && entry.file_name() != c"." && entry.file_name() != c".." {
            names.push(entry.file_name().to_owned());
        }
    }
    Ok(names)
}

/// The directory of the cgroup at `path` below `root`.
pub(super) fn open_directory(root: BorrowedFd<'_>, path: &str) -> Result<OwnedFd, Errno> {
    openat(root, path, DIRECTORY, Mode::empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_directory_is_entered_before_and_left_after_those_below() {
        let top = tempfile::tempdir().unwrap();
        let deep: std::path::PathBuf = std::iter::repeat_n("d", 600).collect();
        std::fs::create_dir_all(top.path().join(deep)).unwrap();
        std::fs::create_dir_all(top.path().join("a/b")).unwrap();
        std::fs::create_dir_all(top.path().join("a/c")).unwrap();
        std::fs::write(top.path().join("a/file"), "").unwrap();
        std::fs::remove_file(top.path().join("a/file")).unwrap();
        let fd = openat(rustix::fs::CWD, top.path(), DIRECTORY, Mode::empty()).unwrap();
        let (mut entered, mut left) = (0, Vec::new());
        let leave = |parent: BorrowedFd<'_>, name: &CString| {
            left.push(name.clone());
            rustix::fs::unlinkat(parent, name.as_c_str(), rustix::fs::AtFlags::REMOVEDIR)
        };
        let enter = |_: BorrowedFd<'_>| {
            entered += 1;
            Ok(())
        };
        walk(fd.as_fd(), enter, leave).unwrap();
        assert_eq!((entered, left.len()), (604, 603));
        assert_eq!(std::fs::read_dir(top.path()).unwrap().count(), 0);
        let position = |name: &CString| left.iter().position(|n| n == name).unwrap();
        assert!(position(&c"a".to_owned()) > position(&c"b".to_owned()));
    }
}
