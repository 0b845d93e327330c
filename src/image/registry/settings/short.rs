//! Short names: which registries `busybox` may be in. containers-registries.conf(5), "Short-Name Aliasing".
//!
//! Nobody is asked: where the specification would ask on a terminal, `permissive` tries the registries in their
//! order and `enforcing` refuses. Without any `unqualified-search-registries` a short name is in docker.io.

use super::SettingsError;
use super::conf::ShortNameMode;
use super::registries::Registries;
use crate::image::reference::{DOCKER_IO, ShortName};
use crate::image::{Name, Reference};

/// A whole name that a name may stand for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The whole name.
    pub reference: Reference,
    /// Who says so, for people.
    pub why: String,
}

impl Registries {
    /// What `name` may stand for, in the order of trying.
    pub fn candidates(&self, name: &Name) -> Result<Vec<Candidate>, SettingsError> {
        let short = match name {
            Name::Qualified(reference) => {
                let why = "the name says its registry".to_owned();
                return Ok(vec![Candidate { reference: reference.clone(), why }]);
            }
            Name::Short(short) => short,
        };
        if let Some((target, path)) = self.aliases.get(&short.repository) {
            let why = format!("alias {:?} in {}", short.repository, path.display());
            return Ok(vec![Candidate { reference: with_ending(target, short), why }]);
        }
        let (hosts, why) = match &self.search {
            Some((hosts, path)) if !hosts.is_empty() => (
                hosts.iter().map(String::as_str).collect(),
                format!("unqualified-search-registries in {}", path.display()),
            ),
            _ => (vec![DOCKER_IO], "names without a registry are in docker.io".to_owned()),
        };
        let candidates =
            hosts.iter().map(|host| Candidate { reference: name.in_registry(host), why: why.clone() });
        let candidates: Vec<Candidate> = candidates.collect();
        match candidates.len() > 1 && self.mode == ShortNameMode::Enforcing {
            true => {
                let all: Vec<String> = candidates.iter().map(|one| one.reference.to_string()).collect();
                Err(SettingsError::Ambiguous { name: name.to_string(), candidates: all.join(", ") })
            }
            false => Ok(candidates),
        }
    }
}

/// An alias' name with the tag and the digest of the short one.
fn with_ending(target: &Reference, short: &ShortName) -> Reference {
    let tagged = short.tag.as_ref().map_or_else(|| target.clone(), |tag| target.with_tag(tag));
    match &short.digest {
        None => tagged,
        // Both: only a text can say that.
        Some(digest) => format!("{tagged}@{digest}").parse().unwrap_or_else(|_| tagged.with_digest(digest)),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::image::digest::Digest;

    fn registries(text: &str) -> Registries {
        Registries::parse(Path::new("/r.conf"), text).unwrap()
    }

    fn names(all: &Registries, name: &str) -> Vec<String> {
        let candidates = all.candidates(&name.parse().unwrap()).unwrap();
        candidates.iter().map(|one| one.reference.to_string()).collect()
    }

    #[test]
    fn without_a_word_a_short_name_is_dockers() {
        let all = registries("");
        assert_eq!(names(&all, "busybox:1"), ["docker.io/library/busybox:1"]);
        assert_eq!(names(&all, "a.b/busybox"), ["a.b/busybox"]);
        assert_eq!(names(&registries("unqualified-search-registries = []"), "x"), ["docker.io/library/x"]);
    }

    #[test]
    fn an_alias_comes_before_the_search() {
        let all = registries(
            "unqualified-search-registries = [\"a.b\"]\n[aliases]\n\"x\" = \"q.r/s/x\"\n\"team/x\" = \"docker.io/y\"",
        );
        let digest = Digest::of(b"");
        assert_eq!(names(&all, "x"), ["q.r/s/x"]);
        assert_eq!(names(&all, &format!("x:1@{digest}")), [format!("q.r/s/x:1@{digest}")]);
        assert_eq!(names(&all, &format!("x@{digest}")), [format!("q.r/s/x@{digest}")]);
        assert_eq!(names(&all, "team/x"), ["docker.io/library/y"]);
        assert_eq!(names(&all, "z"), ["a.b/z"]);
    }

    #[test]
    fn several_registries_are_tried_or_refused() {
        let two = "unqualified-search-registries = [\"a.b\", \"docker.io\"]\n";
        assert_eq!(names(&registries(two), "x"), ["a.b/x", "docker.io/library/x"]);
        let all = registries(&format!("{two}short-name-mode = \"enforcing\""));
        let error = all.candidates(&"x".parse().unwrap()).unwrap_err().to_string();
        assert!(error.contains("a.b/x, docker.io/library/x"), "{error}");
        let one = "unqualified-search-registries = [\"a.b\"]\nshort-name-mode = \"enforcing\"";
        assert_eq!(names(&registries(one), "x"), ["a.b/x"]);
    }
}
