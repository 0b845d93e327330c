//! Reading configuration: whole files of a bounded size.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::SettingsError;

/// The longest configuration that is read, in bytes: a device or a log by mistake is no configuration.
const LONGEST: u64 = 4 << 20;

/// The content of `path`; None where there is none.
pub fn read(path: &Path) -> Result<Option<Vec<u8>>, SettingsError> {
    let failed = |error| SettingsError::Read { path: path.to_owned(), error };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if is_missing(&error) => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut bytes = Vec::new();
    file.take(LONGEST + 1).read_to_end(&mut bytes).map_err(failed)?;
    match bytes.len() as u64 > LONGEST {
        true => Err(SettingsError::TooLarge { path: path.to_owned(), most: LONGEST }),
        false => Ok(Some(bytes)),
    }
}

/// The content of `path` as text; None where there is none.
pub fn read_text(path: &Path) -> Result<Option<String>, SettingsError> {
    let Some(bytes) = read(path)? else { return Ok(None) };
    String::from_utf8(bytes).map(Some).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        SettingsError::Toml { path: path.to_owned(), line, reason: "not UTF-8".to_owned() }
    })
}

/// The files of `directory` whose names end in `suffix`, by name; none where there is no such directory.
pub fn list(directory: &Path, suffix: &str) -> Result<Vec<PathBuf>, SettingsError> {
    let failed = |error| SettingsError::Read { path: directory.to_owned(), error };
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if is_missing(&error) => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(failed)?.path();
        let named = path.file_name().is_some_and(|name| name.as_encoded_bytes().ends_with(suffix.as_bytes()));
        if named && !path.is_dir() {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// Is there nothing of that name? A file where a directory was expected is nothing, too.
pub fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}
