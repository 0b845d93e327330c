//! Host names to addresses: /etc/hosts and DNS, remembered for a minute.

use std::collections::HashMap;
use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

use crate::sys::names;

/// How long an answer is used: ureq asks before each request, also where it then takes an open connection.
const FRESH: Duration = Duration::from_secs(60);
/// As many addresses as ureq tries.
const MOST: usize = 16;

/// Host and port to addresses, and since when that is known.
type Known = HashMap<(String, u16), (Instant, Vec<SocketAddr>)>;

/// getaddrinfo(3) in the caller's thread, with a memory that clones share. Its time is bounded by resolv.conf(5).
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    known: Arc<Mutex<Known>>,
}

/// A host that has no address.
#[derive(Debug)]
pub(super) struct Unknown {
    /// Which one: the registry's, or the proxy's.
    pub(super) host: String,
    /// What getaddrinfo(3) says.
    pub(super) why: String,
}

impl std::error::Error for Unknown {}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.host, self.why)
    }
}

impl Names {
    fn addresses(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, Unknown> {
        let key = (host.to_owned(), port);
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((when, addresses)) = known().get(&key)
            && when.elapsed() < FRESH
        {
            return Ok(addresses.clone());
        }
        names::files_and_dns_only();
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let found = (bare, port).to_socket_addrs().map_err(|error| Unknown {
            host: bare.to_owned(),
            why: error.to_string().trim_start_matches("failed to lookup address information: ").to_owned(),
        })?;
        let addresses: Vec<SocketAddr> = found.take(MOST).collect();
        if addresses.is_empty() {
            return Err(Unknown { host: bare.to_owned(), why: "it has no address".to_owned() });
        }
        known().insert(key, (Instant::now(), addresses.clone()));
        Ok(addresses)
    }
}

impl Resolver for Names {
    fn resolve(&self, uri: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let host = uri.host().unwrap_or_default();
        let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
        let addresses =
            self.addresses(host, port).map_err(|unknown| ureq::Error::Other(Box::new(unknown)))?;
        let mut resolved = self.empty();
        addresses.into_iter().for_each(|address| resolved.push(address));
        Ok(resolved)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_localhost_need_no_server() {
        let names = Names::default();
        for (host, address) in [("127.0.0.1", "127.0.0.1:5"), ("[::1]", "[::1]:5")] {
            assert_eq!(names.addresses(host, 5).unwrap(), [address.parse().unwrap()]);
        }
        assert!(names.addresses("localhost", 5).unwrap().iter().all(|address| address.ip().is_loopback()));
    }

    #[test]
    fn an_unknown_host_is_named() {
        let error = Names::default().addresses("no-such-host.invalid", 5).unwrap_err();
        assert_eq!(error.host, "no-such-host.invalid");
        assert!(!error.why.contains("failed to lookup"), "{error}");
    }
}
