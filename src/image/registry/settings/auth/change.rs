//! `login` and `logout`: credentials into and out of an authentication file or a credential helper.
//!
//! A file is written whole, with mode 0600, in the place of the one before, and keeps every key that is not
//! rcrun's. The lock on its directory is held from reading to writing: of two logins at once both stay.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustix::fs::{FlockOperation, flock};
use serde_json::{Map, Value, json};

use super::super::registries::AUTH_FILES;
use super::super::{AuthFiles, Settings, SettingsError};
use super::file::without_content;
use super::helper::{DOCKERS_HUB, Helper};
use super::{AuthFile, named_by, usual_name};
use crate::image::reference::DOCKER_IO;

/// What became of a logout.
#[derive(Debug, PartialEq, Eq)]
pub enum Logout {
    /// Nobody knew credentials for the registry.
    Nothing,
    /// They are gone from these places.
    From(Vec<String>),
    /// Only this file has any, which is another program's.
    Elsewhere(PathBuf),
}

/// Keeps credentials for `place`, HOST[:PORT][/PATH]; the result says where, for people.
pub fn login(settings: &Settings, place: &str, user: &str, password: &str) -> Result<String, SettingsError> {
    let (helpers, by) = settings.registries.helpers();
    let first = helpers.first().copied().unwrap_or(AUTH_FILES);
    if first != AUTH_FILES {
        return into_helper(&Helper::new(first, &by, &settings.options)?, place, user, password);
    }
    let path = primary(&settings.options.auth)?;
    let file = Opened::for_changes(path)?;
    if let Some((name, by)) = helper_for(&file.parsed, place) {
        let by = named_by(by, path);
        return into_helper(&Helper::new(&name, &by, &settings.options)?, place, user, password);
    }
    let auth = STANDARD.encode(format!("{user}:{password}"));
    let keys: Vec<String> = file.parsed.keys_of(place).into_iter().map(str::to_owned).collect();
    let new = key_for(path, place);
    file.change(|auths| {
        auths.retain(|key, _| !keys.contains(key));
        auths.insert(new, json!({ "auth": auth }));
    })?;
    Ok(path.display().to_string())
}

/// Forgets the credentials for `place`.
pub fn logout(settings: &Settings, place: &str) -> Result<Logout, SettingsError> {
    let options = &settings.options;
    let (helpers, by) = settings.registries.helpers();
    let mut from = Vec::new();
    for name in helpers {
        if name != AUTH_FILES {
            let helper = Helper::new(name, &by, options)?;
            if helper.erase(place)? {
                from.push(helper.description());
            }
            continue;
        }
        let path = primary(&options.auth)?;
        if AuthFile::load(path)?.is_none() {
            continue;
        }
        let file = Opened::for_changes(path)?;
        if let Some((name, by)) = helper_for(&file.parsed, place) {
            let by = named_by(by, path);
            let helper = Helper::new(&name, &by, options)?;
            if helper.erase(place)? {
                from.push(helper.description());
            }
        }
        let keys: Vec<String> = file.parsed.keys_of(place).into_iter().map(str::to_owned).collect();
        if !keys.is_empty() {
            file.change(|auths| auths.retain(|key, _| !keys.contains(key)))?;
            from.push(path.display().to_string());
        }
    }
    if !from.is_empty() {
        return Ok(Logout::From(from));
    }
    for path in &options.auth.others {
        if AuthFile::load(path)?.is_some_and(|file| !file.keys_of(place).is_empty()) {
            return Ok(Logout::Elsewhere(path.clone()));
        }
    }
    Ok(Logout::Nothing)
}

/// Forgets all credentials of rcrun's own authentication file, and of the helpers that it names.
pub fn logout_all(settings: &Settings) -> Result<PathBuf, SettingsError> {
    let path = primary(&settings.options.auth)?;
    if AuthFile::load(path)?.is_some() {
        let file = Opened::for_changes(path)?;
        let by = named_by("credHelpers", path);
        for (registry, name) in file.parsed.helpers() {
            Helper::new(name, &by, &settings.options)?.erase(registry)?;
        }
        file.change(Map::clear)?;
    }
    Ok(path.to_owned())
}

