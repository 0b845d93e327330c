//! The files that objects are in.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::Durability;
use crate::objects::pod::is_finished;
use crate::objects::{Key, Kind, Object, Objects};

/// An operation on a file of the state directory that failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} {}: {source}", .path.display())]
pub struct DiskError {
    operation: &'static str,
    path: PathBuf,
    source: io::Error,
}

pub(super) struct Disk {
    directory: PathBuf,
}

impl Disk {
    /// With all objects that are there, and the newest revision of them.
    pub(super) fn open(directory: &Path) -> Result<(Self, Objects, u64), DiskError> {
        let disk = Self { directory: directory.join("objects") };
        disk.make_directory(&disk.directory)?;
        let mut objects = Objects::default();
        for kind in Kind::ALL.iter().copied() {
            for namespace in names(&disk.directory.join(kind.plural()))? {
                let place = disk.directory.join(kind.plural()).join(&namespace);
                for name in names(&place)? {
                    let path = place.join(&name);
                    if !name.ends_with(".json") {
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
                    objects.insert(failed("read", &path, parse(kind, &bytes).map_err(Into::into))?);
                }
            }
        }
        let revisions = objects
            .iter()
            .filter_map(|(_, object)| object.metadata().resource_version.as_deref()?.parse().ok());
        let newest = revisions.max().unwrap_or(0);
        Ok((disk, objects, newest))
    }

    fn make_directory(&self, path: &Path) -> Result<(), DiskError> {
        failed("make", path, DirBuilder::new().recursive(true).mode(0o700).create(path))
    }

    fn path(&self, key: &Key) -> PathBuf {
        // No namespace is called so.
        let namespace = if key.namespace.is_empty() { "_" } else { &key.namespace };
        self.directory.join(key.kind.plural()).join(namespace).join(format!("{}.json", key.name))
    }

    pub(super) fn write(&self, object: &Object, durability: Durability) -> Result<(), DiskError> {
        if object.kind() == Kind::Event {
            return Ok(());
        }
        let path = self.path(&object.key());
        let directory = path.parent().unwrap_or(&self.directory);
        self.make_directory(directory)?;
        let temporary = path.with_extension("new");
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
pub(super) fn without_status(object: &Object) -> Value {
    let mut value = object.to_value();
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
        let value = json!({"metadata": {"name": name, "namespace": "default"}, "data": {"a": "b"}});
        Object::from_value(Kind::ConfigMap, value).unwrap()
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
        let (_, objects, _) = Disk::open(directory.path()).unwrap();
        assert_eq!(objects.iter().map(|(key, _)| key.name.as_str()).collect::<Vec<_>>(), ["whole"]);
        assert_eq!(names(&place).unwrap(), ["whole.json"]);
        fs::write(place.join("whole.json"), "{\"metadata\": ").unwrap();
        let error = Disk::open(directory.path()).err().unwrap().to_string();
        assert!(error.contains("configmaps/default/whole.json: EOF while parsing"), "{error}");
    }
}
