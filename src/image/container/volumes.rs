//! The image's VOLUMEs: a directory of the container each, with what the image has there.
//!
//! Their lives end with the container's. The paths are the image's: resolved inside its root.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::{ContainerError, Directory, copy};
use crate::image::store::IdRange;
use crate::rootfs::resolve;

/// Makes a directory for each of `paths`; the result is sources and targets.
pub(super) fn make<'p>(
    directory: &Directory,
    root: &OwnedFd,
    paths: impl Iterator<Item = &'p str>,
    ids: Option<IdRange>,
) -> Result<Vec<(PathBuf, String)>, ContainerError> {
    let mut made = Vec::new();
    for (number, path) in paths.enumerate() {
        if number == 0 {
            directory.make_directory("volumes", 0o755)?;
        }
        let name = format!("volumes/{number}");
        let source = directory.make_directory(&name, 0o755)?;
        directory.give_to_root(&name, ids)?;
        let failed = |error: std::io::Error| ContainerError::Volume { path: path.to_owned(), error };
        if let Some(original) = original(root, path).map_err(failed)? {
            let copy_to = std::fs::File::open(&source).map_err(failed)?;
            copy::tree(original.as_fd(), copy_to.as_fd(), &[])?;
        }
        made.push((source, path.to_owned()));
    }
    Ok(made)
}

/// The image's directory; None where it has none. Something else is no place for a volume.
fn original(root: &OwnedFd, path: &str) -> std::io::Result<Option<OwnedFd>> {
    let path = CString::new(path).unwrap_or_default();
    let found = match resolve::open_directory(root.as_fd(), &path) {
        Ok(found) => found,
        Err(failure) if failure.errno == Errno::NOENT => return Ok(None),
        Err(failure) => return Err(failure.errno.into()),
    };
    let place = |fd: &OwnedFd| rustix::fs::fstat(fd).map(|stat| (stat.st_dev, stat.st_ino));
    if place(&found)? == place(root)? {
        return Err(std::io::Error::other("it leads to the root directory"));
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(Some(rustix::fs::openat(&found, c".", flags, Mode::empty())?))
}
