//! Entries of index.json as images: what rcrun's annotations say.

use std::time::SystemTime;

use super::contents::{Contents, is_index};
use super::index::{Entry, IndexFile};
use super::{Store, StoreError};
use crate::image::{Descriptor, Digest, Reference};
use crate::state::rfc3339;

/// The name of an image in an OCI image layout: annotations.md.
pub(super) const NAME: &str = "org.opencontainers.image.ref.name";
const ID: &str = "org.rcrun.image.id";
const CREATED: &str = "org.rcrun.image.created";
const SIZE: &str = "org.rcrun.image.size";
const HIDDEN_LAYERS: &str = "org.rcrun.image.hidden-layers";
const INDEX: &str = "org.rcrun.image.index";
const SOURCES: &str = "org.rcrun.image.sources";
const KEEP_BLOBS: &str = "org.rcrun.image.keep-blobs";
const STORED: &str = "org.rcrun.image.stored";

/// The longest of an image's words that are kept here, in bytes.
const LONGEST: usize = 255;

/// One entry of index.json: an image under one of its names, or without any. An image of several names has an entry
/// for each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// The digest of the configuration; of an artifact that of the manifest.
    pub id: Digest,
    /// Its name with a tag or a digest, never both. None where its name went to another image.
    pub name: Option<Reference>,
    /// Its manifest as index.json has it; an index only where another program put it there.
    pub manifest: Descriptor,
    /// The index that the manifest was chosen from.
    pub index: Option<Digest>,
    /// Where registries are known to have it: names with the digest that it has there.
    pub sources: Vec<Reference>,
    /// Are its layer blobs kept although its layers are unpacked?
    pub keep_blobs: bool,
    /// When it was built, RFC 3339.
    pub created: Option<String>,
    /// Bytes of its unpacked layers, shared ones too.
    pub size: Option<u64>,
    /// How many of its lowest layers are hidden as a whole: a higher one has an opaque root. They are not mounted.
    pub hidden_layers: usize,
    /// When this entry was made, RFC 3339.
    pub stored: Option<String>,
    /// Did another program write this entry? Such are removed only when they are named.
    pub foreign: bool,
}

/// What [`Store::put_image`] makes an entry of. Its manifest, index and configuration are in the store by then.
#[derive(Clone, Debug)]
pub struct NewImage {
    /// None for one without a name.
    pub name: Option<Reference>,
    /// Its manifest.
    pub manifest: Descriptor,
    /// The index that the manifest was chosen from.
    pub index: Option<Digest>,
    /// The registry's name that it was pulled from: the digest that it has there is added.
    pub source: Option<Reference>,
    /// Keep its layer blobs for good.
    pub keep_blobs: bool,
}

impl Image {
    /// Has it no tag? Such images are what `image prune` removes.
    pub fn is_untagged(&self) -> bool {
        self.name.as_ref().is_none_or(|name| name.tag().is_none())
    }

    /// Its names in registries, with digests.
    pub fn repo_digests(&self) -> Vec<String> {
        self.sources.iter().map(Reference::familiar).collect()
    }

    /// For messages: its name, else its id.
    pub fn title(&self) -> String {
        self.name.as_ref().map_or_else(|| self.id.short().to_owned(), Reference::familiar)
    }

    /// What an entry says; None of one that rcrun did not write.
    pub(super) fn ours(descriptor: &Descriptor) -> Option<Self> {
        let said = |key: &str| descriptor.annotations.get(key).map(String::as_str);
        let sources = said(SOURCES).unwrap_or_default().split_whitespace();
        Some(Self {
            id: said(ID)?.parse().ok()?,
            name: said(NAME).and_then(name),
            manifest: descriptor.clone(),
            index: said(INDEX).and_then(|digest| digest.parse().ok()),
            sources: sources.filter_map(|source| source.parse().ok()).collect(),
            keep_blobs: said(KEEP_BLOBS) == Some("true"),
            created: said(CREATED).map(str::to_owned),
            size: said(SIZE).and_then(|size| size.parse().ok()),
            hidden_layers: said(HIDDEN_LAYERS).and_then(|count| count.parse().ok()).unwrap_or_default(),
            stored: said(STORED).map(str::to_owned),
            foreign: false,
        })
    }

