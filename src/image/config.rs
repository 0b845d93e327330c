//! An image's configuration: OCI image specification, config.md. What becomes of it in a container is
//! [`super::container`]'s.

use oci_spec::image::ImageConfiguration;

use super::digest::{Digest, DigestError};
use super::platform::Platform;
use crate::text::on_one_line;

/// Why bytes are no configuration of an image.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum ConfigError {
    #[error("no JSON of its kind: {0}")]
    Json(String),
    #[error("rootfs.diff_ids: {0}")]
    DiffId(#[from] DigestError),
}

/// Parses a configuration.
pub fn parse(bytes: &[u8]) -> Result<ImageConfiguration, ConfigError> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    // It names keys of the document, which may be anything.
    serde_path_to_error::deserialize(&mut json)
        .map_err(|error| ConfigError::Json(on_one_line(&error.to_string())))
}

/// The digests of the layers' tar archives, from the lowest to the highest.
pub fn diff_ids(configuration: &ImageConfiguration) -> Result<Vec<Digest>, ConfigError> {
    let ids = configuration.rootfs().diff_ids().iter();
    Ok(ids.map(|id| id.parse()).collect::<Result<_, _>>()?)
}

/// What the image was built for.
pub fn platform(configuration: &ImageConfiguration) -> Platform {
    Platform {
        os: configuration.os().to_string(),
        architecture: configuration.architecture().to_string(),
        variant: configuration.variant().clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn image() -> serde_json::Value {
        let diff_ids = [Digest::of(b"").to_string()];
        json!({"os": "linux", "architecture": "arm64", "variant": "v8", "config": {"Env": null, "Volumes": null, "Healthcheck": {}},
            "rootfs": {"type": "layers", "diff_ids": diff_ids}, "history": [{"created": "2020-01-01T00:00:00Z"}]})
    }

    #[test]
    fn the_platform_and_the_layers_are_read() {
        let configuration = parse(image().to_string().as_bytes()).unwrap();
        assert_eq!(platform(&configuration).to_string(), "linux/arm64/v8");
        assert_eq!(diff_ids(&configuration).unwrap(), [Digest::of(b"")]);
    }

    #[test]
    fn what_is_no_configuration_says_where() {
        let mut value = image();
        value["config"]["Env"] = json!(7);
        let error = parse(value.to_string().as_bytes()).unwrap_err().to_string();
        assert!(error.contains("config.Env"), "{error}");
        let mut value = image();
        value["rootfs"]["diff_ids"] = json!(["md5:1"]);
        let error = diff_ids(&parse(value.to_string().as_bytes()).unwrap()).unwrap_err().to_string();
        assert!(error.contains("rootfs.diff_ids") && error.contains("md5:1"), "{error}");
    }
}
