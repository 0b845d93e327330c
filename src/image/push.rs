//! Pushes an image: its blobs, several at once, and then its manifest, byte for byte as it came.
//!
//! What the destination has already is not sent; what another repository of the same registry has is mounted from there; what the store
//! does not keep comes from where it was pulled from and goes through without being stored.

use std::collections::HashSet;
use std::io::{self, Read};
use std::sync::Arc;

use super::event::{Event, Listener, Progress, Watched};
use super::manifest::{Descriptor, Document, Manifest};
use super::missing::{self, MissingError};
use super::parallel::{self, Cancel, Cancellable};
use super::registry::{Pushed, Registry, RegistryError};
use super::store::{Image, Store, StoreError};
use super::{Digest, Reference};

/// Why an image was not pushed.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum PushError {
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Missing(#[from] MissingError),
    #[error("{digest} is an index of several images: tag and push one of them")]
    Index { digest: Digest },
}

/// Pushes `image` of `store` as `destination`; the result is the manifest's digest.
pub fn push(
    (store, registry): (&Store, &Registry),
    image: &Image,
    destination: &Reference,
    jobs: usize,
    listener: &Listener,
) -> Result<Digest, PushError> {
    let _used = store.use_shared()?;
    let digest = image.manifest.digest.clone();
    let bytes = store.read_blob("the image's manifest", &image.manifest)?;
    let Document::Manifest(manifest) = store.document(&image.manifest)? else {
        return Err(PushError::Index { digest });
    };
    let blobs = Blobs { store, registry, image, destination, listener };
    blobs.push_all(&manifest, jobs)?;
    registry.push_manifest(destination, &manifest.media_type, &bytes)?;
    store.add_source(image, &destination.with_digest(&digest))?;
    listener(Event::Resolved { name: &destination.to_string(), digest: &digest });
    Ok(digest)
}

struct Blobs<'a> {
    store: &'a Store,
    registry: &'a Registry,
    image: &'a Image,
    destination: &'a Reference,
    listener: &'a Listener,
}

impl Blobs<'_> {
    /// The configuration and the layers.
    fn push_all(&self, manifest: &Manifest, jobs: usize) -> Result<(), PushError> {
        let mut seen = HashSet::new();
        let all = manifest.layers.iter().chain([&manifest.config]);
        let each_once = all.filter(|blob| seen.insert(&blob.digest));
        parallel::for_each(each_once, jobs, |blob, cancel| self.push_one(blob, cancel))
    }

    fn push_one(&self, blob: &Descriptor, cancel: &Arc<Cancel>) -> Result<(), PushError> {
        let here = |source: &&Reference| {
            source.registry() == self.destination.registry()
                && source.repository() != self.destination.repository()
        };
        let mount_from = self.image.sources.iter().find(here);
        let open = || self.open(blob, cancel).map_err(io::Error::other);
        let pushed = self.registry.push_blob(self.destination, blob, &open, mount_from)?;
        let progress = match pushed {
            Pushed::Existed | Pushed::Mounted => Progress::Present,
            Pushed::Uploaded => Progress::Done,
        };
        (self.listener)(Event::Blob(blob, progress));
        Ok(())
    }

    /// The blob's bytes, from the store or from where it was pulled from.
    fn open(&self, blob: &Descriptor, cancel: &Arc<Cancel>) -> Result<Box<dyn Read + Send>, PushError> {
        let inner: Box<dyn Read + Send> = match self.store.blob(&blob.digest)? {
            Some(file) => Box::new(file),
            None => Box::new(missing::fetch(self.registry, self.image, blob)?),
        };
        let inner = Cancellable { inner, cancel: Arc::clone(cancel) };
        Ok(Box::new(Watched::new(inner, blob, self.listener)))
    }
}
