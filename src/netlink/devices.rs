//! Bridges, pairs of devices, addresses and routes.

use std::net::IpAddr;
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;

use super::message::{Attributes, Request};
use super::{IFA_ADDRESS, IFA_BROADCAST, IFA_LOCAL, IFF_UP, IFLA_IFNAME, IFLA_NET_NS_FD, RTM_GETADDR};
use super::{RTM_GETLINK, RTM_NEWADDR, RTM_NEWLINK, Socket};
use crate::sys::{During, Failure};

const CREATE_EXCLUSIVELY: u16 = 0x400 | 0x200;
const RTM_DELLINK: u16 = 17;
const RTM_NEWROUTE: u16 = 24;
const IFLA_ADDRESS: u16 = 1;
const IFLA_MTU: u16 = 4;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_IFALIAS: u16 = 20;
const IFLA_AF_SPEC: u16 = 26;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_INFO_SLAVE_DATA: u16 = 5;
const IFLA_BRPORT_MODE: u16 = 4;
const IFLA_INET6_ADDR_GEN_MODE: u16 = 8;
const VETH_INFO_PEER: u16 = 1;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// An address of a device, and where the way out is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interface {
    /// The address.
    pub address: IpAddr,
    /// Bits of its subnet.
    pub prefix: u8,
    /// The router of a default route, of the same family; None: no default route.
    pub gateway: Option<IpAddr>,
    /// What of its subnet is behind the router, too: address and bits.
    pub beyond: Option<(IpAddr, u8)>,
}

/// A pair of devices: one here, a port of a bridge, and one in another namespace.
#[derive(Clone, Copy, Debug)]
pub struct Veth<'a> {
    /// The name of the end here.
    pub name: &'a str,
    /// What `ip link` shows beside it.
    pub alias: &'a str,
    /// The number of the bridge.
    pub bridge: u32,
    /// Bytes; None: as the kernel has it.
    pub mtu: Option<u32>,
    /// The name of the end there.
    pub inside: &'a str,
    /// The hardware address of the end there.
    pub hardware: [u8; 6],
    /// There.
    pub namespace: BorrowedFd<'a>,
}

/// The first failure of several requests in one datagram.
struct Steps {
    names: Vec<(&'static str, Option<Errno>)>,
    requests: Vec<Request>,
}

impl Steps {
    fn new() -> Self {
        Self { names: Vec::new(), requests: Vec::new() }
    }

    /// One more, which may fail with `fine`.
    fn step(&mut self, name: &'static str, fine: Option<Errno>, request: Request) {
        self.names.push((name, fine));
        self.requests.push(request);
    }

    fn send(self, socket: &Socket) -> Result<(), Failure> {
        let last = self.names.len().saturating_sub(1);
        let (mut first, mut done) = (Ok(()), false);
        let sent = socket.0.all(self.requests, last, |number, result| {
            done |= number == last;
            let Some(&(name, fine)) = self.names.get(number) else { return };
            if first.is_ok() && result.is_err() && result.err() != fine {
                first = result.during(name);
            }
        });
        sent.during("netlink")?;
        first?;
        if done { Ok(()) } else { Err(Errno::PROTO).during("netlink") }
    }
}

impl Socket {
    /// The number of a device; ENODEV where there is none.
    pub fn index(&self, name: &str) -> Result<u32, Errno> {
        self.0.index(name)
    }

    /// Makes a bridge, down; one that is there already is fine.
    pub fn add_bridge(&self, name: &str, hardware: [u8; 6], mtu: Option<u32>) -> Result<(), Errno> {
        let mut request = Request::new(RTM_NEWLINK, CREATE_EXCLUSIVELY).link(0, 0, 0).text(IFLA_IFNAME, name);
        request = request.bytes(IFLA_ADDRESS, &hardware);
        if let Some(mtu) = mtu {
            request = request.number(IFLA_MTU, mtu);
        }
        request = request.nest(IFLA_LINKINFO, |r| r.text(IFLA_INFO_KIND, "bridge"));
        match self.command(request) {
            Err(Errno::EXIST) => Ok(()),
            result => result,
        }
    }

