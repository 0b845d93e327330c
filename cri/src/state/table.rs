//! All records of one kind.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::SCHEMA;

const RECORD: &str = "record.json";

/// What a [`Table`] holds.
pub trait Record: Clone + Serialize + DeserializeOwned {
    /// Its id.
    fn id(&self) -> &str;
    /// What nobody else may be called.
    fn name(&self) -> String;
    /// The record's version.
    fn schema(&self) -> u32;
}

/// A record that is there, and the right to change it.
#[derive(Debug)]
pub struct Entry<T> {
    /// Held by who changes the object (starts, stops, removes it); reading needs it not.
    pub turn: tokio::sync::Mutex<()>,
    record: RwLock<Arc<T>>,
}

impl<T: Record> Entry<T> {
    /// As it is now.
    pub fn get(&self) -> Arc<T> {
        Arc::clone(&self.record.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Nothing has this id.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{kind} {id:?} not found{hint}")]
pub struct NotThere {
    /// `container` or `Pod sandbox`.
    pub kind: &'static str,
    /// What was asked for.
    pub id: String,
    /// Empty, or that several begin so.
    pub hint: &'static str,
}

/// A record could not be taken.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum TableError {
    #[error("name {name:?} is reserved for {kind} {id}: remove that first")]
    Taken { kind: &'static str, name: String, id: String },
    #[error("{operation} {path:?}: {error}")]
    File { operation: &'static str, path: PathBuf, error: std::io::Error },
    #[error(transparent)]
    NotThere(#[from] NotThere),
}

/// All records of one kind: `DIR/ID/record.json`.
#[derive(Debug)]
pub struct Table<T> {
    kind: &'static str,
    directory: PathBuf,
    all: RwLock<All<T>>,
}

#[derive(Debug)]
struct All<T> {
    entries: BTreeMap<String, Arc<Entry<T>>>,
    names: BTreeMap<String, String>,
}

/// What [`Table::open`] found beside whole records.
#[derive(Debug, Default)]
pub struct Found {
    /// Directories without a record that can be read, and why.
    pub broken: Vec<(PathBuf, String)>,
}

impl<T: Record> Table<T> {
    /// Reads what is in `directory`, which is made where it is missing.
    pub fn open(kind: &'static str, directory: PathBuf) -> Result<(Self, Found), TableError> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&directory)
            .map_err(file("make", &directory))?;
        let mut all = All { entries: BTreeMap::new(), names: BTreeMap::new() };
        let mut found = Found::default();
        for entry in fs::read_dir(&directory).map_err(file("read", &directory))? {
            let path = entry.map_err(file("read", &directory))?.path();
            match read::<T>(&path) {
                Ok(record) => all.put(record),
                Err(reason) => found.broken.push((path, reason)),
            }
        }
        Ok((Self { kind, directory, all: RwLock::new(all) }, found))
    }

    /// Takes id and name of a new record: its directory is made, the record is written.
    pub fn insert(&self, record: T) -> Result<Arc<Entry<T>>, TableError> {
        let (id, name) = (record.id().to_owned(), record.name());
        let mut all = self.all.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(holder) = all.names.get(&name) {
            return Err(TableError::Taken { kind: self.kind, name, id: holder.clone() });
        }
        let directory = self.directory.join(&id);
        fs::DirBuilder::new().mode(0o700).create(&directory).map_err(file("make", &directory))?;
        if let Err(error) = write(&directory, &record) {
            let _ = fs::remove_dir_all(&directory);
            return Err(error);
        }
        all.put(record);
        Ok(Arc::clone(&all.entries[&id]))
    }

    /// Changes a record, on disk first. The caller has the entry's turn.
    pub fn update(&self, entry: &Entry<T>, change: impl FnOnce(&mut T)) -> Result<Arc<T>, TableError> {
        // Held over the write: of two changes none is lost.
        let mut slot = entry.record.write().unwrap_or_else(PoisonError::into_inner);
        let mut record = T::clone(&slot);
        change(&mut record);
        write(&self.directory.join(record.id()), &record)?;
        *slot = Arc::new(record);
        Ok(Arc::clone(&slot))
    }

    /// Forgets a record and removes its directory.
    pub fn remove(&self, id: &str) -> Result<(), TableError> {
        let directory = self.directory.join(id);
        // The record first: a directory without one is garbage, whatever is left in it.
        let _ = fs::remove_file(directory.join(RECORD));
        match fs::remove_dir_all(&directory) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(TableError::File { operation: "remove", path: directory, error });
            }
            _ => {}
        }
        let mut all = self.all.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = all.entries.remove(id) {
            all.names.remove(&entry.get().name());
        }
        Ok(())
    }

    /// The record of exactly this id, or the only one whose id begins so.
    pub fn find(&self, id: &str) -> Result<Arc<Entry<T>>, NotThere> {
        let all = self.all.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = all.entries.get(id) {
            return Ok(Arc::clone(entry));
        }
        let not_there = |hint| NotThere { kind: self.kind, id: id.chars().take(128).collect(), hint };
        if id.is_empty() {
            return Err(not_there(""));
        }
        let mut candidates = all.entries.range(id.to_owned()..).take_while(|(key, _)| key.starts_with(id));
        match (candidates.next(), candidates.next()) {
            (Some((_, entry)), None) => Ok(Arc::clone(entry)),
            (Some(_), Some(_)) => Err(not_there(": several begin so")),
            _ => Err(not_there("")),
        }
    }

    /// All, by id.
    pub fn list(&self) -> Vec<Arc<T>> {
        let all = self.all.read().unwrap_or_else(PoisonError::into_inner);
        all.entries.values().map(|entry| entry.get()).collect()
    }

    /// All entries, by id.
    pub fn entries(&self) -> Vec<Arc<Entry<T>>> {
        let all = self.all.read().unwrap_or_else(PoisonError::into_inner);
        all.entries.values().cloned().collect()
    }
}

impl<T: Record> All<T> {
    fn put(&mut self, record: T) {
        let id = record.id().to_owned();
        self.names.insert(record.name(), id.clone());
        let entry = Entry { turn: tokio::sync::Mutex::new(()), record: RwLock::new(Arc::new(record)) };
        self.entries.insert(id, Arc::new(entry));
    }
}

fn read<T: Record>(directory: &Path) -> Result<T, String> {
    let path = directory.join(RECORD);
    let bytes = fs::read(&path).map_err(|error| error.to_string())?;
    let record: T = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
    match record.schema() {
        SCHEMA => Ok(record),
        other => Err(format!("schema {other}; this version reads {SCHEMA}")),
    }
}

fn write<T: Record>(directory: &Path, record: &T) -> Result<(), TableError> {
    let (new, path) = (directory.join("record.json.new"), directory.join(RECORD));
    let json = serde_json::to_vec(record).map_err(|error| TableError::File {
        operation: "write",
        path: new.clone(),
        error: error.into(),
    })?;
    let mut options = fs::OpenOptions::new();
    let mut out =
        options.write(true).create(true).truncate(true).mode(0o600).open(&new).map_err(file("open", &new))?;
    out.write_all(&json).map_err(file("write", &new))?;
    fs::rename(&new, &path).map_err(file("rename", &new))
}

fn file(operation: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> TableError {
    move |error| TableError::File { operation, path: path.to_owned(), error }
}
