//! What the host needs besides rules: the DNS address on lo, and a route to Services.

use std::io;
use std::net::IpAddr;

use super::netlink::{Kernel, Message, NLM_F_CREATE, NLM_F_EXCL};
use super::rules::Network;

const RTM_NEWADDR: u16 = 20;
const RTM_NEWROUTE: u16 = 24;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_F_NODAD: u8 = 2;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RT_TABLE_MAIN: u8 = 254;
const RTPROT_STATIC: u8 = 4;
const RT_SCOPE_LINK: u8 = 253;
const RT_SCOPE_HOST: u8 = 254;
const RTN_UNICAST: u8 = 1;
/// The index of lo in every network namespace.
const LO: u32 = 1;

/// Puts an address on lo, if it is not there.
pub(super) fn put(address: IpAddr) -> io::Result<()> {
    // Scope host: the host does not take it for its own when it asks others.
    let (family, prefix) = of(address);
    let mut fixed = vec![family, prefix, IFA_F_NODAD, RT_SCOPE_HOST];
    fixed.extend(LO.to_ne_bytes());
    let message = Message::new(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, &fixed);
    let bytes = bytes(address);
    there(
        Kernel::route()?.ask(message.attribute(IFA_LOCAL, &bytes).attribute(IFA_ADDRESS, &bytes), |_, _| ()),
    )
}

/// Lets the host send to a range without a way out of its own: rules lead such packets on, and nothing of it leaves the host.
pub(super) fn route(range: &Network) -> io::Result<()> {
    let (family, _) = of(range.address);
    let scope = if range.address.is_ipv4() { RT_SCOPE_LINK } else { 0 };
    let mut fixed = vec![family, range.prefix, 0, 0, RT_TABLE_MAIN, RTPROT_STATIC, scope, RTN_UNICAST];
    fixed.extend([0; 4]);
    let message = Message::new(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, &fixed);
    let message = message.attribute(RTA_DST, &bytes(range.address)).attribute(RTA_OIF, &LO.to_ne_bytes());
    there(Kernel::route()?.ask(message, |_, _| ()))
}

fn there(made: io::Result<()>) -> io::Result<()> {
    match made {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

/// AF_INET or AF_INET6, and all bits.
fn of(address: IpAddr) -> (u8, u8) {
    if address.is_ipv4() { (2, 32) } else { (10, 128) }
}

fn bytes(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}