    /// Makes a pair of devices, the one here up. The end there is born there, and the end here as a port of its bridge: moving a device
    /// would wait for all processors. The end here has no address, and answers to its own requests (hairpin), so that a
    /// container reaches itself through an address of the host.
    pub fn add_veth(&self, veth: &Veth<'_>) -> Result<(), Failure> {
        let mtu = |request: Request| match veth.mtu {
            Some(mtu) => request.number(IFLA_MTU, mtu),
            None => request,
        };
        let peer = |request: Request| {
            // Down: it does not know its other end yet.
            mtu(request.link(0, 0, 0).text(IFLA_IFNAME, veth.inside))
                .bytes(IFLA_ADDRESS, &veth.hardware)
                .bytes(IFLA_NET_NS_FD, &veth.namespace.as_raw_fd().to_ne_bytes())
        };
        let make =
            Request::silent(RTM_NEWLINK, CREATE_EXCLUSIVELY).link(0, 0, 0).text(IFLA_IFNAME, veth.name);
        let make = mtu(make).number(IFLA_MASTER, veth.bridge).nest(IFLA_LINKINFO, |r| {
            r.text(IFLA_INFO_KIND, "veth").nest(IFLA_INFO_DATA, |r| r.nest(VETH_INFO_PEER, peer))
        });
        let this = |flags| Request::silent(RTM_NEWLINK, 0).link(0, flags, flags).text(IFLA_IFNAME, veth.name);
        const NO_ADDRESS: u8 = 1;
        // Before it is up, when it would get an address.
        let tune = this(0)
            .text(IFLA_IFALIAS, veth.alias)
            .nest(IFLA_LINKINFO, |r| r.nest(IFLA_INFO_SLAVE_DATA, |r| r.bytes(IFLA_BRPORT_MODE, &[1])))
            .nest(IFLA_AF_SPEC, |r| {
                r.nest(AF_INET6.into(), |r| r.bytes(IFLA_INET6_ADDR_GEN_MODE, &[NO_ADDRESS]))
            });
        let mut steps = Steps::new();
        steps.step("make a veth pair", None, make);
        // A host without IPv6 does the rest of it before it says so.
        steps.step("set its bridge port", Some(Errno::AFNOSUPPORT), tune);
        steps.step("set it up", None, this(IFF_UP));
        steps.send(self)
    }

    /// Gives a device addresses, sets it up, and gives its namespace default routes through it. What is there already is fine.
    pub fn configure(&self, index: u32, interfaces: &[Interface]) -> Result<(), Failure> {
        let mut steps = Steps::new();
        for interface in interfaces {
            let request = address(interface, index);
            steps.step("add an address", Some(Errno::EXIST), request);
        }
        // Nothing can be routed through a device that is down.
        steps.step("set it up", None, Request::silent(RTM_NEWLINK, 0).link(index, IFF_UP, IFF_UP));
        steps.step("look at it", None, look(index));
        for Interface { gateway, beyond, .. } in interfaces {
            let Some(gateway) = gateway else { continue };
            let through =
                |request: Request| request.bytes(RTA_GATEWAY, &octets(*gateway)).number(RTA_OIF, index);
            steps.step("add a default route", Some(Errno::EXIST), through(route(*gateway, UNICAST, 0)));
            if let Some((to, prefix)) = beyond {
                let request = route(*to, UNICAST, *prefix).bytes(RTA_DST, &octets(*to));
                steps.step("add a route", Some(Errno::EXIST), through(request));
            }
        }
        steps.send(self)
    }

    /// Lets devices that are up, and the other ends of which have come up since, send at once: the kernel leaves that to its link watch,
    /// which comes when it can, but does it before it tells of a device (Linux 6.8).
    pub fn settle(&self, devices: &[u32]) -> Result<(), Failure> {
        let mut steps = Steps::new();
        devices.iter().for_each(|index| steps.step("look at a device", None, look(*index)));
        steps.send(self)
    }

