//! What an image's manifest and configuration say: OCI image specification, config.md, and Docker's of the same fields.

use serde::Deserialize;
use serde_json::Value;

use super::{Image, Store, StoreError};
use crate::image::manifest::{DOCKER_INDEX, OCI_INDEX};
use crate::image::{Descriptor, Digest, Document, Limits, Manifest, Platform};
use crate::text::on_one_line;

/// An image's documents, verified.
#[derive(Clone, Debug)]
pub struct Contents {
    /// Which manifest: an entry of index.json may also be an index.
    pub descriptor: Descriptor,
    /// The same, read.
    pub manifest: Manifest,
    /// The configuration's bytes.
    pub config: Vec<u8>,
    /// What the store needs of them; None of what is no image.
    pub facts: Option<Facts>,
}

/// What the store needs of a configuration. [`oci_spec::image::ImageConfiguration`] is the whole, and stricter.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Facts {
    /// When it was built, RFC 3339.
    #[serde(default)]
    pub created: Option<String>,
    /// Who built it.
    #[serde(default)]
    pub author: Option<String>,
    /// `amd64`.
    #[serde(default)]
    pub architecture: String,
    /// `linux`.
    #[serde(default)]
    pub os: String,
    /// `v8`.
    #[serde(default)]
    pub variant: Option<String>,
    /// Of the system: Windows has one.
    #[serde(default, rename = "os.version")]
    pub os_version: Option<String>,
    /// Docker's.
    #[serde(default)]
    pub comment: Option<String>,
    /// Docker's.
    #[serde(default)]
    pub docker_version: Option<String>,
    /// How to run it.
    #[serde(default)]
    pub config: Option<Value>,
    /// What is in it.
    pub rootfs: RootFs,
    /// How it was built.
    #[serde(default)]
    pub history: Option<Vec<History>>,
}

/// The layers of a configuration.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct RootFs {
    /// From the lowest to the highest.
    #[serde(default)]
    pub diff_ids: Option<Vec<Digest>>,
}

/// One step of a build.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct History {
    /// When, RFC 3339.
    #[serde(default)]
    pub created: Option<String>,
    /// By which command.
    #[serde(default)]
    pub created_by: Option<String>,
    /// Why.
    #[serde(default)]
    pub comment: Option<String>,
    /// Without a layer.
    #[serde(default)]
    pub empty_layer: bool,
}

impl Facts {
    /// Reads a configuration.
    pub fn parse(digest: &Digest, bytes: &[u8]) -> Result<Self, StoreError> {
        let mut json = serde_json::Deserializer::from_slice(bytes);
        // It names keys of the document, which may be anything.
        serde_path_to_error::deserialize(&mut json).map_err(|error| StoreError::Config {
            digest: digest.clone(),
            reason: on_one_line(&error.to_string()),
        })
    }

    /// The DiffIDs, from the lowest layer to the highest.
    pub fn diff_ids(&self) -> &[Digest] {
        self.rootfs.diff_ids.as_deref().unwrap_or_default()
    }

    /// What it was built for.
    pub fn platform(&self) -> Platform {
        let (os, architecture) = (self.os.clone(), self.architecture.clone());
        Platform { os, architecture, variant: self.variant.clone() }.normalized()
    }

    /// The labels.
    pub fn labels(&self) -> Vec<(String, String)> {
        let labels = self.config.as_ref().and_then(|config| config["Labels"].as_object());
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let all = labels.into_iter().flatten();
        all.filter_map(|(key, value)| Some((key.clone(), text(value)?))).collect()
    }
}

impl Contents {
    /// The image's id: the digest of its configuration; of an artifact, whose configuration is often `{}`, that of its
    /// manifest.
    pub fn id(&self) -> &Digest {
        match self.facts {
            Some(_) => &self.manifest.config.digest,
            None => &self.descriptor.digest,
        }
    }

    /// The DiffIDs, from the lowest layer to the highest; none of an artifact.
    pub fn diff_ids(&self) -> &[Digest] {
        self.facts.as_ref().map_or(&[], Facts::diff_ids)
    }
}

impl Store {
    /// Reads an image's documents.
    pub fn contents(&self, image: &Image) -> Result<Contents, StoreError> {
        self.contents_of(&image.manifest)
    }

    /// Reads the documents of a manifest; of an index that another program has put there, of its manifest for this machine.
    pub fn contents_of(&self, descriptor: &Descriptor) -> Result<Contents, StoreError> {
        let mut descriptor = descriptor.clone();
        let manifest = match self.document(&descriptor)? {
            Document::Manifest(manifest) => manifest,
            Document::Index(index) => {
                let failed = |error| StoreError::Manifest { digest: descriptor.digest.clone(), error };
                let chosen = index.choose(&Platform::host()).map_err(failed)?.clone();
                descriptor = chosen;
                match self.document(&descriptor)? {
                    Document::Manifest(manifest) => manifest,
                    Document::Index(_) => {
                        let reason = "an index in an index".to_owned();
                        return Err(StoreError::BadBlob { digest: descriptor.digest, reason });
                    }
                }
            }
        };
        let config = self.read_blob("configuration", &manifest.config)?;
        let facts =
            manifest.is_image().then(|| Facts::parse(&manifest.config.digest, &config)).transpose()?;
        Ok(Contents { descriptor, manifest, config, facts })
    }

    /// Reads a manifest or an index.
    pub fn document(&self, descriptor: &Descriptor) -> Result<Document, StoreError> {
        let bytes = self.read_blob("manifest", descriptor)?;
        let media_type = Some(descriptor.media_type.as_str()).filter(|media_type| !media_type.is_empty());
        Document::parse(&bytes, media_type, &Limits::NONE)
            .map_err(|error| StoreError::Manifest { digest: descriptor.digest.clone(), error })
    }
}

/// Is it said to be an index?
pub(super) fn is_index(descriptor: &Descriptor) -> bool {
    matches!(descriptor.media_type.as_str(), OCI_INDEX | DOCKER_INDEX)
}
