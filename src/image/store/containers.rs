//! `containers/ID/`: what a container made from an image has on disk, and what it keeps from garbage collection.
//!
//! Its flock(2) is held by the `rcrun` that runs it in the foreground. A directory whose lock is free and whose
//! runtime state is gone, deleted or lost in a reboot, is garbage.

use std::fs;
use std::io::ErrorKind;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fs::{CWD, FlockOperation, Mode, RenameFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::lock::{flock, is_still};
use super::{Image, Store, StoreError, layout, remove};
use crate::id::ContainerId;
use crate::image::{Descriptor, Digest};
use crate::state::{self, rfc3339};

const RECORD: &str = "container.json";
const CONTAINER_SCHEMA: u32 = 1;

/// container.json: what a container uses of the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerRecord {
    /// The version of this file.
    pub schema: u32,
    /// Its name.
    pub id: String,
    /// The image's id.
    pub image: Digest,
    /// What the image was called.
    pub name: String,
    /// The image's manifest.
    pub manifest: Descriptor,
    /// The DiffIDs of its layers, from the lowest to the highest.
    pub layers: Vec<Digest>,
    /// The `--root` that has its runtime state.
    pub state_root: PathBuf,
    /// When it was made, RFC 3339.
    pub created: String,
}

impl ContainerRecord {
    /// That of a container made now.
    pub fn new(id: &ContainerId, image: &Image, name: &str, layers: &[Digest], state_root: &Path) -> Self {
        Self {
            schema: CONTAINER_SCHEMA,
            id: id.to_string(),
            image: image.id.clone(),
            name: name.to_owned(),
            manifest: image.manifest.clone(),
            layers: layers.to_vec(),
            state_root: state_root.to_owned(),
            created: rfc3339(SystemTime::now()),
        }
    }
}

/// Does a container run?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Liveness {
    /// It does, or is about to.
    Running,
    /// It has ended and was not deleted.
    Stopped,
    /// Nothing but its directory here is left.
    Gone,
}

impl Liveness {
    /// In words.
    pub fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Stopped => "stopped",
            Self::Gone => "removed",
        }
    }
}

/// A container as its directory says.
#[derive(Clone, Debug)]
pub struct Container {
    /// What it uses.
    pub record: ContainerRecord,
    /// Whether it runs.
    pub liveness: Liveness,
    /// Its directory.
    pub path: PathBuf,
}

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

    /// What the container writes.
    pub fn upper(&self) -> PathBuf {
        self.path.join("upper")
    }

    /// overlayfs' own.
    pub fn work(&self) -> PathBuf {
        self.path.join("work")
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
        let target = self.container_path(&record.id);
        let name = format!("{}.container", record.id);
        let lock = loop {
            match self.ingest.lock_directory(&name)? {
                Some(lock) => break lock,
                None => continue,
            }
        };
        let path = self.ingest.path().join(&name);
        remove::empty(lock.as_fd(), &path)?;
        let made = fill(&lock, &path, record).and_then(|()| self.give_name(&path, &target, record));
        match made {
            Ok(()) => Ok(ContainerDirectory { lock, path: target }),
            Err(error) => {
                let _ = remove::empty(lock.as_fd(), &path).map(|()| fs::remove_dir(&path));
                Err(error)
            }
        }
    }

    fn give_name(&self, path: &Path, target: &Path, record: &ContainerRecord) -> Result<(), StoreError> {
        loop {
            match rustix::fs::renameat_with(CWD, path, CWD, target, RenameFlags::NOREPLACE) {
                Ok(()) => return Ok(()),
                Err(Errno::EXIST) => match self.container(target)? {
                    None => {}
                    Some(other) if other.liveness == Liveness::Gone => self.ingest.discard(target)?,
                    Some(other) => {
                        let id = record.id.clone();
                        return Err(StoreError::ContainerInUse { id, state: other.liveness.word() });
                    }
                },
                Err(error) => return Err(StoreError::file("rename to", target, error)),
            }
        }
    }

    /// Removes a container's directory and what the container has written. One that is not there is fine.
    pub fn remove_container(&self, id: &ContainerId) -> Result<(), StoreError> {
        self.ingest.discard(&self.container_path(id.as_str()))
    }

    /// All containers, by name.
    pub fn containers(&self) -> Result<Vec<Container>, StoreError> {
        let path = self.root.join(layout::CONTAINERS);
        let failed = |error| StoreError::file("read", &path, error);
        let mut containers = Vec::new();
        for entry in fs::read_dir(&path).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                containers.extend(self.container(&entry.path())?);
            }
        }
        containers.sort_by(|a, b| a.record.id.cmp(&b.record.id));
        Ok(containers)
    }

    /// None where it was removed meanwhile.
    fn container(&self, directory: &Path) -> Result<Option<Container>, StoreError> {
        let path = directory.join(RECORD);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound && !directory.exists() => return Ok(None),
            Err(error) => return Err(StoreError::file("read", &path, error)),
        };
        let record: ContainerRecord =
            serde_json::from_slice(&bytes).map_err(|error| StoreError::Damaged {
                path: path.clone(),
                reason: error.to_string(),
                cure: "remove its directory if that container does not run",
            })?;
        if record.schema != CONTAINER_SCHEMA {
            let found = format!("schema {}", record.schema);
            return Err(StoreError::Version { path, found, known: "1" });
        }
        let liveness = liveness(directory, &record);
        Ok(Some(Container { record, liveness, path: directory.to_owned() }))
    }

    fn container_path(&self, id: &str) -> PathBuf {
        self.root.join(layout::CONTAINERS).join(id)
    }
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

/// A lock that is held, or cannot be asked for, is that of a container that runs.
fn liveness(directory: &Path, record: &ContainerRecord) -> Liveness {
    if let Ok(fd) = remove::open_directory(CWD, directory)
        && is_still(&fd, directory).is_ok_and(|still| still)
        // Shared: two who ask at once do not take each other for the container.
        && flock(&fd, FlockOperation::NonBlockingLockShared).is_err()
    {
        return Liveness::Running;
    }
    let Ok(id) = ContainerId::parse(&record.id) else { return Liveness::Gone };
    match state::Store::new(record.state_root.clone(), |_| ()).open(&id) {
        Err(state::StateError::NotFound { .. }) => Liveness::Gone,
        // What cannot be looked at is there.
        Err(_) => Liveness::Running,
        Ok(state) => match state.read_record() {
            Ok(Some(known)) if known.init.is_some_and(|init| !init.is_alive()) => Liveness::Stopped,
            Ok(None) => Liveness::Stopped,
            _ => Liveness::Running,
        },
    }
}