fn primary(auth: &AuthFiles) -> Result<&Path, SettingsError> {
    auth.primary.as_deref().ok_or(SettingsError::NoAuthFile)
}

/// Helpers know registries alone: credentials of a namespace stay in the file.
fn helper_for(file: &AuthFile, place: &str) -> Option<(String, &'static str)> {
    if place.contains('/') {
        return None;
    }
    let own = file.helper_of(usual_name(place)).map(|name| (name.to_owned(), "credHelpers"));
    own.or_else(|| file.store().map(|name| (name.to_owned(), "credsStore")))
}

fn into_helper(helper: &Helper, place: &str, user: &str, password: &str) -> Result<String, SettingsError> {
    helper.store(place, user, password)?;
    Ok(helper.description())
}

/// The key of a new entry: in docker's own file its hub has docker's name.
fn key_for(path: &Path, place: &str) -> String {
    let is_dockers = path.file_name().is_some_and(|name| name == "config.json");
    match usual_name(place) {
        DOCKER_IO if is_dockers => DOCKERS_HUB.to_owned(),
        place => place.to_owned(),
    }
}

/// An authentication file that nobody else changes.
struct Opened {
    /// With links followed: what is replaced is the file.
    path: PathBuf,
    parsed: AuthFile,
    document: Map<String, Value>,
    _lock: File,
}

impl Opened {
    fn for_changes(path: &Path) -> Result<Self, SettingsError> {
        let failed = |error| SettingsError::Write { path: path.to_owned(), error };
        let path = match fs::canonicalize(path) {
            Ok(path) => path,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                std::path::absolute(path).map_err(failed)?
            }
            Err(error) => return Err(failed(error)),
        };
        if fs::metadata(&path).is_ok_and(|metadata| !metadata.is_file()) {
            return Err(failed(io::Error::other("it is no regular file")));
        }
        let directory = path.parent().unwrap_or(Path::new("/"));
        fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
        let lock = File::open(directory).map_err(failed)?;
        flock(&lock, FlockOperation::LockExclusive).map_err(|errno| failed(errno.into()))?;
        let bytes = super::super::files::read(&path)?.unwrap_or_default();
        let parsed = AuthFile::parse(&path, &bytes)?;
        let document = match bytes.trim_ascii().is_empty() {
            true => Map::new(),
            false => serde_json::from_slice(&bytes).map_err(|error| SettingsError::AuthFile {
                path: path.clone(),
                reason: without_content(&error),
            })?,
        };
        Ok(Self { path, parsed, document, _lock: lock })
    }

    /// Writes the file anew with other entries.
    fn change(mut self, change: impl FnOnce(&mut Map<String, Value>)) -> Result<(), SettingsError> {
        let is_legacy = self.path.file_name().is_some_and(|name| name == ".dockercfg");
        if is_legacy {
            change(&mut self.document);
        } else if let Value::Object(auths) = self.document.entry("auths").or_insert_with(|| json!({})) {
            change(auths);
        } else {
            let mut auths = Map::new();
            change(&mut auths);
            self.document.insert("auths".to_owned(), auths.into());
        }
        self.write().map_err(|error| SettingsError::Write { path: self.path.clone(), error })
    }

    fn write(&self) -> io::Result<()> {
        let mut bytes = serde_json::to_vec_pretty(&self.document)?;
        bytes.push(b'\n');
        let temporary = self.path.with_added_extension(format!("{}.tmp", std::process::id()));
        // What is left of a killed process of the same number.
        let _ = fs::remove_file(&temporary);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        let written = file.write_all(&bytes).and_then(|()| file.sync_all());
        let renamed = written.and_then(|()| fs::rename(&temporary, &self.path));
        renamed.inspect_err(|_| drop(fs::remove_file(&temporary)))
    }
}
