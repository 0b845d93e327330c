//! Images of the store as an archive.
//!
//! In: images by name or without. Out: an OCI image layout, with docker's manifest.json in it unless it is to be OCI's alone; the
//! same bytes for the same images, whenever and wherever. Blobs are the very ones that the manifests name: a layer that is
//! only there unpacked is fetched again, because packed again it would be another one. All of that is known to be there
//! before the first byte is written, and compared with its digest while it is.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read, Write};

use serde::Serialize;
use serde_json::json;

use super::output::{Output, OutputError, Verified};
use super::{input, names, oci};
use crate::image::event::{Event, Listener, Progress, Watched};
use crate::image::manifest::OCI_INDEX;
use crate::image::registry::Blob;
use crate::image::store::{Contents, Image};
use crate::image::{Descriptor, Digest, Reference, Store, StoreError};

/// What [`save`] writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A tar archive of an OCI layout with docker's manifest.json in it: what `docker save` writes.
    DockerArchive,
    /// A tar archive of an OCI layout.
    OciArchive,
    /// An OCI layout.
    OciDirectory,
}

/// One image to save.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Which.
    pub image: Image,
    /// What it is called in the archive.
    pub name: Option<Reference>,
}

/// Gets a blob that the store has not: [`crate::image::missing::fetch`]. What it answers is not trusted.
pub type Fetch<'a> = dyn Fn(&Image, &Descriptor) -> Result<Blob, Box<dyn Error + Send + Sync>> + 'a;

/// Why images could not be saved.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum SaveError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Output(#[from] OutputError),
    #[error("{image} cannot be saved: blobs are missing, which are needed as they were pulled: {why}")]
    Missing { image: String, why: String },
}

/// Writes `images` to `output`; `listener` hears of each blob that is fetched.
pub fn save(
    store: &Store,
    images: &[Wanted],
    format: Format,
    output: Output,
    fetch: &Fetch<'_>,
    listener: &Listener,
) -> Result<(), SaveError> {
    let _use = store.use_shared()?;
    let layout = Layout::of(store, images, format)?;
    let fetched = layout.fetch_missing(store, fetch, listener)?;
    let mut output = output.start(format)?;
    for (name, bytes) in layout.documents() {
        output.file(name, bytes.len() as u64, &mut bytes.as_slice())?;
    }
    for (digest, (_, descriptor)) in &layout.blobs {
        let source: Box<dyn Read> = match (fetched.get(digest), store.blob(digest)?) {
            (Some(file), _) => Box::new(file.try_clone().map_err(|source| spool(store, source))?),
            (None, Some(file)) => Box::new(file),
            (None, None) => {
                return Err(StoreError::NoBlob { what: "blob", digest: digest.clone() }.into());
            }
        };
        let mut verified = Verified::new(source, descriptor);
        output.file(&oci::blob_name(digest), descriptor.size, &mut verified)?;
    }
    Ok(output.finish()?)
}

/// Everything that will be written.
struct Layout {
    marker: Vec<u8>,
    index: Vec<u8>,
    /// docker's, where it is wanted.
    manifest: Option<Vec<u8>>,
    /// In the order of their digests, each with an image that needs it.
    blobs: BTreeMap<Digest, (Image, Descriptor)>,
}

/// One image of manifest.json, as `docker save` has it.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    config: String,
    repo_tags: Vec<String>,
    layers: Vec<String>,
}

