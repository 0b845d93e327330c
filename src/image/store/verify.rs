//! Compares what is stored with its digests: documents and kept blobs byte by byte, layers with the lists that were
//! written when they were unpacked.

use std::collections::HashSet;
use std::io::{BufReader, Read};

use super::{Image, Layer, Store, StoreError, layout};
use crate::image::digest::Hasher;
use crate::image::unpack::verify_layer;
use crate::image::{Descriptor, Digest};

/// Bytes that are read at once.
const PIECE: usize = 1 << 20;

/// One thing that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// `layer sha256:...`, `image web:1`.
    pub object: String,
    /// What is wrong with it.
    pub what: String,
}

/// How much was compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Images.
    pub images: usize,
    /// Layers, each once.
    pub layers: usize,
    /// Blobs, each once.
    pub blobs: usize,
}

struct Verification<'s, 'f> {
    store: &'s Store,
    found: &'f mut dyn FnMut(Finding),
    layers: HashSet<Digest>,
    blobs: HashSet<Digest>,
}

impl Store {
    /// Verifies images with all that belongs to them; `found` hears of each difference as it is found.
    pub fn verify(&self, images: &[Image], found: &mut dyn FnMut(Finding)) -> Result<Verified, StoreError> {
        let _use = self.use_shared()?;
        let mut verification = Verification::of(self, found);
        images.iter().for_each(|image| verification.image(image));
        Ok(verification.counted(images.len()))
    }

    /// Verifies everything in the store, also what no image has.
    pub fn verify_all(&self, found: &mut dyn FnMut(Finding)) -> Result<Verified, StoreError> {
        let _use = self.use_shared()?;
        let images = self.images()?;
        let mut verification = Verification::of(self, found);
        images.iter().for_each(|image| verification.image(image));
        for (digest, _) in self.stored(layout::BLOBS)? {
            verification.blob(&digest);
        }
        for (diff_id, path) in self.stored(layout::LAYERS)? {
            match self.layer(&diff_id) {
                Some(layer) => verification.layer(&layer),
                None => verification
                    .say(format!("layer {diff_id}"), format!("{} has no layer.json", path.display())),
            }
        }
        Ok(verification.counted(images.len()))
    }
}

impl<'s, 'f> Verification<'s, 'f> {
    fn of(store: &'s Store, found: &'f mut dyn FnMut(Finding)) -> Self {
        Self { store, found, layers: HashSet::new(), blobs: HashSet::new() }
    }

    fn counted(&self, images: usize) -> Verified {
        Verified { images, layers: self.layers.len(), blobs: self.blobs.len() }
    }

    fn say(&mut self, object: String, what: String) {
        (self.found)(Finding { object, what });
    }

    fn image(&mut self, image: &Image) {
        let object = || format!("image {}", image.title());
        // The index is kept for its digest alone: that it is gone harms nobody.
        for digest in image.index.iter().chain([&image.manifest.digest]) {
            self.blob(digest);
        }
        let contents = match self.store.contents(image) {
            Ok(contents) => contents,
            Err(error) => return self.say(object(), error.to_string()),
        };
        self.blob(&contents.descriptor.digest);
        self.blob(&contents.manifest.config.digest);
        let diff_ids = contents.diff_ids();
        if contents.facts.is_some() && diff_ids.len() != contents.manifest.layers.len() {
            let (layers, ids) = (contents.manifest.layers.len(), diff_ids.len());
            self.say(object(), format!("its manifest has {layers} layers, its configuration {ids} DiffIDs"));
        }
        for (at, blob) in contents.manifest.layers.iter().enumerate() {
            self.blob(&blob.digest);
            self.layer_of(image, blob, diff_ids.get(at));
        }
    }

    /// A layer is there unpacked or as a blob, or not at all.
    fn layer_of(&mut self, image: &Image, blob: &Descriptor, diff_id: Option<&Digest>) {
        if let Some(layer) = diff_id.and_then(|diff_id| self.store.layer(diff_id)) {
            return self.layer(&layer);
        }
        if !self.store.blob_path(&blob.digest).exists() {
            let digest = diff_id.unwrap_or(&blob.digest);
            let what = format!("layer {digest} is not there: pull or load the image again");
            self.say(format!("image {}", image.title()), what);
        }
    }

    fn layer(&mut self, layer: &Layer) {
        if !self.layers.insert(layer.diff_id.clone()) {
            return;
        }
        let object = format!("layer {}", layer.diff_id);
        if let Err(error) = layer.record() {
            self.say(object.clone(), error.to_string());
        }
        let parts = layer.open_diff().and_then(|diff| Ok((diff, layer.digests()?)));
        let (diff, digests) = match parts {
            Ok(parts) => parts,
            Err(error) => return self.say(object, error.to_string()),
        };
        match verify_layer(std::os::fd::AsFd::as_fd(&diff), BufReader::new(digests)) {
            Ok(differences) => differences.iter().for_each(|one| self.say(object.clone(), one.to_string())),
            Err(error) => self.say(object, error.to_string()),
        }
    }

    /// Also one that is not there is visited: who needs it says so.
    fn blob(&mut self, digest: &Digest) {
        if self.blobs.contains(digest) {
            return;
        }
        let object = format!("blob {digest}");
        match self.store.blob(digest).and_then(|file| file.map(|file| self.hashed(file, digest)).transpose())
        {
            Ok(None) => return,
            Ok(Some(found)) if found != *digest => self.say(object, format!("its content is {found}")),
            Ok(Some(_)) => {}
            Err(error) => self.say(object, error.to_string()),
        }
        self.blobs.insert(digest.clone());
    }

    fn hashed(&self, mut file: impl Read, digest: &Digest) -> Result<Digest, StoreError> {
        let mut hasher = Hasher::new(digest.algorithm());
        let mut piece = vec![0; PIECE];
        loop {
            match file.read(&mut piece) {
                Ok(0) => return Ok(hasher.finish()),
                Ok(length) => hasher.update(&piece[..length]),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(StoreError::file("read", &self.store.blob_path(digest), error)),
            }
        }
    }
}
