//! What Pods are told about the machine.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

use crate::reconcile::observed::NodeFacts;

impl NodeFacts {
    /// The host's name and addresses, where they are not given.
    pub fn of_host(name: Option<String>, addresses: Vec<IpAddr>) -> anyhow::Result<Self> {
        let name =
            name.unwrap_or_else(|| rustix::system::uname().nodename().to_string_lossy().to_lowercase());
        anyhow::ensure!(!name.is_empty(), "this host has no name: --node-name gives one");
        let addresses = if addresses.is_empty() { addresses_of_host() } else { addresses };
        Ok(Self { name, addresses, ..Self::default() })
    }
}

/// Those that packets to the world would come from; loopback's where nothing leads there. Nothing is sent.
fn addresses_of_host() -> Vec<IpAddr> {
    let towards = |local: IpAddr, remote: IpAddr| {
        let socket = UdpSocket::bind((local, 0)).ok()?;
        socket.connect((remote, 53)).ok()?;
        Some(socket.local_addr().ok()?.ip())
    };
    // Addresses for documentation: no route but the default one leads to them.
    let ipv4 = towards(Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::new(192, 0, 2, 1).into());
    let ipv6 = towards(Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into());
    let found: Vec<_> = [ipv4, ipv6].into_iter().flatten().collect();
    if found.is_empty() { vec![Ipv4Addr::LOCALHOST.into()] } else { found }
}
