//! flock(2), and the lock between those who use the store and garbage collection.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::{Store, StoreError, layout};

/// While it lives, nothing that is not named by a root yet is taken for garbage. Pulls, loads and the beginning of
/// runs hold one, until index.json or a container names what they use.
#[derive(Debug)]
pub struct Use(#[expect(dead_code, reason = "held for its lock")] OwnedFd);

/// The exclusive right to remove what no root names.
#[derive(Debug)]
pub(super) struct Collecting(#[expect(dead_code, reason = "held for its lock")] OwnedFd);

/// The exclusive right to replace index.json.
#[derive(Debug)]
pub(super) struct Changing(#[expect(dead_code, reason = "held for its lock")] OwnedFd);

impl Store {
    /// Waits while garbage is looked for, which is short: removing it takes no lock.
    pub fn use_shared(&self) -> Result<Use, StoreError> {
        self.locked(layout::LOCK, FlockOperation::LockShared).map(Use)
    }

    /// None while somebody uses the store: then garbage is left for the next time.
    pub(super) fn try_collecting(&self) -> Result<Option<Collecting>, StoreError> {
        match self.locked(layout::LOCK, FlockOperation::NonBlockingLockExclusive) {
            Ok(fd) => Ok(Some(Collecting(fd))),
            Err(StoreError::File { error, .. }) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) fn changing(&self) -> Result<Changing, StoreError> {
        self.locked(layout::INDEX_LOCK, FlockOperation::LockExclusive).map(Changing)
    }

    fn locked(&self, name: &str, operation: FlockOperation) -> Result<OwnedFd, StoreError> {
        let path = self.root.join(name);
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let fd = rustix::fs::open(&path, flags, Mode::RUSR | Mode::WUSR)
            .map_err(|error| StoreError::file("open", &path, error))?;
        flock(&fd, operation).map_err(|error| StoreError::file("lock", &path, error))?;
        Ok(fd)
    }
}

/// flock(2), however often a signal interrupts it.
pub(super) fn flock(fd: impl AsFd, operation: FlockOperation) -> Result<(), Errno> {
    rustix::io::retry_on_intr(|| rustix::fs::flock(&fd, operation))
}

/// Takes the lock if nobody has it.
pub(super) fn try_exclusive(fd: impl AsFd) -> Result<bool, Errno> {
    match flock(fd, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Is what was opened still what has this name? Who held the lock before may have renamed or removed it.
pub(super) fn is_still(fd: impl AsFd, path: &Path) -> Result<bool, Errno> {
    let held = rustix::fs::fstat(fd)?;
    match rustix::fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(named) => Ok((held.st_dev, held.st_ino) == (named.st_dev, named.st_ino)),
        Err(Errno::NOENT) => Ok(false),
        Err(error) => Err(error),
    }
}
