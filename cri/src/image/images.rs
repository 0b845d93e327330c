//! What requests about images share: the store, opened once, and what was read of images that do not change.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rcrun::image::Digest;
use rcrun::image::container::ImageConfig;
use rcrun::image::store::{Contents, Image, Store, StoreError};

use super::space::Measured;
use crate::runtime::Paths;
use crate::spec::ImageFacts;

/// Documents that are kept in memory; each has some KiB. A node has a few hundred images at most.
const MOST: usize = 256;

/// The image store of this process. Nothing here is the truth: that is on the disk, and other programs change it, too.
#[derive(Debug, Default)]
pub struct Images {
    store: OnceLock<Arc<Store>>,
    /// By the manifest's digest, so that nothing in it can be out of date.
    documents: Mutex<HashMap<Digest, Arc<Documents>>>,
    /// What ImageFsInfo told last.
    pub(super) space: tokio::sync::Mutex<Option<Measured>>,
    changed: AtomicBool,
    overdue: AtomicBool,
}

/// An image's manifest and configuration.
#[derive(Debug)]
pub struct Documents {
    /// As they are.
    pub contents: Contents,
    /// What the configuration says about running; else why it cannot be run.
    pub facts: Result<ImageFacts, String>,
}

impl Images {
    /// The store, made where there is none.
    pub fn store(&self, paths: &Paths) -> Result<Arc<Store>, StoreError> {
        if let Some(store) = self.store.get() {
            return Ok(Arc::clone(store));
        }
        let store = Arc::new(Store::open(&paths.images)?);
        Ok(Arc::clone(self.store.get_or_init(|| store)))
    }

    /// An image's documents, read and verified once. Their blobs may be gone since: `image` was just read from index.json.
    pub fn documents(&self, store: &Store, image: &Image) -> Result<Arc<Documents>, StoreError> {
        let digest = &image.manifest.digest;
        // An index of another program's may name another manifest for this machine after an upgrade of rcrun: it is read anew.
        if let Some(known) = self.known().get(digest).filter(|_| !image.foreign) {
            return Ok(Arc::clone(known));
        }
        let documents = Arc::new(Documents::of(image, store.contents(image)?));
        let mut known = self.known();
        if known.len() >= MOST {
            known.clear();
        }
        known.insert(digest.clone(), Arc::clone(&documents));
        Ok(documents)
    }

    /// An image came or went: what was measured is no longer so.
    pub(super) fn set_changed(&self) {
        self.changed.store(true, Ordering::Relaxed);
    }

    /// Is what was measured no longer so? Asked once.
    pub(super) fn take_changed(&self) -> bool {
        self.changed.swap(false, Ordering::Relaxed)
    }

    /// Garbage could not be collected, since the store was in use. Was that known?
    pub(super) fn set_overdue(&self) -> bool {
        self.overdue.swap(true, Ordering::Relaxed)
    }

    /// Is there such garbage? Asked once.
    pub(super) fn take_overdue(&self) -> bool {
        self.overdue.swap(false, Ordering::Relaxed)
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<Digest, Arc<Documents>>> {
        self.documents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Documents {
    fn of(image: &Image, contents: Contents) -> Self {
        let facts = match contents.facts {
            Some(_) => ImageConfig::parse(&image.title(), &contents.config)
                .map(facts)
                .map_err(|error| error.to_string()),
            None => {
                let manifest = &contents.manifest;
                let kind = manifest.artifact_type.as_ref().unwrap_or(&manifest.config.media_type);
                Err(format!(
                    "image {} is no image that can be run, but an artifact of the kind {kind:?}",
                    image.title()
                ))
            }
        };
        Self { contents, facts }
    }
}

fn facts(config: ImageConfig) -> ImageFacts {
    let execution = config.config;
    ImageFacts {
        entrypoint: execution.entrypoint,
        cmd: execution.cmd,
        env: execution.env,
        working_dir: execution.working_dir,
        user: execution.user,
        stop_signal: execution.stop_signal,
        volumes: execution.volumes.into_keys().collect(),
    }
}
