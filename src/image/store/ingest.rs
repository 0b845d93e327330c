//! `ingest/`: what is being written or removed. Each entry is locked by who works on it; one whose lock is free
//! belongs to nobody and is removed.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::lock::{flock, is_still, try_exclusive};
use super::{StoreError, remove};

/// The directory of unfinished work.
#[derive(Debug)]
pub(super) struct Ingest {
    path: PathBuf,
}

impl Ingest {
    pub(super) fn at(path: PathBuf) -> Self {
        Self { path }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens or makes the file `name` and waits for its lock. None where its name went to another while waiting: then
    /// whatever was waited for may be finished.
    pub(super) fn lock_file(&self, name: &str) -> Result<Option<File>, StoreError> {
        let path = self.path.join(name);
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let fd = rustix::fs::open(&path, flags, Mode::RUSR | Mode::WUSR)
            .map_err(|error| StoreError::file("make", &path, error))?;
        Ok(wait_for_lock(fd, &path)?.map(File::from))
    }

    /// The same of a directory.
    pub(super) fn lock_directory(&self, name: &str) -> Result<Option<OwnedFd>, StoreError> {
        let path = self.path.join(name);
        match rustix::fs::mkdir(&path, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(StoreError::file("make", &path, error)),
        }
        match remove::open_directory(CWD, &path) {
            Ok(fd) => wait_for_lock(fd, &path),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(StoreError::file("open", &path, error)),
        }
    }

    /// Writes a file whole and to the disk, then gives it its name.
    pub(super) fn write_whole(&self, target: &Path, bytes: &[u8]) -> Result<(), StoreError> {
        let name = unused_name("file");
        let path = self.path.join(&name);
        let Some(mut file) = self.lock_file(&name)? else {
            // Only a sweep takes an unused name, between its making and its lock.
            return self.write_whole(target, bytes);
        };
        let written = file.write_all(bytes).and_then(|()| file.sync_all());
        let written = written.map_err(|error| StoreError::file("write", target, error));
        let renamed = written.and_then(|()| rename(&path, target));
        if renamed.is_err() {
            let _ = fs::remove_file(&path);
        }
        renamed
    }

    /// Takes a directory away from where it is found, and then removes it with all that is in it. Killed in between,
    /// the rest is garbage.
    pub(super) fn discard(&self, path: &Path) -> Result<(), StoreError> {
        match self.take_away(path)? {
            Some(taken) => taken.remove(),
            None => Ok(()),
        }
    }

    /// The first half of [`Self::discard`], for whoever holds a lock that is not needed for the second. None where
    /// nothing is there.
    pub(super) fn take_away(&self, path: &Path) -> Result<Option<Taken>, StoreError> {
        let fd = match remove::open_directory(CWD, path) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(StoreError::file("open", path, error)),
        };
        let target = self.path.join(unused_name("gone"));
        // Before the rename, or a sweep could begin with it: which would do no harm.
        let _ = try_exclusive(&fd);
        match fs::rename(path, &target) {
            Ok(()) => Ok(Some(Taken { fd, path: target, was: path.to_owned() })),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::file("rename", path, error)),
        }
    }

    /// Removes what nobody works on; what could not be removed is said, and there again the next time.
    pub(super) fn sweep(&self) -> Vec<StoreError> {
        let names = match self.names() {
            Ok(names) => names,
            Err(error) => return vec![error],
        };
        names.into_iter().filter_map(|name| self.sweep_one(&self.path.join(name)).err()).collect()
    }

    fn names(&self) -> Result<Vec<OsString>, StoreError> {
        let failed = |error| StoreError::file("read", &self.path, error);
        let entries = match fs::read_dir(&self.path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed(error)),
        };
        entries.map(|entry| entry.map(|entry| entry.file_name()).map_err(failed)).collect()
    }

    fn sweep_one(&self, path: &Path) -> Result<(), StoreError> {
        let failed = |operation| move |error: Errno| StoreError::file(operation, path, error);
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let fd = match rustix::fs::open(path, flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => return Ok(()),
            // No entry of ours is a link or a socket.
            Err(Errno::LOOP | Errno::NXIO) => return Ok(()),
            Err(error) => return Err(failed("open")(error)),
        };
        if !try_exclusive(&fd).map_err(failed("lock"))? || !is_still(&fd, path).map_err(failed("stat"))? {
            return Ok(());
        }
        let stat = rustix::fs::fstat(&fd).map_err(failed("stat"))?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => Taken { fd, path: path.to_owned(), was: path.to_owned() }.remove(),
            _ => rustix::fs::unlinkat(CWD, path, AtFlags::empty()).map_err(failed("remove")),
        }
    }
}

/// A directory in `ingest/` that is locked and on its way out.
#[derive(Debug)]
pub(super) struct Taken {
    fd: OwnedFd,
    path: PathBuf,
    was: PathBuf,
}

impl Taken {
    /// Errors name what could not be removed as it was called.
    pub(super) fn remove(self) -> Result<(), StoreError> {
        remove::empty(self.fd.as_fd(), &self.was).map_err(StoreError::unremoved)?;
        match rustix::fs::rmdir(&self.path) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(StoreError::file("remove", &self.path, error)),
        }
    }
}

fn wait_for_lock(fd: OwnedFd, path: &Path) -> Result<Option<OwnedFd>, StoreError> {
    flock(&fd, FlockOperation::LockExclusive).map_err(|error| StoreError::file("lock", path, error))?;
    match is_still(&fd, path) {
        Ok(still) => Ok(still.then_some(fd)),
        Err(error) => Err(StoreError::file("stat", path, error)),
    }
}

/// rename(2), within the store.
pub(super) fn rename(from: &Path, to: &Path) -> Result<(), StoreError> {
    fs::rename(from, to).map_err(|error| StoreError::file("rename to", to, error))
}

fn unused_name(kind: &str) -> String {
    let mut random = [0; 8];
    crate::sys::random(&mut random);
    format!("{kind}-{:016x}", u64::from_ne_bytes(random))
}