    /// Does the device have all of these addresses?
    pub fn has_addresses(&self, index: u32, addresses: &[IpAddr]) -> Result<bool, Errno> {
        let mut missing = addresses.to_vec();
        self.exchange(Request::dump(RTM_GETADDR).address(0, 0, 0), |kind, body| {
            let Some((&[.., i0, i1, i2, i3], attributes)) = body.split_first_chunk::<8>() else { return };
            if kind == RTM_NEWADDR && u32::from_ne_bytes([i0, i1, i2, i3]) == index {
                for (kind, value) in Attributes(attributes) {
                    if kind == IFA_ADDRESS || kind == IFA_LOCAL {
                        missing.retain(|address| octets(*address) != value);
                    }
                }
            }
        })?;
        Ok(missing.is_empty())
    }

    /// Makes all of these addresses this host's own, as if the device had each. What is there already is fine.
    pub fn add_local(&self, index: u32, network: IpAddr, prefix: u8) -> Result<(), Errno> {
        let request = route(network, LOCAL, prefix).bytes(RTA_DST, &octets(network)).number(RTA_OIF, index);
        match self.command(request.acknowledged()) {
            Err(Errno::EXIST) => Ok(()),
            result => result,
        }
    }

    /// Removes a device, its other end with it; false where there is none.
    pub fn remove(&self, name: &str) -> Result<bool, Errno> {
        match self.command(Request::new(RTM_DELLINK, 0).link(0, 0, 0).text(IFLA_IFNAME, name)) {
            Ok(()) => Ok(true),
            Err(Errno::NODEV) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// RTM_NEWADDR. Nobody else is asked whether he has the address: leases say so, and asking takes a second (NODAD).
fn address(interface: &Interface, index: u32) -> Request {
    const IFA_F_NODAD: u8 = 2;
    let (family, flags) = match interface.address {
        IpAddr::V4(_) => (AF_INET, 0),
        IpAddr::V6(_) => (AF_INET6, IFA_F_NODAD),
    };
    let bytes = octets(interface.address);
    let request = Request::silent(RTM_NEWADDR, CREATE_EXCLUSIVELY)
        .fixed(&[family, interface.prefix, flags, 0])
        .fixed(&index.to_ne_bytes())
        .bytes(IFA_LOCAL, &bytes)
        .bytes(IFA_ADDRESS, &bytes);
    let IpAddr::V4(address) = interface.address else { return request };
    let hosts = u32::MAX.checked_shr(interface.prefix.into()).unwrap_or(0);
    request.bytes(IFA_BROADCAST, &(address.to_bits() | hosts).to_be_bytes())
}

/// RTM_GETLINK; see [`Socket::settle`].
fn look(index: u32) -> Request {
    const IFLA_EXT_MASK: u16 = 29;
    const WITHOUT_STATISTICS: u32 = 8;
    Request::silent(RTM_GETLINK, 0).link(index, 0, 0).number(IFLA_EXT_MASK, WITHOUT_STATISTICS)
}

const UNICAST: u8 = 1;
const LOCAL: u8 = 2;

/// A new route to `prefix` bits of `to`, or of its family.
fn route(to: IpAddr, typ: u8, prefix: u8) -> Request {
    const STATIC: u8 = 4;
    let family = if to.is_ipv4() { AF_INET } else { AF_INET6 };
    let table = if typ == LOCAL { 255 } else { 254 };
    let route = [family, prefix, 0, 0, table, STATIC, 0, typ];
    Request::silent(RTM_NEWROUTE, CREATE_EXCLUSIVELY).fixed(&route).fixed(&[0; 4])
}

/// In the network's byte order.
fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_laid_out_as_the_kernel_reads_it() {
        let interface =
            Interface { address: "10.88.0.2".parse().unwrap(), prefix: 20, gateway: None, beyond: None };
        let bytes = address(&interface, 7).finish();
        assert_eq!(&bytes[16..24], [2, 20, 0, 0, 7, 0, 0, 0]);
        let attributes: Vec<_> = Attributes(&bytes[24..]).collect();
        assert_eq!(attributes.last().unwrap(), &(IFA_BROADCAST, [10, 88, 15, 255].as_slice()));
        let interface =
            Interface { address: "fd00::2".parse().unwrap(), prefix: 64, gateway: None, beyond: None };
        let bytes = address(&interface, 7).finish();
        assert_eq!((&bytes[16..20], bytes.len()), ([10, 64, 2, 0].as_slice(), 64));
    }
}
