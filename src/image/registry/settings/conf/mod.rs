//! One file of registries.conf's second format: containers-registries.conf(5).
//!
//! In: its text. Out: what it says, checked, each `[[registry]]` with its line. Keys that are not known are no
//! error, as for the other programs that read the file, but are told to `rcrun registry explain`.

mod check;
#[cfg(test)]
mod tests;
mod unknown;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use toml::Spanned;

use super::SettingsError;
use crate::image::Reference;
use check::Source;

/// What one file says; None where it says nothing.
#[derive(Clone, Debug, Default)]
pub struct File {
    /// `unqualified-search-registries`.
    pub search: Option<Vec<String>>,
    /// `credential-helpers`.
    pub helpers: Option<Vec<String>>,
    /// `short-name-mode`.
    pub mode: Option<ShortNameMode>,
    /// `[[registry]]`, in the file's order.
    pub namespaces: Vec<Namespace>,
    /// `[aliases]`: a short name's repository to a name without tag; None erases what earlier files say.
    pub aliases: BTreeMap<String, Option<Reference>>,
    /// What was ignored, and where.
    pub notes: Vec<String>,
}

/// What to do about a short name that several registries could have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ShortNameMode {
    /// Refuse it.
    Enforcing,
    /// Try them in their order. The specification asks on a terminal first; rcrun never does.
    #[default]
    #[serde(alias = "")]
    Permissive,
    /// Try them in their order.
    Disabled,
}

/// A line of a file, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The file.
    pub path: Arc<Path>,
    /// Its line, from 1.
    pub line: usize,
}

/// One `[[registry]]`.
#[derive(Clone, Debug)]
pub struct Namespace {
    /// Which names it is about: HOST[:PORT][/PATH...], perhaps with a tag or digest, or `*.DOMAIN`.
    pub prefix: String,
    /// What stands in the prefix's place in the registry's own name; empty: the name stays as it is.
    pub location: String,
    /// Neither certificates nor encryption are needed.
    pub insecure: bool,
    /// Nothing may be had.
    pub blocked: bool,
    /// Asked before the registry.
    pub mirrors: Vec<Mirror>,
    /// Where it is written.
    pub origin: Origin,
}

/// One `[[registry.mirror]]`.
#[derive(Clone, Debug)]
pub struct Mirror {
    /// What stands in the prefix's place.
    pub location: String,
    /// As of the registry.
    pub insecure: bool,
    /// For which names.
    pub pulls: Pulls,
    /// Where it is written.
    pub origin: Origin,
}

/// `pull-from-mirror`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pulls {
    /// Any name.
    #[default]
    #[serde(alias = "")]
    All,
    /// Names with a digest.
    DigestOnly,
    /// Names without.
    TagOnly,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Raw {
    unqualified_search_registries: Option<Spanned<Vec<String>>>,
    credential_helpers: Option<Vec<String>>,
    short_name_mode: Option<ShortNameMode>,
    #[serde(default)]
    registry: Vec<Spanned<RawNamespace>>,
    #[serde(default)]
    aliases: BTreeMap<String, Spanned<String>>,
    registries: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct RawNamespace {
    #[serde(default)]
    prefix: String,
    #[serde(default)]
    location: String,
    #[serde(default)]
    insecure: bool,
    #[serde(default)]
    blocked: bool,
    #[serde(default)]
    mirror_by_digest_only: bool,
    #[serde(default)]
    mirror: Vec<Spanned<RawMirror>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct RawMirror {
    #[serde(default)]
    location: String,
    #[serde(default)]
    insecure: bool,
    pull_from_mirror: Option<Pulls>,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}, line {}", self.path.display(), self.line)
    }
}

/// Reads `text`, the content of `path`.
pub fn parse(path: &Path, text: &str) -> Result<File, SettingsError> {
    let source = Source::new(path, text);
    let raw: Raw = toml::from_str(text).map_err(|error| source.toml(&error))?;
    if raw.registries.is_some() {
        return Err(SettingsError::FirstFormat { path: path.to_owned() });
    }
    let search = raw.unqualified_search_registries.map(|hosts| source.hosts(hosts)).transpose()?;
    let mut file =
        File { search, helpers: raw.credential_helpers, mode: raw.short_name_mode, ..File::default() };
    for raw in raw.registry {
        let namespace = source.namespace(raw)?;
        match file.namespaces.iter().find(|other| other.prefix == namespace.prefix) {
            None => file.namespaces.push(namespace),
            Some(first) if (first.insecure, first.blocked) == (namespace.insecure, namespace.blocked) => {
                file.notes
                    .push(format!("{} is ignored: {} has the same prefix", namespace.origin, first.origin));
            }
            Some(first) => {
                let reason = format!(
                    "the prefix {:?} is that of line {}, too, but `insecure` or `blocked` differ",
                    namespace.prefix, first.origin.line
                );
                return Err(source.wrong(namespace.origin.line, reason));
            }
        }
    }
    for (name, value) in raw.aliases {
        let (name, value) = source.alias(name, value)?;
        file.aliases.insert(name, value);
    }
    file.notes.extend(unknown::keys(path, text));
    Ok(file)
}
