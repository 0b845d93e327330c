//! Manifests and indexes: OCI image specification, manifest.md and image-index.md, and Docker's schema 2 of both.
//!
//! In: bytes of a registry or an archive, which may say anything. Out: descriptors within the [`Limits`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::digest::Digest;
use super::limits::Limits;
use super::platform::Platform;
use crate::text::on_one_line;

/// What a manifest is called.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// What an index is called.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// An image's configuration.
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// Docker's manifest.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Docker's index.
pub const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// Docker's name of the configuration.
pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
/// What a registry is asked for, in the order of preference.
pub const ACCEPTED: [&str; 4] = [OCI_INDEX, OCI_MANIFEST, DOCKER_INDEX, DOCKER_MANIFEST];

/// What a blob is and where it is: OCI image specification, descriptor.md.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// Its kind.
    #[serde(default)]
    pub media_type: String,
    /// Of its bytes.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// Of an index's entry: what it was built for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// Where else to get it, `http` or `https`.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub urls: Vec<String>,
    /// Whatever.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_is_default")]
    pub annotations: BTreeMap<String, String>,
    /// Of an artifact, also one that an index lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
}

impl Descriptor {
    /// One without annotations.
    pub fn new(media_type: &str, digest: Digest, size: u64) -> Self {
        Self {
            media_type: media_type.to_owned(),
            digest,
            size,
            platform: None,
            urls: Vec::new(),
            annotations: BTreeMap::new(),
            artifact_type: None,
        }
    }

    /// That of `bytes`.
    pub fn of(media_type: &str, bytes: &[u8]) -> Self {
        Self::new(media_type, Digest::of(bytes), bytes.len() as u64)
    }
}

/// How a layer's tar archive is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip, of one or several members (RFC 1952).
    Gzip,
    /// Zstandard frames (RFC 8878); zstd:chunked is that with skippable frames at the end.
    Zstd,
}

impl Compression {
    /// How content is packed that begins so; the error is the name of a packing that no image has.
    pub fn of_content(start: &[u8]) -> Result<Self, &'static str> {
        match start {
            [0x1f, 0x8b, ..] => Ok(Self::Gzip),
            // A frame, or a skippable one.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Ok(Self::Zstd),
            [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, 0x59, 0x26, ..] => Err("bzip2"),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Err("xz"),
            _ => Ok(Self::None),
        }
    }

    /// What a layer's media type says; None where it is no layer that can be unpacked. Foreign layers count.
    pub fn of(media_type: &str) -> Option<Self> {
        match media_type {
            "application/vnd.oci.image.layer.v1.tar"
            | "application/vnd.oci.image.layer.nondistributable.v1.tar"
            | "application/vnd.docker.image.rootfs.diff.tar" => Some(Self::None),
            "application/vnd.oci.image.layer.v1.tar+gzip"
            | "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
            | "application/vnd.docker.image.rootfs.diff.tar.gzip"
            | "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip" => Some(Self::Gzip),
            "application/vnd.oci.image.layer.v1.tar+zstd"
            | "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd"
            | "application/vnd.docker.image.rootfs.diff.tar.zstd" => Some(Self::Zstd),
            _ => None,
        }
    }
}

/// One image, or an artifact of any kind.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// OCI's or Docker's.
    pub media_type: String,
    /// The configuration; of an artifact often `{}`.
    pub config: Descriptor,
    /// From the lowest to the highest.
    pub layers: Vec<Descriptor>,
    /// What an artifact is; None for images.
    pub artifact_type: Option<String>,
    /// What it refers to: a signature's image.
    pub subject: Option<Descriptor>,
    /// Whatever.
    pub annotations: BTreeMap<String, String>,
}

impl Manifest {
    /// Is it an image that can be run, or an artifact of another kind?
    pub fn is_image(&self) -> bool {
        matches!(self.config.media_type.as_str(), OCI_CONFIG | DOCKER_CONFIG)
    }
}

/// Several manifests, for several platforms.
#[derive(Clone, Debug)]
pub struct Index {
    /// OCI's or Docker's.
    pub media_type: String,
    /// In its order.
    pub manifests: Vec<Descriptor>,
    /// Whatever.
    pub annotations: BTreeMap<String, String>,
}

impl Index {
    /// The entry that runs best on `platform`: of equals the first.
    pub fn choose(&self, platform: &Platform) -> Result<&Descriptor, ManifestError> {
        let mut best: Option<(u32, &Descriptor)> = None;
        for entry in &self.manifests {
            let Some(rank) = entry.platform.as_ref().and_then(|offered| platform.rank(offered)) else {
                continue;
            };
            if best.is_none_or(|(most, _)| rank > most) {
                best = Some((rank, entry));
            }
        }
        // An index of one manifest that says no platform is as good as that manifest.
        let only = match self.manifests.as_slice() {
            [only] if only.platform.is_none() => Some(only),
            _ => None,
        };
        best.map(|(_, entry)| entry).or(only).ok_or_else(|| ManifestError::Platform {
            wanted: platform.to_string(),
            offered: self.platforms(),
        })
    }

