//! Garbage collection: what neither an image nor a container needs goes.
//!
//! Roots are the entries of index.json and the containers. It runs only while nobody holds [`Store::use_shared`];
//! trees are moved to `ingest/` under that lock and removed without it.

use std::collections::HashSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::contents::{Contents, is_index};
use super::ingest::Taken;
use super::{Container, Image, Store, StoreError, layout};
use crate::image::{Descriptor, Digest, Document};

/// What garbage collection has done.
#[derive(Debug, Default)]
pub struct Collected {
    /// Removed blobs.
    pub blobs: Vec<Digest>,
    /// Removed layers.
    pub layers: Vec<Digest>,
    /// Removed directories of containers that are gone.
    pub containers: Vec<String>,
    /// Bytes that came free, of layers as they are unpacked.
    pub bytes: u64,
    /// Somebody uses the store: everything is left for the next time.
    pub deferred: bool,
    /// What could not be removed; the rest is.
    pub errors: Vec<StoreError>,
}

/// What the roots need.
#[derive(Debug, Default)]
pub(super) struct Needed {
    pub blobs: HashSet<Digest>,
    pub layers: HashSet<Digest>,
}

impl Store {
    /// Removes what no root needs. An image whose documents cannot be read is an error, since nobody knows then what
    /// it needs.
    pub fn collect_garbage(&self) -> Result<Collected, StoreError> {
        let mut collected = Collected::default();
        let Some(lock) = self.try_collecting()? else {
            return Ok(Collected { deferred: true, ..collected });
        };
        let containers = self.all_containers()?;
        let needed = self.needed(&self.images()?, &containers.alive)?;
        self.collect_blobs(&needed, &mut collected)?;
        let mut taken = self.collect_layers(&needed, &mut collected)?;
        for (id, path) in containers.gone {
            let moved = self.ingest.take_away(&path);
            collected.containers.push(id);
            collected.keep(moved.map(|moved| taken.extend(moved)));
        }
        drop(lock);
        for tree in taken {
            collected.keep(tree.remove());
        }
        collected.errors.extend(self.ingest.sweep());
        Ok(collected)
    }

    /// What the images and the containers need.
    pub(super) fn needed(&self, images: &[Image], containers: &[Container]) -> Result<Needed, StoreError> {
        let mut needed = Needed::default();
        for image in images {
            needed.blobs.insert(image.manifest.digest.clone());
            needed.blobs.extend(image.index.clone());
            match image.foreign {
                true => self.foreign(&image.manifest, &mut needed),
                false => self
                    .own(image, &mut needed)
                    .map_err(|error| StoreError::Root { name: image.title(), error: Box::new(error) })?,
            }
        }
        for container in containers {
            let record = &container.record;
            needed.layers.extend(record.layers.iter().cloned());
            needed.blobs.insert(record.image_id.clone());
        }
        Ok(needed)
    }

    fn own(&self, image: &Image, needed: &mut Needed) -> Result<(), StoreError> {
        let contents = self.contents(image)?;
        needed.blobs.insert(contents.manifest.config.digest.clone());
        needed.layers.extend(contents.diff_ids().iter().cloned());
        // Without a registry that has it nobody could get a blob back; an artifact has nothing else.
        let keep = image.keep_blobs || image.sources.is_empty();
        needed.blobs.extend(contents.needed_layer_blobs(|diff_id| keep || self.layer(diff_id).is_none()));
        Ok(())
    }

    /// Everything that another program's entry leads to, as far as it is there.
    fn foreign(&self, descriptor: &Descriptor, needed: &mut Needed) {
        needed.blobs.insert(descriptor.digest.clone());
        match self.document(descriptor) {
            Ok(Document::Index(index)) => {
                for child in &index.manifests {
                    // An index names manifests; deeper nesting is of no use and could go in circles.
                    if !is_index(child) {
                        self.foreign(child, needed);
                    }
                }
            }
            Ok(Document::Manifest(manifest)) => {
                needed.blobs.extend(manifest.layers.iter().map(|layer| layer.digest.clone()));
                needed.blobs.insert(manifest.config.digest.clone());
                if let Ok(contents) = self.contents_of(descriptor) {
                    needed.layers.extend(contents.diff_ids().iter().cloned());
                }
            }
            Err(_) => {}
        }
    }

    fn collect_blobs(&self, needed: &Needed, collected: &mut Collected) -> Result<(), StoreError> {
        for (digest, path) in self.stored(layout::BLOBS)? {
            if needed.blobs.contains(&digest) {
                continue;
            }
            let size = fs::symlink_metadata(&path).map_or(0, |found| found.len());
            if collected.keep(self.remove_blob(&digest)) {
                collected.bytes += size;
                collected.blobs.push(digest);
            }
        }
        Ok(())
    }

    fn collect_layers(&self, needed: &Needed, collected: &mut Collected) -> Result<Vec<Taken>, StoreError> {
        let mut taken = Vec::new();
        for (diff_id, path) in self.stored(layout::LAYERS)? {
            if needed.layers.contains(&diff_id) {
                continue;
            }
            let record = self.layer(&diff_id).and_then(|layer| layer.record().ok());
            let moved = self.ingest.take_away(&path).map(|moved| taken.extend(moved));
            if collected.keep(moved) {
                collected.bytes += record.map_or(0, |record| record.disk.unwrap_or(record.bytes));
                collected.layers.push(diff_id);
            }
        }
        Ok(taken)
    }

    /// What is below `blobs/` or `layers/`; names that are no digests are not rcrun's.
    pub(super) fn stored(&self, kind: &str) -> Result<Vec<(Digest, PathBuf)>, StoreError> {
        let mut stored = Vec::new();
        for algorithm in entries(&self.root.join(kind))? {
            let prefix = algorithm.file_name().unwrap_or_default().to_string_lossy().into_owned();
            for path in entries(&algorithm)? {
                let hex = path.file_name().unwrap_or_default().to_string_lossy();
                if let Ok(digest) = format!("{prefix}:{hex}").parse() {
                    stored.push((digest, path));
                }
            }
        }
        Ok(stored)
    }
}

impl Collected {
    /// Goes on past an error.
    fn keep(&mut self, result: Result<(), StoreError>) -> bool {
        match result {
            Ok(()) => true,
            Err(error) => {
                self.errors.push(error);
                false
            }
        }
    }
}

impl Contents {
    /// Blobs of the layers that `wanted` says; of an artifact, all.
    pub(super) fn needed_layer_blobs(&self, wanted: impl Fn(&Digest) -> bool) -> Vec<Digest> {
        let diff_ids = self.diff_ids().iter().map(Some).chain(std::iter::repeat(None));
        let layers = self.manifest.layers.iter().zip(diff_ids);
        let needed = layers.filter(|(_, diff_id)| diff_id.is_none_or(&wanted));
        needed.map(|(layer, _)| layer.digest.clone()).collect()
    }
}

fn entries(directory: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let failed = |error| StoreError::file("read", directory, error);
    match fs::read_dir(directory) {
        Ok(entries) => entries.map(|entry| Ok(entry.map_err(failed)?.path())).collect(),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(Vec::new())
        }
        Err(error) => Err(failed(error)),
    }
}
