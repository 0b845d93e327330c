//! Which proxy a URL goes through: HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY, in either case.
//!
//! NO_PROXY is read as Go's golang.org/x/net/http/httpproxy does, which is what the other container tools use. A proxy
//! is asked for a tunnel (CONNECT), for http as for https.

use std::net::IpAddr;

use ureq::Proxy;
use ureq::http::Uri;

/// The proxies of this process and their exceptions.
#[derive(Clone, Debug, Default)]
pub(super) struct Proxies {
    http: Option<Proxy>,
    https: Option<Proxy>,
    exceptions: Vec<Exception>,
}

/// One entry of NO_PROXY.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Exception {
    /// `*`
    All,
    /// `10.0.0.0/8`: the address and the length of its prefix.
    Network(IpAddr, u32),
    /// `10.0.0.1`, `10.0.0.1:80`
    Address(IpAddr, Option<u16>),
    /// `.example.com`: what is below it; `example.com`: itself, too. With the leading dot.
    Domain { suffix: String, itself: bool, port: Option<u16> },
}

/// A variable that names no proxy that can be used. The value is not told: it may have a password.
#[derive(Clone, Debug, thiserror::Error)]
#[error("environment variable {variable} is no proxy: expected http://HOST:PORT or https://HOST:PORT")]
pub(super) struct ProxyError {
    variable: String,
}

impl Proxies {
    /// Those of the environment.
    pub(super) fn from_environment() -> Result<Self, ProxyError> {
        Self::from_variables(|name| std::env::var(name).ok())
    }

    pub(super) fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Result<Self, ProxyError> {
        let either = |name: &str| {
            [name.to_owned(), name.to_lowercase()].into_iter().find_map(|name| {
                let value = variable(&name).filter(|value| !value.trim().is_empty())?;
                Some((name, value))
            })
        };
        let proxy = |name: &str| match either(name).or_else(|| either("ALL_PROXY")) {
            None => Ok(None),
            Some((variable, value)) => parse_proxy(value.trim()).map(Some).ok_or(ProxyError { variable }),
        };
        let exceptions = either("NO_PROXY").map(|(_, value)| value).unwrap_or_default();
        Ok(Self {
            http: proxy("HTTP_PROXY")?,
            https: proxy("HTTPS_PROXY")?,
            exceptions: exceptions.split(',').filter_map(Exception::parse).collect(),
        })
    }

    /// That of `uri`, if it is not asked directly.
    pub(super) fn of(&self, uri: &Uri) -> Option<&Proxy> {
        let https = uri.scheme_str() == Some("https");
        let proxy = if https { self.https.as_ref() } else { self.http.as_ref() }?;
        let host =
            uri.host().unwrap_or_default().trim_matches(['[', ']']).trim_end_matches('.').to_lowercase();
        let port = uri.port_u16().unwrap_or(if https { 443 } else { 80 });
        let address: Option<IpAddr> = host.parse().ok();
        let loopback = host == "localhost" || address.is_some_and(|address| address.is_loopback());
        let excepted =
            loopback || self.exceptions.iter().any(|exception| exception.matches(&host, address, port));
        (!excepted).then_some(proxy)
    }
}

/// Only what is a tunnel over HTTP.
fn parse_proxy(value: &str) -> Option<Proxy> {
    let scheme = value.split_once("://").map(|(scheme, _)| scheme.to_lowercase());
    match scheme.as_deref() {
        None | Some("http" | "https") => {
            let proxy = Proxy::new(value).ok()?;
            (!proxy.host().is_empty()).then_some(proxy)
        }
        Some(_) => None,
    }
}

impl Exception {
    fn parse(entry: &str) -> Option<Self> {
        let entry = entry.trim().to_lowercase();
        if entry.is_empty() {
            return None;
        }
        if entry == "*" {
            return Some(Self::All);
        }
        if let Some((address, length)) = entry.split_once('/')
            && let (Ok(address), Ok(length)) = (address.parse::<IpAddr>(), length.parse::<u32>())
        {
            return (length <= bits(address).1).then_some(Self::Network(address, length));
        }
        let (host, port) = host_and_port(&entry);
        if let Ok(address) = host.trim_matches(['[', ']']).parse() {
            return Some(Self::Address(address, port));
        }
        let host = host.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(host);
        match host {
            "" | "." => None,
            below if below.starts_with('.') => {
                Some(Self::Domain { suffix: below.to_owned(), itself: false, port })
            }
            itself => Some(Self::Domain { suffix: format!(".{itself}"), itself: true, port }),
        }
    }

