//! fsGroup: a volume's files are made the group's, who may read and write them, and what is made later is the group's too.

use std::path::Path;

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, chownat, fstat, openat, statat};
use rustix::io::Errno;

use super::file_system::{FileError, On as _, descriptor_path, open_directory};
use super::plan::Group;
use super::walk::walk;

const FILE_BITS: u32 = 0o660;
const DIRECTORY_BITS: u32 = 0o2770;

/// Gives a directory that is new to the group.
pub(super) fn give_empty(path: &Path, group: u32) -> Result<(), FileError> {
    let directory = open_directory(path)?;
    give(&directory, DIRECTORY_BITS, group).on("change the group of", path)
}

/// Gives a directory and all in it to the group, as the Pod's fsGroupChangePolicy says.
pub(super) fn give_all(path: &Path, group: Group) -> Result<(), FileError> {
    let directory = open_directory(path)?;
    let status = fstat(&directory).on("look at", path)?;
    let right = status.st_gid == group.id && status.st_mode & DIRECTORY_BITS == DIRECTORY_BITS;
    if group.only_on_mismatch && right {
        return Ok(());
    }
    walk(path, |directory, name, kind| {
        if kind == FileType::Symlink {
            return chownat(directory, name, None, Some(Gid::from_raw(group.id)), AtFlags::SYMLINK_NOFOLLOW);
        }
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(directory, name, flags, Mode::empty())?;
        match FileType::from_raw_mode(fstat(&file)?.st_mode) {
            FileType::Symlink => Ok(()),
            FileType::Directory => give(&file, DIRECTORY_BITS, group.id),
            _ => give(&file, FILE_BITS, group.id),
        }
    })?;
    // Last, so that a mismatch is seen again if this ended before it was done.
    give(&directory, DIRECTORY_BITS, group.id).on("change the group of", path)
}

/// By the descriptor: another file may be at its path by now.
fn give(file: &impl std::os::fd::AsFd, bits: u32, group: u32) -> Result<(), Errno> {
    let status = fstat(file)?;
    if status.st_gid != group {
        chownat(file, "", None, Some(Gid::from_raw(group)), AtFlags::EMPTY_PATH)?;
    }
    let mode = status.st_mode & 0o7777;
    if mode & bits == bits && status.st_gid == group {
        return Ok(());
    }
    rustix::fs::chmod(descriptor_path(file), Mode::from_raw_mode(mode | bits))
}

/// Whether a path is a directory.
pub(super) fn is_directory(path: &Path) -> Result<bool, FileError> {
    match statat(rustix::fs::CWD, path, AtFlags::empty()) {
        Ok(status) => Ok(FileType::from_raw_mode(status.st_mode) == FileType::Directory),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(false),
        Err(error) => Err(error).on("look at", path),
    }
}
