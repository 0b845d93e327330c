//! An image as an archive describes it, and which of the two descriptions counts.
//!
//! Out: what [`super::load`] copies: manifests and configurations in memory, and where the layers are. All digests of
//! what is in memory have been compared; those of layers are what must come out when they are copied.

use std::collections::BTreeMap;

use super::{ArchiveError, Contents, docker, oci};
use crate::image::config::{self, ConfigError};
use crate::image::manifest::Compression;
use crate::image::{Descriptor, Digest, Limits, Manifest, Platform, Reference};
use crate::text::on_one_line;

/// An image, or an artifact, of an archive.
#[derive(Debug)]
pub struct Described {
    /// What it is called; of none it is found by its id.
    pub names: Vec<Reference>,
    /// OCI's or Docker's: the type, size and digest of `manifest`.
    pub descriptor: Descriptor,
    /// Byte for byte.
    pub manifest: Vec<u8>,
    /// Was it made here, because the archive has none?
    pub made: bool,
    /// Parsed.
    pub parsed: Manifest,
    /// Byte for byte; of an artifact often `{}`.
    pub config: Vec<u8>,
    /// From the lowest to the highest.
    pub layers: Vec<Layer>,
    /// The index that it was chosen from, byte for byte.
    pub index: Option<(Descriptor, Vec<u8>)>,
    /// What it was built for; None of an artifact.
    pub platform: Option<Platform>,
}

/// A layer of an image, or a blob of an artifact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Its name in the archive.
    pub file: String,
    /// What it must turn out to be.
    pub descriptor: Descriptor,
    /// How it is unpacked and what its DiffID must be; None where it is no layer.
    pub unpack: Option<(Compression, Digest)>,
}

/// What loading needs of an image's configuration.
pub(super) struct Configuration {
    /// Of the layers, from the lowest to the highest.
    pub diff_ids: Vec<Digest>,
    /// What it was built for.
    pub platform: Platform,
}

impl Configuration {
    /// That of the file `name`, which must have as many layers as `within` says.
    pub fn parse(name: &str, bytes: &[u8], within: &str, layers: usize) -> Result<Self, ArchiveError> {
        let wrong = |error: ConfigError| {
            let reason = match error {
                ConfigError::Json(reason) => reason,
                error => on_one_line(&error.to_string()),
            };
            ArchiveError::Json { name: name.to_owned(), reason }
        };
        let configuration = config::parse(bytes).map_err(wrong)?;
        let kind = configuration.rootfs().typ();
        if kind != "layers" {
            return Err(ArchiveError::Rootfs { config: name.to_owned(), said: kind.clone() });
        }
        let diff_ids = config::diff_ids(&configuration).map_err(wrong)?;
        let platform = config::platform(&configuration).normalized();
        match diff_ids.len() == layers {
            true => Ok(Self { diff_ids, platform }),
            false => {
                let (config, within) = (name.to_owned(), within.to_owned());
                Err(ArchiveError::LayerCount { config, diff_ids: diff_ids.len(), within, layers })
            }
        }
    }
}

/// The images of an archive. Of several for different platforms under one name that for `platform` is chosen, or for
/// this machine's; where one is `wanted`, others are refused.
pub fn describe(
    contents: &Contents,
    wanted: Option<&Platform>,
    limits: &Limits,
) -> Result<Vec<Described>, ArchiveError> {
    let listed = docker::listed(contents, limits)?;
    let images = match (oci::index(contents, limits)?, listed) {
        (Some(index), listed) if !index.manifests.is_empty() => {
            let mut images = oci::images(contents, index, wanted, limits)?;
            docker::add_names(&mut images, contents, listed.as_deref().unwrap_or_default(), limits)?;
            images
        }
        (_, Some(listed)) => docker::images(contents, &listed, limits)?,
        (Some(_), None) => return Err(ArchiveError::EmptyList { name: "index.json" }),
        (None, None) if contents.open("repositories")?.is_some() => return Err(ArchiveError::Ancient),
        (None, None) => return Err(ArchiveError::NoImages),
    };
    if let Some(wanted) = wanted {
        refuse_others(&images, wanted)?;
    }
    each_name_once(&images)?;
    Ok(images)
}

fn refuse_others(images: &[Described], wanted: &Platform) -> Result<(), ArchiveError> {
    let offered = images.iter().filter_map(|image| Some((image, image.platform.as_ref()?)));
    for (image, offered) in offered {
        if wanted.rank(offered).is_none() {
            let (wanted, offered) = (wanted.to_string(), offered.to_string());
            let source = crate::image::ManifestError::Platform { wanted, offered };
            let within =
                image.names.first().map_or("an image without a name".to_owned(), Reference::familiar);
            return Err(ArchiveError::Manifest { within, source });
        }
    }
    Ok(())
}

fn each_name_once(images: &[Described]) -> Result<(), ArchiveError> {
    let mut owners: BTreeMap<&Reference, &Digest> = BTreeMap::new();
    for (name, digest) in images.iter().flat_map(|i| i.names.iter().map(|name| (name, &i.descriptor.digest)))
    {
        if owners.insert(name, digest).is_some_and(|other| other != digest) {
            return Err(ArchiveError::SameName { within: "the archive", name: name.familiar() });
        }
    }
    Ok(())
}
