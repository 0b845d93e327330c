//! The files that objects are in.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::Pod;
use serde_json::Value;

use super::Durability;
use crate::objects::pod::{is_finished, is_unknown};
use crate::objects::{Key, Kind, Object, Objects, Typed as _};

/// An operation on a file of the state directory that failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} {}: {source}", .path.display())]
pub struct DiskError {
    operation: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// Longer names than these would make longer files' names than there may be, with an ending.
const LONGEST_WITH_ENDING: usize = 250;
/// Ends the file's name of a longer one. No object's name has it.
const LONG: char = '~';
/// Where the next text of an object is written; there is one writer.
const NEXT: &str = ".next";

pub(super) struct Disk {
    directory: PathBuf,
    /// Locked as long as this agent lives.
    _owned: File,
}

impl Disk {
    /// With all objects that are there, and the newest revision of them.
    pub(super) fn open(directory: &Path) -> Result<(Self, Objects, u64), DiskError> {
        make_directory(directory)?;
        let disk = Self { directory: directory.join("objects"), _owned: own(directory)? };
        make_directory(&disk.directory)?;
        let mut objects = Objects::default();
        for kind in Kind::ALL.iter().copied() {
            for namespace in names(&disk.directory.join(kind.plural()))? {
                let place = disk.directory.join(kind.plural()).join(&namespace);
                for name in names(&place)? {
                    let path = place.join(&name);
                    if !name.ends_with(".json") && !name.ends_with(LONG) {
                        // A write that a crash cut off.
                        failed("remove", &path, fs::remove_file(&path))?;
                        continue;
                    }
                    let bytes = failed("read", &path, fs::read(&path))?;
                    if bytes.iter().all(|byte| *byte == 0) {
                        // Renamed before its contents were on the disk, when the power failed: a controller's, who makes it again.
                        tracing::warn!("{}: it is empty, and removed", path.display());
                        failed("remove", &path, fs::remove_file(&path))?;
                        continue;
                    }
                    let object = failed("read", &path, parse(kind, &bytes).map_err(Into::into))?;
                    objects.insert(without_first_word(object));
                }
            }
        }
        let revisions = objects
            .iter()
            .filter_map(|(_, object)| object.metadata().resource_version.as_deref()?.parse().ok());
        let newest = revisions.max().unwrap_or(0);
        Ok((disk, objects, newest))
    }

    fn path(&self, key: &Key) -> PathBuf {
        // No namespace is called so.
        let namespace = if key.namespace.is_empty() { "_" } else { &key.namespace };
        let name = &key.name;
        let file =
            if name.len() > LONGEST_WITH_ENDING { format!("{name}{LONG}") } else { format!("{name}.json") };
        self.directory.join(key.kind.plural()).join(namespace).join(file)
    }

    pub(super) fn write(&self, object: &Object, durability: Durability) -> Result<(), DiskError> {
        if object.kind() == Kind::Event {
            return Ok(());
        }
        let path = self.path(&object.key());
        let directory = path.parent().unwrap_or(&self.directory);
        make_directory(directory)?;
        let temporary = directory.join(NEXT);
        let bytes = object.to_value().to_string();
        let written = (|| {
            let mut file =
                OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
            file.write_all(bytes.as_bytes())?;
            if durability == Durability::Synced {
                file.sync_data()?;
            }
            fs::rename(&temporary, &path)?;
            match durability {
                Durability::Synced => File::open(directory)?.sync_all(),
                Durability::Written => Ok(()),
            }
        })();
        if written.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        failed("write", &path, written)
    }

    pub(super) fn remove(&self, key: &Key) -> Result<(), DiskError> {
        let path = self.path(key);
        match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => failed("remove", &path, removed),
        }
    }
}

fn parse(kind: Kind, bytes: &[u8]) -> Result<Object, serde_json::Error> {
    Object::from_value(kind, serde_json::from_slice(bytes)?)
}

/// A Pod is called pending before it is looked at for the first time. That was said to an agent before this one, and it may run by now.
fn without_first_word(mut object: Object) -> Object {
    if matches!(&object, Object::Pod(pod) if is_unknown(pod))
        && let Some(pod) = Pod::of_mut(&mut object)
    {
        pod.status = None;
    }
    object
}

fn make_directory(path: &Path) -> Result<(), DiskError> {
    failed("make", path, DirBuilder::new().recursive(true).mode(0o700).create(path))
}

