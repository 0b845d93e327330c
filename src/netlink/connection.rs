//! A netlink socket: requests in, answers out; several requests in one datagram.

use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::netdevice::name_to_index;
use rustix::net::netlink::NETFILTER;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with};

use super::message::{Request, acknowledgements, replies};

/// As much as the kernel puts into one datagram of a dump.
const DATAGRAM: usize = 1 << 16;

/// A netlink socket of the network namespace that it was made in.
#[derive(Debug)]
pub(super) struct Connection(OwnedFd);

impl Connection {
    /// rtnetlink(7).
    pub fn route() -> Result<Self, Errno> {
        // NETLINK_ROUTE is protocol 0.
        socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None).map(Self)
    }

    /// nftables and connection tracking.
    pub fn netfilter() -> Result<Self, Errno> {
        socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, Some(NETFILTER)).map(Self)
    }

    /// The number of a device of the socket's namespace. Unlike rtnetlink's answer it does not wait for whoever makes or removes
    /// devices at this moment.
    pub fn index(&self, name: &str) -> Result<u32, Errno> {
        name_to_index(&self.0, name)
    }

    /// Sends a request and reads until the kernel has acknowledged it, or a dump has ended.
    pub fn exchange(&self, request: Request, mut take: impl FnMut(u16, &[u8])) -> Result<(), Errno> {
        send(&self.0, &request.finish(), SendFlags::empty())?;
        let mut buffer = vec![0; DATAGRAM];
        loop {
            let (length, _) = match recv(&self.0, buffer.as_mut_slice(), RecvFlags::empty()) {
                Err(Errno::INTR) => continue,
                result => result?,
            };
            if let Some(end) = replies(buffer.get(..length).unwrap_or_default(), &mut take) {
                return end;
            }
        }
    }

    /// Sends all requests in one datagram. Of them the one numbered `last` is acknowledged, and those that fail are told of; `take` has
    /// each such answer: the request's number, and what the kernel said. It handles a datagram before send(2) returns, so
    /// that no answer is waited for; rtnetlink goes on past a request that fails.
    pub fn all(
        &self,
        requests: impl IntoIterator<Item = Request>,
        last: usize,
        mut take: impl FnMut(usize, Result<(), Errno>),
    ) -> Result<(), Errno> {
        let mut datagram = Vec::with_capacity(1024);
        for (number, request) in requests.into_iter().enumerate() {
            let request = if number == last { request.acknowledged() } else { request };
            datagram.extend(request.sequence(number as u32).finish());
        }
        send(&self.0, &datagram, SendFlags::empty())?;
        let mut buffer = vec![0; DATAGRAM / 16];
        loop {
            let (length, _) = match recv(&self.0, buffer.as_mut_slice(), RecvFlags::DONTWAIT) {
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => return Ok(()),
                result => result?,
            };
            acknowledgements(buffer.get(..length).unwrap_or_default(), &mut take);
        }
    }
}
