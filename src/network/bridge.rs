//! A bridge that containers are plugged into.

use std::net::IpAddr;
use std::os::fd::AsFd;
use std::path::PathBuf;

use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::firewall::Firewall;
use super::lease::{Lease, Leases};
use super::port::is_bound;
use super::subnet::Subnet;
use super::{NetworkError, NetworkNamespace, PortMapping, failed, forwarding};
use crate::netlink::{Interface, Socket, Veth};

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
    leases: Leases,
    /// IPv4 first.
    subnets: Vec<Subnet>,
}

impl Bridge {
    /// The bridge of these settings; nothing is made yet.
    ///
    /// # Errors
    /// A subnet or name that is none.
    pub fn new(settings: BridgeSettings) -> Result<Self, NetworkError> {
        if !(1..16).contains(&settings.name.len()) || settings.name.contains(['/', ':', ' ', '%']) {
            return Err(failed(format!("name a bridge {:?} (1 to 15 bytes)", settings.name), Errno::INVAL));
        }
        let mut subnets = Vec::new();
        for (text, family) in [(&settings.ipv4, "IPv4"), (&settings.ipv6, "IPv6")] {
            let Some(text) = text else { continue };
            let subnet = Subnet::parse(text).and_then(|subnet| {
                let right = subnet.first().is_ipv4() == (family == "IPv4");
                right.then_some(subnet).ok_or_else(|| format!("it is not {family}"))
            });
            let subnet = subnet.map_err(|why| NetworkError::Call {
                operation: format!("read subnet {text:?} of bridge {}", settings.name),
                error: std::io::Error::new(std::io::ErrorKind::InvalidInput, why),
            })?;
            subnets.push(subnet);
        }
        Ok(Self { leases: Leases::new(settings.leases.clone()), settings, subnets })
    }

    /// Its settings.
    pub fn settings(&self) -> &BridgeSettings {
        &self.settings
    }

    /// Plugs the namespace in as `interface` (eth0): lease, veth, addresses, default routes, host ports. `owner` names the lease. A
    /// failure leaves nothing. Again for the same owner: what is there counts.
    ///
    /// # Errors
    /// No address is free, a port is taken, a call fails. An owner's name is a file's name.
    pub fn attach(
        &self,
        namespace: &NetworkNamespace,
        owner: &str,
        interface: &str,
        ports: &[PortMapping],
    ) -> Result<Attachment, NetworkError> {
        if owner.is_empty() || owner.len() > 250 || owner.starts_with('.') || owner.contains(['/', '\0']) {
            return Err(failed(format!("lease an address to {owner:?}"), Errno::INVAL));
        }
        let mut ports = ports.to_vec();
        ports.sort_by_key(PortMapping::key);
        ports.dedup();
        let attached = self.attach_or_fail(namespace, owner, interface, &ports);
        if attached.is_err() {
            // The first error counts.
            let _ = self.detach(owner);
        }
        attached
    }

    fn attach_or_fail(
        &self,
        namespace: &NetworkNamespace,
        owner: &str,
        interface: &str,
        ports: &[PortMapping],
    ) -> Result<Attachment, NetworkError> {
        let host = open_socket()?;
        let subnets = self.subnets_of_host();
        let (lease, is_new) = match self.leases.of(owner)? {
            Some(lease) if self.is_valid(owner, &lease, interface, ports) => (lease, false),
            left => {
                if left.is_some() {
                    self.detach(owner)?;
                }
                if let Some(port) = ports.iter().find(|port| is_bound(port)) {
                    let holder = "a process of this host".into();
                    return Err(NetworkError::PortTaken {
                        port: port.host,
                        protocol: port.protocol.name(),
                        holder,
                    });
                }
                (self.leases.take(owner, &subnets, interface, ports)?, true)
            }
        };
        let firewall = self.ensure_rules()?;
        let bridge = self.device(&host, &subnets)?;
        if is_new || !self.is_plugged_in(&host, namespace, owner, &lease)? {
            self.plug_in(&host, bridge, namespace, owner, &lease)?;
        }
        if !lease.ports.is_empty() {
            firewall.open(owner, &lease)?;
            self.allow_loopback(&host, bridge, &subnets)?;
        }
        Ok(Attachment { addresses: lease.addresses })
    }

    /// Is it what is asked for now, and all there?
    fn is_valid(&self, owner: &str, lease: &Lease, interface: &str, ports: &[PortMapping]) -> bool {
        lease.interface == interface
            && lease.ports == ports
            && lease.addresses.iter().all(|address| self.interface(*address).is_some())
            && self.leases.holds(owner, lease)
    }

