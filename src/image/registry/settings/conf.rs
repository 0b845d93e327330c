//! One file of registries.conf's second format: containers-registries.conf(5).
//!
//! In: its text. Out: what it says, checked, each `[[registry]]` with its line. Keys that are not known are no
//! error, as for the other programs that read the file, but are told to `rcrun registry explain`.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use serde::Deserialize;
use toml::Spanned;

use super::SettingsError;
use crate::image::{Name, Reference};

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

/// Keys that have a meaning, by table. The last of the first is of another program.
const KNOWN: [&[&str]; 3] = [
    &[
        "unqualified-search-registries",
        "credential-helpers",
        "short-name-mode",
        "registry",
        "aliases",
        "additional-layer-store-auth-helper",
    ],
    &["prefix", "location", "insecure", "blocked", "mirror-by-digest-only", "mirror"],
    &["location", "insecure", "pull-from-mirror"],
];

/// Reads `text`, the content of `path`.
pub fn parse(path: &Path, text: &str) -> Result<File, SettingsError> {
    let place = Place { path: path.into(), text: text.into() };
    let raw: Raw = toml::from_str(text).map_err(|error| place.toml(&error))?;
    if raw.registries.is_some() {
        return Err(SettingsError::FirstFormat { path: path.to_owned() });
    }
    let search = raw.unqualified_search_registries.map(|hosts| place.hosts(hosts)).transpose()?;
    let mut file =
        File { search, helpers: raw.credential_helpers, mode: raw.short_name_mode, ..File::default() };
    for raw in raw.registry {
        let namespace = place.namespace(raw)?;
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
                return Err(place.wrong(namespace.origin.line, reason));
            }
        }
    }
    for (name, value) in raw.aliases {
        let (name, value) = place.alias(name, value)?;
        file.aliases.insert(name, value);
    }
    file.notes.extend(place.unknown_keys());
    Ok(file)
}

/// The file that is being read.
struct Place {
    path: Arc<Path>,
    text: Rc<str>,
}

impl Place {
    fn line(&self, span: &Range<usize>) -> usize {
        let before = self.text.as_bytes().get(..span.start).unwrap_or_default();
        1 + before.iter().filter(|byte| **byte == b'\n').count()
    }

    fn origin(&self, span: &Range<usize>) -> Origin {
        Origin { path: self.path.clone(), line: self.line(span) }
    }

    fn wrong(&self, line: usize, reason: String) -> SettingsError {
        SettingsError::Toml { path: self.path.to_path_buf(), line, reason }
    }

    fn toml(&self, error: &toml::de::Error) -> SettingsError {
        let line = error.span().map_or(1, |span| self.line(&span));
        let message: Vec<&str> = error.message().split_whitespace().collect();
        self.wrong(line, message.join(" "))
    }

    fn hosts(&self, hosts: Spanned<Vec<String>>) -> Result<Vec<String>, SettingsError> {
        let line = self.line(&hosts.span());
        for host in hosts.get_ref() {
            let name: Result<Name, _> = format!("{host}/name").parse();
            let is_registry = matches!(&name, Ok(Name::Qualified(name)) if name.registry() == *host);
            if !is_registry {
                let reason = format!(
                    "unqualified-search-registries has {host:?}: expected HOST[:PORT] with a dot or a port"
                );
                return Err(self.wrong(line, reason));
            }
        }
        Ok(hosts.into_inner())
    }

    fn namespace(&self, raw: Spanned<RawNamespace>) -> Result<Namespace, SettingsError> {
        let origin = self.origin(&raw.span());
        let raw = raw.into_inner();
        let wrong = |reason: String| self.wrong(origin.line, reason);
        let location = place_of("location", &raw.location).map_err(wrong)?;
        let prefix = place_of("prefix", &raw.prefix).map_err(wrong)?;
        let prefix = if prefix.is_empty() { location.clone() } else { prefix };
        if prefix.is_empty() {
            return Err(wrong("[[registry]] has neither `prefix` nor `location`".to_owned()));
        }
        match prefix.strip_prefix("*.") {
            Some(domain) if domain.is_empty() || domain.contains(['*', '/', ':', '@']) => {
                return Err(wrong(format!("prefix {prefix:?}: a wildcard is *.DOMAIN alone")));
            }
            None if prefix.contains('*') => {
                return Err(wrong(format!("prefix {prefix:?}: only *.DOMAIN may have an asterisk")));
            }
            None if location.is_empty() => {
                return Err(wrong(format!(
                    "prefix {prefix:?} needs a `location`: only wildcards do without"
                )));
            }
            _ => {}
        }
        let digest_only = raw.mirror_by_digest_only;
        let mirrors = raw.mirror.into_iter().map(|mirror| self.mirror(mirror, digest_only));
        let mirrors = mirrors.collect::<Result<_, _>>()?;
        let (insecure, blocked) = (raw.insecure, raw.blocked);
        Ok(Namespace { prefix, location, insecure, blocked, mirrors, origin })
    }

