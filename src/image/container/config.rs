//! An image's configuration: what its author has said of the process.
//!
//! In: the bytes of the blob, already held against their digest; nothing in them is trusted. Out: an
//! [`ImageConfig`] in which each field is of its kind. OCI image specification, config.md; Docker writes `null` for
//! what is empty, and its own `Healthcheck`.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::ContainerError;
use crate::image::manifest::null_is_default;
use crate::text::on_one_line;

/// Labels that are rcrun's own.
pub const RESERVED: &str = "org.rcrun.";

/// An image's configuration.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct ImageConfig {
    /// `amd64`, `arm64`, ...
    #[serde(default)]
    pub architecture: String,
    /// `linux`.
    #[serde(default)]
    pub os: String,
    /// `v8`, ...
    #[serde(default, deserialize_with = "null_is_default")]
    pub variant: String,
    /// The process.
    #[serde(default, deserialize_with = "null_is_default")]
    pub config: Execution,
}

/// What is run, and how.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Execution {
    /// `user`, `uid`, either with `:group` or `:gid`.
    #[serde(deserialize_with = "null_is_default")]
    pub user: String,
    /// `NAME=VALUE`.
    #[serde(deserialize_with = "null_is_default")]
    pub env: Vec<String>,
    /// The program and its first arguments.
    #[serde(deserialize_with = "null_is_default")]
    pub entrypoint: Vec<String>,
    /// The other arguments, or the program where there is no entrypoint.
    #[serde(deserialize_with = "null_is_default")]
    pub cmd: Vec<String>,
    /// Directories whose contents outlive the container.
    #[serde(deserialize_with = "null_is_default")]
    pub volumes: BTreeMap<String, serde::de::IgnoredAny>,
    /// Where the process starts.
    #[serde(deserialize_with = "null_is_default")]
    pub working_dir: String,
    /// Whatever.
    #[serde(deserialize_with = "null_is_default")]
    pub labels: BTreeMap<String, String>,
    /// What asks the process to end: a name or a number.
    #[serde(deserialize_with = "null_is_default")]
    pub stop_signal: String,
    /// Ports that the process listens on: for people.
    #[serde(deserialize_with = "null_is_default")]
    pub exposed_ports: BTreeMap<String, serde::de::IgnoredAny>,
    /// Docker's periodical check.
    pub healthcheck: Option<serde::de::IgnoredAny>,
}

impl ImageConfig {
    /// Reads and checks the configuration of `image`, a name for messages.
    pub fn parse(image: &str, bytes: &[u8]) -> Result<Self, ContainerError> {
        let mut json = serde_json::Deserializer::from_slice(bytes);
        let config: Self = serde_path_to_error::deserialize(&mut json).map_err(|error| {
            let path = error.path().to_string();
            let reason = on_one_line(&format!("{path}: {}", error.into_inner()));
            ContainerError::Config { image: image.into(), reason }
        })?;
        config.check().map_err(|reason| ContainerError::Config { image: image.into(), reason })?;
        Ok(config)
    }

    fn check(&self) -> Result<(), String> {
        let execution = &self.config;
        if let Some(variable) = execution.env.iter().find(|variable| variable_name(variable).is_none()) {
            return Err(format!("config.Env: {variable:?} is not of the form NAME=VALUE"));
        }
        let words = [&execution.entrypoint, &execution.cmd, &execution.env];
        if let Some(word) = words.into_iter().flatten().find(|word| word.contains('\0')) {
            return Err(format!("config: {word:?} has a NUL byte"));
        }
        if let Some(label) = execution.labels.keys().find(|label| label.starts_with(RESERVED)) {
            return Err(format!(
                "config.Labels: {label:?}: labels that begin with {RESERVED} are rcrun's own"
            ));
        }
        if execution.working_dir.contains('\0') {
            return Err("config.WorkingDir has a NUL byte".into());
        }
        match execution.volumes.keys().find(|path| !is_volume_path(path)) {
            Some(path) => Err(format!(
                "config.Volumes: {path:?} is no directory of the image's: expected an absolute path without .."
            )),
            None => Ok(()),
        }
    }
}

/// The name in `NAME=VALUE`.
pub(super) fn variable_name(variable: &str) -> Option<&str> {
    variable.split_once('=').map(|(name, _)| name).filter(|name| !name.is_empty())
}

/// Absolute, not the root itself, and nothing that climbs.
pub(super) fn is_volume_path(path: &str) -> bool {
    let mut names = path.split('/').filter(|name| !matches!(*name, "" | "."));
    path.starts_with('/')
        && !path.contains('\0')
        && names.clone().all(|name| name != "..")
        && names.next().is_some()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn parse(config: Value) -> Result<ImageConfig, String> {
        let whole = json!({"os": "linux", "architecture": "amd64", "config": config, "rootfs": {}});
        ImageConfig::parse("app", whole.to_string().as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn null_is_empty_and_unknown_fields_are_passed_over() {
        let config = parse(json!({"Entrypoint": null, "Cmd": ["sh"], "Env": null, "Volumes": null,
            "ExposedPorts": {"80/tcp": {}}, "Labels": null, "OnBuild": null, "Healthcheck": {"Test": ["NONE"]}}));
        let config = config.unwrap();
        assert_eq!(config.config.cmd, ["sh"]);
        assert!(config.config.entrypoint.is_empty() && config.config.healthcheck.is_some());
        assert!(ImageConfig::parse("app", b"{}").is_ok());
        assert!(ImageConfig::parse("app", br#"{"config": null}"#).is_ok());
    }

    #[test]
    fn bad_fields_are_named_with_the_image() {
        for (config, fragments) in [
            (json!({"Env": ["PATH=/bin", "BROKEN"]}), ["config.Env", "BROKEN"]),
            (json!({"Env": ["=x"]}), ["config.Env", "NAME=VALUE"]),
            (json!({"Env": [7]}), ["config.Env[0]", "invalid type"]),
            (json!({"Cmd": "sh"}), ["config.Cmd", "invalid type"]),
            (json!({"Labels": {"org.rcrun.x": "y"}}), ["config.Labels", "org.rcrun."]),
            (json!({"Volumes": {"/a/../../etc": {}}}), ["config.Volumes", "without .."]),
            (json!({"Volumes": {"data": {}}}), ["config.Volumes", "absolute"]),
            (json!({"Volumes": {"/": {}}}), ["config.Volumes", "no directory"]),
            (json!({"Cmd": ["a\u{0}b"]}), ["config", "NUL"]),
        ] {
            let error = parse(config).unwrap_err();
            assert!(error.contains("app") && fragments.iter().all(|text| error.contains(text)), "{error}");
        }
        let error = ImageConfig::parse("app", b"<html>").unwrap_err().to_string();
        assert!(error.contains("app") && error.contains("expected value"), "{error}");
    }
}