    /// What it offers, as one list for people.
    fn platforms(&self) -> String {
        let known = self.manifests.iter().filter_map(|entry| entry.platform.as_ref());
        let mut names: Vec<String> =
            known.filter(|platform| platform.os != "unknown").map(Platform::to_string).collect();
        names.dedup();
        match names.is_empty() {
            true => "none that is named".to_owned(),
            false => on_one_line(&names.join(", ")),
        }
    }
}

/// What a registry has for a name.
#[derive(Clone, Debug)]
pub enum Document {
    /// An image or an artifact.
    Manifest(Manifest),
    /// A choice of them.
    Index(Index),
}

/// Why bytes are no manifest that can be used.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum ManifestError {
    #[error("the manifest is no JSON of its kind: {0}")]
    Json(String),
    #[error("the manifest has both `manifests` and `layers` or `config`: is it an index or an image?")]
    Both,
    #[error("the manifest says it is {said:?} but has what belongs to {is}")]
    Kind { said: String, is: &'static str },
    #[error("the manifest was announced as {announced:?} but says it is {said:?}")]
    Announced { announced: String, said: String },
    #[error(
        "the manifest has schema version 1, which Docker gave up: push the image again with a newer client"
    )]
    Schema1,
    #[error("the manifest has schemaVersion {0}, but only 2 exists")]
    Schema(u64),
    #[error("the manifest has neither `manifests` nor `config`")]
    Neither,
    #[error("the manifest has {count} {what}, more than {most}: RCRUN_IMAGE_MAX_{variable} raises the limit")]
    TooMany { what: &'static str, count: usize, most: usize, variable: &'static str },
    #[error("{what} has {size} bytes, more than {most}: RCRUN_IMAGE_MAX_{variable} raises the limit")]
    TooLarge { what: String, size: u64, most: u64, variable: &'static str },
    #[error("the image is not built for {wanted}; it offers {offered}: choose one with --platform")]
    Platform { wanted: String, offered: String },
}

/// The fields of all kinds at once: what kind it is follows from those that are there.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    #[serde(default)]
    schema_version: u64,
    #[serde(default)]
    media_type: Option<String>,
    #[serde(default)]
    artifact_type: Option<String>,
    #[serde(default)]
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Option<Vec<Descriptor>>,
    #[serde(default)]
    manifests: Option<Vec<Descriptor>>,
    #[serde(default)]
    subject: Option<Descriptor>,
    #[serde(default, deserialize_with = "null_is_default")]
    annotations: BTreeMap<String, String>,
    #[serde(default)]
    fs_layers: Option<serde::de::IgnoredAny>,
}

impl Document {
    /// Reads what was `announced` by a Content-Type or a descriptor, if it was.
    pub fn parse(bytes: &[u8], announced: Option<&str>, limits: &Limits) -> Result<Self, ManifestError> {
        let most = limits.manifest_bytes;
        if bytes.len() as u64 > most {
            let (what, size) = ("the manifest".to_owned(), bytes.len() as u64);
            return Err(ManifestError::TooLarge { what, size, most, variable: "MANIFEST_BYTES" });
        }
        let mut json = serde_json::Deserializer::from_slice(bytes);
        // It names keys of the document, which may be anything.
        let raw: Raw = serde_path_to_error::deserialize(&mut json)
            .map_err(|error| ManifestError::Json(on_one_line(&error.to_string())))?;
        if raw.fs_layers.is_some() || raw.schema_version == 1 {
            return Err(ManifestError::Schema1);
        }
        if raw.schema_version != 2 {
            return Err(ManifestError::Schema(raw.schema_version));
        }
        let known = announced.filter(|announced| ACCEPTED.contains(announced));
        let said = raw.media_type.as_deref().filter(|said| !said.is_empty());
        if let (Some(announced), Some(said)) = (known, said)
            && announced != said
        {
            return Err(ManifestError::Announced { announced: announced.into(), said: said.into() });
        }
        let said = said.or(known).unwrap_or_default().to_owned();
        let is_index = matches!(said.as_str(), OCI_INDEX | DOCKER_INDEX);
        match (raw.manifests, raw.config, raw.layers) {
            (Some(_), Some(_), _) | (Some(_), _, Some(_)) => Err(ManifestError::Both),
            (Some(manifests), None, None) => {
                if !is_index && !said.is_empty() {
                    return Err(ManifestError::Kind { said, is: "an index" });
                }
                let media_type = if said.is_empty() { OCI_INDEX.to_owned() } else { said };
                count("entries", manifests.len(), limits.index_entries, "INDEX_ENTRIES")?;
                Ok(Self::Index(Index { media_type, manifests, annotations: raw.annotations }))
            }
            (None, Some(config), layers) => {
                if is_index {
                    return Err(ManifestError::Kind { said, is: "a manifest" });
                }
                let layers = layers.unwrap_or_default();
                count("layers", layers.len(), limits.layers, "LAYERS")?;
                Ok(Self::Manifest(Manifest {
                    media_type: if said.is_empty() { OCI_MANIFEST.to_owned() } else { said },
                    config,
                    layers,
                    artifact_type: raw.artifact_type,
                    subject: raw.subject,
                    annotations: raw.annotations,
                }))
            }
            (None, None, _) => Err(ManifestError::Neither),
        }
    }

