//! The files that objects are in.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use k8s_openapi::api::batch::v1::{Job, JobStatus};
use k8s_openapi::api::core::v1::Pod;
use serde_json::Value;

use super::Durability;
use crate::objects::pod::{is_finished, is_unknown};
use crate::objects::{Key, Kind, Object, Objects, Typed as _, fields};

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
/// Ends the name of a file that could not be understood, and of no object's.
const BROKEN: &str = ".broken";
/// Bytes that a file's name may have.
const LONGEST: usize = 255;

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
                    if name.ends_with(BROKEN) {
                        continue;
                    }
                    if !name.ends_with(".json") && !name.ends_with(LONG) {
                        // A write that a crash cut off.
                        failed("remove", &path, fs::remove_file(&path))?;
                        continue;
                    }
                    let bytes = failed("read", &path, fs::read(&path))?;
                    if bytes.iter().all(|byte| *byte == 0) {
                        // Renamed before its contents were on the disk, when the power failed: of an object that its controller makes again.
                        tracing::warn!("{}: it is empty, and removed", path.display());
                        failed("remove", &path, fs::remove_file(&path))?;
                        continue;
                    }
                    match parse(kind, &bytes) {
                        Ok(object) => _ = objects.insert(without_first_word(object)),
                        Err(why) => set_aside(&place, &name, &why)?,
                    }
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
            // A rename may be on the disk before what was written is. Nobody but its user makes an object again that no controller has.
            if durability == Durability::Synced || object.controller().is_none() {
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

    pub(super) fn remove(&self, key: &Key, durability: Durability) -> Result<(), DiskError> {
        let path = self.path(key);
        let removed = match (fs::remove_file(&path), durability) {
            (Err(error), _) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            (Ok(()), Durability::Synced) => File::open(path.parent().unwrap_or(&self.directory))
                .and_then(|directory| directory.sync_all()),
            (removed, _) => removed,
        };
        failed("remove", &path, removed)
    }
}

/// An error is without values, which may be secrets.
fn parse(kind: Kind, bytes: &[u8]) -> Result<Object, String> {
    let value = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    fields::typed(kind, value).map_err(|error| error.to_string())
}

/// One file that is cut is not to keep all others from being used.
fn set_aside(place: &Path, name: &str, why: &str) -> Result<(), DiskError> {
    let path = place.join(name);
    let longest = name.floor_char_boundary(LONGEST - BROKEN.len());
    let aside = place.join(format!("{}{BROKEN}", &name[..longest]));
    tracing::warn!(
        "cannot read {}: {why}; it is left as {}: apply the object again, or correct the file and give it its name back",
        path.display(),
        aside.display()
    );
    failed("rename", &path, fs::rename(&path, &aside))
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
    // What is being deleted would be ended and removed again.
    let finished =
        |object: &Object| matches!(object, Object::Pod(pod) if is_finished(pod) && !object.is_deleted());
    let kept_with_status = [Kind::CronJob, Kind::PersistentVolume, Kind::PersistentVolumeClaim];
    if let (Object::Job(before), Object::Job(after)) = (before, after)
        && counted(before) != counted(after)
    {
        return true;
    }
    let metadata = |object: &Object| {
        let mut metadata = object.metadata().clone();
        metadata.resource_version = None;
        metadata
    };
    kept_with_status.contains(&after.kind()) || finished(after) || metadata(before) != metadata(after)
}

