//! The few netlink(7) messages that Services need: an address, a route, connections that are forgotten.

use std::io;

use rustix::fd::OwnedFd;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType};

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
pub(super) const NLM_F_DUMP: u16 = 0x300;
pub(super) const NLM_F_EXCL: u16 = 0x200;
pub(super) const NLM_F_CREATE: u16 = 0x400;
/// Bytes before the attributes' own: length and kind.
const ATTRIBUTE: usize = 4;
const HEADER: usize = 16;
const NFNLGRP_NFTABLES: u32 = 7;

/// A request.
#[derive(Clone, Debug)]
pub(super) struct Message(Vec<u8>);

impl Message {
    /// `fixed`: what comes before attributes.
    pub fn new(kind: u16, flags: u16, fixed: &[u8]) -> Self {
        let mut bytes = vec![0; 4];
        bytes.extend(kind.to_ne_bytes());
        bytes.extend((flags | NLM_F_REQUEST | NLM_F_ACK).to_ne_bytes());
        bytes.extend([0; 8]);
        bytes.extend(fixed);
        Self(bytes)
    }

    /// Adds an attribute.
    pub fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        // Values are an address, a number or what the kernel said itself, and short.
        let length = u16::try_from(value.len() + ATTRIBUTE).unwrap_or(u16::MAX);
        self.0.extend(length.to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    /// All of it, with its length.
    pub fn finish(mut self) -> Vec<u8> {
        let length = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        self.0[..4].copy_from_slice(&length.to_ne_bytes());
        self.0
    }
}

/// Attributes: kinds, without flags, and values. Ends at what is none.
pub(super) struct Attributes<'a>(pub &'a [u8]);

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let length = usize::from(u16::from_ne_bytes(*self.0.first_chunk()?));
        let kind = u16::from_ne_bytes(self.0.get(2..)?.first_chunk().copied()?) & 0x3fff;
        let value = self.0.get(ATTRIBUTE..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    }
}

/// The value of the first attribute of a kind.
pub(super) fn attribute(list: &[u8], wanted: u16) -> Option<&[u8]> {
    Attributes(list).find(|(kind, _)| *kind == wanted).map(|(_, value)| value)
}

/// A socket to the kernel.
pub(super) struct Kernel(OwnedFd);

impl Kernel {
    /// To routes and addresses.
    pub fn route() -> io::Result<Self> {
        // NETLINK_ROUTE is 0.
        Self::open(None)
    }

    /// To netfilter.
    pub fn netfilter() -> io::Result<Self> {
        Self::open(Some(rustix::net::netlink::NETFILTER))
    }

    fn open(protocol: Option<Protocol>) -> io::Result<Self> {
        let (family, kind) = (AddressFamily::NETLINK, SocketType::RAW);
        let socket = rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC, protocol)?;
        rustix::net::bind(&socket, &SocketAddrNetlink::new(0, 0))?;
        Ok(Self(socket))
    }

    /// Sends a request, gives each answer to `take` as its kind and what comes after the header, and returns the kernel's verdict.
    pub fn ask(&self, message: Message, mut take: impl FnMut(u16, &[u8])) -> io::Result<()> {
        rustix::net::send(&self.0, &message.finish(), SendFlags::empty())?;
        let mut buffer = vec![0; 64 << 10];
        loop {
            let (length, _) = rustix::net::recv(&self.0, &mut buffer[..], RecvFlags::empty())?;
            for (kind, body) in messages(&buffer[..length]) {
                match kind {
                    NLMSG_ERROR | NLMSG_DONE => return verdict(body),
                    kind => take(kind, body),
                }
            }
        }
    }
}

/// A socket that is told of all changes of nftables' rules; it does not block.
pub(super) fn rule_changes() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let protocol = Some(rustix::net::netlink::NETFILTER);
    let socket = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, protocol)?;
    // A rule set of hundreds of Services is a message for each element. Where more is not allowed, some are lost, which is told.
    let _ = rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, 1 << 20);
    rustix::net::bind(&socket, &SocketAddrNetlink::new(0, 1 << (NFNLGRP_NFTABLES - 1)))?;
    Ok(socket)
}

/// What is in a datagram: kinds, and what comes after their headers. Ends at what is no message.
pub(super) fn messages(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = u32::from_ne_bytes(*bytes.first_chunk()?) as usize;
        let kind = u16::from_ne_bytes(bytes.get(4..)?.first_chunk().copied()?);
        let body = bytes.get(HEADER..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, body))
    })
}

fn verdict(body: &[u8]) -> io::Result<()> {
    match body.first_chunk().map_or(0, |bytes| i32::from_ne_bytes(*bytes)) {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(-error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let message = Message::new(7, 0, &[1, 2, 3, 4]).attribute(1, b"abc").attribute(0x8002, &[]);
        let bytes = [message.clone().finish(), message.finish()].concat();
        let read: Vec<_> = messages(&bytes).collect();
        assert_eq!(read.len(), 2);
        let (kind, body) = read[1];
        assert_eq!((kind, &body[..4]), (7, &[1, 2, 3, 4][..]));
        assert_eq!(Attributes(&body[4..]).collect::<Vec<_>>(), [(1, &b"abc"[..]), (2, &[])]);
        assert_eq!((attribute(&body[4..], 1), attribute(&body[4..], 3)), (Some(&b"abc"[..]), None));
    }

    #[test]
    fn what_is_cut_off_or_no_message_ends() {
        let bytes = Message::new(7, 0, &[0; 4]).attribute(1, b"abcd").finish();
        for length in 0..bytes.len() {
            assert_eq!(messages(&bytes[..length]).count(), 0);
        }
        for wrong in [[0; 16], [255; 16], [1; 16]] {
            assert_eq!(messages(&wrong).count(), 0);
            assert_eq!(Attributes(&wrong[..3]).count(), 0);
        }
        assert_eq!(Attributes(&[0; 16]).count(), 0, "an attribute is longer than nothing");
    }
}
