//! Connections that the kernel tracks: those of UDP live on after what they led to, since they have no end.
//! `linux/netfilter/nfnetlink_conntrack.h`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rustix::io::Errno;

use super::connection::Connection;
use super::message::{Attributes, Request};

const NEW: u16 = 1 << 8;
const GET: u16 = (1 << 8) | 1;
const DELETE: u16 = (1 << 8) | 2;
const TUPLE_ORIGINAL: u16 = 1;
const TUPLE_REPLY: u16 = 2;

/// One direction of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Direction {
    /// IPPROTO_*.
    pub protocol: u8,
    /// From where.
    pub source: IpAddr,
    /// Where to.
    pub destination: IpAddr,
    /// Its port.
    pub port: u16,
}

/// Forgets the connections that `which` chooses by their two directions; how many there were. Those that are gone by then are fine.
pub fn forget(which: impl Fn(Direction, Direction) -> bool) -> Result<usize, Errno> {
    let socket = Connection::netfilter()?;
    let mut chosen = Vec::new();
    socket.exchange(Request::dump(GET).fixed(&[0; 4]), |kind, body| {
        let (Some(&[family, ..]), NEW) = (body.first_chunk::<4>(), kind) else { return };
        let attributes = || Attributes(body.get(4..).unwrap_or_default());
        let tuple = |wanted| attributes().find(|(kind, _)| *kind == wanted).map(|(_, value)| value);
        let (Some(original), Some(reply)) = (tuple(TUPLE_ORIGINAL), tuple(TUPLE_REPLY)) else { return };
        if let (Some(one), Some(other)) = (direction(original), direction(reply))
            && which(one, other)
        {
            chosen.push((family, original.to_vec()));
        }
    })?;
    for (family, original) in &chosen {
        let request = Request::new(DELETE, 0).fixed(&[*family, 0, 0, 0]);
        match socket.exchange(request.bytes(TUPLE_ORIGINAL | NESTED, original), |_, _| ()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(chosen.len())
}

const NESTED: u16 = 0x8000;

/// A tuple's attributes.
fn direction(tuple: &[u8]) -> Option<Direction> {
    let part = |list, wanted| Attributes(list).find(|(kind, _)| *kind == wanted).map(|(_, value)| value);
    let (addresses, protocol) = (part(tuple, 1)?, part(tuple, 2)?);
    let address = |v4, v6| match (part(addresses, v4), part(addresses, v6)) {
        (Some(bytes), _) => Some(IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?))),
        (_, Some(bytes)) => Some(IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?))),
        _ => None,
    };
    let port = part(protocol, 3).and_then(|bytes| bytes.try_into().ok()).map_or(0, u16::from_be_bytes);
    Some(Direction {
        protocol: *part(protocol, 1)?.first()?,
        source: address(1, 3)?,
        destination: address(2, 4)?,
        port,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_direction_is_read() {
        let bytes = Request::new(0, 0)
            .nest(1, |r| r.bytes(1, &[10, 0, 0, 1]).bytes(2, &[10, 0, 0, 2]))
            .nest(2, |r| r.bytes(1, &[17]).bytes(2, &[0x30, 0x39]).bytes(3, &[0, 53]))
            .finish();
        let found = direction(&bytes[16..]).unwrap();
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        assert_eq!((found.protocol, found.port), (17, 53));
        assert_eq!((found.source, found.destination), (address("10.0.0.1"), address("10.0.0.2")));
        assert_eq!(direction(&bytes[16..40]), None);
    }
}