    pub(super) fn entry(&self) -> Entry {
        let mut descriptor = self.manifest.clone();
        let sources: Vec<String> = self.sources.iter().map(Reference::to_string).collect();
        let said = [
            (NAME, self.name.as_ref().map(Reference::to_string)),
            (ID, Some(self.id.to_string())),
            (CREATED, self.created.clone()),
            (SIZE, self.size.map(|size| size.to_string())),
            (HIDDEN_LAYERS, (self.hidden_layers > 0).then(|| self.hidden_layers.to_string())),
            (INDEX, self.index.as_ref().map(Digest::to_string)),
            (SOURCES, (!sources.is_empty()).then(|| sources.join(" "))),
            (KEEP_BLOBS, self.keep_blobs.then(|| "true".to_owned())),
            (STORED, self.stored.clone()),
        ];
        for (key, value) in said {
            match value {
                Some(value) => descriptor.annotations.insert(key.to_owned(), value),
                None => descriptor.annotations.remove(key),
            };
        }
        Entry::of(descriptor)
    }
}

/// A name as an entry has it. What another program has written may be a tag alone, and then reads as a short name.
pub(super) fn name(text: &str) -> Option<Reference> {
    text.parse::<Reference>().ok().map(Reference::or_latest)
}

impl Store {
    /// All entries, in the order of index.json. Reads that file alone, and manifests of what other programs added.
    pub fn images(&self) -> Result<Vec<Image>, StoreError> {
        Ok(self.images_in(&self.index()?))
    }

    pub(super) fn images_in(&self, index: &IndexFile) -> Vec<Image> {
        index.descriptors().map(|descriptor| self.image(descriptor)).collect()
    }

    fn image(&self, descriptor: &Descriptor) -> Image {
        Image::ours(descriptor).unwrap_or_else(|| {
            let contents = self.contents_of(descriptor).ok();
            Image {
                id: contents.as_ref().map_or(&descriptor.digest, Contents::id).clone(),
                name: descriptor.annotations.get(NAME).and_then(|text| name(text)),
                manifest: descriptor.clone(),
                index: is_index(descriptor).then(|| descriptor.digest.clone()),
                sources: Vec::new(),
                keep_blobs: true,
                created: contents.as_ref().and_then(|contents| contents.facts.as_ref()?.created.clone()),
                size: contents.as_ref().map(|contents| self.size_of(contents)),
                hidden_layers: contents
                    .as_ref()
                    .map_or(0, |contents| self.hidden_layers(contents.diff_ids())),
                stored: None,
                foreign: true,
            }
        })
    }

    /// Makes an image of what is in the store: [`Store::put_image`] without an entry.
    pub(super) fn new_image(&self, new: &NewImage) -> Result<Image, StoreError> {
        let contents = self.contents_of(&new.manifest)?;
        let mut manifest =
            Descriptor::new(&contents.manifest.media_type, new.manifest.digest.clone(), new.manifest.size);
        // Each command reads index.json: no image says more in it than a name has room for.
        let is_short = |text: &str| text.len() <= LONGEST;
        manifest.platform = contents.facts.as_ref().map(|facts| facts.platform());
        manifest.platform.take_if(|platform| !is_short(&platform.to_string()));
        manifest.artifact_type = contents.manifest.artifact_type.clone().filter(|kind| is_short(kind));
        let created = contents.facts.as_ref().and_then(|facts| facts.created.clone());
        let there = new.index.as_ref().unwrap_or(&manifest.digest);
        Ok(Image {
            id: contents.id().clone(),
            name: new.name.clone().map(one_kind),
            index: new.index.clone(),
            sources: new.source.iter().map(|source| source.with_digest(there)).collect(),
            keep_blobs: new.keep_blobs,
            created: created.filter(|time| is_short(time)),
            size: Some(self.size_of(&contents)),
            hidden_layers: self.hidden_layers(contents.diff_ids()),
            stored: Some(rfc3339(SystemTime::now())),
            foreign: false,
            manifest,
        })
    }

    /// The number of layers below the highest one with an opaque root.
    pub(in crate::image) fn hidden_layers(&self, diff_ids: &[Digest]) -> usize {
        let is_opaque = |diff_id: &Digest| {
            self.layer(diff_id).is_some_and(|layer| layer.record().is_ok_and(|record| record.opaque_root))
        };
        diff_ids.iter().rposition(is_opaque).unwrap_or(0)
    }

    /// Bytes of the unpacked layers; of those that are not unpacked, and of artifacts, of the blobs.
    fn size_of(&self, contents: &Contents) -> u64 {
        let blobs = contents.manifest.layers.iter().map(|layer| layer.size);
        let unpacked =
            contents.diff_ids().iter().map(|diff_id| Some(self.layer(diff_id)?.record().ok()?.bytes));
        let unpacked = unpacked.map(Some).chain(std::iter::repeat(None));
        blobs.zip(unpacked).map(|(blob, unpacked)| unpacked.flatten().unwrap_or(blob)).sum()
    }
}

/// A name of a tag and a digest is one by digest: that is what it finds.
pub(super) fn one_kind(name: Reference) -> Reference {
    match name.digest().cloned() {
        Some(digest) => name.with_digest(&digest),
        None => name.or_latest(),
    }
}
