//! OCI image layouts: OCI image specification, image-layout.md. `skopeo copy oci-archive:` and `oci:`, `buildah push`,
//! `docker buildx`, `umoci`, `docker save` since version 25.

use serde::Deserialize;

use super::described::{Configuration, Described, Layer};
use super::{ArchiveError, Contents, names};
use crate::image::manifest::{ACCEPTED, Compression, OCI_INDEX};
use crate::image::{
    Descriptor, Digest, Document, Index, Limits, Manifest, ManifestError, Platform, Reference,
};

/// An index of indexes of indexes is the most that makes sense.
const DEEPEST: usize = 3;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Marker {
    image_layout_version: String,
}

/// index.json; None where this is no layout.
pub(super) fn index(contents: &Contents, limits: &Limits) -> Result<Option<Index>, ArchiveError> {
    let Some(marker) = contents.json::<Marker>("oci-layout", limits.manifest_bytes)? else { return Ok(None) };
    if !marker.image_layout_version.starts_with("1.") {
        return Err(ArchiveError::LayoutVersion(marker.image_layout_version));
    }
    let Some(content) = contents.open("index.json")? else { return Ok(None) };
    let bytes = content.bytes("index.json", limits.manifest_bytes, "MANIFEST_BYTES")?;
    let within = || "index.json".to_owned();
    match Document::parse(&bytes, Some(OCI_INDEX), limits) {
        Ok(Document::Index(index)) => Ok(Some(index)),
        Ok(Document::Manifest(_)) => {
            let source = ManifestError::Kind { said: OCI_INDEX.into(), is: "a manifest" };
            Err(ArchiveError::Manifest { within: within(), source })
        }
        Err(source) => Err(ArchiveError::Manifest { within: within(), source }),
    }
}

/// The images that index.json lists: one for each name, and those without a name; artifacts only by name.
pub(super) fn images(
    contents: &Contents,
    index: Index,
    wanted: Option<&Platform>,
    limits: &Limits,
) -> Result<Vec<Described>, ArchiveError> {
    let platform = wanted.cloned().unwrap_or_else(Platform::host);
    let layout = Layout { contents, platform, limits };
    let mut images: Vec<Described> = Vec::new();
    for (names, entries) in grouped(index)? {
        let chosen = layout.choose(&names, entries)?;
        let image = layout.resolve(&chosen, None, DEEPEST)?;
        match images.iter_mut().find(|other| other.descriptor.digest == image.descriptor.digest) {
            Some(other) => other.names.extend(names),
            None if names.is_none() && image.platform.is_none() => {}
            None => images.push(Described { names: names.into_iter().collect(), ..image }),
        }
    }
    match images.is_empty() {
        true => Err(ArchiveError::EmptyList { name: "index.json" }),
        false => Ok(images),
    }
}

/// A name, if there is one, and what index.json has for it.
type Group = (Option<Reference>, Vec<Descriptor>);

/// The entries of each name together, in the order of the first ones.
fn grouped(index: Index) -> Result<Vec<Group>, ArchiveError> {
    let mut groups: Vec<Group> = Vec::new();
    for entry in index.manifests {
        // Layouts may list anything.
        if !entry.media_type.is_empty() && !ACCEPTED.contains(&&*entry.media_type) {
            continue;
        }
        let name = names::of_annotations(&entry.annotations)?;
        let group = groups.iter_mut().find(|(other, _)| name.is_some() && *other == name);
        match group {
            Some((_, entries)) if entries.iter().any(|other| other.digest == entry.digest) => {}
            Some((_, entries)) => entries.push(entry),
            None => groups.push((name, vec![entry])),
        }
    }
    Ok(groups)
}

/// A layout, and what of it is wanted.
struct Layout<'a> {
    contents: &'a Contents,
    platform: Platform,
    limits: &'a Limits,
}

