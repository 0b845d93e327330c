//! Unpacked layers by their DiffID: each is unpacked once for all images, and has its name only when it is whole.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fs::{CWD, Mode};
use serde::{Deserialize, Serialize};

use super::{Store, StoreError, ingest, layout, remove};
use crate::image::unpack::Unpacked;
use crate::image::{Descriptor, Digest};
use crate::state::rfc3339;

const DIFF: &str = "diff";
const DIGESTS: &str = "digests";
const RECORD: &str = "layer.json";
/// Of a tree that says nothing about its root.
const ROOT_MODE: Mode = Mode::from_raw_mode(0o755);
/// The version of layer.json.
pub const LAYER_SCHEMA: u32 = 1;

/// layer.json: what is known of an unpacked layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerRecord {
    /// [`LAYER_SCHEMA`].
    pub schema: u32,
    /// The digest of its uncompressed tar archive.
    pub diff_id: Digest,
    /// The blob that it was unpacked from.
    pub blob: Descriptor,
    /// Bytes of its uncompressed tar archive.
    pub bytes: u64,
    /// Its entries: files, directories, links ...
    pub files: u64,
    /// Does its root hide all layers below? overlayfs does not heed that of a root: see [`super::Image::hidden_layers`].
    #[serde(default)]
    pub opaque_root: bool,
    /// When it was unpacked, RFC 3339.
    pub created: String,
    /// Bytes that it takes on the disk, once they have been counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<u64>,
}

impl LayerRecord {
    /// That of a layer that is unpacked now.
    pub fn new(diff_id: Digest, blob: Descriptor, bytes: u64, files: u64) -> Self {
        let created = rfc3339(SystemTime::now());
        Self { schema: LAYER_SCHEMA, diff_id, blob, bytes, files, opaque_root: false, created, disk: None }
    }

    /// That of what was found in `blob`; the caller has compared the digests.
    pub fn of(blob: Descriptor, unpacked: &Unpacked) -> Self {
        let record = Self::new(unpacked.diff_id.clone(), blob, unpacked.bytes, unpacked.files);
        Self { opaque_root: unpacked.opaque_root, ..record }
    }
}

/// A layer that is unpacked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Its name.
    pub diff_id: Digest,
    path: PathBuf,
}

impl Layer {
    /// Its tree, in overlayfs' own format.
    pub fn diff(&self) -> PathBuf {
        self.path.join(DIFF)
    }

    /// Its tree, opened.
    pub fn open_diff(&self) -> Result<OwnedFd, StoreError> {
        let path = self.diff();
        remove::open_directory(CWD, &path).map_err(|error| StoreError::file("open", &path, error))
    }

    /// The list of its files with their digests.
    pub fn digests(&self) -> Result<File, StoreError> {
        let path = self.path.join(DIGESTS);
        File::open(&path).map_err(|error| StoreError::file("open", &path, error))
    }

    /// What is known of it.
    pub fn record(&self) -> Result<LayerRecord, StoreError> {
        let path = self.path.join(RECORD);
        let bytes = fs::read(&path).map_err(|error| StoreError::file("read", &path, error))?;
        let damaged = |reason| StoreError::Damaged {
            path: path.clone(),
            reason,
            cure: "remove the images that use this layer, and pull them again",
        };
        let record: LayerRecord =
            serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
        match record.schema {
            LAYER_SCHEMA if record.diff_id == self.diff_id => Ok(record),
            LAYER_SCHEMA => Err(damaged(format!("it is of {}", record.diff_id))),
            schema => {
                Err(StoreError::Version { path: path.clone(), found: format!("schema {schema}"), known: "1" })
            }
        }
    }
}

/// Is the layer there, or is it this caller's to unpack?
#[derive(Debug)]
pub enum LayerClaim {
    /// It is there.
    Present(Layer),
    /// Unpack it: others who want it wait until it is committed or the writer is dropped.
    Missing(LayerWriter),
}

impl Store {
    /// The layer; None where it is not unpacked.
    pub fn layer(&self, diff_id: &Digest) -> Option<Layer> {
        let path = self.layer_path(diff_id);
        path.join(RECORD).exists().then(|| Layer { diff_id: diff_id.clone(), path })
    }

