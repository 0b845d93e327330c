//! Credentials: from authentication files ([`file`]) and credential helpers ([`helper`]), and back into them
//! ([`login`], [`logout`]). containers-auth.json(5); docker's config.json and its helpers' protocol.

mod change;
mod file;
mod helper;
#[cfg(test)]
mod tests;

use std::path::Path;

pub use change::{Logout, login, logout, logout_all};
pub use file::AuthFile;

use super::registries::{AUTH_FILES, Registries};
use super::{SettingsError, SettingsOptions};
use crate::image::reference::DOCKER_IO;
use crate::image::registry::Credentials;
use file::Found;
use helper::Helper;

/// What is known to `registry` for `repository`; see [`super::Settings::credentials`].
pub(super) fn find(
    options: &SettingsOptions,
    registries: &Registries,
    registry: &str,
    repository: &str,
) -> Result<Option<Credentials>, SettingsError> {
    let (helpers, named_by) = registries.helpers();
    let mut failed = None;
    for name in helpers {
        let found = match name {
            AUTH_FILES => from_files(options, registry, repository),
            name => Helper::new(name, &named_by, options).and_then(|helper| helper.get(registry)),
        };
        match found {
            Ok(None) => {}
            Ok(found) => return Ok(found),
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    failed.map_or(Ok(None), Err)
}

fn from_files(
    options: &SettingsOptions,
    registry: &str,
    repository: &str,
) -> Result<Option<Credentials>, SettingsError> {
    for path in options.auth.primary.iter().chain(&options.auth.others) {
        let found = match AuthFile::load(path)? {
            Some(file) => from_file(options, &file, registry, repository)?,
            None => match options.auth.chosen_by {
                Some(by) => return Err(SettingsError::Missing { path: path.clone(), by }),
                None => None,
            },
        };
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

fn from_file(
    options: &SettingsOptions,
    file: &AuthFile,
    registry: &str,
    repository: &str,
) -> Result<Option<Credentials>, SettingsError> {
    match file.find(registry, repository)? {
        Found::Nothing => Ok(None),
        Found::Entry(credentials) => Ok(Some(credentials)),
        Found::Helper { name, by } => Helper::new(name, &named_by(by, file.path()), options)?.get(registry),
    }
}

/// Who named a helper, for people.
fn named_by(key: &str, path: &Path) -> String {
    format!("{key} in {}", path.display())
}

/// The one name of a registry that has several.
fn usual_name(registry: &str) -> &str {
    match registry {
        "index.docker.io" | "registry-1.docker.io" => DOCKER_IO,
        other => other,
    }
}
