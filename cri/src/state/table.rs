//! All records of one kind.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use super::SCHEMA;

const RECORD: &str = "record.json";

/// What a [`Table`] holds.
pub trait Record: Clone + Serialize + DeserializeOwned {
    /// What is known in memory alone, and can be done without.
    type Live: Default + std::fmt::Debug + Send + Sync;
    /// Its id.
    fn id(&self) -> &str;
    /// What nobody else may be called.
    fn name(&self) -> String;
    /// The record's version.
    fn schema(&self) -> u32;
}

/// A record that is there, and the right to change it.
#[derive(Debug)]
pub struct Entry<T: Record> {
    /// Held by who changes the object (starts, stops, removes it); reading needs it not.
    pub turn: tokio::sync::Mutex<()>,
    /// What is lost with this process.
    pub live: T::Live,
    record: watch::Sender<Arc<T>>,
    writing: Mutex<()>,
}

impl<T: Record> Entry<T> {
    /// As it is now.
    pub fn get(&self) -> Arc<T> {
        Arc::clone(&self.record.borrow())
    }

    /// Waits until the record is so.
    pub async fn until(&self, is_so: impl Fn(&T) -> bool) -> Arc<T> {
        let mut changes = self.record.subscribe();
        loop {
            let record = Arc::clone(&changes.borrow_and_update());
            // The sender is this entry's own.
            if is_so(&record) || changes.changed().await.is_err() {
                return record;
            }
        }
    }

    /// Changes the record in memory alone: for what another file says, too.
    pub fn note(&self, change: impl FnOnce(&mut T)) {
        let _writing = locked(&self.writing);
        let record = changed(&*self.get(), change);
        self.replace(record);
    }

    fn replace(&self, record: T) {
        self.record.send_replace(Arc::new(record));
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
pub struct Table<T: Record> {
    kind: &'static str,
    directory: PathBuf,
    all: RwLock<All<T>>,
}

#[derive(Debug)]
struct All<T: Record> {
    entries: BTreeMap<String, Arc<Entry<T>>>,
    names: BTreeMap<String, String>,
}

/// An id and a name that nobody else gets, and the id's directory. On drop all of it is given back.
#[derive(Debug)]
pub struct Reservation<'t, T: Record> {
    table: &'t Table<T>,
    id: String,
    name: String,
    directory: PathBuf,
    kept: bool,
}

impl<T: Record> Reservation<'_, T> {
    /// The record's directory. What is put there before the record is never seen without the rest.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Writes the record, whose id and name were reserved: it is listed from now on.
    pub fn commit(mut self, record: T) -> Result<Arc<Entry<T>>, TableError> {
        write(&self.directory, &record)?;
        self.kept = true;
        let mut all = self.table.all.write().unwrap_or_else(PoisonError::into_inner);
        all.put(record);
        Ok(Arc::clone(&all.entries[&self.id]))
    }
}

impl<T: Record> Drop for Reservation<'_, T> {
    fn drop(&mut self) {
        if !self.kept {
            let _ = fs::remove_dir_all(&self.directory);
            self.table.all.write().unwrap_or_else(PoisonError::into_inner).names.remove(&self.name);
        }
    }
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
        self.reserve(record.id(), record.name())?.commit(record)
    }

    /// Takes an id and a name; the record comes when the rest is there.
    pub fn reserve(&self, id: &str, name: String) -> Result<Reservation<'_, T>, TableError> {
        let mut all = self.all.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(holder) = all.names.get(&name) {
            return Err(TableError::Taken { kind: self.kind, name, id: holder.clone() });
        }
        let directory = self.directory.join(id);
        fs::DirBuilder::new().mode(0o700).create(&directory).map_err(file("make", &directory))?;
        all.names.insert(name.clone(), id.to_owned());
        Ok(Reservation { table: self, id: id.to_owned(), name, directory, kept: false })
    }

    /// Changes a record, on disk first. The caller has the entry's turn.
    pub fn update(&self, entry: &Entry<T>, change: impl FnOnce(&mut T)) -> Result<Arc<T>, TableError> {
        // Held over the write: of two changes none is lost.
        let _writing = locked(&entry.writing);
        let record = changed(&*entry.get(), change);
        write(&self.directory.join(record.id()), &record)?;
        entry.replace(record);
        Ok(entry.get())
    }

    /// The same for what a start of rcrun-cri finds by itself, too (an end, a Pod without its namespaces): where the disk does not
    /// take it, as when it is full, memory alone has it.
    pub fn update_or_note(&self, entry: &Entry<T>, change: impl Fn(&mut T)) {
        if let Err(unwritten) = self.update(entry, &change) {
            tracing::error!("{} {}: {unwritten}", self.kind, entry.get().id());
            entry.note(change);
        }
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
        let entry = Entry {
            turn: tokio::sync::Mutex::new(()),
            live: T::Live::default(),
            record: watch::Sender::new(Arc::new(record)),
            writing: Mutex::new(()),
        };
        self.entries.insert(id, Arc::new(entry));
    }
}