    fn matches(&self, host: &str, address: Option<IpAddr>, port: u16) -> bool {
        match self {
            Self::All => true,
            Self::Network(network, length) => address.is_some_and(|address| {
                let ((network, width), (address, same)) = (bits(*network), bits(address));
                // A shift by the whole width would overflow; a prefix of zero bits has everybody.
                width == same && (*length == 0 || (network ^ address) >> (width - length) == 0)
            }),
            Self::Address(excepted, only) => {
                address == Some(*excepted) && only.is_none_or(|only| only == port)
            }
            Self::Domain { suffix, itself, port: only } => {
                let named = host.ends_with(suffix.as_str()) || (*itself && host == &suffix[1..]);
                named && only.is_none_or(|only| only == port)
            }
        }
    }
}

/// An address as a number, and of how many bits.
fn bits(address: IpAddr) -> (u128, u32) {
    match address {
        IpAddr::V4(address) => (address.to_bits().into(), 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    }
}

/// `HOST:PORT`; an IPv6 address with a port is in brackets.
fn host_and_port(entry: &str) -> (&str, Option<u16>) {
    match entry.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => match port.parse() {
            Ok(port) => (host, Some(port)),
            Err(_) => (entry, None),
        },
        _ => (entry, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(pairs: &[(&str, &str)]) -> Result<Proxies, ProxyError> {
        Proxies::from_variables(|asked| {
            pairs.iter().find(|(name, _)| *name == asked).map(|(_, value)| (*value).to_owned())
        })
    }

    fn host_of(proxies: &Proxies, uri: &str) -> Option<String> {
        proxies.of(&uri.parse().unwrap()).map(|proxy| proxy.host().to_owned())
    }

    #[test]
    fn each_scheme_has_its_proxy() {
        let both = proxies(&[("HTTP_PROXY", "http://a:1"), ("https_proxy", "b:2")]).unwrap();
        assert_eq!(host_of(&both, "http://r.example/").as_deref(), Some("a"));
        assert_eq!(host_of(&both, "https://r.example/").as_deref(), Some("b"));
        let all = proxies(&[("all_proxy", "https://c"), ("HTTP_PROXY", " ")]).unwrap();
        assert_eq!(host_of(&all, "http://r.example/").as_deref(), Some("c"));
        assert_eq!(host_of(&proxies(&[]).unwrap(), "http://r.example/"), None);
    }

    #[test]
    fn a_bad_proxy_is_named_by_its_variable_without_its_password() {
        for bad in ["socks5://u:secret@h", "http://", "http://u:secret@/", "::secret::"] {
            let error = proxies(&[("HTTPS_PROXY", bad)]).unwrap_err().to_string();
            assert!(error.contains("HTTPS_PROXY") && !error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn exceptions_are_those_of_go() {
        for (exceptions, direct, proxied) in [
            ("", "http://localhost:5000/ http://127.1.2.3/ http://[::1]:5/", "http://a.b/"),
            ("*", "http://a.b/ https://10.0.0.1/", ""),
            (
                "10.0.0.0/8, fd00::/8",
                "http://10.255.0.1/ http://[fd00::1]/",
                "http://11.0.0.1/ http://[fe00::1]/",
            ),
            ("0.0.0.0/0", "http://8.8.8.8/", "http://[2001::1]/ http://name/"),
            ("10.0.0.1", "http://10.0.0.1:7/", "http://10.0.0.2/"),
            (
                "10.0.0.1:80,[fd00::1]:81",
                "http://10.0.0.1/ http://[fd00::1]:81/",
                "https://10.0.0.1/ http://[fd00::1]/",
            ),
            ("fd00::1", "http://[fd00::1]:5/", "http://[fd00::2]/"),
            (
                "Example.com",
                "http://example.com/ https://a.EXAMPLE.com:5/",
                "http://notexample.com/ http://com/",
            ),
            (".example.com", "http://a.example.com/", "http://example.com/"),
            ("*.example.com", "http://a.b.example.com/", "http://example.com/"),
            ("r.example:5000", "http://r.example:5000/", "http://r.example/"),
            (" , ,.,10.0.0.0/33", "", "http://10.0.0.1/ http://a.b/"),
        ] {
            let proxies = proxies(&[("ALL_PROXY", "http://p"), ("NO_PROXY", exceptions)]).unwrap();
            for uri in direct.split_whitespace() {
                assert_eq!(host_of(&proxies, uri), None, "{uri} with {exceptions:?}");
            }
            for uri in proxied.split_whitespace() {
                assert_eq!(host_of(&proxies, uri).as_deref(), Some("p"), "{uri} with {exceptions:?}");
            }
        }
    }
}
