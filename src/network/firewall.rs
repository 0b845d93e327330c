//! The rules of a bridge: one nftables table of its own, `inet rcrun-BRIDGE`, which nft(8) lists.
//!
//! Rules are written once; a Pod's port is an element of a map. Whether they are there is asked with each attachment (a reload of
//! the host's firewall takes them away); a comment on one chain bears a digest of them, so that other rules than these are replaced.

mod loopback;

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use super::lease::Lease;
use super::port::{PortMapping, Protocol};
use super::subnet::Subnet;
use super::{NetworkError, failed};
use crate::netlink::conntrack::{self, Direction};
use crate::netlink::nftables::{Batch, Element, Expression as E, Hook, Map, Rules};
use crate::sys::Failure;

/// NFPROTO_*, also the attribute's value.
const IPV4: u32 = 2;
const IPV6: u32 = 10;
/// NFT_REG32_00; each register is four bytes.
const FIRST: u32 = 8;
const NETWORK_HEADER: u32 = 1;
const TRANSPORT_HEADER: u32 = 2;
const IIFNAME: u32 = 6;
const OIFNAME: u32 = 7;
const NFPROTO: u32 = 15;
const L4PROTO: u32 = 16;
const LOOPBACK6: &[u8] = &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
/// Elements a transaction, so that it fits into a socket's buffer.
const ELEMENTS: usize = 200;

/// Keys are (address of the host,) protocol and port; values are address and port of the container. nft(8)'s types: 7 and 8 addresses,
/// 12 a protocol, 13 a port.
const PORTS4: Map = Map { name: "ports4", key: ((12 << 6) | 13, 8), value: ((7 << 6) | 13, 8) };
const PORTS6: Map = Map { name: "ports6", key: ((12 << 6) | 13, 8), value: ((8 << 6) | 13, 20) };
const ADDRESS_PORTS4: Map =
    Map { name: "address_ports4", key: ((7 << 12) | (12 << 6) | 13, 12), value: ((7 << 6) | 13, 8) };
const ADDRESS_PORTS6: Map =
    Map { name: "address_ports6", key: ((8 << 12) | (12 << 6) | 13, 24), value: ((8 << 6) | 13, 20) };

/// The rules of one bridge, and a socket for them.
pub(super) struct Firewall {
    rules: Rules,
    table: String,
    /// As the kernel compares names of devices.
    bridge: [u8; 16],
    subnets: Vec<Subnet>,
}

impl Firewall {
    /// The rules of this bridge.
    pub fn new(bridge: &str, subnets: &[Subnet]) -> Result<Self, NetworkError> {
        let rules = Rules::open().map_err(|error| failed("open a netfilter socket", error))?;
        let mut name = [0; 16];
        name.iter_mut().zip(bridge.bytes()).for_each(|(to, from)| *to = from);
        Ok(Self { rules, table: format!("rcrun-{bridge}"), bridge: name, subnets: subnets.to_vec() })
    }

    /// Are the rules there, all of them, and these?
    pub fn is_there(&self) -> Result<bool, NetworkError> {
        let found = self.rules.chain(&self.table, "postrouting");
        let found = found.map_err(|error| failed(format!("look for nftables' {}", self.table), error))?;
        Ok(found.is_some_and(|(rules, comment)| {
            let (count, digest) = self.digest();
            rules == count && comment == digest
        }))
    }

    /// Writes the rules, in the place of what the table has, and the ports of all leases.
    pub fn install(&self, leases: &[(String, Lease)]) -> Result<(), NetworkError> {
        let (_, digest) = self.digest();
        self.commit(self.all_rules(&digest))?;
        let mut batch = Batch::new(&self.table);
        let mut number = 0;
        for (owner, lease) in leases {
            let elements = elements(lease);
            number += elements.len();
            batch.add(&elements, owner);
            if number >= ELEMENTS {
                self.commit(std::mem::replace(&mut batch, Batch::new(&self.table)))?;
                number = 0;
            }
        }
        self.commit(batch)
    }

    /// Lets the ports of a lease lead into its container.
    pub fn open(&self, owner: &str, lease: &Lease) -> Result<(), NetworkError> {
        lease.ports.iter().try_for_each(|port| self.can_lead(port, &lease.addresses))?;
        let mut batch = Batch::new(&self.table);
        batch.add(&elements(lease), owner);
        self.commit(batch)?;
        forget(lease)
    }

