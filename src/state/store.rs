//! All containers of one `--root`.

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

use super::{Cache, Directory, StateError, cache};
use crate::id::ContainerId;

/// The directory of `--root`; it is made with the first container.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
    warn: fn(&str),
}

impl Store {
    /// The store at `root`. `warn` hears of what a command did differently than asked.
    pub fn new(root: PathBuf, warn: fn(&str)) -> Self {
        Self { root, warn }
    }

    /// Where it is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Tells the user something that is no error.
    pub fn warn(&self, message: &str) {
        (self.warn)(message);
    }

    /// Compiled seccomp filters.
    pub fn filters(&self) -> Cache {
        Cache::at(self.root.join(cache::NAME))
    }

    /// Takes the name `id`: its directory is made, or it is in use.
    pub fn reserve(&self, id: &ContainerId) -> Result<Directory, StateError> {
        let path = self.root.join(id.as_str());
        let mode = Mode::RWXU;
        let made = match rustix::fs::mkdirat(CWD, &path, mode) {
            Err(Errno::NOENT) => {
                std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.root).map_err(
                    |error| StateError::Directory { path: self.root.clone(), operation: "make", error },
                )?;
                rustix::fs::mkdirat(CWD, &path, mode)
            }
            made => made,
        };
        match made {
            Ok(()) => {}
            Err(Errno::EXIST) => return Err(StateError::InUse { id: id.clone(), root: self.root.clone() }),
            Err(error) => return Err(StateError::Directory { path, operation: "make", error: error.into() }),
        }
        self.open(id)
    }

    /// The directory of a container that is there.
    pub fn open(&self, id: &ContainerId) -> Result<Directory, StateError> {
        let path = self.root.join(id.as_str());
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        match rustix::fs::open(&path, flags, Mode::empty()) {
            Ok(fd) => Ok(Directory::new(id.clone(), path, fd)),
            Err(Errno::NOENT) => Err(StateError::NotFound { id: id.clone(), root: self.root.clone() }),
            Err(error) => Err(StateError::Directory { path, operation: "open", error: error.into() }),
        }
    }

    /// The names of all containers, sorted. A root that is not there is an error, as for runc.
    pub fn ids(&self) -> Result<Vec<ContainerId>, StateError> {
        let failed = |error| StateError::Directory { path: self.root.clone(), operation: "read", error };
        let mut ids = Vec::new();
        for entry in std::fs::read_dir(&self.root).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if let Some(id) = entry.file_name().to_str().filter(|_| directory)
                && let Ok(id) = ContainerId::parse(id)
            {
                ids.push(id);
            }
        }
        ids.sort();
        Ok(ids)
    }
}

/// A name that was taken: on drop it is given back, unless the container came to be.
#[derive(Debug)]
pub struct Reservation<'d> {
    directory: Option<&'d Directory>,
}

impl<'d> Reservation<'d> {
    /// Guards a directory that [`Store::reserve`] has made.
    pub fn of(directory: &'d Directory) -> Self {
        Self { directory: Some(directory) }
    }

    /// The container exists: its directory stays.
    pub fn commit(mut self) {
        self.directory = None;
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        if let Some(directory) = self.directory {
            let _ = directory.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path().join("a/b"), |_| ());
        (dir, store)
    }

    #[test]
    fn a_name_is_taken_once_and_given_back() {
        let (_dir, store) = store();
        let id = ContainerId::parse("c").unwrap();
        let first = store.reserve(&id).unwrap();
        assert!(matches!(store.reserve(&id), Err(StateError::InUse { .. })));
        drop(Reservation::of(&first));
        let directory = store.reserve(&id).unwrap();
        Reservation::of(&directory).commit();
        assert_eq!(store.ids().unwrap(), std::slice::from_ref(&id));
        directory.remove().unwrap();
        directory.remove().unwrap();
        assert!(matches!(store.open(&id), Err(StateError::NotFound { .. })));
    }

    #[test]
    fn listing_does_not_make_the_root() {
        let (_dir, store) = store();
        assert!(store.ids().is_err());
        assert!(!store.root().exists());
    }

    #[test]
    fn a_record_is_read_as_it_was_written_and_not_before() {
        let (_dir, store) = store();
        let id = ContainerId::parse(&"x".repeat(crate::id::MAX_ID_LENGTH)).unwrap();
        let directory = store.reserve(&id).unwrap();
        assert_eq!(directory.read_record().unwrap(), None);
        let record = super::super::Record {
            schema: super::super::SCHEMA,
            oci_version: "1.3.0".into(),
            bundle: "/b".into(),
            rootfs: "/b/r".into(),
            created: "now".into(),
            owner: 0,
            cgroup: None,
            init: None,
            chroot: false,
            root_mount: None,
            directory: None,
            no_new_keyring: false,
            notify: None,
            scope: None,
            resctrl: None,
            manager: Default::default(),
            annotations: Default::default(),
        };
        directory.write_record(&record).unwrap();
        assert_eq!(directory.read_record().unwrap(), Some(record.clone()));
        directory.write_record(&super::super::Record { schema: 99, ..record }).unwrap();
        assert!(matches!(directory.read_record(), Err(StateError::Schema { found: 99, .. })));
    }

    #[test]
    fn the_longest_id_has_a_socket_too() {
        let (_dir, store) = store();
        let id = ContainerId::parse(&"x".repeat(crate::id::MAX_ID_LENGTH)).unwrap();
        let directory = store.reserve(&id).unwrap();
        assert!(!directory.waits_for_start());
        let forks = crate::sys::mount::FORKS.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        let listener = directory.bind_start_socket().unwrap();
        assert!(directory.waits_for_start());
        drop(listener);
        drop(forks);
        // A program that another test starts has it, too, until its execve(2).
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while directory.waits_for_start() && std::time::Instant::now() < deadline {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        assert!(!directory.waits_for_start());
        assert!(directory.connect_start_socket().unwrap().is_none());
    }
}
