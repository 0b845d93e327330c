//! Notices that somebody else took the table away, as a reload of the host's firewall does.

use std::io;

use tokio::net::UnixDatagram;

use super::netlink::{attribute, messages, rule_changes};
use super::rules::TABLE;

/// NFNL_SUBSYS_NFTABLES and NFT_MSG_DELTABLE.
const DELTABLE: u16 = (10 << 8) | 2;
const NFTA_TABLE_NAME: u16 = 1;

/// The kernel's word of changes of rules.
pub(super) struct Flushed {
    /// A netlink socket: it gives datagrams to recv(2) as one of AF_UNIX does, which is the only kind that tokio takes ready-made.
    /// None: the kernel does not tell; the table comes back with the next change.
    socket: Option<UnixDatagram>,
    buffer: Vec<u8>,
}

impl Flushed {
    /// From now on.
    pub fn watch() -> Self {
        let socket = rule_changes().and_then(|socket| UnixDatagram::from_std(socket.into()));
        let socket = socket.inspect_err(|error| tracing::debug!("nobody tells of flushed rules: {error}"));
        Self { socket: socket.ok(), buffer: vec![0; 16 << 10] }
    }

    /// Takes what has been told while rules of our own were loaded, which is told before nft ends. Says whether the table was deleted
    /// meanwhile: that is somebody else, or a load from nothing, after which one more does no harm.
    pub fn skip(&mut self) -> bool {
        let Some(socket) = &self.socket else { return false };
        let mut deleted = false;
        loop {
            match socket.try_recv(&mut self.buffer) {
                Ok(length) => deleted |= deletes(&self.buffer[..length]),
                Err(error) if overflowed(&error) => {}
                Err(_) => return deleted,
            }
        }
    }

    /// Waits until the table is, or may be, gone.
    pub async fn next(&mut self) {
        let Some(socket) = &self.socket else { return std::future::pending().await };
        loop {
            match socket.recv(&mut self.buffer).await {
                Ok(length) if !deletes(&self.buffer[..length]) => {}
                Err(error) if !overflowed(&error) => return std::future::pending().await,
                _ => return,
            }
        }
    }
}

/// There was more than the socket has room for.
fn overflowed(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::NOBUFS.raw_os_error())
}

/// Whether one of the messages is that our table was deleted.
fn deletes(bytes: &[u8]) -> bool {
    let own = TABLE.split(' ').next_back().unwrap_or_default().as_bytes();
    messages(bytes).any(|(kind, body)| {
        let name = body.get(4..).and_then(|list| attribute(list, NFTA_TABLE_NAME));
        kind == DELTABLE && name.is_some_and(|name| name.strip_suffix(&[0]) == Some(own))
    })
}
