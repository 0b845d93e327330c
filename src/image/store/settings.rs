//! Settings of the store: `/etc/rcrun/rcrun.toml`, and of a user `$XDG_CONFIG_HOME/rcrun/rcrun.toml`.
//!
//! ```toml
//! [images]
//! keep_blobs = true   # keep layers as they came, too: for skopeo and umoci, and to push without fetching again
//! ```

use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::StoreError;

const SYSTEM: &str = "/etc/rcrun/rcrun.toml";
const KEEP_BLOBS: &str = "RCRUN_KEEP_BLOBS";

#[derive(Debug, Default, Deserialize)]
struct File {
    #[serde(default)]
    images: Images,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Images {
    keep_blobs: Option<bool>,
}

/// Are layer blobs kept where the command line does not say so? `$RCRUN_KEEP_BLOBS` decides, else the user's file, else
/// the system's; else they are not.
pub fn keep_blobs() -> Result<bool, StoreError> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    keep_blobs_of(variable, Path::new(SYSTEM))
}

fn keep_blobs_of(variable: impl Fn(&str) -> Option<OsString>, system: &Path) -> Result<bool, StoreError> {
    if let Some(value) = variable(KEEP_BLOBS) {
        return match value.to_str() {
            Some("1" | "true") => Ok(true),
            Some("0" | "false") => Ok(false),
            _ => Err(StoreError::Variable { name: KEEP_BLOBS, value: value.to_string_lossy().into_owned() }),
        };
    }
    let config = variable("XDG_CONFIG_HOME").map(PathBuf::from);
    let config = config.or_else(|| variable("HOME").map(|home| PathBuf::from(home).join(".config")));
    if let Some(config) = config
        && let Some(keep) = read(&config.join("rcrun/rcrun.toml"))?
    {
        return Ok(keep);
    }
    Ok(read(system)?.unwrap_or(false))
}

fn read(path: &Path) -> Result<Option<bool>, StoreError> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(StoreError::file("read", path, error)),
    };
    let file: File = toml::from_str(&text).map_err(|error| StoreError::Settings {
        path: path.to_owned(),
        reason: error.message().to_owned(),
    })?;
    Ok(file.images.keep_blobs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_goes_before_the_users_file_and_that_before_the_systems() {
        let dir = tempfile::tempdir().unwrap();
        let system = dir.path().join("system.toml");
        let home = dir.path().to_owned();
        let asked = |keep: Option<&str>| {
            let (keep, home) = (keep.map(OsString::from), home.clone());
            keep_blobs_of(
                move |name| match name {
                    KEEP_BLOBS => keep.clone(),
                    "HOME" => Some(home.clone().into()),
                    _ => None,
                },
                &system,
            )
        };
        assert!(!asked(None).unwrap());
        fs::write(&system, "[images]\nkeep_blobs = true\n[other]\nx = 1\n").unwrap();
        assert!(asked(None).unwrap());
        fs::create_dir_all(home.join(".config/rcrun")).unwrap();
        fs::write(home.join(".config/rcrun/rcrun.toml"), "[images]\nkeep_blobs = false").unwrap();
        assert!(!asked(None).unwrap());
        assert!(asked(Some("true")).unwrap());
        assert!(asked(Some("maybe")).unwrap_err().to_string().contains(KEEP_BLOBS));
        fs::write(home.join(".config/rcrun/rcrun.toml"), "[images]\nkeep_blob = 1").unwrap();
        let error = asked(None).unwrap_err().to_string();
        assert!(error.contains("rcrun.toml") && error.contains("keep_blob"), "{error}");
    }
}
