//! All of a tree that a container may have made, however deep: each directory is opened from the one it is in, and two are open at a time.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Dir, FileType, Mode, fstat, openat};
use rustix::io::Errno;

use super::file_system::{DIRECTORY, FileError, On as _, open_directory};
use super::tree::open_below;

/// A longer path is not told whole.
const LONGEST_TOLD: usize = 1024;

/// A directory that is being walked, or that leads to it.
struct Level {
    /// Its device and inode.
    id: (u64, u64),
    /// In the one above.
    name: CString,
    /// What is in it and may be a directory.
    left: Vec<CString>,
}

/// Calls `each` with every directory of a tree and the entries of it, the top's first. Neither links nor mounts are followed.
pub(super) fn walk(
    path: &Path,
    mut each: impl FnMut(&OwnedFd, &CStr, FileType) -> Result<(), Errno>,
) -> Result<(), FileError> {
    let top = open_directory(path)?;
    let mut here = open_directory(path)?;
    let mut levels = Vec::new();
    enter(path, &mut levels, &here, CString::default(), &mut each)?;
    while let Some(level) = levels.last_mut() {
        if let Some(name) = level.left.pop() {
            match open_below(here.as_fd(), &name) {
                // It went, was replaced, is no directory, or is a mount of somebody else's.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => continue,
                child => here = child.map_err(failed("open", path, &levels, &name))?,
            }
            enter(path, &mut levels, &here, name, &mut each)?;
        } else {
            levels.pop();
            here = match above(&here, &levels) {
                Some(above) => above,
                None => again(&top, &mut levels).on("open", path)?,
            };
        }
    }
    Ok(())
}

/// Goes through a directory's entries.
fn enter(
    path: &Path,
    levels: &mut Vec<Level>,
    directory: &OwnedFd,
    name: CString,
    each: &mut impl FnMut(&OwnedFd, &CStr, FileType) -> Result<(), Errno>,
) -> Result<(), FileError> {
    let id = id(directory).map_err(failed("look at", path, levels, &name))?;
    levels.push(Level { id, name, left: Vec::new() });
    for entry in Dir::read_from(directory).map_err(failed("read", path, levels, c""))? {
        let entry = entry.map_err(failed("read", path, levels, c""))?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        match each(directory, name, entry.file_type()) {
            Err(Errno::NOENT) => continue,
            done => done.map_err(failed("change", path, levels, name))?,
        }
        // Not every file system tells types.
        if matches!(entry.file_type(), FileType::Directory | FileType::Unknown)
            && let Some(level) = levels.last_mut()
        {
            level.left.push(name.to_owned());
        }
    }
    Ok(())
}

fn id(directory: &OwnedFd) -> Result<(u64, u64), Errno> {
    fstat(directory).map(|status| (status.st_dev, status.st_ino))
}

/// The directory above, if it is the one by which this one was reached: it may have been moved.
fn above(directory: &OwnedFd, levels: &[Level]) -> Option<OwnedFd> {
    let level = levels.last()?;
    let above = openat(directory, "..", DIRECTORY, Mode::empty()).ok()?;
    (id(&above).ok()? == level.id).then_some(above)
}

/// The deepest of the levels that is still where it was, from the top. Those below it are given up.
fn again(top: &OwnedFd, levels: &mut Vec<Level>) -> Result<OwnedFd, Errno> {
    let mut here = openat(top, ".", DIRECTORY, Mode::empty())?;
    for at in 1..levels.len() {
        match open_below(here.as_fd(), &levels[at].name) {
            Ok(next) if id(&next)? == levels[at].id => here = next,
            _ => {
                levels.truncate(at);
                break;
            }
        }
    }
    Ok(here)
}

/// What is said of an error: paths are long, and made only where they are told.
fn failed(
    operation: &'static str,
    path: &Path,
    levels: &[Level],
    name: &CStr,
) -> impl FnOnce(Errno) -> FileError {
    move |error| FileError { operation, path: told(path, levels, name), source: error.into() }
}

/// The path of an entry, for people.
fn told(path: &Path, levels: &[Level], name: &CStr) -> PathBuf {
    let os = |name: &CStr| PathBuf::from(std::ffi::OsStr::from_bytes(name.to_bytes()));
    let names = levels.iter().skip(1).map(|level| level.name.as_c_str()).chain([name]);
    let length: usize = names.clone().map(|name| name.count_bytes() + 1).sum();
    match length > LONGEST_TOLD {
        true => path.join("...").join(os(name)),
        false => {
            names.filter(|name| !name.is_empty()).fold(path.to_owned(), |path, name| path.join(os(name)))
        }
    }
}
