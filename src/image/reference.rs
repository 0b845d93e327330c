//! Names of images: `[REGISTRY/]REPOSITORY[:TAG][@DIGEST]`, by the grammar of
//! <https://pkg.go.dev/github.com/distribution/reference>.

use std::fmt;
use std::str::FromStr;

use super::digest::Digest;

/// docker.io: where names without a registry are, unless the configuration says otherwise.
pub const DOCKER_IO: &str = "docker.io";
/// The tag of a name that has none.
pub const LATEST: &str = "latest";
/// The longest repository with its registry, in bytes.
const LONGEST_NAME: usize = 255;
/// The longest tag, in bytes.
const LONGEST_TAG: usize = 128;

/// A name that says which registry it is in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// A name as a user writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Name {
    /// With a registry: its first component has a dot or a colon, or is `localhost`.
    Qualified(Reference),
    /// Without: `busybox`, `library/busybox:1`. The configuration says where that is.
    Short(ShortName),
}

/// A name without a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShortName {
    /// `busybox`, `team/app`.
    pub repository: String,
    /// What follows `:`.
    pub tag: Option<String>,
    /// What follows `@`.
    pub digest: Option<Digest>,
}

/// Why a text names no image.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{text:?} is no image name: {reason}")]
pub struct ReferenceError {
    text: String,
    reason: &'static str,
}

impl Name {
    /// The name in `registry` if it says none: what `docker.io` adds (`library/`) included.
    pub fn in_registry(&self, registry: &str) -> Reference {
        match self {
            Self::Qualified(reference) => reference.clone(),
            Self::Short(short) => Reference {
                registry: registry.to_owned(),
                repository: with_library(registry, &short.repository),
                tag: short.tag.clone(),
                digest: short.digest.clone(),
            },
        }
    }
}

impl FromStr for Name {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let refuse = |reason| Err(ReferenceError { text: text.chars().take(300).collect(), reason });
        let (rest, digest) = match text.split_once('@') {
            None => (text, None),
            Some((rest, digest)) => match digest.parse() {
                Ok(digest) => (rest, Some(digest)),
                Err(_) => {
                    return refuse("what follows @ is no digest such as sha256: and 64 hexadecimal digits");
                }
            },
        };
        // A colon before a slash belongs to a port.
        let (name, tag) = match rest.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (rest, None),
        };
        if let Some(tag) = tag
            && !is_tag(tag)
        {
            return refuse("a tag has at most 128 letters, digits and _.-, and begins with none of .-");
        }
        if name.is_empty() {
            return refuse("it is empty");
        }
        if name.len() > LONGEST_NAME {
            return refuse("it has more than 255 bytes");
        }
        let first = name.split_once('/').filter(|(first, _)| is_registry(first));
        let (registry, repository) = match first {
            Some((registry, repository)) => (Some(registry), repository),
            None => (None, name),
        };
        if repository.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return refuse("a repository is written in lower case");
        }
        if !repository.split('/').all(is_component) {
            return refuse(
                "each part of a repository has lower-case letters and digits, with . _ __ or dashes between them",
            );
        }
        if registry.is_none() && digest.is_none() && tag.is_none() && is_hexadecimal(repository) {
            return refuse("64 hexadecimal digits are an image's id, which only an image in the store has");
        }
        let (tag, repository) = (tag.map(str::to_owned), repository.to_owned());
        Ok(match registry {
            None => Self::Short(ShortName { repository, tag, digest }),
            Some(registry) if !is_host(registry) => return refuse("its registry is no HOST[:PORT]"),
            Some(registry) => {
                let registry = lower_host(registry);
                let registry = if registry == "index.docker.io" { DOCKER_IO.to_owned() } else { registry };
                let repository = with_library(&registry, &repository);
                Self::Qualified(Reference { registry, repository, tag, digest })
            }
        })
    }
}

