//! Networks of Pods and containers, made in this process: named network namespaces, a bridge, addresses, host ports.
//!
//! In: a namespace and what it wants. Out: its addresses; leases are files, so that nothing is kept in memory and what a dead
//! process left is found. No program is started. netlink(7), nftables.

mod bridge;
mod namespace;
mod port;

pub use bridge::{Attachment, Bridge, BridgeSettings};
pub use namespace::NetworkNamespace;
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
