//! A container's own directory in the store: what is put into it beside what the store does.

use std::fs;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::ContainerError;
use crate::image::rootless;
use crate::image::store::{ContainerDirectory, ContainerRecord, IdRange, Store, discard_container};

/// The directory of a container that is made. Dropped before [`Directory::keep`], it is removed.
#[derive(Debug)]
pub struct Directory {
    held: ContainerDirectory,
    keep: bool,
}

impl Directory {
    /// Makes it in `store`, with `upper/` and `work/`.
    pub fn make(store: &Store, record: &ContainerRecord) -> Result<Self, ContainerError> {
        Ok(Self { held: store.make_container(record)?, keep: false })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.held.path()
    }

    /// It, open.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.held.as_fd()
    }

    /// The container exists, or has gone together with it.
    pub fn keep(&mut self) {
        self.keep = true;
    }

    /// Makes a directory in it with exactly this mode.
    pub fn make_directory(&self, name: &str, mode: u32) -> Result<PathBuf, ContainerError> {
        let path = self.path().join(name);
        rustix::fs::mkdirat(self.as_fd(), name, Mode::from_raw_mode(mode))
            .map_err(ContainerError::errno("make directory", &path))?;
        self.set_mode(name, mode)?;
        Ok(path)
    }

    /// Sets the mode of something in it, whatever umask was.
    pub fn set_mode(&self, name: &str, mode: u32) -> Result<(), ContainerError> {
        rustix::fs::chmodat(self.as_fd(), name, Mode::from_raw_mode(mode), AtFlags::empty())
            .map_err(ContainerError::errno("change mode of", self.path().join(name)))
    }

    /// Writes a file in it, readable to all in the container.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<PathBuf, ContainerError> {
        let path = self.path().join(name);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(0o644);
        let fd = rustix::fs::openat(self.as_fd(), name, flags, mode);
        let fd = fd.map_err(ContainerError::errno("make", &path))?;
        rustix::fs::fchmod(&fd, mode).map_err(ContainerError::errno("change mode of", &path))?;
        std::io::Write::write_all(&mut fs::File::from(fd), bytes)
            .map_err(ContainerError::file("write", &path))?;
        Ok(path)
    }

    /// Gives something in it to a user and a group.
    pub fn give(&self, name: &str, (uid, gid): (u32, u32)) -> Result<(), ContainerError> {
        let (uid, gid) = (rustix::fs::Uid::from_raw(uid), rustix::fs::Gid::from_raw(gid));
        rustix::fs::chownat(self.as_fd(), name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(ContainerError::errno("change owner of", self.path().join(name)))
    }

    /// Gives something in it to the root of the container's own user namespace.
    pub fn give_to_root(&self, name: &str, ids: Option<IdRange>) -> Result<(), ContainerError> {
        ids.map_or(Ok(()), |ids| self.give(name, (ids.first, ids.first)))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if !self.keep {
            let _ = discard_container(self.path());
        }
    }
}

/// Removes a container's directory, all that its processes have written included. One that is gone is fine.
///
/// A user's container leaves files of other ids, which only the root of their user namespace may remove.
pub fn remove(path: &Path) -> Result<(), ContainerError> {
    if rustix::process::geteuid().is_root() {
        return Ok(discard_container(path)?);
    }
    if !path.exists() {
        return Ok(());
    }
    match rootless::within(|| i32::from(discard_container(path).is_err()))? {
        0 => Ok(()),
        _ => Err(ContainerError::errno("remove", path)(Errno::PERM)),
    }
}
