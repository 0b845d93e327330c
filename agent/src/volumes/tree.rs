//! Trees of files that a container may have made: emptied without following a link or leaving the file system.

use std::ffi::CStr;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode, RenameFlags, ResolveFlags, openat2};
use rustix::io::Errno;

use super::file_system::{DIRECTORY, FileError, On as _};
use super::mount;

/// How deep directories are opened within each other; a deeper one is moved to the top before it is emptied. It bounds the
/// descriptors that are open, and the stack.
const DEPTH: usize = 32;

/// Removes a directory, or a file, with all in it. What is mounted below is unmounted and keeps its files.
pub(super) fn remove(path: &Path) -> Result<(), FileError> {
    let Some(name) = path.file_name() else { return Ok(()) };
    let parent = match rustix::fs::open(path.parent().unwrap_or(Path::new("/")), DIRECTORY, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(()),
        parent => parent.on("open", path)?,
    };
    let name = std::ffi::CString::new(name.as_bytes()).map_err(std::io::Error::from).on("remove", path)?;
    remove_at(parent.as_fd(), &name).on("remove", path)
}

/// The same, of an entry of a directory.
pub(super) fn remove_at(parent: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
    let top = loop {
        match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            Err(Errno::ISDIR | Errno::PERM) => {}
            Err(Errno::BUSY) => {
                mount::detach_at(parent, name)?;
                continue;
            }
            Err(error) => return Err(error),
        }
        match open_below(parent, name) {
            Ok(directory) => break directory,
            Err(Errno::NOENT) => return Ok(()),
            Err(Errno::XDEV) => mount::detach_at(parent, name)?,
            Err(error) => return Err(error),
        }
    };
    let mut moved = 0;
    loop {
        let left = empty(top.as_fd(), top.as_fd(), 0, &mut moved)?;
        if !left {
            break;
        }
    }
    match rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
        Err(Errno::BUSY) => {
            mount::detach_at(parent, name)?;
            rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR)
        }
        removed => removed,
    }
}

/// Removes what is in a directory. Whether something was moved to the top, which has to be emptied again.
fn empty(
    top: BorrowedFd<'_>,
    directory: BorrowedFd<'_>,
    depth: usize,
    moved: &mut usize,
) -> Result<bool, Errno> {
    let mut left = false;
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        if entry.file_type() != FileType::Directory {
            match rustix::fs::unlinkat(directory, name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => continue,
                // A mount on a file, or a file system that does not tell types.
                Err(Errno::BUSY) => {
                    mount::detach_at(directory, name)?;
                    left = true;
                    continue;
                }
                Err(Errno::ISDIR | Errno::PERM) => {}
                Err(error) => return Err(error),
            }
        }
        let child = match open_below(directory, name) {
            Ok(child) => child,
            Err(Errno::NOENT) => continue,
            Err(Errno::XDEV) => {
                mount::detach_at(directory, name)?;
                left = true;
                continue;
            }
            Err(error) => return Err(error),
        };
        if depth + 1 >= DEPTH {
            lift(top, directory, name, moved)?;
            left = true;
            continue;
        }
        left |= empty(top, child.as_fd(), depth + 1, moved)?;
        match rustix::fs::unlinkat(directory, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => {}
            // Something came meanwhile: seen the next time.
            Err(Errno::NOTEMPTY) => left = true,
            Err(Errno::BUSY) => {
                mount::detach_at(directory, name)?;
                left = true;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(left)
}

/// Moves a directory to the top, under a name that is free.
fn lift(top: BorrowedFd<'_>, directory: BorrowedFd<'_>, name: &CStr, moved: &mut usize) -> Result<(), Errno> {
    loop {
        *moved += 1;
        let free = format!("..removed.{moved}");
        match rustix::fs::renameat_with(directory, name, top, free, RenameFlags::NOREPLACE) {
            Err(Errno::EXIST) => {}
            Err(Errno::BUSY) => mount::detach_at(directory, name)?,
            moved => return moved,
        }
    }
}

/// Opens a directory that is an entry of another, unless something is mounted on it (XDEV).
pub(super) fn open_below(parent: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    openat2(
        parent,
        name,
        DIRECTORY,
        Mode::empty(),
        ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS | ResolveFlags::BENEATH,
    )
}
