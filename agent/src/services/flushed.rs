//! Notices that somebody else took the table away, as a reload of the host's firewall does, or a part of it.

use std::io;

use tokio::net::UnixDatagram;

use super::netlink::{attribute, messages, rule_changes};
use super::rules::TABLE;

/// NFNL_SUBSYS_NFTABLES, and NFT_MSG_NEWGEN: the end of a transaction.
const NEWGEN: u16 = (10 << 8) | 15;
/// NFT_MSG_DELTABLE, DELCHAIN, DELRULE, DELSET, DELSETELEM, and as nft's `destroy` has them. Clients that are forgotten after their time
/// are no message.
const DELETES: [u16; 10] = [2, 5, 8, 11, 14, 26, 27, 28, 29, 30];
/// NFTA_TABLE_NAME, and as what the others are in.
const TABLE_NAME: u16 = 1;

/// The kernel's word of changes of rules.
pub(super) struct Flushed {
    /// A netlink socket: it gives datagrams to recv(2) as one of AF_UNIX does, which is the only kind that tokio takes ready-made.
    /// None: the kernel does not tell; the table comes back with the next change.
    socket: Option<UnixDatagram>,
    buffer: Vec<u8>,
    /// The transaction that is being told of takes something of the table away.
    takes: bool,
    /// Something was not told, perhaps that transaction's end.
    lost: bool,
}

impl Flushed {
    /// From now on.
    pub fn watch() -> Self {
        let socket = rule_changes().and_then(|socket| UnixDatagram::from_std(socket.into()));
        let socket = socket.inspect_err(|error| tracing::debug!("nobody tells of flushed rules: {error}"));
        Self { socket: socket.ok(), buffer: vec![0; 16 << 10], takes: false, lost: false }
    }

    /// Takes what has been told by now, which is all of a load of our own. `took`: that took something away, too. Says whether somebody
    /// else did.
    pub fn skip(&mut self, took: bool) -> bool {
        let mut taken = 0;
        loop {
            let Some(socket) = &self.socket else { return false };
            match socket.try_recv(&mut self.buffer) {
                Ok(length) => taken += self.taken(length),
                Err(error) if overflowed(&error) => self.lost = true,
                Err(_) => break,
            }
        }
        // Nothing is being told now.
        self.takes &= !std::mem::take(&mut self.lost);
        taken > usize::from(took)
    }

    /// Waits until something of the table is, or may be, gone.
    pub async fn next(&mut self) {
        loop {
            let Some(socket) = &self.socket else { return std::future::pending().await };
            match socket.recv(&mut self.buffer).await {
                Ok(length) if self.taken(length) == 0 => {}
                Err(error) if !overflowed(&error) => return std::future::pending().await,
                Err(_) => {
                    self.lost = true;
                    return;
                }
                Ok(_) => return,
            }
        }
    }

    /// How many transactions end in this datagram that take something of our table away.
    fn taken(&mut self, length: usize) -> usize {
        let own = TABLE.split(' ').next_back().unwrap_or_default().as_bytes();
        let mut count = 0;
        for (kind, body) in messages(self.buffer.get(..length).unwrap_or_default()) {
            let name = body.get(4..).and_then(|list| attribute(list, TABLE_NAME));
            if kind == NEWGEN {
                count += usize::from(std::mem::take(&mut self.takes));
            } else if kind >> 8 == NEWGEN >> 8
                && DELETES.contains(&(kind & 0xff))
                && name.is_some_and(|name| name.strip_suffix(&[0]) == Some(own))
            {
                self.takes = true;
            }
        }
        count
    }
}

/// There was more than the socket has room for.
fn overflowed(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::NOBUFS.raw_os_error())
}