    fn mirror(&self, raw: Spanned<RawMirror>, digest_only: bool) -> Result<Mirror, SettingsError> {
        let origin = self.origin(&raw.span());
        let raw = raw.into_inner();
        let wrong = |reason: String| self.wrong(origin.line, reason);
        let location = place_of("location", &raw.location).map_err(wrong)?;
        if location.is_empty() || location.contains('*') {
            return Err(wrong("[[registry.mirror]] needs a `location`, without asterisks".to_owned()));
        }
        let pulls = match (digest_only, raw.pull_from_mirror) {
            (true, Some(_)) => {
                let reason = "pull-from-mirror cannot stand beside the registry's mirror-by-digest-only";
                return Err(wrong(reason.to_owned()));
            }
            (true, None) => Pulls::DigestOnly,
            (false, pulls) => pulls.unwrap_or_default(),
        };
        Ok(Mirror { location, insecure: raw.insecure, pulls, origin })
    }

    fn alias(
        &self,
        name: String,
        value: Spanned<String>,
    ) -> Result<(String, Option<Reference>), SettingsError> {
        let line = self.line(&value.span());
        let parsed = name.parse::<Name>().map_err(|error| self.wrong(line, format!("alias {error}")))?;
        let Name::Short(short) = parsed else {
            return Err(self.wrong(line, format!("alias {name:?} is no short name: it has a registry")));
        };
        if short.tag.is_some() || short.digest.is_some() {
            return Err(self.wrong(line, format!("alias {name:?} has a tag or a digest")));
        }
        if value.get_ref().is_empty() {
            return Ok((short.repository, None));
        }
        let target = match value.get_ref().parse::<Name>() {
            Ok(Name::Qualified(target)) => target,
            Ok(Name::Short(_)) => {
                let reason = format!("alias {name:?} is {:?}, which has no registry", value.get_ref());
                return Err(self.wrong(line, reason));
            }
            Err(error) => return Err(self.wrong(line, format!("alias {name:?}: {error}"))),
        };
        if target.tag().is_some() || target.digest().is_some() {
            return Err(self.wrong(line, format!("alias {name:?} is {target}, which has a tag or a digest")));
        }
        Ok((short.repository, Some(target)))
    }

    /// A line for each key without a meaning: often one that is misspelt.
    fn unknown_keys(&self) -> Vec<String> {
        let Ok(top) = self.text.parse::<toml::Table>() else { return Vec::new() };
        let tables = |value: Option<&toml::Value>| -> Vec<toml::Table> {
            let array = value.and_then(toml::Value::as_array).cloned().unwrap_or_default();
            array.into_iter().filter_map(|value| value.try_into().ok()).collect()
        };
        let registries = tables(top.get("registry"));
        let mirrors: Vec<_> = registries.iter().flat_map(|registry| tables(registry.get("mirror"))).collect();
        let mut notes = Vec::new();
        for (tables, (known, where_)) in [vec![top], registries, mirrors].iter().zip(KNOWN.iter().zip([
            "",
            " of [[registry]]",
            " of [[registry.mirror]]",
        ])) {
            let keys = tables.iter().flat_map(|table| table.keys());
            let unknown = keys.filter(|key| !known.contains(&key.as_str()));
            notes.extend(unknown.map(|key| {
                format!("{}: the key {key:?}{where_} has no meaning and is ignored", self.path.display())
            }));
        }
        notes
    }
}

