//! Errors of files' operations, and the few operations that all volumes share.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

/// An operation on a path that failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} {}: {source}", .path.display())]
pub(super) struct FileError {
    pub operation: &'static str,
    pub path: PathBuf,
    pub source: io::Error,
}

/// Says on what an operation failed.
pub(super) trait On<T> {
    fn on(self, operation: &'static str, path: &Path) -> Result<T, FileError>;
}

impl<T, E: Into<io::Error>> On<T> for Result<T, E> {
    fn on(self, operation: &'static str, path: &Path) -> Result<T, FileError> {
        self.map_err(|error| FileError { operation, path: path.to_owned(), source: error.into() })
    }
}

/// Flags for directories that are read.
pub(super) const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Makes a directory of the agent's own, and those above it.
pub(super) fn make_directories(path: &Path) -> Result<(), FileError> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).on("make", path)
}

/// Makes a directory with this mode, whatever the umask; opens one that is there. Whether it was made is said.
pub(super) fn make_directory(path: &Path, mode: u32) -> Result<(OwnedFd, bool), FileError> {
    let made = match rustix::fs::mkdir(path, Mode::from_raw_mode(mode)) {
        Ok(()) => true,
        Err(Errno::EXIST) => false,
        Err(error) => return Err(error).on("make", path),
    };
    let directory = open_directory(path)?;
    if made {
        rustix::fs::fchmod(&directory, Mode::from_raw_mode(mode)).on("change the mode of", path)?;
    }
    Ok((directory, made))
}

/// Opens a directory, but not by a link.
pub(super) fn open_directory(path: &Path) -> Result<OwnedFd, FileError> {
    rustix::fs::open(path, DIRECTORY, Mode::empty()).on("open", path)
}

/// The path by which the kernel finds what a descriptor is of, for calls that take paths only.
pub(super) fn descriptor_path(fd: impl AsFd) -> PathBuf {
    use std::os::fd::AsRawFd as _;
    PathBuf::from(format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd()))
}
