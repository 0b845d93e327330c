//! UDP has no end of a connection: the kernel would go on to lead a client's datagrams to a backend that is gone, as long as he sends
//! some. So such connections are forgotten, and the next datagram chooses anew.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::frontend::{Frontend, Protocol};
use super::netlink::{Kernel, Message, NLM_F_DUMP, attribute};

const NEW: u16 = 1 << 8;
const GET: u16 = (1 << 8) | 1;
const DELETE: u16 = (1 << 8) | 2;
const TUPLE_ORIGINAL: u16 = 1;
const TUPLE_REPLY: u16 = 2;
const NESTED: u16 = 0x8000;
const UDP: u8 = 17;

/// Where UDP Services are asked, by ClusterIP (None: any address, a NodePort) and port, and whom each may lead to.
pub(super) type Asked = BTreeMap<(Option<IpAddr>, u16), BTreeSet<SocketAddr>>;

/// Of all Services.
pub(super) fn asked(frontends: &[Frontend]) -> Asked {
    let mut asked = Asked::new();
    for frontend in frontends.iter().filter(|frontend| frontend.protocol == Protocol::Udp) {
        let addresses = frontend.addresses.iter().map(|ip| (Some(*ip), frontend.port));
        for at in addresses.chain(frontend.node_port.map(|port| (None, port))) {
            asked.entry(at).or_default().extend(&frontend.backends);
        }
    }
    asked
}

/// Forgets connections to backends that are not there (any more); Services that are gone are among `asked`, without backends.
pub(super) fn forget(asked: &Asked) -> io::Result<()> {
    let kernel = Kernel::netfilter()?;
    let mut stale = Vec::new();
    kernel.ask(Message::new(GET, NLM_F_DUMP, &[0; 4]), |kind, body| {
        let (NEW, Some(&[family, ..]), Some(list)) = (kind, body.first_chunk::<4>(), body.get(4..)) else {
            return;
        };
        let (original, reply) = (attribute(list, TUPLE_ORIGINAL), attribute(list, TUPLE_REPLY));
        if let (Some(original), Some(reply)) = (original, reply)
            && is_stale(original, reply, asked)
        {
            stale.push((family, original.to_vec()));
        }
    })?;
    for (family, original) in stale {
        let message =
            Message::new(DELETE, 0, &[family, 0, 0, 0]).attribute(TUPLE_ORIGINAL | NESTED, &original);
        match kernel.ask(message, |_, _| ()) {
            // It ended by itself.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            done => done?,
        }
    }
    Ok(())
}

fn is_stale(original: &[u8], reply: &[u8], asked: &Asked) -> bool {
    let (Some((_, to)), Some((from, _))) = (ends(original), ends(reply)) else { return false };
    // Not led anywhere: a socket of the host's own has the port.
    let led = to != from;
    let of = asked.get(&(Some(to.ip()), to.port())).or_else(|| asked.get(&(None, to.port())));
    led && of.is_some_and(|backends| !backends.contains(&from))
}

/// Source and destination of a tuple, if it is UDP's.
fn ends(tuple: &[u8]) -> Option<(SocketAddr, SocketAddr)> {
    let (addresses, protocol) = (attribute(tuple, 1)?, attribute(tuple, 2)?);
    if attribute(protocol, 1)? != [UDP] {
        return None;
    }
    let ip = |v4, v6| match (attribute(addresses, v4), attribute(addresses, v6)) {
        (Some(bytes), _) => Some(IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?))),
        (_, Some(bytes)) => Some(IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?))),
        _ => None,
    };
    let port = |kind| Some(u16::from_be_bytes(attribute(protocol, kind)?.try_into().ok()?));
    Some((SocketAddr::new(ip(1, 3)?, port(2)?), SocketAddr::new(ip(2, 4)?, port(3)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tuple of UDP, or of another protocol, as the kernel says it.
    fn tuple(protocol: u8, from: &str, to: &str) -> Vec<u8> {
        let (from, to): (SocketAddr, SocketAddr) = (from.parse().unwrap(), to.parse().unwrap());
        let (IpAddr::V4(source), IpAddr::V4(destination)) = (from.ip(), to.ip()) else { panic!("IPv4") };
        let nested = |message: Message| message.finish()[16..].to_vec();
        let empty = || Message::new(0, 0, &[]);
        let ips = nested(empty().attribute(1, &source.octets()).attribute(2, &destination.octets()));
        let ports = empty().attribute(1, &[protocol]);
        let ports = ports.attribute(2, &from.port().to_be_bytes()).attribute(3, &to.port().to_be_bytes());
        nested(empty().attribute(1, &ips).attribute(2, &nested(ports)))
    }

    #[test]
    fn connections_to_backends_that_are_gone_are_stale() {
        let backend: SocketAddr = "10.88.0.3:8080".parse().unwrap();
        let ip = Some("10.96.0.1".parse().unwrap());
        let asked: Asked = [((ip, 53), [backend].into()), ((None, 30053), BTreeSet::new())].into();
        let stale = |protocol, to: &str, from: &str| {
            let client = "10.88.0.2:4000";
            is_stale(&tuple(protocol, client, to), &tuple(protocol, from, client), &asked)
        };
        assert!(stale(UDP, "10.96.0.1:53", "10.88.0.9:8080"));
        assert!(!stale(UDP, "10.96.0.1:53", "10.88.0.3:8080"), "it is there");
        assert!(!stale(6, "10.96.0.1:53", "10.88.0.9:8080"), "TCP ends by itself");
        assert!(!stale(UDP, "10.96.0.1:54", "10.88.0.9:8080"), "nobody's port");
        assert!(stale(UDP, "192.0.2.1:30053", "10.88.0.3:8080"), "a NodePort");
        assert!(!stale(UDP, "192.0.2.1:30053", "192.0.2.1:30053"), "the node's own socket");
        assert!(!is_stale(&[], &[1, 2, 3], &asked));
    }
}
