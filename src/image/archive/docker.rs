//! docker's manifest.json: `docker save` since version 1.10, `skopeo copy docker-archive:`, `podman save`.
//!
//! The format is that of moby's image/tarexport and its image/spec/v1.2.md, "Combined Image JSON + Filesystem Changeset Format".
//! A manifest is made for what has none: OCI's, with the configuration as it is, so that the image's id stays.

use serde::{Deserialize, Serialize};

use super::contents::LONGEST_NAME;
use super::described::{Configuration, Described, Layer};
use super::{ArchiveError, Content, Contents, names};
use crate::image::digest::{Algorithm, Hasher};
use crate::image::manifest::{Compression, OCI_CONFIG, OCI_MANIFEST};
use crate::image::{Descriptor, Digest, Limits, Manifest};

const FILE: &str = "manifest.json";

/// One image of manifest.json.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Listed {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

/// What manifest.json lists; None where there is none.
pub(super) fn listed(contents: &Contents, limits: &Limits) -> Result<Option<Vec<Listed>>, ArchiveError> {
    let Some(listed) = contents.json::<Vec<Listed>>(FILE, limits.manifest_bytes)? else { return Ok(None) };
    let (count, most) = (listed.len(), limits.index_entries);
    let wrong = listed.iter().flat_map(Listed::files).find(|name| !is_file_name(name));
    match wrong {
        _ if count == 0 => Err(ArchiveError::EmptyList { name: FILE }),
        _ if count > most => Err(ArchiveError::Images { name: FILE, count, most }),
        Some(name) => Err(ArchiveError::FileName(name.chars().take(LONGEST_NAME).collect())),
        None => Ok(Some(listed)),
    }
}

impl Listed {
    fn files(&self) -> impl Iterator<Item = &String> {
        self.layers.iter().flatten().chain([&self.config])
    }
}

/// Names stand in messages as they are.
fn is_file_name(name: &str) -> bool {
    (1..=LONGEST_NAME).contains(&name.len()) && !name.chars().any(char::is_control)
}

/// The images that manifest.json lists.
pub(super) fn images(
    contents: &Contents,
    listed: &[Listed],
    limits: &Limits,
) -> Result<Vec<Described>, ArchiveError> {
    listed.iter().map(|listed| image(contents, listed, limits)).collect()
}

/// Gives the images of an OCI layout the names that manifest.json beside it has for their configurations.
pub(super) fn add_names(
    images: &mut [Described],
    contents: &Contents,
    listed: &[Listed],
    limits: &Limits,
) -> Result<(), ArchiveError> {
    for listed in listed {
        let config = Digest::of(&config(contents, listed, limits)?);
        let names = names_of(listed)?;
        let known = images.iter().any(|image| names.iter().any(|name| image.names.contains(name)));
        if let Some(image) = images.iter_mut().find(|i| i.parsed.config.digest == config)
            && !known
        {
            image.names.extend(names);
        }
    }
    Ok(())
}

fn image(contents: &Contents, listed: &Listed, limits: &Limits) -> Result<Described, ArchiveError> {
    let files = listed.layers.as_deref().unwrap_or_default();
    if files.len() > limits.layers {
        let (count, most) = (files.len(), limits.layers);
        return Err(ArchiveError::Layers { within: FILE.into(), count, most });
    }
    let bytes = config(contents, listed, limits)?;
    let configuration = Configuration::parse(&listed.config, &bytes, FILE, files.len())?;
    let layers = files.iter().zip(&configuration.diff_ids);
    let layers: Vec<Layer> =
        layers.map(|(file, diff_id)| layer(contents, file, diff_id)).collect::<Result<_, _>>()?;
    let parsed = Manifest {
        media_type: OCI_MANIFEST.to_owned(),
        config: Descriptor::of(OCI_CONFIG, &bytes),
        layers: layers.iter().map(|layer| layer.descriptor.clone()).collect(),
        artifact_type: None,
        subject: None,
        annotations: Default::default(),
    };
    let manifest = written(&parsed);
    Ok(Described {
        names: names_of(listed)?,
        descriptor: Descriptor::of(OCI_MANIFEST, &manifest),
        manifest,
        made: true,
        parsed,
        config: bytes,
        layers,
        index: None,
        platform: Some(configuration.platform),
    })
}

/// The configuration's bytes. A file that is called by its digest has it.
fn config(contents: &Contents, listed: &Listed, limits: &Limits) -> Result<Vec<u8>, ArchiveError> {
    let name = &listed.config;
    let bytes = contents.need(name, FILE)?.bytes(name, limits.config_bytes, "CONFIG_BYTES")?;
    let last = name.rsplit('/').next().unwrap_or_default();
    let hex = last.strip_suffix(".json").unwrap_or(last);
    let expected = format!("sha256:{}", hex.strip_prefix("sha256:").unwrap_or(hex)).parse::<Digest>();
    let found = Digest::of(&bytes);
    match expected {
        Ok(expected) if expected != found => Err(ArchiveError::Changed {
            name: name.clone(),
            found: found.to_string(),
            expected: expected.to_string(),
        }),
        _ => Ok(bytes),
    }
}

fn names_of(listed: &Listed) -> Result<Vec<crate::image::Reference>, ArchiveError> {
    let names = listed.repo_tags.as_deref().unwrap_or_default();
    let mut parsed = names
        .iter()
        .map(|name| names::parse("manifest.json: RepoTags", name))
        .collect::<Result<Vec<_>, _>>()?;
    parsed.dedup();
    Ok(parsed)
}

/// A layer's file. How it is packed only its first bytes say; of a plain one the digest is its DiffID.
fn layer(contents: &Contents, file: &str, diff_id: &Digest) -> Result<Layer, ArchiveError> {
    let content = contents.need(file, FILE)?;
    let size = content.size();
    let compression = compression(&content, file)?;
    let (media_type, digest) = match compression {
        Compression::None => ("application/vnd.oci.image.layer.v1.tar", diff_id.clone()),
        Compression::Gzip => ("application/vnd.oci.image.layer.v1.tar+gzip", digest(content, file)?),
        Compression::Zstd => ("application/vnd.oci.image.layer.v1.tar+zstd", digest(content, file)?),
    };
    let descriptor = Descriptor::new(media_type, digest, size);
    Ok(Layer { file: file.to_owned(), descriptor, unpack: Some((compression, diff_id.clone())) })
}

fn compression(content: &Content, file: &str) -> Result<Compression, ArchiveError> {
    let mut start = [0; 4];
    let got = content.peek(&mut start);
    let got = got.map_err(|source| ArchiveError::Read { what: file.to_owned(), source })?;
    // Unpacking names the packings that no layer has.
    Ok(Compression::of_content(&start[..got]).unwrap_or(Compression::None))
}

fn digest(mut content: Content, file: &str) -> Result<Digest, ArchiveError> {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    let mut buffer = vec![0; 256 << 10];
    loop {
        match std::io::Read::read(&mut content, &mut buffer) {
            Ok(0) => return Ok(hasher.finish()),
            Ok(got) => hasher.update(&buffer[..got]),
            Err(source) => return Err(ArchiveError::Read { what: file.to_owned(), source }),
        }
    }
}

/// The manifest in the bytes that `docker save` writes for the same image.
fn written(manifest: &Manifest) -> Vec<u8> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Written<'a> {
        schema_version: u8,
        media_type: &'a str,
        config: &'a Descriptor,
        layers: &'a [Descriptor],
    }
    let Manifest { media_type, config, layers, .. } = manifest;
    serde_json::to_vec(&Written { schema_version: 2, media_type, config, layers })
        .expect("a manifest has no keys that are no strings")
}
