//! Ports of the host on ::1.
//!
//! The kernel lets no packet with that address come in by a device, and where rules see bridged packets (br_netfilter) an answer that address
//! translation gives it back to is on the bridge still. So connections of the host's own to ::1 are rewritten without the kernel's address
//! translation: on their way out, before they are tracked, `::1 -> ::1, PORT` becomes `LOOPBACKS:PORT -> the container, its port`, LOOPBACKS being
//! 65,536 addresses of the subnet's that are the host's; on the way in, behind everything else, the answer's destination says
//! what it is an answer of. No state is needed, and two ports of the host may lead to one of a container.

use std::net::Ipv6Addr;

use super::{
    ADDRESS_PORTS6, FIRST, IPV6, L4PROTO, LOOPBACK6, NETWORK_HEADER, NFPROTO, PORTS6, TRANSPORT_HEADER,
};
use crate::netlink::nftables::{Batch, Checksum, Expression as E, Hook};

/// Where addresses are in an IPv6 header.
const SOURCE: u32 = 8;
const DESTINATION: u32 = 24;
/// Bytes of LOOPBACKS, and of the port behind it.
const PREFIX: u32 = 14;
const PORT: u32 = 2;
/// Protocols, and where their checksums are. SCTP's is of another kind.
const PROTOCOLS: [(&[u8], u32); 2] = [(&[6], 16), (&[17], 6)];

/// Both chains.
pub(super) fn rules(batch: &mut Batch, bridge: &[u8; 16], network: &Ipv6Addr) {
    let octets = network.octets();
    let prefix = octets.get(..PREFIX as usize).unwrap_or_default();
    // It is routed anew if its addresses have changed.
    batch.chain("loopback", Some(Hook { kind: "route", number: 3, priority: -300 }), "");
    batch.chain("answers", Some(Hook { kind: "filter", number: 1, priority: 300 }), "");
    for (protocol, checksum) in PROTOCOLS {
        for of_address in [true, false] {
            batch.rule("loopback", &outward(protocol, checksum, of_address, prefix));
        }
        batch.rule("answers", &inward(protocol, checksum, bridge, prefix));
    }
    // Nobody begins a connection to these addresses.
    batch.rule("answers", &[to_loopbacks(prefix).as_slice(), &[E::Drop]].concat());
}

/// `::1 -> ::1, PORT` to what a map says.
fn outward<'a>(protocol: &'a [u8], checksum: u32, of_address: bool, prefix: &'a [u8]) -> Vec<E<'a>> {
    let network = |offset, length, to| E::Payload { base: NETWORK_HEADER, offset, length, to };
    let write = |offset, length, from| E::Write {
        base: NETWORK_HEADER,
        offset,
        length,
        from,
        checksum: Checksum::Pseudo,
    };
    // The key is behind the address where the map has one.
    let (map, key) = if of_address { (ADDRESS_PORTS6.name, FIRST + 4) } else { (PORTS6.name, FIRST) };
    let kept = FIRST + 8;
    let mut rule = vec![
        E::Meta { key: NFPROTO, to: FIRST },
        E::Equal { register: FIRST, value: &[IPV6 as u8] },
        E::Meta { key: L4PROTO, to: FIRST },
        E::Equal { register: FIRST, value: protocol },
        network(SOURCE, 16, FIRST),
        E::Equal { register: FIRST, value: LOOPBACK6 },
        network(DESTINATION, 16, FIRST),
        E::Equal { register: FIRST, value: LOOPBACK6 },
        E::Meta { key: L4PROTO, to: key },
        E::Payload { base: TRANSPORT_HEADER, offset: 2, length: PORT, to: key + 1 },
        E::Payload { base: TRANSPORT_HEADER, offset: 2, length: PORT, to: kept },
        E::Lookup { map, key: FIRST, to: FIRST },
    ];
    rule.extend([
        write(DESTINATION, 16, FIRST),
        E::Write {
            base: TRANSPORT_HEADER,
            offset: 2,
            length: PORT,
            from: FIRST + 4,
            checksum: Checksum::At(checksum),
        },
        E::Value { value: prefix, to: FIRST },
        write(SOURCE, PREFIX, FIRST),
        write(SOURCE + PREFIX, PORT, kept),
    ]);
    rule
}

/// An answer to LOOPBACKS:PORT to `::1, PORT -> ::1`. Only an answer: else a container could begin to talk to the host's ::1.
fn inward<'a>(protocol: &'a [u8], checksum: u32, bridge: &'a [u8; 16], prefix: &'a [u8]) -> Vec<E<'a>> {
    const DIRECTION: u32 = 1;
    const REPLY: &[u8] = &[1];
    let write = |offset| E::Write {
        base: NETWORK_HEADER,
        offset,
        length: 16,
        from: FIRST,
        checksum: Checksum::Pseudo,
    };
    let mut rule = vec![
        E::Meta { key: super::IIFNAME, to: FIRST },
        E::Equal { register: FIRST, value: bridge },
        E::Meta { key: L4PROTO, to: FIRST },
        E::Equal { register: FIRST, value: protocol },
    ];
    rule.extend(to_loopbacks(prefix));
    rule.extend([
        E::Connection { key: DIRECTION, to: FIRST },
        E::Equal { register: FIRST, value: REPLY },
        E::Payload { base: NETWORK_HEADER, offset: DESTINATION + PREFIX, length: PORT, to: FIRST },
        E::Write {
            base: TRANSPORT_HEADER,
            offset: 0,
            length: PORT,
            from: FIRST,
            checksum: Checksum::At(checksum),
        },
        E::Value { value: LOOPBACK6, to: FIRST },
        write(SOURCE),
        write(DESTINATION),
    ]);
    rule
}

fn to_loopbacks(prefix: &[u8]) -> [E<'_>; 4] {
    [
        E::Meta { key: NFPROTO, to: FIRST },
        E::Equal { register: FIRST, value: &[IPV6 as u8] },
        E::Payload { base: NETWORK_HEADER, offset: DESTINATION, length: PREFIX, to: FIRST },
        E::Equal { register: FIRST, value: prefix },
    ]
}