    fn can_lead(&self, port: &PortMapping, addresses: &[IpAddr]) -> Result<(), NetworkError> {
        let why = if elements_of(port, addresses).is_empty() {
            "the container has no address of this family"
        } else if port.address == Some(IpAddr::V6(Ipv6Addr::LOCALHOST)) && !self.answers_on_loopback6(port) {
            "::1 needs TCP or UDP and an IPv6 subnet of at most 108 bits; map the port of 127.0.0.1"
        } else {
            return Ok(());
        };
        let from = match port.address {
            Some(address) => SocketAddr::new(address, port.host).to_string(),
            None => port.host.to_string(),
        };
        let operation = format!("lead {from}/{} into a container", port.protocol.name());
        Err(NetworkError::Call { operation, error: std::io::Error::other(why) })
    }

    fn answers_on_loopback6(&self, port: &PortMapping) -> bool {
        port.protocol != Protocol::Sctp && self.subnets.iter().any(|subnet| subnet.loopbacks().is_some())
    }

    /// The opposite of [`Self::open`]. What is gone already is fine.
    pub fn close(&self, lease: &Lease) -> Result<(), NetworkError> {
        use rustix::io::Errno;
        let elements = elements(lease);
        let delete = |elements: &[Element]| {
            let mut batch = Batch::new(&self.table);
            batch.delete(elements);
            self.rules.commit(batch)
        };
        let closed = match delete(&elements) {
            // One of them, or the table.
            Err(Failure { errno: Errno::NOENT, .. }) => {
                let each = elements.iter().map(|element| match delete(std::slice::from_ref(element)) {
                    Err(Failure { errno: Errno::NOENT, .. }) => Ok(()),
                    result => result,
                });
                each.fold(Ok(()), Result::and)
            }
            result => result,
        };
        let closed = closed.map_err(|failure| self.failed(&failure));
        closed.and(forget(lease))
    }

    fn commit(&self, batch: Batch) -> Result<(), NetworkError> {
        self.rules.commit(batch).map_err(|failure| self.failed(&failure))
    }

    fn failed(&self, failure: &Failure) -> NetworkError {
        failed(format!("{} of nftables' {}", failure.operation, self.table), failure.errno)
    }

    /// The number of rules in the chain that is looked at, and its comment.
    fn digest(&self) -> (u32, String) {
        let hash = blake3::hash(&self.all_rules("").bytes());
        (self.postrouting().len() as u32, format!("rules {}", &hash.to_hex()[..16]))
    }

    fn all_rules(&self, digest: &str) -> Batch {
        let mut batch = Batch::new(&self.table);
        batch.table();
        batch.delete_table();
        batch.table();
        [PORTS4, PORTS6, ADDRESS_PORTS4, ADDRESS_PORTS6].iter().for_each(|map| batch.map(map));
        let hook = |kind, number, priority| Some(Hook { kind, number, priority });
        batch.chain("guard", hook("filter", 0, -300), "");
        batch.chain("prerouting", hook("nat", 0, -100), "");
        batch.chain("output", hook("nat", 3, -100), "");
        batch.chain("postrouting", hook("nat", 4, 100), digest);
        batch.chain("ports", None, "");
        for network in self.subnets.iter().filter_map(Subnet::loopbacks) {
            loopback::rules(&mut batch, &self.bridge, &network.0);
        }
        // Only this host's own packets may bear its loopback addresses, though the bridge lets them pass.
        batch.rule(
            "guard",
            &[
                E::Meta { key: IIFNAME, to: FIRST },
                E::Equal { register: FIRST, value: &self.bridge },
                E::Meta { key: NFPROTO, to: FIRST },
                E::Equal { register: FIRST, value: &[IPV4 as u8] },
                E::Payload { base: NETWORK_HEADER, offset: 16, length: 1, to: FIRST },
                E::Equal { register: FIRST, value: &[127] },
                E::Drop,
            ],
        );
        // Nor are ports of loopback addresses led on for anybody else, whatever device he sends to: rules come before the kernel refuses
        // such a packet.
        batch.rule(
            "prerouting",
            &[
                E::Meta { key: NFPROTO, to: FIRST },
                E::Equal { register: FIRST, value: &[IPV4 as u8] },
                E::Payload { base: NETWORK_HEADER, offset: 16, length: 1, to: FIRST },
                E::Equal { register: FIRST, value: &[127] },
                E::Return,
            ],
        );
        const RTN_LOCAL: [u8; 4] = 2u32.to_ne_bytes();
        for chain in ["prerouting", "output"] {
            batch.rule(
                chain,
                &[
                    E::DestinationType { to: FIRST },
                    E::Equal { register: FIRST, value: &RTN_LOCAL },
                    E::Jump { chain: "ports" },
                ],
            );
        }
        batch.rule(
            "ports",
            &[
                E::Meta { key: NFPROTO, to: FIRST },
                E::Equal { register: FIRST, value: &[IPV6 as u8] },
                E::Payload { base: NETWORK_HEADER, offset: 24, length: 16, to: FIRST },
                E::Equal { register: FIRST, value: LOOPBACK6 },
                E::Return,
            ],
        );
        for (family, of_address, of_all) in [(IPV4, ADDRESS_PORTS4, PORTS4), (IPV6, ADDRESS_PORTS6, PORTS6)] {
            batch.rule("ports", &lead(family, &of_address));
            batch.rule("ports", &lead(family, &of_all));
        }
        self.postrouting().iter().for_each(|rule| batch.rule("postrouting", rule));
        batch
    }

