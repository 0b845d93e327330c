//! What `login` and `logout` are about: a registry, or a namespace in it.

use std::fmt;
use std::str::FromStr;

use crate::image::Reference;

/// HOST[:PORT][/PATH].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    registry: String,
    path: String,
}

/// Why a text names no place in a registry.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no registry: expected HOST[:PORT], or HOST[:PORT]/NAMESPACE")]
pub struct PlaceError(String);

impl Place {
    /// HOST[:PORT].
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The namespace or repository in it; empty for all of it.
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl FromStr for Place {
    type Err = PlaceError;

    /// URLs are taken, too: docker's users write `https://HOST/v2/`.
    fn from_str(text: &str) -> Result<Self, PlaceError> {
        let refused = || PlaceError(text.chars().take(300).collect());
        let bare = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        let (registry, path) = bare.unwrap_or(text).split_once('/').unwrap_or((bare.unwrap_or(text), ""));
        let path = path.trim_end_matches('/');
        let path = if bare.is_some() && matches!(path, "v1" | "v2") { "" } else { path };
        let whole =
            format!("{registry}/{}name", if path.is_empty() { String::new() } else { format!("{path}/") });
        // Hosts without a dot or a port would be repositories.
        let name: crate::image::Name = whole.parse().map_err(|_| refused())?;
        let crate::image::Name::Qualified(name) = name else { return Err(refused()) };
        let name: Reference = name;
        Ok(Self { registry: name.registry().to_owned(), path: path.to_owned() })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.registry)?;
        match self.path.is_empty() {
            true => Ok(()),
            false => write!(f, "/{}", self.path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_registry_or_a_namespace_in_it() {
        for (text, place) in [
            ("r.example", "r.example"),
            ("127.0.0.1:5000/team/", "127.0.0.1:5000/team"),
            ("localhost", "localhost"),
            ("https://index.docker.io/v1/", "docker.io"),
            ("https://r.example/v2", "r.example"),
            ("[::1]:5000", "[::1]:5000"),
        ] {
            assert_eq!(text.parse::<Place>().unwrap().to_string(), place);
        }
        for text in
            ["", "plain", "r.example/UPPER", "r.example/a:1", "../x", "r.example/../x", "ftp://a.b", "a b"]
        {
            let error = text.parse::<Place>().unwrap_err().to_string();
            assert!(error.contains("is no registry"), "{error}");
        }
    }
}