impl Reference {
    /// `HOST[:PORT]`, in lower case where that still reads as a registry; `docker.io` for Docker's hub.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The path in the registry: `library/busybox`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// What follows `:`.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// What follows `@`.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// `REGISTRY/REPOSITORY`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// The same with the tag `latest` where it has neither tag nor digest.
    pub fn or_latest(mut self) -> Self {
        if self.tag.is_none() && self.digest.is_none() {
            self.tag = Some(LATEST.to_owned());
        }
        self
    }

    /// The same repository with this digest and no tag.
    pub fn with_digest(&self, digest: &Digest) -> Self {
        Self { tag: None, digest: Some(digest.clone()), ..self.clone() }
    }

    /// The same repository with this tag and no digest.
    pub fn with_tag(&self, tag: &str) -> Self {
        Self { tag: Some(tag.to_owned()), digest: None, ..self.clone() }
    }

    /// What a registry is asked for: the digest, else the tag, else `latest`.
    pub fn asked(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, tag) => tag.clone().unwrap_or_else(|| LATEST.to_owned()),
        }
    }

    /// The repository as people write it, without a tag or a digest.
    pub fn familiar_name(&self) -> String {
        Self { tag: None, digest: None, ..self.clone() }.familiar()
    }

    /// As people write it: without `docker.io/` and `library/`.
    pub fn familiar(&self) -> String {
        let text = self.to_string();
        match text.strip_prefix("docker.io/") {
            Some(rest) => rest.strip_prefix("library/").unwrap_or(rest).to_owned(),
            None => text,
        }
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    /// A full name; one without a registry is in `docker.io`.
    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        Ok(text.parse::<Name>()?.in_registry(DOCKER_IO))
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        match &self.digest {
            Some(digest) => write!(f, "@{digest}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Qualified(reference) => reference.fmt(f),
            Self::Short(short) => {
                f.write_str(&short.repository)?;
                short.tag.as_ref().map_or(Ok(()), |tag| write!(f, ":{tag}"))?;
                short.digest.as_ref().map_or(Ok(()), |digest| write!(f, "@{digest}"))
            }
        }
    }
}

/// `HOST[:PORT][/PATH]` with the host in lower case: names of hosts have no case, and what a policy or a registries.conf
/// says of one is not to depend on it. A single word is only by its case no repository, and keeps it.
pub(super) fn lower_host(place: &str) -> String {
    let (host, path) = place.split_at(place.find('/').unwrap_or(place.len()));
    let lower = host.to_ascii_lowercase();
    format!("{}{path}", if is_registry(&lower) { &lower } else { host })
}

/// Official images of Docker's hub are in `library/`.
fn with_library(registry: &str, repository: &str) -> String {
    match registry == DOCKER_IO && !repository.contains('/') {
        true => format!("library/{repository}"),
        false => repository.to_owned(),
    }
}

/// Is the first component of a name a registry, and not a part of the repository?
fn is_registry(first: &str) -> bool {
    first == "localhost" || first.contains(['.', ':']) || first.bytes().any(|byte| byte.is_ascii_uppercase())
}

/// HOST, HOST:PORT, [IPv6], [IPv6]:PORT.
fn is_host(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, port)) if address.parse::<std::net::Ipv6Addr>().is_ok() => {
                return port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
            }
            _ => return false,
        },
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    host.split('.').all(label) && port.is_none_or(is_port)
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

/// May a name have it after its colon?
pub(super) fn is_tag(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.len() <= LONGEST_TAG
        && text.bytes().next().is_some_and(word)
        && text.bytes().all(|byte| word(byte) || matches!(byte, b'.' | b'-'))
}

/// `[a-z0-9]+` joined by `.`, `_`, `__` or any number of dashes.
fn is_component(text: &str) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    let edges = |byte: Option<&u8>| byte.is_some_and(|&byte| alphanumeric(byte));
    let mut separators = text.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    edges(bytes.first())
        && edges(bytes.last())
        && separators.all(|run| matches!(run, "" | "." | "_" | "__") || run.bytes().all(|byte| byte == b'-'))
}

