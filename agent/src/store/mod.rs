//! All objects, in memory and on disk.
//!
//! Each is a file of its own, `objects/KIND/NAMESPACE/NAME.json` below the state directory, mode 0600, written whole: a temporary
//! file, fsync unless it has a controller that would make it again, rename. One that cannot be understood is set aside, as
//! `NAME.json.broken`. Statuses are kept in memory, but for those that nobody can find out again (finished Pods, Jobs but for how
//! many Pods they have at the moment, bound volumes). Events are in memory only.

mod disk;

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use k8s_openapi::jiff::Timestamp;
use tokio::sync::broadcast;

use crate::objects::{Key, Object, Objects};

pub use disk::DiskError;

/// Watchers that lag behind by this many changes have to list again.
const CHANGES_KEPT: usize = 4096;

/// What happened to an object.
#[derive(Clone, Debug)]
pub enum Change {
    /// It was made.
    Added(Object),
    /// It was changed, from what it was before.
    Modified(Object, Object),
    /// It is gone.
    Deleted(Object),
}

impl Change {
    /// The object as it is, or was.
    pub fn object(&self) -> &Object {
        match self {
            Self::Added(object) | Self::Modified(object, _) | Self::Deleted(object) => object,
        }
    }
}

/// Why an object could not be put.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum StoreError {
    #[error("{0} exists already")]
    Exists(Key),
    #[error("{0} not found")]
    NotFound(Key),
    #[error("{0} was changed by somebody else meanwhile: try again")]
    Conflict(Key),
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// Whether an object has to be on disk before anybody is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// A user's: fsync.
    Synced,
    /// What would be done again if the power failed. Of an object that no controller has, what was there before is not lost then.
    Written,
}

/// All objects of this machine.
pub struct Store {
    state: Mutex<State>,
    changes: broadcast::Sender<Change>,
    disk: disk::Disk,
}

struct State {
    objects: Objects,
    revision: u64,
}

impl Store {
    /// Reads what is in a directory, which is made with mode 0700.
    pub fn open(directory: &Path) -> Result<Self, DiskError> {
        let (disk, objects, revision) = disk::Disk::open(directory)?;
        let changes = broadcast::Sender::new(CHANGES_KEPT);
        Ok(Self { state: Mutex::new(State { objects, revision }), changes, disk })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at all objects, during which nobody changes any: be quick.
    pub fn read<R>(&self, look: impl FnOnce(&Objects) -> R) -> R {
        look(&self.lock().objects)
    }

    /// All objects that `look` chose, with every change from then on.
    pub fn watch<R>(&self, look: impl FnOnce(&Objects) -> R) -> (R, broadcast::Receiver<Change>) {
        let state = self.lock();
        (look(&state.objects), self.changes.subscribe())
    }

    /// The revision of the newest change.
    pub fn revision(&self) -> u64 {
        self.lock().revision
    }

    /// Puts a new object, to which it gives a uid, a revision, a time.
    pub fn create(&self, mut object: Object, durability: Durability) -> Result<Object, StoreError> {
        let mut state = self.lock();
        let key = object.key();
        if state.objects.get(&key).is_some() {
            return Err(StoreError::Exists(key));
        }
        let revision = state.revision + 1;
        let metadata = object.metadata_mut();
        metadata.uid = Some(disk::new_uid());
        metadata.creation_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(now()));
        metadata.generation = Some(1);
        metadata.resource_version = Some(revision.to_string());
        self.disk.write(&object, durability)?;
        state.revision = revision;
        state.objects.insert(object.clone());
        let _ = self.changes.send(Change::Added(object.clone()));
        Ok(object)
    }

    /// Changes an object: `change` gets what is there, and says what is to be. None: leave it. Identity, times and revision are the
    /// store's; the generation counts changes of anything but metadata and status.
    pub fn update(
        &self,
        key: &Key,
        durability: Durability,
        change: impl FnOnce(&Object) -> Option<Object>,
    ) -> Result<Object, StoreError> {
        let mut state = self.lock();
        let before = state.objects.get(key).ok_or_else(|| StoreError::NotFound(key.clone()))?.clone();
        let Some(mut after) = change(&before) else { return Ok(before) };
        let old = before.metadata();
        let metadata = after.metadata_mut();
        metadata.uid = old.uid.clone();
        metadata.creation_timestamp = old.creation_timestamp.clone();
        metadata.generation = old.generation;
        metadata.resource_version = old.resource_version.clone();
        // As they are written: a user's object has been through that, which leaves whole seconds of the times in its status.
        let (was, is) = (before.to_value(), after.to_value());
        if is == was {
            return Ok(before);
        }
        let spec_changed = disk::without_status(was) != disk::without_status(is);
        after.metadata_mut().generation = Some(old.generation.unwrap_or(1) + i64::from(spec_changed));
        let revision = state.revision + 1;
        after.metadata_mut().resource_version = Some(revision.to_string());
        if spec_changed || disk::is_status_kept(&before, &after) {
            self.disk.write(&after, durability)?;
        }
        state.revision = revision;
        state.objects.insert(after.clone());
        let _ = self.changes.send(Change::Modified(after.clone(), before));
        Ok(after)
    }

    /// Takes an object away, if it still is the one with this uid ("": any).
    pub fn remove(&self, key: &Key, uid: &str, durability: Durability) -> Result<Option<Object>, StoreError> {
        let mut state = self.lock();
        match state.objects.get(key) {
            Some(object) if uid.is_empty() || object.uid() == uid => {}
            _ => return Ok(None),
        }
        self.disk.remove(key, durability)?;
        let removed = state.objects.remove(key);
        if let Some(object) = &removed {
            state.revision += 1;
            let _ = self.changes.send(Change::Deleted(object.clone()));
        }
        Ok(removed)
    }
}

/// The machine's time.
pub fn now() -> Timestamp {
    Timestamp::now()
}
