//! Ports of the host that lead into a container.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// What a port is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

/// One port of the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortMapping {
    /// The address it answers on; None: all of both families.
    pub address: Option<IpAddr>,
    /// The host's.
    pub host: u16,
    /// The container's.
    pub container: u16,
    /// Its protocol.
    pub protocol: Protocol,
}