fn changed<T: Record>(record: &T, change: impl FnOnce(&mut T)) -> T {
    let mut record = record.clone();
    change(&mut record);
    record
}

fn locked(mutex: &Mutex<()>) -> MutexGuard<'_, ()> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
    let written = out.write_all(&json).map_err(file("write", &new));
    let renamed = written.and_then(|()| fs::rename(&new, &path).map_err(file("rename", &new)));
    // A disk that is full has no room for a part of it.
    renamed.inspect_err(|_| drop(fs::remove_file(&new)))
}

fn file(operation: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> TableError {
    move |error| TableError::File { operation, path: path.to_owned(), error }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde::Deserialize;

    use super::*;

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Thing {
        id: String,
        name: String,
        count: u32,
    }

    impl Record for Thing {
        type Live = ();

        fn id(&self) -> &str {
            &self.id
        }

        fn name(&self) -> String {
            self.name.clone()
        }

        fn schema(&self) -> u32 {
            SCHEMA
        }
    }

    fn thing(id: &str, name: &str) -> Thing {
        Thing { id: id.into(), name: name.into(), count: 0 }
    }

    fn table() -> (tempfile::TempDir, Table<Thing>) {
        let directory = tempfile::tempdir().unwrap();
        let (table, found) = Table::open("thing", directory.path().join("things")).unwrap();
        assert!(found.broken.is_empty());
        (directory, table)
    }

    #[test]
    fn a_name_is_reserved_until_it_is_given_back() {
        let (directory, table) = table();
        let reserved = table.reserve("a1", "web".into()).unwrap();
        assert!(table.list().is_empty());
        let error = table.insert(thing("a2", "web")).unwrap_err().to_string();
        assert_eq!(error, "name \"web\" is reserved for thing a1: remove that first");
        let path = reserved.directory().to_owned();
        fs::write(path.join("config.json"), "{}").unwrap();
        drop(reserved);
        assert!(!path.exists());
        table.insert(thing("a2", "web")).unwrap();
        table.remove("a2").unwrap();
        table.remove("a2").unwrap();
        table.reserve("a3", "web".into()).unwrap().commit(thing("a3", "web")).unwrap();
        let (again, _) = Table::<Thing>::open("thing", directory.path().join("things")).unwrap();
        assert_eq!(again.list().len(), 1);
    }

    #[test]
    fn a_directory_without_a_record_is_said_to_be_broken() {
        let (directory, table) = table();
        std::mem::forget(table.reserve("a1", "web".into()).unwrap());
        let (again, found) = Table::<Thing>::open("thing", directory.path().join("things")).unwrap();
        assert!(again.list().is_empty());
        assert_eq!(found.broken.len(), 1);
    }

    #[test]
    fn ids_are_found_by_their_beginning() {
        let (_directory, table) = table();
        for id in ["ab1", "ab2", "c1"] {
            table.insert(thing(id, id)).unwrap();
        }
        assert_eq!(table.find("c").unwrap().get().id, "c1");
        assert_eq!(table.find("ab1").unwrap().get().id, "ab1");
        assert!(table.find("ab").unwrap_err().to_string().contains("several begin so"));
        assert!(table.find("").is_err() && table.find("x").is_err());
    }

    #[tokio::test]
    async fn who_waits_for_a_change_sees_it() {
        let (_directory, table) = table();
        let entry = table.insert(thing("a", "a")).unwrap();
        let waits = {
            let entry = Arc::clone(&entry);
            tokio::spawn(async move { entry.until(|thing| thing.count == 2).await.count })
        };
        table.update(&entry, |thing| thing.count = 1).unwrap();
        entry.note(|thing| thing.count = 2);
        assert_eq!(tokio::time::timeout(Duration::from_secs(60), waits).await.unwrap().unwrap(), 2);
        assert_eq!(entry.until(|thing| thing.count == 2).await.count, 2);
    }
}
