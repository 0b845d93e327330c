//! Networks of Pods and containers, made in this process: named network namespaces, a bridge, addresses, host ports.
//!
//! In: a namespace and what it wants. Out: its addresses; leases are files, so that nothing is kept in memory and what a dead
//! process left is found. No program is started. netlink(7), nftables.

mod bridge;
mod firewall;
mod forwarding;
mod lease;
mod namespace;
mod port;
mod subnet;

pub use bridge::{Attachment, Bridge, BridgeSettings};
pub use namespace::{NetworkNamespace, make_all, unpin};
pub use port::{PortMapping, Protocol};

/// Why there is no network.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum NetworkError {
    #[error("{operation}: {error}")]
    Call { operation: String, error: std::io::Error },
    #[error(
        "no address is free in {subnet}: {leases} leases in {directory:?}; remove containers or configure a larger subnet"
    )]
    Exhausted { subnet: String, leases: usize, directory: std::path::PathBuf },
    #[error("host port {port}/{protocol} is taken by {holder}")]
    PortTaken { port: u16, protocol: &'static str, holder: String },
}

fn failed(operation: impl Into<String>, error: rustix::io::Errno) -> NetworkError {
    NetworkError::Call { operation: operation.into(), error: error.into() }
}
