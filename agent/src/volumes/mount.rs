//! Mounts: tmpfs, binds of what a descriptor is of, and their end. Only below the agent's own directories.

use std::ffi::{CStr, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, Mode, ResolveFlags, StatxAttributes, StatxFlags, openat2};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, fsconfig_create,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, move_mount, open_tree, unmount,
};

use super::file_system::{DIRECTORY, FileError, On as _, descriptor_path};

/// More mounts than this on one another are not ours.
const STACKED: usize = 64;

/// Whether something is mounted on a path. A server that does not answer does not matter.
pub(super) fn is_mounted(path: &Path) -> Result<bool, FileError> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT | AtFlags::STATX_DONT_SYNC;
    match rustix::fs::statx(CWD, path, flags, StatxFlags::TYPE) {
        Ok(status) => Ok(status.stx_attributes.contains(StatxAttributes::MOUNT_ROOT)),
        Err(Errno::NOENT) => Ok(false),
        // A server that is gone: it is there, though nobody can use it.
        Err(Errno::STALE | Errno::IO | Errno::HOSTDOWN | Errno::TIMEDOUT) => Ok(true),
        Err(error) => Err(error).on("look at", path),
    }
}

/// What servers' file systems are mounted on, below a directory.
pub(super) fn of_servers(directory: &Path) -> Result<Vec<PathBuf>, FileError> {
    const TABLE: &str = "/proc/thread-self/mountinfo";
    let table = std::fs::read(TABLE).on("read", Path::new(TABLE))?;
    let paths = table.split(|byte| *byte == b'\n').filter_map(|line| {
        // 36 35 98:0 /root /mount/point options shared:1 - nfs4 server:/path options
        let mut words = line.split(|byte| *byte == b' ');
        let path = unescaped(words.nth(4)?);
        let kind = words.skip_while(|word| *word != b"-").nth(1)?;
        (matches!(kind, b"nfs" | b"nfs4") && path.starts_with(directory)).then_some(path)
    });
    Ok(paths.collect())
}

/// A path as in mountinfo: blanks and backslashes there are octal.
fn unescaped(path: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStringExt as _;
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path;
    while let [first, tail @ ..] = rest {
        let octal =
            tail.get(..3).filter(|_| *first == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => (bytes.push(byte), rest = &tail[3..]).1,
            None => (bytes.push(*first), rest = tail).1,
        }
    }
    std::ffi::OsString::from_vec(bytes).into()
}

/// A tmpfs for secrets is never swapped out where the kernel can say so (6.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Swap {
    Allowed,
    Refused,
}

/// Mounts a tmpfs on a directory; `size` in bytes, half of the memory if None.
pub(super) fn tmpfs(target: &Path, mode: u32, size: Option<u64>, swap: Swap) -> Result<(), FileError> {
    let attributes = match swap {
        Swap::Refused => MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV,
        // As kubelet's: programs in it may be of any kind.
        Swap::Allowed => MountAttrFlags::empty(),
    };
    let make = |swap| {
        let context = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
        fsconfig_set_string(&context, "mode", format!("{mode:o}"))?;
        if let Some(size) = size {
            fsconfig_set_string(&context, "size", size.to_string())?;
        }
        if swap == Swap::Refused {
            fsconfig_set_flag(&context, "noswap")?;
        }
        fsconfig_create(&context)?;
        fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
    };
    let made = match make(swap) {
        Err(Errno::INVAL) if swap == Swap::Refused => make(Swap::Allowed),
        made => made,
    };
    attach(&made.on("mount a tmpfs on", target)?, target)
}

/// Attaches a mount that has no place yet.
pub(super) fn attach(mount: &OwnedFd, target: &Path) -> Result<(), FileError> {
    move_mount(mount, "", CWD, target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH).on("mount on", target)
}

/// Binds what a descriptor is of to a path, whatever is at its own path meanwhile. What is mounted below it does not come with it.
pub(super) fn bind(source: BorrowedFd<'_>, target: &Path) -> Result<(), FileError> {
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    attach(&open_tree(source, "", flags).on("bind to", target)?, target)
}

/// Unmounts all that is mounted on a path itself, at once for those who look by the path, and for its users when they end.
pub(super) fn detach(path: &Path) -> Result<(), FileError> {
    detach_all(|| unmount(path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)).on("unmount", path).map(drop)
}

/// The same, on an entry of a directory that is busy because of a mount, or may not be entered.
pub(super) fn detach_at(parent: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
    match detach_all_at(parent, name)? {
        // Something else keeps it: who tries again would do so for ever.
        0 => Err(Errno::BUSY),
        _ => Ok(()),
    }
}

/// Unmounts what is mounted on the entries of a directory that is an entry of `parent`, or on those of the directories so many levels
/// below it. Neither links nor mounts are followed. It goes on past an error and tells the first. `path`: the directory's.
pub(super) fn detach_entries(parent: BorrowedFd<'_>, path: &Path, below: usize) -> Result<(), FileError> {
    let name = path.file_name().unwrap_or_default();
    let resolve = ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS | ResolveFlags::BENEATH;
    let directory = match openat2(parent, name, DIRECTORY, Mode::empty(), resolve) {
        // It is not there, or is somebody else's, which goes as a whole.
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => return Ok(()),
        directory => directory.on("open", path)?,
    };
    let mut first = Ok(());
    for entry in Dir::read_from(&directory).on("read", path)? {
        let entry = entry.on("read", path)?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let at = path.join(OsStr::from_bytes(name.to_bytes()));
        first = first.and(match below {
            0 => detach_all_at(directory.as_fd(), name).on("unmount", &at).map(drop),
            _ => detach_entries(directory.as_fd(), &at, below - 1),
        });
    }
    first
}

fn detach_all_at(parent: BorrowedFd<'_>, name: &CStr) -> Result<usize, Errno> {
    let path = descriptor_path(parent.as_fd()).join(OsStr::from_bytes(name.to_bytes()));
    detach_all(|| unmount(&path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW))
}

/// How many there were.
fn detach_all(unmount: impl Fn() -> Result<(), Errno>) -> Result<usize, Errno> {
    for count in 0..STACKED {
        match unmount() {
            Ok(()) => {}
            // Nothing is mounted there, or nothing is there at all.
            Err(Errno::INVAL | Errno::NOENT) => return Ok(count),
            Err(error) => return Err(error),
        }
    }
    Err(Errno::BUSY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_the_mount_table_may_have_blanks() {
        assert_eq!(unescaped(br"/a\040b\134c\0"), Path::new(r"/a b\c\0"));
    }
}
