//! The directories of a store, and its mark: OCI image specification, image-layout.md.

use std::fs::{self, DirBuilder};
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{Store, StoreError};
use crate::image::Digest;

pub(super) const INGEST: &str = "ingest";
pub(super) const LOCK: &str = "lock";
pub(super) const INDEX: &str = "index.json";
pub(super) const INDEX_LOCK: &str = "index.lock";
pub(super) const CONTAINERS: &str = "containers";
pub(super) const BLOBS: &str = "blobs";
pub(super) const LAYERS: &str = "layers";
const MARK: &str = "oci-layout";
const VERSION: &str = "1.0.0";
/// Below these are the directories of an algorithm each; that of sha512 is made with its first digest.
const DIRECTORIES: [&str; 4] = ["blobs/sha256", "layers/sha256", INGEST, CONTAINERS];

impl Store {
    /// The store at `root`, made if there is none. A directory that has something else in it is refused.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        let store = Self::at(root);
        if !store.is_marked()? {
            make_directory(root)?;
            store.refuse_other_things()?;
        }
        // Also of a layout that another program made, or one whose making was interrupted.
        for directory in DIRECTORIES {
            make_directory(&root.join(directory))?;
        }
        if !store.is_marked()? {
            let mark = format!("{{\"imageLayoutVersion\":\"{VERSION}\"}}");
            store.ingest.write_whole(&root.join(MARK), mark.as_bytes())?;
        }
        Ok(store)
    }

    /// The store at `root`; None where there is none, and none is made.
    pub fn existing(root: &Path) -> Result<Option<Self>, StoreError> {
        // Whose making was interrupted has no mark yet, and perhaps garbage.
        match Self::at(root).is_marked()? || root.join(INGEST).is_dir() {
            true => Self::open(root).map(Some),
            false => Ok(None),
        }
    }

    /// Where the blob of this digest is or would be.
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.root.join(BLOBS).join(digest.algorithm().name()).join(digest.hex())
    }

    /// Where the layer of this DiffID is or would be.
    pub fn layer_path(&self, diff_id: &Digest) -> PathBuf {
        self.root.join(LAYERS).join(diff_id.algorithm().name()).join(diff_id.hex())
    }

    /// The directory of all layers: what is mounted once with mapped ids.
    pub fn layers_path(&self) -> PathBuf {
        self.root.join(LAYERS)
    }

    /// Where files without a name are made on the store's file system.
    pub fn ingest_path(&self) -> PathBuf {
        self.root.join(INGEST)
    }

    fn is_marked(&self) -> Result<bool, StoreError> {
        let path = self.root.join(MARK);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                return Ok(false);
            }
            Err(error) => return Err(StoreError::file("read", &path, error)),
        };
        let version = serde_json::from_slice::<Value>(&text).ok();
        let version = version.as_ref().and_then(|mark| mark["imageLayoutVersion"].as_str());
        match version {
            Some(version) if version.starts_with("1.") => Ok(true),
            Some(version) => {
                Err(StoreError::Version { path, found: format!("imageLayoutVersion {version}"), known: "1" })
            }
            None => Err(StoreError::Damaged {
                path,
                reason: "it has no imageLayoutVersion".to_owned(),
                cure: "write {\"imageLayoutVersion\":\"1.0.0\"} into it if this is a store of images",
            }),
        }
    }

    fn refuse_other_things(&self) -> Result<(), StoreError> {
        let failed = |error| StoreError::file("read", &self.root, error);
        let ours = [BLOBS, LAYERS, INGEST, CONTAINERS, LOCK, INDEX_LOCK, MARK];
        for entry in fs::read_dir(&self.root).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            if !ours.iter().any(|known| name == *known) {
                return Err(StoreError::NoStore { path: self.root.clone() });
            }
        }
        Ok(())
    }
}

/// Makes a directory that nobody else may enter: images bring programs with setuid bits.
pub(super) fn make_directory(path: &Path) -> Result<(), StoreError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|error| StoreError::file("make directory", path, error))
}
