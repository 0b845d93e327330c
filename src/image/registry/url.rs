//! URLs: what belongs together, and where a Location leads (RFC 3986, section 5.2, as far as registries use it).

use ureq::http::Uri;

use super::answer::printable;
use super::error::Failure;

/// Scheme, host and port: what credentials are for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    https: bool,
    host: String,
    port: u16,
}

impl Origin {
    pub(super) fn of(uri: &Uri) -> Self {
        let https = uri.scheme_str() == Some("https");
        let host = uri.host().unwrap_or_default().to_ascii_lowercase();
        Self { https, host, port: uri.port_u16().unwrap_or(if https { 443 } else { 80 }) }
    }
}

/// An absolute `http` or `https` URL without user and password.
pub(super) fn absolute(text: &str) -> Result<Uri, Failure> {
    let refuse = || Failure::Location(shown(text));
    let text = text.split('#').next().unwrap_or_default();
    let uri: Uri = text.parse().map_err(|_| refuse())?;
    let web = matches!(uri.scheme_str(), Some("http" | "https"));
    let plain = uri.authority().is_some_and(|authority| !authority.as_str().contains('@'));
    let host = uri.host().is_some_and(|host| !host.is_empty());
    (web && plain && host).then_some(uri).ok_or_else(refuse)
}

/// Where `location` leads from `base`.
pub(super) fn resolve(base: &Uri, location: &str) -> Result<Uri, Failure> {
    let location = location.trim();
    let scheme = base.scheme_str().unwrap_or("https");
    let authority = base.authority().map(|authority| authority.as_str()).unwrap_or_default();
    let path = base.path();
    let is_absolute = location.split_once("://").is_some_and(|(scheme, _)| {
        !scheme.is_empty()
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
    });
    if location.is_empty() {
        return Err(Failure::Location(String::new()));
    }
    let text = match location {
        all if is_absolute => all.to_owned(),
        rest if rest.starts_with("//") => format!("{scheme}:{rest}"),
        rest if rest.starts_with('/') => format!("{scheme}://{authority}{rest}"),
        rest if rest.starts_with('?') => format!("{scheme}://{authority}{path}{rest}"),
        rest => {
            let folder = &path[..path.rfind('/').map_or(0, |at| at + 1)];
            format!("{scheme}://{authority}{folder}{rest}")
        }
    };
    absolute(&text)
}

/// `uri` with one more parameter in its query.
pub(super) fn with_parameter(uri: &Uri, name: &str, value: &str) -> Result<Uri, Failure> {
    let separator = match uri.query() {
        None => "?",
        Some("") => "",
        Some(_) => "&",
    };
    absolute(&format!("{uri}{separator}{name}={}", encode(value)))
}

/// Percent-encoding of everything but RFC 3986's unreserved characters.
pub(super) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(byte.into()),
            byte => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// What of a URL may be shown: neither a signed query nor a password.
fn shown(text: &str) -> String {
    let text = text.split(['?', '#']).next().unwrap_or_default();
    let text = match text.split_once("://") {
        Some((scheme, rest)) => {
            format!("{scheme}://{}", rest.rsplit_once('@').map_or(rest, |(_, host)| host))
        }
        None => text.to_owned(),
    };
    printable(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_are_absolute_or_relative() {
        let base: Uri = "https://r.example:5/v2/a/blobs/uploads/?x=1".parse().unwrap();
        for (location, target) in [
            ("http://s.example/b?c#d", "http://s.example/b?c"),
            ("//s.example/b", "https://s.example/b"),
            ("/v2/b?sig=/x://y", "https://r.example:5/v2/b?sig=/x://y"),
            ("?y=2", "https://r.example:5/v2/a/blobs/uploads/?y=2"),
            ("id", "https://r.example:5/v2/a/blobs/uploads/id"),
        ] {
            assert_eq!(resolve(&base, location).unwrap().to_string(), target);
        }
    }

    #[test]
    fn other_schemes_and_broken_urls_are_refused_without_their_secrets() {
        let base: Uri = "https://r.example/".parse().unwrap();
        for bad in [
            "file:///etc/passwd",
            "ftp://h/",
            "http://u:secret@h/?secret",
            "https://",
            "",
            "http://a b/?secret",
        ] {
            let error = resolve(&base, bad).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let origin = |text: &str| Origin::of(&text.parse().unwrap());
        assert_eq!(origin("https://R.example/a"), origin("https://r.example:443/b"));
        for other in
            ["http://r.example", "https://r.example:444", "https://s.example", "http://r.example:443"]
        {
            assert_ne!(origin("https://r.example"), origin(other));
        }
    }

    #[test]
    fn parameters_are_added_and_encoded() {
        let add =
            |text: &str| with_parameter(&text.parse().unwrap(), "digest", "sha256:a b").unwrap().to_string();
        assert_eq!(add("https://h/u"), "https://h/u?digest=sha256%3Aa%20b");
        assert_eq!(add("https://h/u?s=1"), "https://h/u?s=1&digest=sha256%3Aa%20b");
    }
}