    /// Whose packets get this host's address.
    fn postrouting(&self) -> Vec<Vec<E<'_>>> {
        const DESTINATION_NAT: [u8; 4] = 0x20u32.to_ne_bytes();
        const STATUS: u32 = 2;
        let mut rules = Vec::new();
        let out = [E::Meta { key: OIFNAME, to: FIRST }, E::Equal { register: FIRST, value: &self.bridge }];
        let elsewhere =
            [E::Meta { key: OIFNAME, to: FIRST }, E::NotEqual { register: FIRST, value: &self.bridge }];
        let was_led = [
            E::Connection { key: STATUS, to: FIRST },
            E::And { register: FIRST, mask: &DESTINATION_NAT },
            E::NotEqual { register: FIRST, value: &[0; 4] },
        ];
        for subnet in &self.subnets {
            let from = source_in(subnet);
            // What leaves the subnet: nobody elsewhere knows it.
            rules.push([from.as_slice(), &elsewhere, &[E::Masquerade]].concat());
            // What a container sent to a port of the host and comes back to it or a neighbour: the answer must come back this way.
            rules.push([from.as_slice(), &out, &was_led, &[E::Masquerade]].concat());
            // What this host sent to a port of its IPv4 loopback addresses.
            if subnet.first().is_ipv4() {
                let from_loopback = [
                    E::Meta { key: NFPROTO, to: FIRST },
                    E::Equal { register: FIRST, value: &[IPV4 as u8] },
                    E::Payload { base: NETWORK_HEADER, offset: 12, length: 1, to: FIRST },
                    E::Equal { register: FIRST, value: &[127] },
                ];
                rules.push([from_loopback.as_slice(), &out, &[E::Masquerade]].concat());
            }
        }
        rules
    }
}

/// Is the source in the subnet?
fn source_in(subnet: &Subnet) -> [E<'_>; 5] {
    let (family, offset, length): (&[u8], _, _) =
        if subnet.first().is_ipv4() { (&[IPV4 as u8], 12, 4) } else { (&[IPV6 as u8], 8, 16) };
    let (network, mask) = subnet.bytes();
    [
        E::Meta { key: NFPROTO, to: FIRST },
        E::Equal { register: FIRST, value: family },
        E::Payload { base: NETWORK_HEADER, offset, length, to: FIRST },
        E::And { register: FIRST, mask },
        E::Equal { register: FIRST, value: network },
    ]
}

/// A packet whose key is in the map goes where its value says.
fn lead<'a>(family: u32, map: &Map) -> Vec<E<'a>> {
    let (value, offset, words): (&[u8], _, _) =
        if family == IPV4 { (&[IPV4 as u8], 16, 1) } else { (&[IPV6 as u8], 24, 4) };
    let with_address = map.key.1 > PORTS4.key.1;
    let protocol = if with_address { FIRST + words } else { FIRST };
    let mut rule = vec![E::Meta { key: NFPROTO, to: FIRST }, E::Equal { register: FIRST, value }];
    if with_address {
        rule.push(E::Payload { base: NETWORK_HEADER, offset, length: words * 4, to: FIRST });
    }
    rule.extend([
        E::Meta { key: L4PROTO, to: protocol },
        // TCP, UDP and SCTP have the destination's port at the same place.
        E::Payload { base: TRANSPORT_HEADER, offset: 2, length: 2, to: protocol + 1 },
        E::Lookup { map: map.name, key: FIRST, to: FIRST },
        E::Dnat { family, address: FIRST, port: FIRST + words },
    ]);
    rule
}