    /// Is the owner's pair of devices there with all addresses, from an earlier call?
    fn is_plugged_in(
        &self,
        host: &Socket,
        namespace: &NetworkNamespace,
        owner: &str,
        lease: &Lease,
    ) -> Result<bool, NetworkError> {
        let name = self.device_of(owner);
        match host.index(&name) {
            Err(Errno::NODEV) => return Ok(false),
            result => result.map_err(|error| failed(format!("find {name}"), error))?,
        };
        let socket = namespace.socket()?;
        let complete = match socket.index(&lease.interface) {
            Ok(index) => socket.has_addresses(index, &lease.addresses),
            Err(Errno::NODEV) => Ok(false),
            Err(error) => Err(error),
        };
        let complete = complete.map_err(|error| failed(format!("look at {}", lease.interface), error))?;
        if !complete {
            host.remove(&name).map_err(|error| failed(format!("remove {name}"), error))?;
        }
        Ok(complete)
    }

    fn plug_in(
        &self,
        host: &Socket,
        bridge: u32,
        namespace: &NetworkNamespace,
        owner: &str,
        lease: &Lease,
    ) -> Result<(), NetworkError> {
        let name = self.device_of(owner);
        let veth = Veth {
            name: &name,
            alias: owner,
            bridge,
            mtu: self.settings.mtu,
            inside: &lease.interface,
            hardware: hardware_address(lease.addresses.first().copied(), owner),
            namespace: namespace.as_fd(),
        };
        let inside = || format!("{} of {}", lease.interface, namespace.path().display());
        host.add_veth(&veth).map_err(|failure| {
            failed(format!("{}: {name} to {}", failure.operation, inside()), failure.errno)
        })?;
        let socket = namespace.socket()?;
        let index = socket.index(&lease.interface);
        let index = index.map_err(|error| failed(format!("find {}", inside()), error))?;
        let interfaces: Vec<_> =
            lease.addresses.iter().filter_map(|address| self.interface(*address)).collect();
        socket
            .configure(index, &interfaces)
            .map_err(|failure| failed(format!("{}: {}", failure.operation, inside()), failure.errno))?;
        // The bridge, too: it has been without a link until its first container came.
        let index = host.index(&name).map_err(|error| failed(format!("find {name}"), error))?;
        host.settle(&[index, bridge])
            .map_err(|failure| failed(format!("{}: {name}", failure.operation), failure.errno))
    }

    /// The number of the bridge's device, which is made if it is missing, and set up if it is not as it should be.
    fn device(&self, host: &Socket, subnets: &[Subnet]) -> Result<u32, NetworkError> {
        let name = &self.settings.name;
        let named = |operation: &str, error| failed(format!("{operation} {name}"), error);
        let find = || match host.index(name) {
            Ok(index) => {
                let complete =
                    subnets.iter().all(forwarding::reaches) && forwarding::is_allowed(name, subnets);
                Ok(complete.then_some(index))
            }
            Err(Errno::NODEV) => Ok(None),
            Err(error) => Err(named("find bridge", error)),
        };
        // One at a time: see forwarding's `allow_ipv4`.
        self.leases.locked_unless(find, || self.make_device(host, subnets))
    }

    fn make_device(&self, host: &Socket, subnets: &[Subnet]) -> Result<u32, NetworkError> {
        let name = &self.settings.name;
        let named = |operation: &str, error| failed(format!("{operation} {name}"), error);
        forwarding::allow(subnets)?;
        let hardware = hardware_address(subnets.first().map(Subnet::first), name);
        host.add_bridge(name, hardware, self.settings.mtu).map_err(|error| named("make bridge", error))?;
        let index = host.index(name).map_err(|error| named("find bridge", error))?;
        forwarding::quiet(name);
        forwarding::allow_from(name, subnets)?;
        let interfaces: Vec<_> = subnets
            .iter()
            .map(|subnet| Interface {
                address: subnet.first(),
                prefix: subnet.prefix,
                gateway: None,
                beyond: None,
            })
            .collect();
        host.configure(index, &interfaces)
            .map_err(|failure| named(&format!("{}: bridge", failure.operation), failure.errno))?;
        Ok(index)
    }

    /// Those that the host has the family of.
    fn subnets_of_host(&self) -> Vec<Subnet> {
        let is_usable = |subnet: &&Subnet| subnet.first().is_ipv4() || forwarding::has_ipv6();
        self.subnets.iter().filter(is_usable).copied().collect()
    }

    fn interface(&self, address: IpAddr) -> Option<Interface> {
        let subnet = self.subnets.iter().find(|subnet| subnet.position(address).is_some())?;
        let beyond = subnet.loopbacks().map(|(network, prefix)| (IpAddr::V6(network), prefix));
        Some(Interface { address, prefix: subnet.prefix, gateway: Some(subnet.first()), beyond })
    }

