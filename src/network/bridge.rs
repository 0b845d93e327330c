//! A bridge that containers are plugged into.

use std::net::IpAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{NetworkError, NetworkNamespace, PortMapping};

/// What a bridge is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BridgeSettings {
    /// Its device's name, at most 15 bytes.
    pub name: String,
    /// ADDRESS/PREFIX of the IPv4 subnet; the bridge has its first address. None: no IPv4.
    pub ipv4: Option<String>,
    /// The same for IPv6.
    pub ipv6: Option<String>,
    /// Bytes; None: as the kernel has it.
    pub mtu: Option<u32>,
    /// Where leases are: a file for each address, kept over a reboot.
    pub leases: PathBuf,
}

/// What a container got.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// Its addresses, IPv4 first.
    pub addresses: Vec<IpAddr>,
}

/// A bridge; it is made with the first container.
#[derive(Clone, Debug)]
pub struct Bridge {
    settings: BridgeSettings,
}

impl Bridge {
    /// The bridge of these settings; nothing is made yet.
    ///
    /// # Errors
    /// A subnet or name that is none.
    pub fn new(settings: BridgeSettings) -> Result<Self, NetworkError> {
        Ok(Self { settings })
    }

    /// Its settings.
    pub fn settings(&self) -> &BridgeSettings {
        &self.settings
    }

    /// Plugs the namespace in as `interface` (eth0): lease, veth, addresses, default routes, host ports. `owner` names the lease. A
    /// failure leaves nothing. Again for the same owner: what is there counts.
    pub fn attach(
        &self,
        _namespace: &NetworkNamespace,
        _owner: &str,
        _interface: &str,
        _ports: &[PortMapping],
    ) -> Result<Attachment, NetworkError> {
        todo!()
    }

    /// Gives ports, device and lease of `owner` back. What is gone already is fine; goes on past an error, and says the first.
    pub fn detach(&self, _owner: &str) -> Result<(), NetworkError> {
        todo!()
    }

    /// Gives back what owners that are not in `alive` have left: after a crash or a reboot.
    pub fn collect(&self, _alive: &dyn Fn(&str) -> bool) -> Result<(), NetworkError> {
        todo!()
    }
}
