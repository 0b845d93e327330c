//! `containers/ID/`: containers made from images, and what they keep from garbage collection.
//!
//! A container's directory is made, filled and removed by who runs it: its container.json is renamed there while
//! the maker holds [`Store::use_shared`], and the directory's flock(2) is held while `rcrun` makes the container or waits
//! for it. One whose lock is free and whose runtime state is gone, deleted or lost in a reboot, is garbage.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fs::{CWD, FlockOperation};
use serde::{Deserialize, Serialize};

use super::lock::flock;
use super::{Image, Store, StoreError, layout, remove};
use crate::id::ContainerId;
use crate::image::Digest;
use crate::state::{self, rfc3339};

pub(super) const RECORD: &str = "container.json";
const SCHEMA: u32 = 1;

/// Ids of a user namespace: 0 and on in the container are `first` and on outside of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdRange {
    /// The first id outside.
    pub first: u32,
    /// How many.
    pub count: u32,
}

/// What the store needs of a container.json.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerRecord {
    /// The version of the file.
    pub schema: u32,
    /// The container's name.
    pub id: String,
    /// The image as the user called it.
    pub image: String,
    /// The image's id.
    pub image_id: Digest,
    /// The DiffIDs of its layers, from the lowest to the highest.
    pub layers: Vec<Digest>,
    /// The `--root` that has its runtime state.
    pub state: PathBuf,
    /// When it was made, RFC 3339.
    pub created: String,
    /// The ids of its own user namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ids: Option<IdRange>,
    /// A file or directory: as long as it is there, the container is kept, whatever has become of its runtime state
    /// (it was not started yet, it has ended, the machine was rebooted).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keeper: Option<PathBuf>,
}

impl ContainerRecord {
    /// That of a container made now.
    pub fn new(id: &ContainerId, image: &Image, name: &str, layers: &[Digest], state: &Path) -> Self {
        Self {
            schema: SCHEMA,
            id: id.to_string(),
            image: name.to_owned(),
            image_id: image.id.clone(),
            layers: layers.to_vec(),
            state: state.to_owned(),
            created: rfc3339(SystemTime::now()),
            ids: None,
            keeper: None,
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

/// All of `containers/`.
#[derive(Debug, Default)]
pub(super) struct Containers {
    /// Those that run or were not deleted.
    pub alive: Vec<Container>,
    /// Directories that are garbage, by the containers' names.
    pub gone: Vec<(String, PathBuf)>,
}

impl Store {
    /// The containers that run or were not deleted, by name.
    pub fn containers(&self) -> Result<Vec<Container>, StoreError> {
        Ok(self.all_containers()?.alive)
    }

    /// The container of this name, whether it is alive or garbage.
    pub fn container(&self, id: &ContainerId) -> Result<Option<Container>, StoreError> {
        container_at(&self.root.join(layout::CONTAINERS).join(id.as_str()))
    }

    /// Those of an image.
    pub fn users_of(&self, id: &Digest) -> Result<Vec<Container>, StoreError> {
        let containers = self.containers()?.into_iter();
        Ok(containers.filter(|container| container.record.image_id == *id).collect())
    }

    pub(super) fn all_containers(&self) -> Result<Containers, StoreError> {
        let path = self.root.join(layout::CONTAINERS);
        let failed = |error| StoreError::file("read", &path, error);
        let mut containers = Containers::default();
        for entry in fs::read_dir(&path).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                let name = entry.file_name().to_string_lossy().into_owned();
                containers.add(name, &entry.path())?;
            }
        }
        containers.alive.sort_by(|a, b| a.record.id.cmp(&b.record.id));
        Ok(containers)
    }
}

impl Containers {
    fn add(&mut self, name: String, directory: &Path) -> Result<(), StoreError> {
        let record = match read(&directory.join(RECORD))? {
            Some(record) => record,
            // One that is just being made uses nothing yet; one that was not finished is garbage.
            None if is_held(directory) => return Ok(()),
            None => {
                self.gone.push((name, directory.to_owned()));
                return Ok(());
            }
        };
        match liveness(directory, &record) {
            Liveness::Gone => self.gone.push((name, directory.to_owned())),
            liveness => self.alive.push(Container { record, liveness, path: directory.to_owned() }),
        }
        Ok(())
    }
}

/// The container of a directory; None of one without a record.
pub(super) fn container_at(directory: &Path) -> Result<Option<Container>, StoreError> {
    let record = read(&directory.join(RECORD))?;
    Ok(record.map(|record| {
        let liveness = liveness(directory, &record);
        Container { record, liveness, path: directory.to_owned() }
    }))
}

/// None where it is not there.
fn read(path: &Path) -> Result<Option<ContainerRecord>, StoreError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(StoreError::file("read", path, error)),
    };
    let record: ContainerRecord = serde_json::from_slice(&bytes).map_err(|error| StoreError::Damaged {
        path: path.to_owned(),
        reason: error.to_string(),
        cure: "remove its directory if that container does not run",
    })?;
    match record.schema {
        SCHEMA => Ok(Some(record)),
        schema => {
            let found = format!("schema {schema}");
            Err(StoreError::Version { path: path.to_owned(), found, known: "1" })
        }
    }
}

fn liveness(directory: &Path, record: &ContainerRecord) -> Liveness {
    if is_held(directory) {
        return Liveness::Running;
    }
    let kept = record.keeper.as_ref().is_some_and(|keeper| keeper.symlink_metadata().is_ok());
    let gone = if kept { Liveness::Stopped } else { Liveness::Gone };
    let Ok(id) = ContainerId::parse(&record.id) else { return gone };
    match state::Store::new(record.state.clone(), |_| ()).open(&id) {
        Err(state::StateError::NotFound { .. }) => gone,
        // What cannot be looked at is there.
        Err(_) => Liveness::Running,
        Ok(state) => match state.read_record() {
            Ok(Some(known)) if known.init.is_some_and(|init| !init.is_alive()) => Liveness::Stopped,
            Ok(None) => Liveness::Stopped,
            _ => Liveness::Running,
        },
    }
}

/// Is the directory's lock held, or can that not be asked?
fn is_held(directory: &Path) -> bool {
    match remove::open_directory(CWD, directory) {
        // Shared: two who ask at once do not take each other for the container.
        Ok(fd) => flock(&fd, FlockOperation::NonBlockingLockShared).is_err(),
        Err(error) => error != rustix::io::Errno::NOENT,
    }
}