/// A prefix or a location: without a slash at its end, and no URL.
fn place_of(key: &str, text: &str) -> Result<String, String> {
    let text = text.trim_end_matches('/');
    match text.contains("://") || text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        true => Err(format!("{key} {text:?}: expected HOST[:PORT][/PATH], without a scheme")),
        false => Ok(text.to_owned()),
    }
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}, line {}", self.path.display(), self.line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<File, String> {
        parse(Path::new("/r.conf"), text).map_err(|error| error.to_string())
    }

    #[test]
    fn the_manuals_example_is_read_with_its_lines() {
        let text = "unqualified-search-registries = [\"example.com\"]\n\n[[registry]]\nprefix = \"example.com/foo\"\n\
            location = \"internal.example/bar/\"\n[[registry.mirror]]\nlocation = \"mirror-0.local/foo\"\n\
            [[registry.mirror]]\nlocation = \"mirror-1.local/foo\"\ninsecure = true\npull-from-mirror = \"digest-only\"\n\
            [[registry]]\nlocation = \"registry.com\"\n[aliases]\n\"a\" = \"registry.com/b\"\n\"gone\" = \"\"\n";
        let file = read(text).unwrap();
        assert_eq!(file.search.unwrap(), ["example.com"]);
        let [first, second] = &file.namespaces[..] else { panic!("two") };
        assert_eq!((first.location.as_str(), first.origin.line), ("internal.example/bar", 3));
        assert_eq!(first.mirrors.iter().map(|mirror| mirror.origin.line).collect::<Vec<_>>(), [6, 8]);
        assert_eq!((first.mirrors[1].insecure, first.mirrors[1].pulls), (true, Pulls::DigestOnly));
        assert_eq!((second.prefix.as_str(), second.origin.line), ("registry.com", 12));
        assert_eq!(file.aliases["a"].as_ref().unwrap().to_string(), "registry.com/b");
        assert_eq!(file.aliases["gone"], None);
        assert!(file.notes.is_empty());
    }

    #[test]
    fn a_key_without_a_meaning_is_told() {
        let file = read(
            "[[registry]]\nlocation = \"a.b\"\nmirorr = 1\n[[registry.mirror]]\nlocation = \"c.d\"\nx = 1",
        )
        .unwrap();
        let notes = file.notes.join("\n");
        assert!(
            notes.contains("\"mirorr\" of [[registry]]") && notes.contains("\"x\" of [[registry.mirror]]")
        );
    }

    #[test]
    fn what_is_wrong_is_told_with_file_and_line() {
        for (text, line, reason) in [
            ("a = ", 1, ""),
            ("\n\nunqualified-search-registries = 5", 3, "invalid type"),
            ("unqualified-search-registries = [\"https://a.b\"]", 1, "HOST[:PORT]"),
            ("unqualified-search-registries = [\"plain\"]", 1, "HOST[:PORT]"),
            ("unqualified-search-registries = [\"a.b/c\"]", 1, "HOST[:PORT]"),
            ("short-name-mode = \"maybe\"", 1, "maybe"),
            ("\n[[registry]]\nblocked = true", 2, "neither"),
            ("[[registry]]\nlocation = \"https://a.b\"", 1, "scheme"),
            ("[[registry]]\nprefix = \"a.*.b\"\nlocation = \"c.d\"", 1, "asterisk"),
            ("[[registry]]\nprefix = \"*.a.b/c\"", 1, "wildcard"),
            ("[[registry]]\nprefix = \"a.b\"", 1, "location"),
            ("[[registry]]\nlocation = \"a.b\"\n[[registry.mirror]]\ninsecure = true", 3, "location"),
            (
                "[[registry]]\nlocation = \"a.b\"\nmirror-by-digest-only = true\n[[registry.mirror]]\nlocation = \"c.d\"\npull-from-mirror = \"all\"",
                4,
                "pull-from-mirror",
            ),
            (
                "[[registry]]\nlocation = \"a.b\"\n[[registry]]\nlocation = \"a.b\"\nblocked = true",
                3,
                "line 1",
            ),
            ("[aliases]\n\"a.b/c\" = \"d.e/f\"", 2, "short name"),
            ("[aliases]\na = \"b\"", 2, "registry"),
            ("[aliases]\n\"a\" = \"b.c/d:1\"", 2, "tag"),
            ("[aliases]\n\"A\" = \"b.c/d\"", 2, "lower case"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(&format!("/r.conf\", line {line}: ")), "{text:?}: {error}");
            assert!(error.contains(reason) && !error.contains('\n'), "{text:?}: {error}");
        }
        let error = read("[registries.search]\nregistries = ['a.b']").unwrap_err();
        assert!(error.contains("first format"), "{error}");
    }
}
