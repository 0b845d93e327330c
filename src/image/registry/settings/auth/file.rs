//! An authentication file: `auth.json` of containers-auth.json(5), docker's `config.json`, and `.dockercfg` from
//! before both. Nothing of a secret is in any error.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;

use super::super::{SettingsError, files};
use super::usual_name;
use crate::image::registry::{Credentials, Secret};

/// Base64 with or without its padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What one file says.
pub struct AuthFile {
    path: PathBuf,
    raw: Raw,
    legacy: bool,
}

#[derive(Default, Deserialize)]
struct Raw {
    #[serde(default)]
    auths: Option<BTreeMap<String, Option<Entry>>>,
    #[serde(default, rename = "credHelpers")]
    helpers: Option<BTreeMap<String, String>>,
    #[serde(default, rename = "credsStore")]
    store: Option<String>,
}

#[derive(Default, Deserialize)]
struct Entry {
    auth: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
    username: Option<String>,
    password: Option<String>,
}

/// What a file knows about a registry.
#[derive(Debug)]
#[allow(missing_docs)]
pub enum Found<'a> {
    /// Nothing.
    Nothing,
    /// Credentials.
    Entry(Credentials),
    /// Whom to ask, and the key that says so.
    Helper { name: &'a str, by: &'static str },
}

impl AuthFile {
    /// Reads it; None where there is none.
    pub fn load(path: &Path) -> Result<Option<Self>, SettingsError> {
        files::read(path)?.map(|bytes| Self::parse(path, &bytes)).transpose()
    }

    /// The content of `path`; an empty file is an empty object.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self, SettingsError> {
        let legacy = path.file_name().is_some_and(|name| name == ".dockercfg");
        let wrong = |error: serde_json::Error| SettingsError::AuthFile {
            path: path.to_owned(),
            reason: without_content(&error),
        };
        let raw = match bytes.trim_ascii() {
            b"" => Raw::default(),
            [first, ..] if *first != b'{' => {
                let reason = "expected a JSON object".to_owned();
                return Err(SettingsError::AuthFile { path: path.to_owned(), reason });
            }
            _ if legacy => Raw { auths: serde_json::from_slice(bytes).map_err(wrong)?, ..Raw::default() },
            _ => serde_json::from_slice(bytes).map_err(wrong)?,
        };
        Ok(Self { path: path.to_owned(), raw, legacy })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it knows about `repository` of `registry`: a helper of the registry's own, the entry with the longest
    /// path, a helper for everything.
    pub fn find(&self, registry: &str, repository: &str) -> Result<Found<'_>, SettingsError> {
        let registry = usual_name(registry);
        if let Some(name) = self.helper_of(registry) {
            return Ok(Found::Helper { name, by: "credHelpers" });
        }
        if let Some((key, entry)) = self.entry(registry, repository)
            && let Some(credentials) = self.decode(key, entry)?
        {
            return Ok(Found::Entry(credentials));
        }
        Ok(match self.store() {
            Some(name) => Found::Helper { name, by: "credsStore" },
            None => Found::Nothing,
        })
    }

    /// `credHelpers`' entry for a registry.
    pub fn helper_of(&self, registry: &str) -> Option<&str> {
        let mut helpers = self.raw.helpers.iter().flatten();
        let named = helpers
            .find(|(key, name)| !name.is_empty() && self.registry_of(key).eq_ignore_ascii_case(registry));
        named.map(|(_, name)| name.as_str())
    }

    /// `credsStore`.
    pub fn store(&self) -> Option<&str> {
        self.raw.store.as_deref().filter(|name| !name.is_empty())
    }

    /// All registries of `credHelpers` with their helpers.
    pub fn helpers(&self) -> impl Iterator<Item = (&str, &str)> {
        let helpers = self.raw.helpers.iter().flatten();
        helpers.map(|(key, name)| (self.registry_of(key), name.as_str()))
    }

    /// Keys of entries that are about exactly `place`: HOST[:PORT] or HOST[:PORT]/PATH.
    pub fn keys_of(&self, place: &str) -> Vec<&str> {
        let keys = self.raw.auths.iter().flatten().map(|(key, _)| key.as_str());
        let whole_registry = !place.contains('/');
        keys.filter(|key| {
            *key == place || (whole_registry && self.registry_of(key).eq_ignore_ascii_case(usual_name(place)))
        })
        .collect()
    }

    /// The entry that is nearest to the repository: its own, that of a namespace above it, the registry's.
    fn entry(&self, registry: &str, repository: &str) -> Option<(&str, &Entry)> {
        let auths = self.raw.auths.as_ref()?;
        let mut place = match repository.is_empty() {
            true => registry.to_owned(),
            false => format!("{registry}/{repository}"),
        };
        loop {
            if let Some((key, Some(entry))) = auths.get_key_value(&place) {
                return Some((key, entry));
            }
            match place.rfind('/') {
                Some(shorter) => place.truncate(shorter),
                None => break,
            }
        }
        let spelt =
            |(key, _): &(&String, &Option<Entry>)| self.registry_of(key).eq_ignore_ascii_case(registry);
        let (key, entry) = auths.iter().find(spelt)?;
        Some((key, entry.as_ref()?))
    }

    /// The registry that a key names: docker writes URLs, its hub's has a path.
    fn registry_of<'a>(&self, key: &'a str) -> &'a str {
        let bare = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://"));
        let host = match bare {
            None if !self.legacy => key,
            bare => bare.unwrap_or(key).split('/').next().unwrap_or_default(),
        };
        usual_name(host)
    }

    fn decode(&self, key: &str, entry: &Entry) -> Result<Option<Credentials>, SettingsError> {
        let wrong =
            |reason| SettingsError::AuthEntry { path: self.path.clone(), key: key.to_owned(), reason };
        let given = |field: &Option<String>| field.clone().filter(|value| !value.is_empty());
        let source = format!("{}, entry {key:?}", self.path.display());
        if let Some(token) = given(&entry.identitytoken) {
            return Ok(Some(Credentials { secret: Secret::IdentityToken(token), source }));
        }
        let (user, password) = match given(&entry.auth) {
            None => (given(&entry.username), given(&entry.password)),
            Some(auth) => {
                let bytes =
                    BASE64.decode(auth.trim()).map_err(|_| wrong("has an `auth` that is no base64"))?;
                let text = String::from_utf8(bytes).map_err(|_| wrong("has an `auth` that is not UTF-8"))?;
                let (user, password) =
                    text.split_once(':').ok_or_else(|| wrong("has an `auth` without a colon"))?;
                // docker has padded passwords with zeros.
                let password = password.trim_end_matches('\0');
                (given(&Some(user.to_owned())), given(&Some(password.to_owned())))
            }
        };
        match (user, password) {
            (Some(user), Some(password)) => {
                Ok(Some(Credentials { secret: Secret::Password { user, password }, source }))
            }
            _ if entry.registrytoken.is_some() => {
                Err(wrong("has a `registrytoken` alone, which rcrun cannot renew"))
            }
            _ => Ok(None),
        }
    }
}

/// Where JSON is wrong, without any of it: it may be a password.
pub(super) fn without_content(error: &serde_json::Error) -> String {
    let (line, column) = (error.line(), error.column());
    match error.is_data() {
        true => format!("a value of another kind than expected at line {line}, column {column}"),
        false => format!("no JSON at line {line}, column {column}"),
    }
}