    /// The name of the owner's device on the host. 48 bits of a hash: two owners of a host do not meet.
    fn device_of(&self, owner: &str) -> String {
        let hash = blake3::hash(format!("{}/{owner}", self.settings.name).as_bytes());
        hash.as_bytes().iter().take(6).fold("rcv".to_owned(), |name, byte| format!("{name}{byte:02x}"))
    }

    /// Gives ports, device and lease of `owner` back. What is gone already is fine; goes on past an error, and says the first. The
    /// lease stays with a device that could not be removed.
    pub fn detach(&self, owner: &str) -> Result<(), NetworkError> {
        let Some(mut lease) = self.leases.of(owner)? else {
            return self.unplug(owner);
        };
        let firewall = if lease.ports.is_empty() { None } else { Some(self.firewall()?) };
        let closed = firewall.as_ref().map_or(Ok(()), |firewall| {
            self.leases.give_ports_back(owner, &mut lease, |lease| firewall.close(lease))
        });
        let unplugged = self.unplug(owner);
        let given = match closed.is_ok() && unplugged.is_ok() {
            true => self.leases.give_back(owner, &lease),
            false => Ok(()),
        };
        // Its socket last: closing it waits until the kernel has freed what was removed, which has happened meanwhile.
        drop(firewall);
        closed.and(unplugged).and(given)
    }

    /// Has `owner` a lease? It is what is given back last.
    pub fn has(&self, owner: &str) -> Result<bool, NetworkError> {
        Ok(self.leases.of(owner)?.is_some())
    }

    fn unplug(&self, owner: &str) -> Result<(), NetworkError> {
        let name = self.device_of(owner);
        let removed = open_socket()?.remove(&name);
        removed.map(drop).map_err(|error| failed(format!("remove {name} of {owner}"), error))
    }

    fn firewall(&self) -> Result<Firewall, NetworkError> {
        Firewall::new(&self.settings.name, &self.subnets)
    }

    /// Ports of the host answer on its loopback addresses, too: packets with an IPv4 one may then pass the bridge; IPv6 ones are
    /// rewritten ([`Subnet::loopbacks`]).
    fn allow_loopback(&self, host: &Socket, bridge: u32, subnets: &[Subnet]) -> Result<(), NetworkError> {
        let name = &self.settings.name;
        for subnet in subnets {
            if let Some((network, prefix)) = subnet.loopbacks() {
                host.add_local(bridge, network.into(), prefix)
                    .map_err(|error| failed(format!("route {network}/{prefix} to {name}"), error))?;
            } else if subnet.first().is_ipv4() {
                forwarding::allow_loopback(name)?;
            }
        }
        Ok(())
    }

    /// Gives back what owners that are not in `alive` have left, after a crash or a reboot, and writes the rules anew where somebody
    /// flushed them while others live on. Goes on past an error, and says the first.
    pub fn collect(&self, alive: &dyn Fn(&str) -> bool) -> Result<(), NetworkError> {
        let (living, dead): (Vec<_>, Vec<_>) =
            self.leases.owners()?.into_iter().partition(|owner| alive(owner));
        let detached = dead.iter().map(|owner| self.detach(owner)).fold(Ok(()), Result::and);
        let links = self.leases.collect_links();
        let rules = if living.is_empty() { Ok(()) } else { self.ensure_rules().map(drop) };
        detached.and(links).and(rules)
    }

    /// The rules, written if they are missing.
    fn ensure_rules(&self) -> Result<Firewall, NetworkError> {
        let firewall = self.firewall()?;
        let found = || Ok(firewall.is_there()?.then_some(()));
        self.leases.locked_unless(found, || firewall.install(&self.leases.all()?))?;
        Ok(firewall)
    }
}

fn open_socket() -> Result<Socket, NetworkError> {
    Socket::open().map_err(|error| failed("open a netlink socket", error))
}

/// A local one, from the address: whoever has an address anew has the hardware address that others remember with it.
fn hardware_address(address: Option<IpAddr>, otherwise: &str) -> [u8; 6] {
    const LOCAL: u8 = 0x02;
    if let Some(IpAddr::V4(address)) = address {
        let [a, b, c, d] = address.octets();
        return [LOCAL, 0x72, a, b, c, d];
    }
    let text = address.map_or_else(|| otherwise.to_owned(), |address| address.to_string());
    let [a, b, c, d, e, ..] = *blake3::hash(text.as_bytes()).as_bytes();
    [LOCAL, a, b, c, d, e]
}
