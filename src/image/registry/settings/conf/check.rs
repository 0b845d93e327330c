//! What the parts of a file may be, and where each of them is written.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use toml::Spanned;

use super::super::SettingsError;
use super::{Mirror, Namespace, Origin, Pulls, RawMirror, RawNamespace};
use crate::image::reference::lower_host;
use crate::image::{Name, Reference};
use crate::text::on_one_line;

/// The file that is being read.
pub(super) struct Source<'a> {
    path: Arc<Path>,
    text: &'a str,
}

impl<'a> Source<'a> {
    pub(super) fn new(path: &Path, text: &'a str) -> Self {
        Self { path: path.into(), text }
    }

    fn line(&self, span: &Range<usize>) -> usize {
        let before = self.text.as_bytes().get(..span.start).unwrap_or_default();
        1 + before.iter().filter(|byte| **byte == b'\n').count()
    }

    fn origin(&self, span: &Range<usize>) -> Origin {
        Origin { path: self.path.clone(), line: self.line(span) }
    }

    pub(super) fn wrong(&self, line: usize, reason: String) -> SettingsError {
        SettingsError::Toml { path: self.path.to_path_buf(), line, reason }
    }

    pub(super) fn toml(&self, error: &toml::de::Error) -> SettingsError {
        let line = error.span().map_or(1, |span| self.line(&span));
        let message: Vec<&str> = error.message().split_whitespace().collect();
        self.wrong(line, on_one_line(&message.join(" ")))
    }

    pub(super) fn hosts(&self, hosts: Spanned<Vec<String>>) -> Result<Vec<String>, SettingsError> {
        let line = self.line(&hosts.span());
        for host in hosts.get_ref() {
            let name: Result<Name, _> = format!("{host}/name").parse();
            let is_registry =
                matches!(&name, Ok(Name::Qualified(name)) if name.registry() == lower_host(host));
            if !is_registry {
                let reason = format!(
                    "unqualified-search-registries has {host:?}: expected HOST[:PORT] with a dot or a port"
                );
                return Err(self.wrong(line, reason));
            }
        }
        Ok(hosts.into_inner())
    }

    pub(super) fn namespace(&self, raw: Spanned<RawNamespace>) -> Result<Namespace, SettingsError> {
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

    pub(super) fn alias(
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
}

/// A prefix or a location: without a slash at its end, its host as names have it, and no URL.
fn place_of(key: &str, text: &str) -> Result<String, String> {
    let text = text.trim_end_matches('/');
    match text.contains("://") || text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        true => Err(format!("{key} {text:?}: expected HOST[:PORT][/PATH], without a scheme")),
        false => Ok(lower_host(text)),
    }
}