    /// OCI's or Docker's name of what it is.
    pub fn media_type(&self) -> &str {
        match self {
            Self::Manifest(manifest) => &manifest.media_type,
            Self::Index(index) => &index.media_type,
        }
    }
}

fn count(what: &'static str, count: usize, most: usize, variable: &'static str) -> Result<(), ManifestError> {
    match count > most {
        true => Err(ManifestError::TooMany { what, count, most, variable }),
        false => Ok(()),
    }
}

/// `null` where something is meant to be empty: Go writes it so.
pub(super) fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn descriptor(media_type: &str) -> Value {
        json!({"mediaType": media_type, "digest": Digest::of(b"").to_string(), "size": 0})
    }

    fn image() -> Value {
        json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": descriptor(OCI_CONFIG),
            "layers": [descriptor("application/vnd.oci.image.layer.v1.tar+gzip")]})
    }

    fn index() -> Value {
        let entry = |platform: Value| {
            let mut entry = descriptor(OCI_MANIFEST);
            entry["platform"] = platform;
            entry
        };
        json!({"schemaVersion": 2, "manifests": [
            entry(json!({"os": "linux", "architecture": "arm", "variant": "v6"})),
            entry(json!({"os": "linux", "architecture": "arm", "variant": "v7"})),
            entry(json!({"os": "linux", "architecture": "amd64"})),
            entry(json!({"os": "unknown", "architecture": "unknown"}))]})
    }

    fn parse(value: &Value, announced: Option<&str>) -> Result<Document, ManifestError> {
        Document::parse(value.to_string().as_bytes(), announced, &Limits::default())
    }

    #[test]
    fn an_image_and_an_index_are_told_apart() {
        let Document::Manifest(manifest) = parse(&image(), Some(OCI_MANIFEST)).unwrap() else {
            panic!("image")
        };
        assert!(manifest.is_image() && manifest.layers.len() == 1);
        assert!(matches!(parse(&index(), Some(OCI_INDEX)).unwrap(), Document::Index(_)));
        assert_eq!(parse(&index(), Some("text/plain")).unwrap().media_type(), OCI_INDEX);
    }

    #[test]
    fn the_best_platform_is_chosen_and_a_missing_one_says_what_there_is() {
        let Document::Index(index) = parse(&index(), None).unwrap() else { panic!("index") };
        let choose = |text: &str| index.choose(&text.parse().unwrap());
        assert_eq!(choose("linux/arm/v7").unwrap().platform.as_ref().unwrap().variant.as_deref(), Some("v7"));
        assert_eq!(choose("linux/arm/v6").unwrap().platform.as_ref().unwrap().variant.as_deref(), Some("v6"));
        let error = choose("linux/s390x").unwrap_err().to_string();
        assert!(error.contains("linux/arm/v6, linux/arm/v7, linux/amd64:"), "{error}");
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        let with = |mut value: Value, key: &str, content: Value| {
            value[key] = content;
            value
        };
        for (value, announced, reason) in [
            (with(image(), "manifests", json!([])), None, "both"),
            (with(image(), "mediaType", json!(OCI_INDEX)), None, "belongs to a manifest"),
            (with(index(), "mediaType", json!(OCI_MANIFEST)), None, "belongs to an index"),
            (image(), Some(DOCKER_MANIFEST), "announced"),
            (with(image(), "schemaVersion", json!(1)), None, "schema version 1"),
            (with(image(), "schemaVersion", json!(3)), None, "schemaVersion 3"),
            (json!({"schemaVersion": 2}), None, "neither"),
            (json!(7), None, "no JSON of its kind"),
            (with(image(), "config", json!({"digest": "x", "size": 1})), None, "config"),
        ] {
            let error = parse(&value, announced).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn absurd_sizes_name_the_limit() {
        let layer = descriptor("application/vnd.oci.image.layer.v1.tar");
        let mut many = image();
        many["layers"] = Value::Array(vec![layer; 501]);
        let error = parse(&many, None).unwrap_err().to_string();
        assert!(error.contains("501 layers") && error.contains("RCRUN_IMAGE_MAX_LAYERS"), "{error}");
        let large = vec![b' '; 5 << 20];
        let error = Document::parse(&large, None, &Limits::default()).unwrap_err().to_string();
        assert!(error.contains("RCRUN_IMAGE_MAX_MANIFEST_BYTES"), "{error}");
    }
}
