//! The image's VOLUMEs, a directory of the container each, and volumes with names: with what the image has there.
//!
//! The lives of the first end with the container's, the others stay. The paths are the image's: resolved inside its root.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags};
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

/// Makes the directory of a volume with a name, with what the image has at `target`. One that is there stays as it is: whole, since it
/// was renamed there.
pub(super) fn fill(source: &Path, root: &OwnedFd, target: &str) -> Result<(), ContainerError> {
    let (Some(volume), Some(name)) = (source.parent(), source.file_name()) else { return Ok(()) };
    let (Some(all), Some(called)) = (volume.parent(), volume.file_name()) else { return Ok(()) };
    let failed = |error: std::io::Error| ContainerError::Volume { path: target.to_owned(), error };
    std::fs::DirBuilder::new().recursive(true).mode(0o711).create(all).map_err(failed)?;
    // One at a time: two containers may begin with the same volume.
    let lock = std::fs::File::open(all).map_err(failed)?;
    rustix::io::retry_on_intr(|| rustix::fs::flock(&lock, FlockOperation::LockExclusive))
        .map_err(|error| failed(error.into()))?;
    if volume.symlink_metadata().is_ok() {
        return Ok(());
    }
    let new = all.join(format!(".{}", called.to_string_lossy()));
    if new.symlink_metadata().is_ok() {
        std::fs::remove_dir_all(&new).map_err(failed)?;
    }
    let data = new.join(name);
    std::fs::create_dir_all(&data).map_err(failed)?;
    if let Some(original) = original(root, target).map_err(failed)? {
        let copy_to = std::fs::File::open(&data).map_err(failed)?;
        copy::tree(original.as_fd(), copy_to.as_fd(), &[])?;
    }
    std::fs::rename(&new, volume).map_err(failed)
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
