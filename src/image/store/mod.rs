//! The store: images, their blobs and their unpacked layers on disk, shared by any number of processes.
//!
//! ```text
//! ROOT/                        0700; /var/lib/rcrun, a user's ~/.local/share/rcrun
//!   oci-layout, index.json     an OCI image layout (image-layout.md): each entry is an [`Image`]
//!   blobs/ALGORITHM/HEX        manifests, indexes, configurations, and layers that are kept
//!   layers/ALGORITHM/HEX/      an unpacked layer by its DiffID: diff/, digests, layer.json
//!   containers/ID/             container.json, upper/, work/: with index.json the roots of garbage collection
//!   ingest/                    what is being written, each with a flock(2); garbage where that lock is free
//!   lock                       shared by who uses what no root names yet; exclusive for garbage collection
//!   index.lock                 held while index.json is read and replaced
//! ```
//!
//! Invariants, whenever a process is killed: what has its final name is whole (it was renamed there); what a
//! root names is there, unless a user removed it; everything else is found and removed by [`Store::collect_garbage`].
//! Locks go with their process. In: bytes that were read from elsewhere, verified here. Runs in the
//! caller's process, with its privileges.
//!
//! Order of locks, each before the next: `lock` shared, a layer's claim, a blob's claim, `index.lock`. A thread that
//! holds a blob's claim claims nothing else.

mod blobs;
mod container_directory;
mod containers;
mod contents;
mod entries;
mod error;
mod find;
mod garbage;
mod index;
mod ingest;
mod layers;
mod layout;
mod lock;
mod names;
mod removal;
mod settings;
mod usage;
mod verify;

pub use blobs::{BlobClaim, BlobWriter};
pub use container_directory::{ContainerDirectory, discard_container};
pub use containers::{Container, ContainerRecord, IdRange, Liveness};
pub use contents::{Contents, Facts, History};
pub use entries::{Image, NewImage};
pub use error::StoreError;
pub use find::find_in;
pub use garbage::Collected;
pub use layers::{LAYER_SCHEMA, Layer, LayerClaim, LayerRecord, LayerWriter};
pub use lock::Use;
pub use removal::Removed;
pub use settings::keep_blobs;
pub use usage::{ImageUsage, Space, Usage, measure};
pub use verify::{Finding, Verified};

use std::path::{Path, PathBuf};
use std::sync::Once;

use super::remove;
use ingest::Ingest;

/// All images of one `--storage`.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
    ingest: Ingest,
    swept: Once,
}

impl Store {
    /// Where it is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn at(root: &Path) -> Self {
        Self { root: root.to_owned(), ingest: Ingest::at(root.join(layout::INGEST)), swept: Once::new() }
    }

    /// Removes, once for each `Store`, what processes left in `ingest/` that were killed. What cannot be removed is
    /// said by garbage collection.
    fn sweep_once(&self) {
        self.swept.call_once(|| drop(self.ingest.sweep()));
    }
}

#[cfg(test)]
mod tests;