fn elements(lease: &Lease) -> Vec<Element> {
    lease.ports.iter().flat_map(|port| elements_of(port, &lease.addresses)).collect()
}

/// An element for each family of the container's that the port answers in.
fn elements_of(port: &PortMapping, addresses: &[IpAddr]) -> Vec<Element> {
    let mut elements = Vec::new();
    for container in addresses {
        if port.address.is_some_and(|address| address.is_ipv4() != container.is_ipv4()) {
            continue;
        }
        let address = port.address.filter(|address| !address.is_unspecified());
        let map = match (container.is_ipv4(), address.is_some()) {
            (true, true) => ADDRESS_PORTS4,
            (true, false) => PORTS4,
            (false, true) => ADDRESS_PORTS6,
            (false, false) => PORTS6,
        };
        let mut key = address.map(octets).unwrap_or_default();
        key.extend([port.protocol.number(), 0, 0, 0]);
        key.extend(padded(port.host));
        let value = [octets(*container), padded(port.container).to_vec()].concat();
        elements.push(Element { map: map.name, key, value });
    }
    elements
}

fn padded(port: u16) -> [u8; 4] {
    let [high, low] = port.to_be_bytes();
    [high, low, 0, 0]
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// Forgets what UDP clients of these ports were led to, or not led to: else they would go on so as long as they send.
fn forget(lease: &Lease) -> Result<(), NetworkError> {
    use rustix::io::Errno;
    let ports: Vec<_> =
        lease.ports.iter().filter(|port| port.protocol == Protocol::Udp).map(|port| port.host).collect();
    if ports.is_empty() {
        return Ok(());
    }
    let is_stale = |one: Direction, reply: Direction| {
        let led_here = lease.addresses.contains(&reply.source);
        let not_led = || reply.source == one.destination && is_local(one.destination);
        one.protocol == Protocol::Udp.number() && ports.contains(&one.port) && (led_here || not_led())
    };
    match conntrack::forget(is_stale) {
        // A host that tracks nothing, or does not tell.
        Ok(_) | Err(Errno::INVAL | Errno::OPNOTSUPP | Errno::PROTONOSUPPORT) => Ok(()),
        Err(error) => Err(failed("forget UDP connections", error)),
    }
}

/// Is it an address of this host? A socket can be bound to no other.
fn is_local(address: IpAddr) -> bool {
    std::net::UdpSocket::bind((address, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(address: Option<&str>) -> PortMapping {
        let address = address.map(|address| address.parse().unwrap());
        PortMapping { address, host: 8080, container: 80, protocol: Protocol::Tcp }
    }

    #[test]
    fn a_port_is_an_element_for_each_family() {
        let both = ["10.88.0.2".parse().unwrap(), "fd72::2".parse().unwrap()];
        let maps = |address| {
            let elements = elements_of(&port(address), &both);
            elements.iter().map(|element| element.map).collect::<Vec<_>>()
        };
        assert_eq!(maps(None), ["ports4", "ports6"]);
        assert_eq!((maps(Some("0.0.0.0")), maps(Some("::"))), (vec!["ports4"], vec!["ports6"]));
        assert_eq!(maps(Some("192.0.2.1")), ["address_ports4"]);
        assert_eq!(maps(Some("::1")), ["address_ports6"]);
        assert!(elements_of(&port(Some("::1")), &both[..1]).is_empty());
    }

    #[test]
    fn an_elements_parts_are_padded_to_four_bytes() {
        let element = &elements_of(&port(Some("192.0.2.1")), &["10.88.0.2".parse().unwrap()])[0];
        assert_eq!(element.key, [192, 0, 2, 1, 6, 0, 0, 0, 0x1f, 0x90, 0, 0]);
        assert_eq!(element.value, [10, 88, 0, 2, 0, 80, 0, 0]);
        for (map, of) in [(PORTS4, port(None)), (ADDRESS_PORTS6, port(Some("::1")))] {
            let addresses = ["10.88.0.2".parse().unwrap(), "fd72::2".parse().unwrap()];
            let elements = elements_of(&of, &addresses);
            let element = elements.iter().find(|element| element.map == map.name).unwrap();
            assert_eq!((element.key.len() as u32, element.value.len() as u32), (map.key.1, map.value.1));
        }
    }
}