impl Layout {
    fn of(store: &Store, images: &[Wanted], format: Format) -> Result<Self, SaveError> {
        let mut entries: Vec<Descriptor> = Vec::new();
        let mut listed: Vec<(Digest, Listed)> = Vec::new();
        let mut blobs = BTreeMap::new();
        for Wanted { image, name } in images {
            let contents = store.contents(image)?;
            let entry = entry(&contents, name.as_ref());
            if !entries.contains(&entry) {
                entries.push(entry);
            }
            let manifest = &contents.manifest;
            for blob in [&contents.descriptor, &manifest.config].into_iter().chain(&manifest.layers) {
                blobs.entry(blob.digest.clone()).or_insert_with(|| (image.clone(), blob.clone()));
            }
            if contents.facts.is_some() {
                list(&mut listed, &contents, name.as_ref());
            }
        }
        let listed: Vec<Listed> = listed.into_iter().map(|(_, listed)| listed).collect();
        let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries});
        Ok(Self {
            marker: br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec(),
            index: index.to_string().into_bytes(),
            manifest: (format == Format::DockerArchive && !listed.is_empty()).then(|| {
                serde_json::to_vec(&listed).expect("a list of names has no keys that are no strings")
            }),
            blobs,
        })
    }

    /// First, so that a reader of a stream knows what the blobs are.
    fn documents(&self) -> impl Iterator<Item = (&str, &Vec<u8>)> {
        let manifest = self.manifest.as_ref().map(|manifest| ("manifest.json", manifest));
        [("oci-layout", &self.marker), ("index.json", &self.index)].into_iter().chain(manifest)
    }

    /// Gets what the store has not into files without a name.
    fn fetch_missing(
        &self,
        store: &Store,
        fetch: &Fetch<'_>,
        listener: &Listener,
    ) -> Result<BTreeMap<Digest, File>, SaveError> {
        let mut fetched = BTreeMap::new();
        let mut reasons: BTreeMap<String, Vec<&Digest>> = BTreeMap::new();
        let mut concerned = None;
        for (digest, (image, descriptor)) in &self.blobs {
            if store.blob(digest)?.is_some() {
                continue;
            }
            match fetch_one(store, (image, descriptor), fetch, listener)? {
                Ok(file) => drop(fetched.insert(digest.clone(), file)),
                Err(reason) => {
                    reasons.entry(reason).or_default().push(digest);
                    concerned.get_or_insert(image);
                }
            }
        }
        let Some(image) = concerned else { return Ok(fetched) };
        let mut why = String::new();
        for (reason, digests) in &reasons {
            let digests: Vec<String> = digests.iter().map(|digest| digest.to_string()).collect();
            let separator = if why.is_empty() { "" } else { "; " };
            let _ = write!(why, "{separator}{} ({reason})", digests.join(", "));
        }
        Err(SaveError::Missing { image: image.title(), why })
    }
}

/// The file with the blob's bytes, or why there is none.
fn fetch_one(
    store: &Store,
    (image, descriptor): (&Image, &Descriptor),
    fetch: &Fetch<'_>,
    listener: &Listener,
) -> Result<Result<File, String>, SaveError> {
    if image.sources.is_empty() {
        return Ok(Err("no registry is known to have it".to_owned()));
    }
    let blob = match fetch(image, descriptor) {
        Ok(blob) => blob,
        Err(error) => return Ok(Err(chain(&*error))),
    };
    let mut file = input::unnamed(&store.ingest_path()).map_err(|source| spool(store, source))?;
    let mut verified = Verified::new(Watched::new(blob, descriptor, listener), descriptor);
    let mut buffer = vec![0; 256 << 10];
    loop {
        match verified.read(&mut buffer) {
            Ok(0) => break,
            Ok(got) => file.write_all(&buffer[..got]).map_err(|source| spool(store, source))?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Ok(Err(chain(&error))),
        }
    }
    io::Seek::rewind(&mut file).map_err(|source| spool(store, source))?;
    listener(Event::Blob(descriptor, Progress::Done));
    Ok(Ok(file))
}

fn spool(store: &Store, error: io::Error) -> SaveError {
    StoreError::file("write a blob to", &store.ingest_path(), error).into()
}

/// An error with its causes.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    text
}

/// An entry of index.json, without what only the store's own index.json says.
fn entry(contents: &Contents, name: Option<&Reference>) -> Descriptor {
    let Descriptor { media_type, digest, size, .. } = &contents.descriptor;
    let mut entry = Descriptor::new(media_type, digest.clone(), *size);
    entry.platform = contents.facts.as_ref().map(|facts| facts.platform());
    entry.artifact_type = contents.manifest.artifact_type.clone();
    for key in name.iter().flat_map(|_| [names::IMAGE_NAME, names::REF_NAME]) {
        entry.annotations.insert(key.to_owned(), name.map(Reference::to_string).unwrap_or_default());
    }
    entry
}

/// Adds an image to manifest.json, or its name to that of the same configuration and layers.
fn list(listed: &mut Vec<(Digest, Listed)>, contents: &Contents, name: Option<&Reference>) {
    let digest = &contents.descriptor.digest;
    let tag = name.filter(|name| name.tag().is_some()).map(Reference::familiar);
    if let Some((_, known)) = listed.iter_mut().find(|(known, _)| known == digest) {
        let new = tag.filter(|tag| !known.repo_tags.contains(tag));
        known.repo_tags.extend(new);
        return;
    }
    let manifest = &contents.manifest;
    listed.push((
        digest.clone(),
        Listed {
            config: oci::blob_name(&manifest.config.digest),
            repo_tags: tag.into_iter().collect(),
            layers: manifest.layers.iter().map(|layer| oci::blob_name(&layer.digest)).collect(),
        },
    ));
}
