//! What an image may cost before it is taken for an attack. Each limit can be raised by a variable of the
//! environment, `RCRUN_IMAGE_MAX_...`, in bytes (or a count) and without a unit.

/// The limits of everything that comes from a registry or an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Of a manifest or an index. `RCRUN_IMAGE_MAX_MANIFEST_BYTES`; what registries allow, 4 MiB.
    pub manifest_bytes: u64,
    /// Of an image's configuration. `RCRUN_IMAGE_MAX_CONFIG_BYTES`.
    pub config_bytes: u64,
    /// Layers of one image. `RCRUN_IMAGE_MAX_LAYERS`; an overlay has at most 500.
    pub layers: usize,
    /// Entries of an index. `RCRUN_IMAGE_MAX_INDEX_ENTRIES`.
    pub index_entries: usize,
    /// Of one layer when it is unpacked. `RCRUN_IMAGE_MAX_LAYER_BYTES`.
    pub layer_bytes: u64,
    /// How many times larger than the blob a layer may be. `RCRUN_IMAGE_MAX_RATIO`; counted from 16 MiB on.
    pub ratio: u64,
    /// Files, directories, links ... of one layer. `RCRUN_IMAGE_MAX_LAYER_FILES`.
    pub layer_files: u64,
    /// Of what a tar archive says about one file beside its content: PAX records and long names.
    /// `RCRUN_IMAGE_MAX_HEADER_BYTES`.
    pub header_bytes: u64,
    /// Files, directories, links ... of an archive of images. `RCRUN_IMAGE_MAX_ARCHIVE_ENTRIES`.
    pub archive_entries: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            manifest_bytes: 4 << 20,
            config_bytes: 8 << 20,
            layers: 500,
            index_entries: 1000,
            layer_bytes: 256 << 30,
            ratio: 1000,
            layer_files: 10_000_000,
            header_bytes: 1 << 20,
            archive_entries: 100_000,
        }
    }
}

/// A variable of the environment that is no limit.
#[derive(Debug, thiserror::Error)]
#[error("environment variable {name} is {value:?}: expected a number")]
pub struct LimitError {
    name: String,
    value: String,
}

impl Limits {
    /// For what is in the store: it was within its limits when it came, whatever they are today.
    pub const NONE: Self = Self {
        manifest_bytes: u64::MAX,
        config_bytes: u64::MAX,
        layers: usize::MAX,
        index_entries: usize::MAX,
        layer_bytes: u64::MAX,
        ratio: u64::MAX,
        layer_files: u64::MAX,
        header_bytes: u64::MAX,
        archive_entries: usize::MAX,
    };

    /// The defaults, changed by the environment.
    pub fn from_environment() -> Result<Self, LimitError> {
        Self::from_variables(|name| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned()))
    }

    fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Result<Self, LimitError> {
        let read = |name: &str, default: u64| {
            let name = format!("RCRUN_IMAGE_MAX_{name}");
            match variable(&name).filter(|value| !value.is_empty()) {
                None => Ok(default),
                Some(value) => value.parse().map_err(|_| LimitError { name, value }),
            }
        };
        let count = |name: &str, default: usize| {
            read(name, default as u64).map(|value| usize::try_from(value).unwrap_or(usize::MAX))
        };
        let default = Self::default();
        Ok(Self {
            manifest_bytes: read("MANIFEST_BYTES", default.manifest_bytes)?,
            config_bytes: read("CONFIG_BYTES", default.config_bytes)?,
            layers: count("LAYERS", default.layers)?,
            index_entries: count("INDEX_ENTRIES", default.index_entries)?,
            layer_bytes: read("LAYER_BYTES", default.layer_bytes)?,
            ratio: read("RATIO", default.ratio)?,
            layer_files: read("LAYER_FILES", default.layer_files)?,
            header_bytes: read("HEADER_BYTES", default.header_bytes)?,
            archive_entries: count("ARCHIVE_ENTRIES", default.archive_entries)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_raises_limits() {
        let limits =
            Limits::from_variables(|name| (name == "RCRUN_IMAGE_MAX_LAYERS").then(|| "7".to_owned()))
                .unwrap();
        assert_eq!(limits, Limits { layers: 7, ..Limits::default() });
        let error = Limits::from_variables(|_| Some("many".into())).unwrap_err().to_string();
        assert!(error.contains("RCRUN_IMAGE_MAX_MANIFEST_BYTES") && error.contains("many"), "{error}");
    }
}