impl Layout<'_> {
    /// The one of a name's entries that is for the platform.
    fn choose(
        &self,
        name: &Option<Reference>,
        mut entries: Vec<Descriptor>,
    ) -> Result<Descriptor, ArchiveError> {
        if entries.len() == 1 {
            return Ok(entries.remove(0));
        }
        let name = name.as_ref().map(Reference::familiar).unwrap_or_default();
        if entries.iter().any(|entry| entry.platform.is_none()) {
            return Err(ArchiveError::SameName { within: "index.json", name });
        }
        self.best(&name, entries)
    }

    fn best(&self, within: &str, manifests: Vec<Descriptor>) -> Result<Descriptor, ArchiveError> {
        let index = Index { media_type: OCI_INDEX.into(), manifests, annotations: Default::default() };
        let chosen = index.choose(&self.platform).cloned();
        chosen.map_err(|source| ArchiveError::Manifest { within: within.to_owned(), source })
    }

    /// The image that `descriptor` leads to, at most `deepest` indexes away.
    fn resolve(
        &self,
        descriptor: &Descriptor,
        chosen_from: Option<(Descriptor, Vec<u8>)>,
        deepest: usize,
    ) -> Result<Described, ArchiveError> {
        let name = blob_name(&descriptor.digest);
        let bytes = self.blob(descriptor, "index.json", self.limits.manifest_bytes, "MANIFEST_BYTES")?;
        let announced = Some(descriptor.media_type.as_str()).filter(|said| !said.is_empty());
        let document = Document::parse(&bytes, announced, self.limits)
            .map_err(|source| ArchiveError::Manifest { within: name.clone(), source })?;
        let media_type = document.media_type().to_owned();
        let own = Descriptor::new(&media_type, descriptor.digest.clone(), descriptor.size);
        match document {
            Document::Manifest(parsed) => self.image(own, bytes, parsed, chosen_from),
            Document::Index(_) if deepest == 0 => Err(ArchiveError::Nested(name)),
            Document::Index(index) => {
                let chosen = self.best_present(&name, index)?;
                self.resolve(&chosen, chosen_from.or(Some((own, bytes))), deepest - 1)
            }
        }
    }

    /// The best of an index's entries that the archive has: `docker save` leaves out what was never pulled.
    fn best_present(&self, within: &str, index: Index) -> Result<Descriptor, ArchiveError> {
        let mut present = Vec::new();
        for entry in &index.manifests {
            if self.contents.open(&blob_name(&entry.digest))?.is_some() {
                present.push(entry.clone());
            }
        }
        match present.is_empty() {
            // What is missing is then the one that would have been chosen.
            true => self.best(within, index.manifests),
            false => self.best(within, present),
        }
    }

    fn image(
        &self,
        descriptor: Descriptor,
        manifest: Vec<u8>,
        parsed: Manifest,
        index: Option<(Descriptor, Vec<u8>)>,
    ) -> Result<Described, ArchiveError> {
        let within = blob_name(&descriptor.digest);
        let config = self.blob(&parsed.config, &within, self.limits.config_bytes, "CONFIG_BYTES")?;
        let mut described = Described {
            names: Vec::new(),
            descriptor,
            manifest,
            made: false,
            config,
            layers: Vec::new(),
            index,
            platform: None,
            parsed,
        };
        let diff_ids = match described.parsed.is_image() {
            false => None,
            true => {
                let name = blob_name(&described.parsed.config.digest);
                let layers = described.parsed.layers.len();
                let configuration = Configuration::parse(&name, &described.config, &within, layers)?;
                described.platform = Some(configuration.platform);
                Some(configuration.diff_ids)
            }
        };
        let at = |at: usize| diff_ids.as_ref().map(|ids| ids[at].clone());
        let layers = described.parsed.layers.iter().enumerate();
        described.layers =
            layers.map(|(i, layer)| self.layer(&within, layer, at(i))).collect::<Result<_, _>>()?;
        Ok(described)
    }

    fn layer(
        &self,
        within: &str,
        descriptor: &Descriptor,
        diff_id: Option<Digest>,
    ) -> Result<Layer, ArchiveError> {
        let file = blob_name(&descriptor.digest);
        let unpack = match diff_id {
            None => None,
            Some(diff_id) => {
                let compression = Compression::of(&descriptor.media_type);
                let compression = compression.ok_or_else(|| ArchiveError::LayerType {
                    within: within.to_owned(),
                    digest: descriptor.digest.to_string(),
                    media_type: descriptor.media_type.clone(),
                })?;
                Some((compression, diff_id))
            }
        };
        let found = self.contents.need(&file, within)?.size();
        same_size(&file, found, descriptor.size, within)?;
        Ok(Layer { file, descriptor: descriptor.clone(), unpack })
    }

    /// The whole of a blob, compared with its digest.
    fn blob(
        &self,
        descriptor: &Descriptor,
        needed_by: &str,
        most: u64,
        variable: &'static str,
    ) -> Result<Vec<u8>, ArchiveError> {
        let name = blob_name(&descriptor.digest);
        let content = self.contents.need(&name, needed_by)?;
        same_size(&name, content.size(), descriptor.size, needed_by)?;
        let bytes = content.bytes(&name, most, variable)?;
        let found = Digest::of_with(descriptor.digest.algorithm(), &bytes);
        match found == descriptor.digest {
            true => Ok(bytes),
            false => Err(ArchiveError::Changed {
                name,
                found: found.to_string(),
                expected: descriptor.digest.to_string(),
            }),
        }
    }
}

/// Where a layout has the blob of this digest.
pub(super) fn blob_name(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm().name(), digest.hex())
}

fn same_size(name: &str, found: u64, expected: u64, needed_by: &str) -> Result<(), ArchiveError> {
    match found == expected {
        true => Ok(()),
        false => {
            let (name, needed_by) = (name.to_owned(), needed_by.to_owned());
            Err(ArchiveError::Size { name, found, expected, needed_by })
        }
    }
}