fn is_hexadecimal(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full(text: &str) -> String {
        text.parse::<Reference>().unwrap().or_latest().to_string()
    }

    #[test]
    fn short_names_are_of_docker_hub_unless_told_otherwise() {
        assert_eq!(full("busybox"), "docker.io/library/busybox:latest");
        assert_eq!(full("team/app:1"), "docker.io/team/app:1");
        assert_eq!(full("docker.io/busybox"), "docker.io/library/busybox:latest");
        assert_eq!(full("index.docker.io/busybox"), "docker.io/library/busybox:latest");
        let name: Name = "busybox:1".parse().unwrap();
        assert_eq!(name.in_registry("r.example").to_string(), "r.example/busybox:1");
    }

    #[test]
    fn names_of_hosts_have_no_case() {
        assert_eq!(full("R.Example:5/a:T"), "r.example:5/a:T");
        assert_eq!(full("Docker.IO/busybox"), "docker.io/library/busybox:latest");
        assert_eq!(full("LOCALHOST/a"), "localhost/a:latest");
        // As the text that is stored it must stay what it is.
        assert_eq!(full("HOST/a"), "HOST/a:latest");
        assert_eq!(lower_host("*.Example.com"), "*.example.com");
        assert_eq!(lower_host("A.b/C"), "a.b/C");
    }

    #[test]
    fn the_first_component_is_a_registry_if_it_looks_like_one() {
        for (text, registry, repository) in [
            ("localhost/a", "localhost", "a"),
            ("127.0.0.1:5000/a/b", "127.0.0.1:5000", "a/b"),
            ("[::1]:5000/a", "[::1]:5000", "a"),
            ("r.example/a", "r.example", "a"),
        ] {
            let reference: Reference = text.parse().unwrap();
            assert_eq!((reference.registry(), reference.repository()), (registry, repository));
        }
    }

    #[test]
    fn a_digest_may_stand_beside_a_tag_and_counts() {
        let digest = Digest::of(b"");
        let reference: Reference = format!("r.example:5/a:t@{digest}").parse().unwrap();
        assert_eq!(reference.tag(), Some("t"));
        assert_eq!(reference.asked(), digest.to_string());
        assert_eq!(reference.to_string(), format!("r.example:5/a:t@{digest}"));
    }

    #[test]
    fn familiar_names_are_short() {
        assert_eq!("busybox:1".parse::<Reference>().unwrap().familiar(), "busybox:1");
        assert_eq!("docker.io/a/b".parse::<Reference>().unwrap().familiar(), "a/b");
        assert_eq!("localhost/a".parse::<Reference>().unwrap().familiar(), "localhost/a");
    }

    #[test]
    fn bad_names_say_why() {
        let long = "a".repeat(256);
        let tag = format!("a:{}", "t".repeat(129));
        let id = "ab".repeat(32);
        for (text, reason) in [
            ("", "empty"),
            ("Busybox", "lower case"),
            ("a//b", "each part"),
            ("../a", "HOST"),
            ("a/../b", "each part"),
            ("-a", "each part"),
            ("a:", "tag"),
            ("a:-t", "tag"),
            ("a@sha256:1", "digest"),
            ("a b", "each part"),
            ("r.example:99999/a", "HOST"),
            ("a.-b/c", "HOST"),
            (&long, "255"),
            (&tag, "128"),
            (&id, "id"),
        ] {
            let error = text.parse::<Name>().unwrap_err().to_string();
            assert!(error.contains(reason), "{text:?}: {error}");
        }
    }

    #[test]
    fn separators_are_those_of_the_grammar() {
        for text in ["a.b", "a_b", "a__b", "a---b", "0a"] {
            assert!(text.parse::<Name>().is_ok(), "{text}");
        }
        for text in ["a..b", "a___b", "a._b", "a_", "_a"] {
            assert!(text.parse::<Name>().is_err(), "{text}");
        }
    }
}
