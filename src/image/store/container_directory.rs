//! A container's directory, made and removed: what [`super::containers`] reads.

use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, RenameFlags};
use rustix::io::Errno;

use super::containers::{ContainerRecord, IdRange, Liveness, RECORD, container_at};
use super::{Store, StoreError, layout, remove};

/// A container's directory, held: it is no garbage while this lives.
#[derive(Debug)]
pub struct ContainerDirectory {
    lock: OwnedFd,
    path: PathBuf,
}

impl ContainerDirectory {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directory itself. Its lock is this descriptor's: a copy in a child holds it, too.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.lock.as_fd()
    }
}

impl Store {
    /// Makes a container's directory with `upper/` and `work/`; its layers are kept from then on. The caller holds
    /// [`Store::use_shared`], and this while the container is made, or runs in the foreground.
    pub fn make_container(&self, record: &ContainerRecord) -> Result<ContainerDirectory, StoreError> {
        let target = self.root.join(layout::CONTAINERS).join(&record.id);
        let name = format!("{}.container", record.id);
        let lock = loop {
            match self.ingest.lock_directory(&name)? {
                Some(lock) => break lock,
                None => continue,
            }
        };
        let path = self.ingest.path().join(&name);
        remove::empty(lock.as_fd(), &path).map_err(StoreError::unremoved)?;
        let made = fill(&lock, &path, record).and_then(|()| self.give_name(&path, &target, record));
        match made {
            Ok(()) => Ok(ContainerDirectory { lock, path: target }),
            Err(error) => {
                let _ = remove::empty(lock.as_fd(), &path).map(|()| fs::remove_dir(&path));
                Err(error)
            }
        }
    }

    /// The directory's final name, which another container may have: one that is gone gives way.
    fn give_name(&self, path: &Path, target: &Path, record: &ContainerRecord) -> Result<(), StoreError> {
        loop {
            match rustix::fs::renameat_with(CWD, path, CWD, target, RenameFlags::NOREPLACE) {
                Ok(()) => return Ok(()),
                Err(Errno::EXIST) => match container_at(target)? {
                    Some(other) if other.liveness != Liveness::Gone => {
                        let (id, state) = (record.id.clone(), other.liveness.word());
                        return Err(StoreError::ContainerInUse { id, state });
                    }
                    _ => self.ingest.discard(target)?,
                },
                Err(error) => return Err(StoreError::file("rename to", target, error)),
            }
        }
    }

    /// The ids that containers have. Of one that is made or removed at this moment nothing is known.
    pub fn taken_ids(&self) -> Vec<IdRange> {
        let entries = fs::read_dir(self.root.join(layout::CONTAINERS)).into_iter().flatten().flatten();
        let read = |entry: fs::DirEntry| fs::read(entry.path().join(RECORD)).ok();
        let records = entries.filter_map(read).filter_map(|bytes| serde_json::from_slice(&bytes).ok());
        records.filter_map(|record: ContainerRecord| record.ids).collect()
    }
}

/// Removes a container's directory and what the container has written, by the directory's path, absolute, without
/// a look at the rest of the store. One that is not there is fine.
pub fn discard_container(path: &Path) -> Result<(), StoreError> {
    let root = path.parent().and_then(Path::parent).unwrap_or(Path::new("/"));
    Store::at(root).ingest.discard(path)
}

fn fill(directory: &OwnedFd, path: &Path, record: &ContainerRecord) -> Result<(), StoreError> {
    for (name, mode) in [("upper", 0o755), ("work", 0o700)] {
        rustix::fs::mkdirat(directory, name, Mode::from_raw_mode(mode))
            .map_err(|error| StoreError::file("make directory", &path.join(name), error))?;
    }
    let json = serde_json::to_vec(record).expect("a record has no maps with keys that are no text");
    let path = path.join(RECORD);
    fs::write(&path, json).map_err(|error| StoreError::file("write", &path, error))
}
