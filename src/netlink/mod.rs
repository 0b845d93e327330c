//! The kernel's networks over netlink(7): devices and their addresses ([`Socket`], rtnetlink(7)), rules
//! ([`nftables`]), connections ([`conntrack`]).
//!
//! Runs in the parent. A socket belongs to the network namespace that it was made in, for ever.

mod connection;
pub mod conntrack;
mod devices;
mod message;
pub mod nftables;

use std::os::fd::{AsRawFd, BorrowedFd};

use connection::Connection;
pub use devices::{Interface, Veth};
use message::{Attributes, Request};
use rustix::io::Errno;

const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
const IFLA_IFNAME: u16 = 3;
const IFLA_NET_NS_FD: u16 = 28;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
const IFA_FLAGS: u16 = 8;
const IFF_UP: u32 = 1;
const IFA_F_PERMANENT: u32 = 0x80;
const RT_SCOPE_UNIVERSE: u8 = 0;

/// A network device of the socket's namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its number, which stays the same where it can when the device moves.
    pub index: u32,
    /// Is it up?
    pub up: bool,
}

/// An address of a device that is worth to be taken along.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    family: u8,
    prefix: u8,
    local: Option<Vec<u8>>,
    peer: Option<Vec<u8>>,
    broadcast: Option<Vec<u8>>,
}

/// An rtnetlink socket.
#[derive(Debug)]
pub struct Socket(Connection);

impl Socket {
    /// Opens one in the network namespace that this process is in now.
    pub fn open() -> Result<Self, Errno> {
        Connection::route().map(Self)
    }

    /// The device of this name; ENODEV where there is none.
    pub fn link(&self, name: &str) -> Result<Link, Errno> {
        let request = Request::new(RTM_GETLINK, 0).link(0, 0, 0).text(IFLA_IFNAME, name);
        let mut found = Err(Errno::NODEV);
        self.exchange(request, |kind, body| {
            if let (RTM_NEWLINK, Some(&[_, _, _, _, i0, i1, i2, i3, f0, f1, f2, f3])) =
                (kind, body.first_chunk())
            {
                let (index, flags) = ([i0, i1, i2, i3], [f0, f1, f2, f3]);
                let up = u32::from_ne_bytes(flags) & IFF_UP != 0;
                found = Ok(Link { index: u32::from_ne_bytes(index), up });
            }
        })?;
        found
    }

    /// The addresses that a device keeps when it moves: permanent and of global scope. The others were
    /// made for the place where it is.
    pub fn addresses(&self, index: u32) -> Result<Vec<Address>, Errno> {
        let mut addresses = Vec::new();
        self.exchange(Request::dump(RTM_GETADDR).address(0, 0, 0), |kind, body| {
            if kind == RTM_NEWADDR {
                addresses.extend(address(body, index));
            }
        })?;
        Ok(addresses)
    }

    /// Sets a device up or down.
    pub fn set_up(&self, index: u32, up: bool) -> Result<(), Errno> {
        self.command(Request::new(RTM_NEWLINK, 0).link(index, if up { IFF_UP } else { 0 }, IFF_UP))
    }

    /// Moves a device to another network namespace and gives it its name there, in one step.
    pub fn move_link(&self, index: u32, name: &str, to: BorrowedFd<'_>) -> Result<(), Errno> {
        let request = Request::new(RTM_NEWLINK, 0).link(index, 0, 0).text(IFLA_IFNAME, name);
        self.command(request.bytes(IFLA_NET_NS_FD, &to.as_raw_fd().to_ne_bytes()))
    }

    /// Gives a device an address; one that it has already is fine.
    pub fn add_address(&self, index: u32, address: &Address) -> Result<(), Errno> {
        const CREATE_EXCLUSIVELY: u16 = 0x400 | 0x200;
        let mut request =
            Request::new(RTM_NEWADDR, CREATE_EXCLUSIVELY).address(address.family, address.prefix, index);
        let parts =
            [(IFA_LOCAL, &address.local), (IFA_ADDRESS, &address.peer), (IFA_BROADCAST, &address.broadcast)];
        for (kind, bytes) in parts {
            if let Some(bytes) = bytes {
                request = request.bytes(kind, bytes);
            }
        }
        match self.command(request) {
            Err(Errno::EXIST) => Ok(()),
            result => result,
        }
    }

    fn command(&self, request: Request) -> Result<(), Errno> {
        self.exchange(request, |_, _| ())
    }

    fn exchange(&self, request: Request, take: impl FnMut(u16, &[u8])) -> Result<(), Errno> {
        self.0.exchange(request, take)
    }
}

/// An RTM_NEWADDR message's address, if it is one of the device and worth to be taken along.
fn address(body: &[u8], device: u32) -> Option<Address> {
    let (&[family, prefix, flags, scope, i0, i1, i2, i3], attributes) = body.split_first_chunk()?;
    let attribute =
        |kind| Attributes(attributes).find(|(found, _)| *found == kind).map(|(_, value)| value.to_vec());
    let flags = attribute(IFA_FLAGS)
        .and_then(|bytes| bytes.try_into().ok().map(u32::from_ne_bytes))
        .unwrap_or(flags.into());
    let wanted = u32::from_ne_bytes([i0, i1, i2, i3]) == device
        && flags & IFA_F_PERMANENT != 0
        && scope == RT_SCOPE_UNIVERSE;
    wanted.then(|| Address {
        family,
        prefix,
        local: attribute(IFA_LOCAL),
        peer: attribute(IFA_ADDRESS),
        broadcast: attribute(IFA_BROADCAST),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_device_is_found_and_another_is_not() {
        let socket = Socket::open().unwrap();
        assert_eq!(socket.link("lo").unwrap().index, 1);
        assert_eq!(socket.link("no-such-device").unwrap_err(), Errno::NODEV);
    }

    #[test]
    fn addresses_of_the_place_are_left_behind() {
        let message = |flags: u8, scope: u8, index: u8| {
            let mut body = vec![2, 24, flags, scope, index, 0, 0, 0];
            body.extend([8, 0, 2, 0, 10, 9, 0, 1, 8, 0, 1, 0, 10, 9, 0, 1]);
            body
        };
        let found = address(&message(0x80, 0, 7), 7).unwrap();
        assert_eq!((found.prefix, found.local.unwrap(), found.broadcast), (24, vec![10, 9, 0, 1], None));
        for other in [message(0, 0, 7), message(0x80, 253, 7), message(0x80, 0, 8), vec![2, 24]] {
            assert_eq!(address(&other, 7), None);
        }
    }
}
