//! Ports of the host that lead into a container.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with, sockopt};
use serde::{Deserialize, Serialize};

/// What a port is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

/// One port of the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortMapping {
    /// The address it answers on; None: all of both families.
    pub address: Option<IpAddr>,
    /// The host's.
    pub host: u16,
    /// The container's.
    pub container: u16,
    /// Its protocol.
    pub protocol: Protocol,
}

impl Protocol {
    /// As people write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }

    /// As packets have it.
    pub(super) fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }
}

/// What of a mapping nobody else may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub protocol: Protocol,
    pub port: u16,
    pub address: Option<IpAddr>,
}

impl PortMapping {
    /// Its key as the name of a file: `tcp-80-any`, `udp-53-192.0.2.1`.
    pub(super) fn key(&self) -> String {
        let address = self.address.map_or_else(|| "any".to_owned(), |address| address.to_string());
        format!("{}-{}-{address}", self.protocol.name(), self.host)
    }

    /// The key of this name.
    pub(super) fn parse_key(name: &str) -> Option<Key> {
        let mut parts = name.splitn(3, '-');
        let (protocol, port, address) = (parts.next()?, parts.next()?, parts.next()?);
        let protocol =
            [Protocol::Tcp, Protocol::Udp, Protocol::Sctp].into_iter().find(|p| p.name() == protocol)?;
        let address = match address {
            "any" => None,
            address => Some(address.parse().ok()?),
        };
        Some(Key { protocol, port: port.parse().ok()?, address })
    }
}

/// Would both answer to the same packet? `0.0.0.0` and `::` are all addresses of their family.
pub(super) fn overlaps(one: &PortMapping, other: Key) -> bool {
    let meets = match (one.address, other.address) {
        (None, _) | (_, None) => true,
        (Some(a), Some(b)) => {
            a == b || (a.is_ipv4() == b.is_ipv4() && (a.is_unspecified() || b.is_unspecified()))
        }
    };
    meets && one.host == other.port && one.protocol == other.protocol
}

/// Does a process of the host have this port already? Asked by binding it, for a moment.
pub(super) fn is_bound(mapping: &PortMapping) -> bool {
    let (any4, any6) = (IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED));
    let addresses = mapping.address.map_or(vec![any4, any6], |address| vec![address]);
    let in_use = |address| try_bind(mapping.protocol, SocketAddr::new(address, mapping.host));
    // Whatever else it may be, such as an address that this host gets later, does not keep the port from being led on.
    addresses.into_iter().any(|address| in_use(address) == Err(Errno::ADDRINUSE))
}

fn try_bind(protocol: Protocol, to: SocketAddr) -> Result<(), Errno> {
    let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let (kind, number) = match protocol {
        Protocol::Tcp => (SocketType::STREAM, None),
        Protocol::Udp => (SocketType::DGRAM, None),
        Protocol::Sctp => (SocketType::STREAM, Some(rustix::net::ipproto::SCTP)),
    };
    let socket = socket_with(family, kind, SocketFlags::CLOEXEC, number)?;
    if to.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    if protocol == Protocol::Tcp {
        // Connections that linger do not count, only who listens.
        sockopt::set_socket_reuseaddr(&socket, true)?;
    }
    bind(&socket, &to)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(protocol: Protocol, host: u16, address: Option<&str>) -> PortMapping {
        let address = address.map(|address| address.parse().unwrap());
        PortMapping { address, host, container: 80, protocol }
    }

    #[test]
    fn a_key_is_read_back() {
        for address in [None, Some("192.0.2.1"), Some("::"), Some("fd72::1")] {
            let mapping = mapping(Protocol::Sctp, 8080, address);
            let key = PortMapping::parse_key(&mapping.key()).unwrap();
            assert_eq!((key.protocol, key.port, key.address), (Protocol::Sctp, 8080, mapping.address));
        }
        for name in ["tcp-80", "tcp-x-any", "icmp-80-any", "tcp-80-x", ""] {
            assert_eq!(PortMapping::parse_key(name), None, "{name}");
        }
    }

    #[test]
    fn all_addresses_overlap_with_each() {
        let tcp = |address| mapping(Protocol::Tcp, 80, address);
        let meets = |a, b| {
            let key = PortMapping::parse_key(&tcp(b).key()).unwrap();
            overlaps(&tcp(a), key)
        };
        assert!(meets(None, Some("192.0.2.1")) && meets(Some("fd72::1"), None) && meets(None, None));
        assert!(meets(Some("0.0.0.0"), Some("192.0.2.1")) && meets(Some("::1"), Some("::")));
        assert!(!meets(Some("0.0.0.0"), Some("::1")) && !meets(Some("192.0.2.1"), Some("192.0.2.2")));
        let udp = PortMapping::parse_key("udp-80-any").unwrap();
        assert!(!overlaps(&tcp(None), udp));
    }
}
