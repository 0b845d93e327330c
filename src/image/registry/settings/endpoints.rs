//! From a name to the places where it may be had: which `[[registry]]` applies, what it makes of the name.
//! containers-registries.conf(5), "Choosing a [[registry]] TOML table" and "Remapping and mirroring registries".

use super::SettingsError;
use super::conf::{Namespace, Origin, Pulls};
use super::registries::Registries;
use crate::image::Reference;
use crate::image::registry::Endpoint;

/// What an endpoint's `why` says where no file says anything.
const NOTHING_SAID: &str = "no [[registry]] is about it";

impl Registries {
    /// Where to ask for `reference`, in order: mirrors first.
    pub fn endpoints(&self, reference: &Reference) -> Result<Vec<Endpoint>, SettingsError> {
        let Some((namespace, matched)) = self.namespace(reference)? else {
            return Ok(vec![as_it_is(reference)]);
        };
        let mut endpoints = Vec::new();
        for mirror in namespace.mirrors.iter().filter(|mirror| mirror.pulls.includes(reference)) {
            let why = format!("mirror of {} ({})", namespace.prefix, mirror.origin);
            let reference = rewritten(reference, matched, &mirror.location, &mirror.origin)?;
            endpoints.push(Endpoint { reference, insecure: mirror.insecure, mirror: true, why });
        }
        let reference = match namespace.location.is_empty() {
            true => reference.clone(),
            false => rewritten(reference, matched, &namespace.location, &namespace.origin)?,
        };
        let why = about(namespace);
        endpoints.push(Endpoint { reference, insecure: namespace.insecure, mirror: false, why });
        Ok(endpoints)
    }

    /// What `reference` itself says, to push and to log in to. Mirrors and other locations are for reading.
    pub fn home(&self, reference: &Reference) -> Result<Endpoint, SettingsError> {
        let namespace = self.namespace(reference)?;
        Ok(namespace.map_or_else(
            || as_it_is(reference),
            |(namespace, _)| Endpoint {
                reference: reference.clone(),
                insecure: namespace.insecure,
                mirror: false,
                why: about(namespace),
            },
        ))
    }

    /// The entry with the longest prefix, and how many bytes of the name that prefix is.
    fn namespace(&self, reference: &Reference) -> Result<Option<(&Namespace, usize)>, SettingsError> {
        let name = reference.to_string();
        let matching = |namespace| Some((namespace, matched(&name, reference.registry(), namespace)?));
        // Of prefixes of one length one is a wildcard at most.
        let longest = |(namespace, _): &(&Namespace, usize)| {
            (namespace.prefix.len(), !namespace.prefix.starts_with('*'))
        };
        let found = self.namespaces.iter().filter_map(matching).max_by_key(longest);
        match found {
            Some((namespace, _)) if namespace.blocked => {
                Err(SettingsError::Blocked { reference: name, why: about(namespace) })
            }
            found => Ok(found),
        }
    }
}

fn as_it_is(reference: &Reference) -> Endpoint {
    let why = NOTHING_SAID.to_owned();
    Endpoint { reference: reference.clone(), insecure: false, mirror: false, why }
}

fn about(namespace: &Namespace) -> String {
    format!("[[registry]] with prefix {:?} ({})", namespace.prefix, namespace.origin)
}

impl Pulls {
    fn includes(self, reference: &Reference) -> bool {
        match self {
            Self::All => true,
            Self::DigestOnly => reference.digest().is_some(),
            Self::TagOnly => reference.digest().is_none(),
        }
    }
}

/// How many bytes of `name` the prefix is; None where it is not at its beginning. A prefix ends where a part of
/// the name does; one without a path is a whole HOST[:PORT].
fn matched(name: &str, registry: &str, namespace: &Namespace) -> Option<usize> {
    let prefix = namespace.prefix.as_str();
    if let Some(domain) = prefix.strip_prefix('*') {
        let host = registry.rsplit_once(':').map_or(registry, |(host, _)| host);
        return host.ends_with(domain).then_some(host.len());
    }
    let rest = name.strip_prefix(prefix)?;
    let is_whole = match prefix.contains('/') {
        true => rest.is_empty() || rest.starts_with(['/', ':', '@']),
        false => rest.starts_with('/'),
    };
    is_whole.then_some(prefix.len())
}