/// Of a Job's status all but what its Pods say at any moment.
fn counted(job: &Job) -> Option<JobStatus> {
    let status = job.status.clone()?;
    Some(JobStatus { active: None, ready: None, terminating: None, ..status })
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

    /// Opens it once its lock is free: a program that another test starts has that, too, until its execve(2).
    fn opened(directory: &Path) -> (Disk, Objects, u64) {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
        loop {
            match Disk::open(directory) {
                Ok(opened) => return opened,
                Err(error) => assert!(std::time::Instant::now() < deadline, "{error}"),
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }

    fn names_in(directory: &Path) -> Vec<String> {
        let (_, objects, revision) = opened(directory);
        assert_eq!(revision, 7);
        objects.iter().map(|(key, _)| key.name.clone()).collect()
    }

    #[test]
    fn every_name_that_there_may_be_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let names =
            ["a".to_owned(), "b.json".to_owned(), "c.new".to_owned(), "d".repeat(250), "e".repeat(253)];
        let (disk, ..) = opened(directory.path());
        names.iter().for_each(|name| disk.write(&map(name), Durability::Written).unwrap());
        drop(disk);
        assert_eq!(names_in(directory.path()), names);
        let (disk, ..) = opened(directory.path());
        disk.remove(&map(&names[4]).key(), Durability::Synced).unwrap();
        disk.remove(&map(&names[4]).key(), Durability::Synced).unwrap();
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
        opened(directory.path());
    }

    #[test]
    fn what_the_power_took_is_gone() {
        let directory = tempfile::tempdir().unwrap();
        let (disk, ..) = opened(directory.path());
        for name in ["whole", "empty", "zeros"] {
            disk.write(&map(name), Durability::Written).unwrap();
        }
        let place = directory.path().join("objects/configmaps/default");
        fs::write(place.join("empty.json"), "").unwrap();
        fs::write(place.join("zeros.json"), [0; 100]).unwrap();
        fs::write(place.join("cut.new"), "{").unwrap();
        drop(disk);
        let (_, objects, _) = opened(directory.path());
        assert_eq!(objects.iter().map(|(key, _)| key.name.as_str()).collect::<Vec<_>>(), ["whole"]);
        assert_eq!(names(&place).unwrap(), ["whole.json"]);
    }

    #[test]
    fn what_is_broken_is_set_aside() {
        let directory = tempfile::tempdir().unwrap();
        let (disk, ..) = opened(directory.path());
        let long = "l".repeat(250);
        for name in ["whole", "cut", &long] {
            disk.write(&map(name), Durability::Written).unwrap();
        }
        drop(disk);
        let place = directory.path().join("objects/configmaps/default");
        fs::write(place.join("cut.json"), "{\"metadata\": ").unwrap();
        fs::write(place.join(format!("{long}.json")), "{\"data\": 7}").unwrap();
        let mut left =
            vec![format!("{}.broken", &format!("{long}.json")[..248]), "cut.json.broken".to_owned()];
        left.push("whole.json".to_owned());
        for _ in 0..2 {
            assert_eq!(names_in(directory.path()), ["whole"]);
            let mut found = names(&place).unwrap();
            found.sort();
            left.sort();
            assert_eq!(found, left);
        }
        let error = parse(Kind::Secret, b"{\"data\": {\"key\": \"hush!\"}}").unwrap_err();
        assert!(!error.contains("hush") && parse(Kind::Secret, b"{\"data\": hush").is_err(), "{error}");
    }

    #[test]
    fn of_a_jobs_status_what_its_pods_say_is_not_written() {
        let job = |status: Value| {
            let value = json!({"metadata": {"name": "j", "namespace": "default"}, "spec": {"template": {}}, "status": status});
            Object::from_value(Kind::Job, value).unwrap()
        };
        let begun = job(json!({"startTime": "2026-11-26T08:00:00Z", "active": 1}));
        assert!(is_status_kept(&job(json!({})), &begun));
        let runs = job(json!({"startTime": "2026-11-26T08:00:00Z", "active": 2, "ready": 1}));
        assert!(!is_status_kept(&begun, &runs));
        let ended =
            job(json!({"startTime": "2026-11-26T08:00:00Z", "active": 1, "ready": 1, "succeeded": 1}));
        assert!(is_status_kept(&runs, &ended));
    }

    #[test]
    fn the_end_of_a_pod_is_written_unless_it_is_being_deleted() {
        let pod = |phase: &str, deleted: Value| {
            let value = json!({"metadata": {"name": "p", "namespace": "default", "deletionTimestamp": deleted}, "status": {"phase": phase}});
            Object::from_value(Kind::Pod, value).unwrap()
        };
        let kept = |deleted: Value| is_status_kept(&pod("Running", deleted.clone()), &pod("Failed", deleted));
        assert!(kept(Value::Null) && !kept(json!("2026-11-26T08:00:00Z")));
    }
}
