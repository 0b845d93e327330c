//! Images of an archive into the store.
//!
//! In: what [`super::describe`] made of the archive. Out: images with their names, all of them or none: until every
//! layer of every image is there and compared, nothing has a name, and what a failed load has brought is garbage. The layers'
//! blobs are kept, because no registry is known to have them.

use std::io::{self, Read, Write};
use std::num::NonZero;
use std::path::Path;
use std::sync::Arc;

use super::{ArchiveError, Contents, Described, Input, Layer, describe};
use crate::image::event::{Event, Listener, Progress};
use crate::image::manifest::Compression;
use crate::image::parallel::{self, Cancel, Cancellable};
use crate::image::policy::{Policy, PolicyError, Transport};
use crate::image::store::{self, BlobClaim, BlobWriter, LayerClaim, LayerRecord, NewImage};
use crate::image::unpack::{UnpackError, UnpackOptions, unpack_layer};
use crate::image::{Descriptor, Digest, Limits, Platform, Reference, Store, StoreError};

/// More at once wait for the disk.
const MOST_LAYERS_AT_ONCE: usize = 4;

/// How to load.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// Which of several platforms; others are refused then. None is this machine's where there is a choice.
    pub platform: Option<Platform>,
    /// What it may cost.
    pub limits: Limits,
    /// See [`UnpackOptions::rootless`].
    pub rootless: bool,
}

/// What was loaded: an image under one of its names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// None where the archive has no name for it.
    pub name: Option<Reference>,
    /// The image's id.
    pub id: Digest,
}

/// Why an archive was not loaded. The caller adds the archive's name.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum LoadError {
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{file}: {source}")]
    Layer { file: String, source: UnpackError },
    #[error("{file} has the DiffID {found}, but its image's configuration says {expected}")]
    DiffId { file: String, found: Digest, expected: Digest },
    #[error(transparent)]
    Policy(#[from] PolicyError),
    #[error("write to the store")]
    Write { source: io::Error },
}

/// Loads all images of an archive that `policy` lets in; `listener` hears of each layer.
pub fn load(
    store: &Store,
    input: &Input,
    options: &LoadOptions,
    policy: &Policy,
    listener: &Listener,
) -> Result<Vec<Loaded>, LoadError> {
    let used = store.use_shared()?;
    let loaded = input
        .open(&store.ingest_path(), &options.limits)
        .map_err(LoadError::from)
        .and_then(|contents| {
            admit(policy, input, &contents)?;
            Ok((describe(&contents, options.platform.as_ref(), &options.limits)?, contents))
        })
        .and_then(|(images, contents)| Load { store, contents: &contents, options, listener }.all(images));
    drop(used);
    if loaded.is_err() {
        // What has come is garbage now. Where somebody else uses the store, it is collected another time.
        let _ = store.collect_garbage();
    }
    loaded
}

/// Does the policy let the archive in? One that is OCI's and docker's at once must be let in as both.
fn admit(policy: &Policy, input: &Input, contents: &Contents) -> Result<(), LoadError> {
    let path = match input {
        Input::Path(path) => Some(path.as_path()),
        Input::Stdin => None,
    };
    if contents.open("index.json")?.is_some() {
        let is_directory = path.is_some_and(Path::is_dir);
        let transport = if is_directory { Transport::OciDirectory } else { Transport::OciArchive };
        policy.check_archive(transport, path)?;
    }
    if contents.open("manifest.json")?.is_some() {
        policy.check_archive(Transport::DockerArchive, path)?;
    }
    Ok(())
}

/// An image of the archive, and the one of the store that it is, if there is one.
type Image<'i> = (Described, Option<&'i store::Image>);

/// What all steps need.
struct Load<'a> {
    store: &'a Store,
    contents: &'a Contents,
    options: &'a LoadOptions,
    listener: &'a Listener,
}