    /// The layer, or an empty directory to unpack it into. Waits while another process or thread unpacks the same one.
    pub fn claim_layer(&self, diff_id: &Digest) -> Result<LayerClaim, StoreError> {
        self.sweep_once();
        let name = format!("{}-{}.layer", diff_id.algorithm().name(), diff_id.hex());
        loop {
            if let Some(layer) = self.layer(diff_id) {
                return Ok(LayerClaim::Present(layer));
            }
            let Some(lock) = self.ingest.lock_directory(&name)? else { continue };
            let path = self.ingest.path().join(&name);
            let target = self.layer_path(diff_id);
            let partial = Partial { lock, path, committed: false };
            // As with blobs, it may have come in between.
            if let Some(layer) = self.layer(diff_id) {
                return Ok(LayerClaim::Present(layer));
            }
            // A directory without its record is no layer: somebody has damaged it.
            self.ingest.discard(&target)?;
            return LayerWriter::new(partial, diff_id, target).map(LayerClaim::Missing);
        }
    }

    /// Remembers what a layer takes on the disk, which never changes; not worth an error.
    pub(super) fn remember_disk(&self, layer: &Layer, disk: u64) {
        let Ok(record) = layer.record() else { return };
        if let Ok(json) = serde_json::to_vec(&LayerRecord { disk: Some(disk), ..record }) {
            let _ = self.ingest.write_whole(&layer.path.join(RECORD), &json);
        }
    }
}

/// A layer that is being unpacked. Dropped without [`Self::commit`], it is gone.
#[derive(Debug)]
pub struct LayerWriter {
    partial: Partial,
    diff: OwnedFd,
    diff_id: Digest,
    target: PathBuf,
}

impl LayerWriter {
    fn new(partial: Partial, diff_id: &Digest, target: PathBuf) -> Result<Self, StoreError> {
        // What somebody who was killed has left.
        remove::empty(partial.lock.as_fd(), &partial.path).map_err(StoreError::unremoved)?;
        let path = partial.path.join(DIFF);
        let made = rustix::fs::mkdirat(&partial.lock, DIFF, ROOT_MODE);
        made.map_err(|error| StoreError::file("make directory", &path, error))?;
        let diff = remove::open_directory(&partial.lock, Path::new(DIFF));
        let diff = diff.map_err(|error| StoreError::file("open", &path, error))?;
        // It is a container's root, which others than its owner enter, whatever the umask was.
        rustix::fs::fchmod(&diff, ROOT_MODE)
            .map_err(|error| StoreError::file("change mode of", &path, error))?;
        Ok(Self { partial, diff, diff_id: diff_id.clone(), target })
    }

    /// Where to unpack it to.
    pub fn diff(&self) -> BorrowedFd<'_> {
        self.diff.as_fd()
    }

    /// Where to write the list of its files with their digests to; emptied by each call.
    pub fn digests(&self) -> Result<File, StoreError> {
        let path = self.partial.path.join(DIGESTS);
        File::create(&path).map_err(|error| StoreError::file("make", &path, error))
    }

    /// Gives the layer its name. The caller has compared its DiffID; a record of another layer is a mistake of the
    /// caller's.
    pub fn commit(mut self, record: &LayerRecord) -> Result<Layer, StoreError> {
        if record.diff_id != self.diff_id {
            let (expected, found) = (self.diff_id.clone(), record.diff_id.clone());
            return Err(StoreError::WrongDigest { expected, found });
        }
        let path = self.partial.path.join(RECORD);
        let json = serde_json::to_vec(record).expect("a record has no maps with keys that are no text");
        let written = File::create(&path).and_then(|mut file| file.write_all(&json));
        written.map_err(|error| StoreError::file("write", &path, error))?;
        if let Some(directory) = self.target.parent() {
            layout::make_directory(directory)?;
        }
        ingest::rename(&self.partial.path, &self.target)?;
        self.partial.committed = true;
        Ok(Layer { diff_id: self.diff_id.clone(), path: self.target.clone() })
    }
}

/// The locked directory in `ingest/`.
#[derive(Debug)]
struct Partial {
    lock: OwnedFd,
    path: PathBuf,
    committed: bool,
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.committed && remove::empty(self.lock.as_fd(), &self.path).is_ok() {
            match fs::remove_dir(&self.path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {}
                _ => {}
            }
        }
    }
}