/// Two agents with the same objects would undo each other's work.
fn own(directory: &Path) -> Result<File, DiskError> {
    let opened = failed("open", directory, File::open(directory))?;
    let locked = rustix::fs::flock(&opened, rustix::fs::FlockOperation::NonBlockingLockExclusive);
    let locked = locked.map_err(|error| match error {
        rustix::io::Errno::WOULDBLOCK => {
            io::Error::other("another agent has it: end it, or give another --state")
        }
        error => error.into(),
    });
    failed("lock", directory, locked)?;
    Ok(opened)
}

fn failed<T>(operation: &'static str, path: &Path, result: io::Result<T>) -> Result<T, DiskError> {
    result.map_err(|source| DiskError { operation, path: path.to_owned(), source })
}

fn names(directory: &Path) -> Result<Vec<String>, DiskError> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => failed("read", directory, entries)?,
    };
    let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    failed("read", directory, names.collect())
}

/// Anything but metadata and status.
pub(super) fn without_status(mut value: Value) -> Value {
    if let Some(map) = value.as_object_mut() {
        map.remove("metadata");
        map.remove("status");
    }
    value
}

/// Whether a change of metadata and status has to be on disk: not that of a status that can be found out again.
pub(super) fn is_status_kept(before: &Object, after: &Object) -> bool {
    let finished = |object: &Object| matches!(object, Object::Pod(pod) if is_finished(pod));
    let kept_with_status = [Kind::Job, Kind::CronJob, Kind::PersistentVolume, Kind::PersistentVolumeClaim];
    let metadata = |object: &Object| {
        let mut metadata = object.metadata().clone();
        metadata.resource_version = None;
        metadata
    };
    kept_with_status.contains(&after.kind()) || finished(after) || metadata(before) != metadata(after)
}

/// A random (version 4) UUID, from the kernel.
pub(super) fn new_uid() -> String {
    let uuid = fs::read_to_string("/proc/sys/kernel/random/uuid").unwrap_or_default();
    uuid.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn map(name: &str) -> Object {
        let value = json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": "default", "resourceVersion": "7"}});
        Object::from_value(Kind::ConfigMap, value).unwrap()
    }

    fn names_in(directory: &Path) -> Vec<String> {
        let (_, objects, revision) = Disk::open(directory).unwrap();
        assert_eq!(revision, 7);
        objects.iter().map(|(key, _)| key.name.clone()).collect()
    }

    #[test]
    fn every_name_that_there_may_be_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let names =
            ["a".to_owned(), "b.json".to_owned(), "c.new".to_owned(), "d".repeat(250), "e".repeat(253)];
        let (disk, ..) = Disk::open(directory.path()).unwrap();
        names.iter().for_each(|name| disk.write(&map(name), Durability::Written).unwrap());
        drop(disk);
        assert_eq!(names_in(directory.path()), names);
        let (disk, ..) = Disk::open(directory.path()).unwrap();
        disk.remove(&map(&names[4]).key()).unwrap();
        drop(disk);
        assert_eq!(names_in(directory.path()), names[..4]);
    }

    #[test]
    fn two_agents_do_not_share_a_directory() {
        let directory = tempfile::tempdir().unwrap();
        let first = Disk::open(directory.path()).unwrap();
        let error = Disk::open(directory.path()).err().unwrap().to_string();
        assert!(error.contains("cannot lock") && error.contains("another agent has it"), "{error}");
        drop(first);
        Disk::open(directory.path()).unwrap();
    }

    #[test]
    fn what_the_power_took_is_gone_and_what_is_broken_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let (disk, ..) = Disk::open(directory.path()).unwrap();
        for name in ["whole", "empty", "zeros"] {
            disk.write(&map(name), Durability::Written).unwrap();
        }
        let place = directory.path().join("objects/configmaps/default");
        fs::write(place.join("empty.json"), "").unwrap();
        fs::write(place.join("zeros.json"), [0; 100]).unwrap();
        fs::write(place.join("cut.new"), "{").unwrap();
        drop(disk);
        let (_, objects, _) = Disk::open(directory.path()).unwrap();
        assert_eq!(objects.iter().map(|(key, _)| key.name.as_str()).collect::<Vec<_>>(), ["whole"]);
        assert_eq!(names(&place).unwrap(), ["whole.json"]);
        fs::write(place.join("whole.json"), "{\"metadata\": ").unwrap();
        let error = Disk::open(directory.path()).err().unwrap().to_string();
        assert!(error.contains("configmaps/default/whole.json: EOF while parsing"), "{error}");
    }
}