/// The name with `location` in the place of its first `matched` bytes.
fn rewritten(
    reference: &Reference,
    matched: usize,
    location: &str,
    origin: &Origin,
) -> Result<Reference, SettingsError> {
    let text = reference.to_string();
    let text = format!("{location}{}", &text[matched..]);
    let refuse = |reason: String| SettingsError::Rewrite {
        reference: reference.to_string(),
        text: text.clone(),
        why: format!("the location in {origin}"),
        reason,
    };
    match text.parse() {
        Ok(crate::image::Name::Qualified(reference)) => Ok(reference),
        Ok(crate::image::Name::Short(_)) => Err(refuse("its registry needs a dot or a port".to_owned())),
        Err(error) => Err(refuse(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn registries(text: &str) -> Registries {
        Registries::parse(Path::new("/r.conf"), text).unwrap()
    }

    fn asked(all: &Registries, name: &str) -> Vec<String> {
        let endpoints = all.endpoints(&name.parse().unwrap()).unwrap();
        endpoints.iter().map(|endpoint| endpoint.reference.to_string()).collect()
    }

    const MANUAL: &str = "[[registry]]\nprefix = \"example.com/foo\"\nlocation = \"internal.example/bar\"\n\
        [[registry.mirror]]\nlocation = \"mirror-0.local/foo\"\n[[registry.mirror]]\nlocation = \"mirror-1.local/x/foo\"\n\
        insecure = true\n[[registry]]\nlocation = \"registry.com\"\n[[registry.mirror]]\nlocation = \"mirror.registry.com\"";

    #[test]
    fn mirrors_come_first_in_their_order() {
        let all = registries(MANUAL);
        assert_eq!(
            asked(&all, "example.com/foo/image:1"),
            ["mirror-0.local/foo/image:1", "mirror-1.local/x/foo/image:1", "internal.example/bar/image:1"]
        );
        assert_eq!(asked(&all, "registry.com/image"), ["mirror.registry.com/image", "registry.com/image"]);
        assert_eq!(asked(&all, "example.com/foobar"), ["example.com/foobar"]);
        let endpoints = all.endpoints(&"example.com/foo:1".parse().unwrap()).unwrap();
        assert_eq!(endpoints.iter().map(|one| one.insecure).collect::<Vec<_>>(), [false, true, false]);
        assert!(endpoints[1].why.contains("/r.conf, line 6"), "{}", endpoints[1].why);
        let push = all.home(&"example.com/foo:1".parse().unwrap()).unwrap();
        assert_eq!(push.reference.to_string(), "example.com/foo:1");
    }

    #[test]
    fn the_longest_prefix_counts_and_ends_where_a_part_of_the_name_ends() {
        let all = registries(
            "[[registry]]\nlocation = \"a.b\"\n[[registry]]\nprefix = \"a.b/c\"\nlocation = \"x.y/c\"\n\
             [[registry]]\nprefix = \"a.b/c/d:1\"\nlocation = \"x.y/one:1\"\n[[registry]]\nprefix = \"*.b\"\ninsecure = true\n",
        );
        assert_eq!(asked(&all, "a.b/c/d:1"), ["x.y/one:1"]);
        assert_eq!(asked(&all, "a.b/c/d:11"), ["x.y/c/d:11"]);
        assert_eq!(asked(&all, "a.b/cc"), ["a.b/cc"]);
        let insecure = |name: &str| all.endpoints(&name.parse().unwrap()).unwrap()[0].insecure;
        assert!(!insecure("a.b/x") && insecure("a.b:5000/x") && insecure("c.d.b/x") && !insecure("bb.bb/x"));
        assert_eq!(asked(&all, "x.b:5000/n:1"), ["x.b:5000/n:1"]);
    }

    #[test]
    fn a_mirror_may_be_for_digests_or_tags_alone() {
        let all = registries(
            "[[registry]]\nlocation = \"a.b\"\n[[registry.mirror]]\nlocation = \"d.e\"\npull-from-mirror = \"digest-only\"\n\
             [[registry.mirror]]\nlocation = \"t.u\"\npull-from-mirror = \"tag-only\"\n",
        );
        let digest = crate::image::digest::Digest::of(b"");
        assert_eq!(asked(&all, "a.b/c:1"), ["t.u/c:1", "a.b/c:1"]);
        let name = format!("a.b/c@{digest}");
        assert_eq!(asked(&all, &name), [format!("d.e/c@{digest}"), name.clone()]);
    }

    #[test]
    fn blocked_is_an_error_that_says_who_blocks() {
        let all = registries("[[registry]]\nlocation = \"a.b\"\nblocked = true");
        let error = all.endpoints(&"a.b/c".parse().unwrap()).unwrap_err().to_string();
        assert!(error.contains("a.b/c is blocked by") && error.contains("/r.conf, line 1"), "{error}");
        assert!(all.home(&"a.b/c".parse().unwrap()).is_err());
        for (prefix, name) in [("a.b", "A.B/c"), ("A.b", "a.b/c"), ("*.B.C", "a.b.c/d"), ("A.b/c", "a.B/c:1")]
        {
            let all = registries(&format!(
                "[[registry]]\nprefix = \"{prefix}\"\nlocation = \"a.b\"\nblocked = true"
            ));
            assert!(all.endpoints(&name.parse().unwrap()).is_err(), "{prefix} {name}");
        }
    }

    #[test]
    fn a_location_that_makes_no_name_is_an_error() {
        for location in ["plain", "x.b/C"] {
            let all = registries(&format!("[[registry]]\nprefix = \"a.b\"\nlocation = \"{location}\""));
            let error = all.endpoints(&"a.b/c".parse().unwrap()).unwrap_err().to_string();
            assert!(error.contains("/r.conf, line 1") && error.contains(location), "{error}");
        }
    }

    #[test]
    fn dockers_hub_can_be_mirrored() {
        let all = registries(
            "[[registry]]\nlocation = \"docker.io\"\n[[registry.mirror]]\nlocation = \"127.0.0.1:5000\"",
        );
        assert_eq!(
            asked(&all, "busybox:1"),
            ["127.0.0.1:5000/library/busybox:1", "docker.io/library/busybox:1"]
        );
    }
}