impl Load<'_> {
    fn all(&self, images: Vec<Described>) -> Result<Vec<Loaded>, LoadError> {
        let there = self.store.images()?;
        let known = |image: &Described| image.made.then(|| known(self.store, &there, image)).flatten();
        let with_known = |image| {
            let known = known(&image);
            (image, known)
        };
        let images: Vec<Image<'_>> = images.into_iter().map(with_known).collect();
        let new = || images.iter().filter(|(_, known)| known.is_none()).map(|(image, _)| image);
        self.layers(&distinct(new()))?;
        for image in new() {
            put_documents(self.store, image)?;
        }
        let mut loaded = Vec::new();
        for image in &images {
            name(self.store, image, &mut loaded)?;
        }
        Ok(loaded)
    }

    fn layers(&self, layers: &[&Layer]) -> Result<(), LoadError> {
        layers.iter().for_each(|layer| self.tell(layer, Progress::Waiting));
        let threads = std::thread::available_parallelism().map_or(1, NonZero::get).min(MOST_LAYERS_AT_ONCE);
        parallel::for_each(layers, threads, |layer, cancel| self.layer(layer, cancel))
    }

    /// First the blob, then what is in it: a claim of each, one after the other.
    fn layer(&self, layer: &Layer, cancel: &Arc<Cancel>) -> Result<(), LoadError> {
        let present = match self.store.claim_blob(&layer.descriptor.digest)? {
            BlobClaim::Present(_) => true,
            BlobClaim::Missing(writer) => self.copy(layer, writer, cancel).map(|()| false)?,
        };
        let unpacked = match &layer.unpack {
            Some((compression, diff_id)) => self.unpack(layer, (*compression, diff_id), cancel)?,
            None => false,
        };
        self.tell(layer, if present && !unpacked { Progress::Present } else { Progress::Done });
        Ok(())
    }

    fn copy(&self, layer: &Layer, mut writer: BlobWriter, cancel: &Arc<Cancel>) -> Result<(), LoadError> {
        let Layer { file, descriptor, .. } = layer;
        let inner = self.contents.need(file, "the image")?;
        let mut content = Cancellable { inner, cancel: Arc::clone(cancel) };
        let mut buffer = vec![0; 256 << 10];
        loop {
            match content.read(&mut buffer) {
                Ok(0) => break,
                Ok(got) => writer.write_all(&buffer[..got]).map_err(written)?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(ArchiveError::Read { what: file.clone(), source }.into()),
            }
            self.tell(layer, Progress::Transferred(writer.size()));
        }
        match writer.commit(descriptor) {
            Ok(_) => Ok(()),
            Err(StoreError::WrongDigest { expected, found }) => Err(changed(layer, expected, found)),
            Err(error) => Err(error.into()),
        }
    }

    /// Unpacks a layer whose blob is in the store, unless that was done before.
    fn unpack(
        &self,
        layer: &Layer,
        (compression, diff_id): (Compression, &Digest),
        cancel: &Arc<Cancel>,
    ) -> Result<bool, LoadError> {
        let LayerClaim::Missing(writer) = self.store.claim_layer(diff_id)? else { return Ok(false) };
        let Layer { file, descriptor, .. } = layer;
        let missing = || StoreError::NoBlob { what: "layer", digest: descriptor.digest.clone() };
        let blob = self.store.blob(&descriptor.digest)?.ok_or_else(missing)?;
        let options = UnpackOptions {
            limits: self.options.limits.clone(),
            rootless: self.options.rootless,
            blob_size: Some(descriptor.size),
            blob_algorithm: descriptor.digest.algorithm(),
            diff_algorithm: diff_id.algorithm(),
            copy: None,
        };
        let blob = Cancellable { inner: blob, cancel: Arc::clone(cancel) };
        let mut digests = writer.digests()?;
        let unpacked = unpack_layer(blob, compression, writer.diff(), &mut digests, options)
            .map_err(|source| LoadError::Layer { file: file.clone(), source })?;
        if unpacked.diff_id != *diff_id {
            let (found, expected) = (unpacked.diff_id, diff_id.clone());
            return Err(LoadError::DiffId { file: file.clone(), found, expected });
        }
        let blob = Descriptor::new(&descriptor.media_type, descriptor.digest.clone(), descriptor.size);
        writer.commit(&LayerRecord::of(blob, &unpacked))?;
        Ok(true)
    }

    fn tell(&self, layer: &Layer, progress: Progress) {
        (self.listener)(Event::Blob(&layer.descriptor, progress));
    }
}

/// The image of the store with the same id: it has a manifest that a registry knows, perhaps, and needs no blobs of
/// the archive's.
fn known<'i>(store: &Store, images: &'i [store::Image], described: &Described) -> Option<&'i store::Image> {
    let same = images.iter().filter(|image| !image.foreign && image.id == described.parsed.config.digest);
    let mut whole = same.filter(|image| {
        let contents = store.contents(image);
        contents.is_ok_and(|contents| contents.diff_ids().iter().all(|id| store.layer(id).is_some()))
    });
    whole.next()
}

/// Each layer once, however many images have it.
fn distinct<'i>(images: impl Iterator<Item = &'i Described>) -> Vec<&'i Layer> {
    let mut layers: Vec<&Layer> = images.flat_map(|image| &image.layers).collect();
    let key = |layer: &Layer| {
        (layer.descriptor.digest.clone(), layer.unpack.as_ref().map(|(_, diff_id)| diff_id.clone()))
    };
    let mut seen = std::collections::HashSet::new();
    layers.retain(|layer| seen.insert(key(layer)));
    layers
}

/// Of a plain layer of docker's the digest that was expected is the DiffID of the configuration.
fn changed(layer: &Layer, expected: Digest, found: Digest) -> LoadError {
    let file = layer.file.clone();
    match &layer.unpack {
        Some((Compression::None, diff_id)) if *diff_id == expected => {
            LoadError::DiffId { file, found, expected }
        }
        _ => {
            let (found, expected) = (found.to_string(), expected.to_string());
            ArchiveError::Changed { name: file, found, expected }.into()
        }
    }
}

/// What a [`BlobWriter`] says is the store's error.
fn written(error: io::Error) -> LoadError {
    match error.downcast::<StoreError>() {
        Ok(error) => error.into(),
        Err(source) => LoadError::Write { source },
    }
}

fn put_documents(store: &Store, image: &Described) -> Result<(), LoadError> {
    store.put_blob(&image.parsed.config.digest, &image.config)?;
    store.put_blob(&image.descriptor.digest, &image.manifest)?;
    if let Some((descriptor, bytes)) = &image.index {
        store.put_blob(&descriptor.digest, bytes)?;
    }
    Ok(())
}

/// Makes the image visible under each of its names.
fn name(store: &Store, (image, known): &Image<'_>, loaded: &mut Vec<Loaded>) -> Result<(), LoadError> {
    let index = image.index.as_ref().map(|(descriptor, _)| descriptor.digest.clone());
    let new = NewImage {
        name: None,
        manifest: known.map_or(&image.descriptor, |known| &known.manifest).clone(),
        index: known.map_or(index, |known| known.index.clone()),
        source: None,
        keep_blobs: false,
    };
    let names = image.names.iter().cloned().map(Some);
    let unnamed = image.names.is_empty().then_some(None);
    for name in names.chain(unnamed) {
        let put = store.put_image(&NewImage { name: name.clone(), ..new.clone() })?;
        loaded.push(Loaded { name, id: put.id });
    }
    Ok(())
}
