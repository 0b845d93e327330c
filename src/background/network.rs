//! The bridge of containers that are not the CRI's, and the ports that `-p` publishes.

use std::net::{IpAddr, Ipv4Addr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{BackgroundError, Containers, Lock, NETNS, Record};
use crate::id::ContainerId;
use crate::image::container::options::Plugged;
use crate::image::store::{Container, Liveness};
use crate::network::{Bridge, BridgeSettings, NetworkNamespace, PortMapping, Protocol};

/// Not the CRI's: each knows its own containers alone.
const BRIDGE: &str = "rcrun1";
const IPV4: &str = "10.89.0.0/20";
const IPV6: &str = "fd72:6372:756e:1::/64";
/// How network namespaces' names begin.
const PREFIX: &str = "rcrun-run-";
/// The device in the container.
const INTERFACE: &str = "eth0";
/// What a container has on the bridge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// Its network namespace.
    pub namespace: PathBuf,
    /// Its addresses; of one that has ended those that it had.
    pub addresses: Vec<IpAddr>,
    /// What `-p` publishes.
    pub ports: Vec<PortMapping>,
}

impl Network {
    /// For [`crate::image::container::prepare`].
    pub fn plugged(&self) -> Plugged {
        Plugged { namespace: self.namespace.clone(), addresses: self.addresses.clone() }
    }
}

impl Containers {
    /// A network namespace for the container `id`, plugged into the bridge. A failure leaves nothing. The lock is held until the
    /// container has a directory: what has none is taken for garbage.
    pub fn plug(
        &self,
        _lock: &Lock,
        id: &ContainerId,
        ports: &[PortMapping],
    ) -> Result<Network, BackgroundError> {
        let bridge = self.bridge()?;
        self.collect_networks(&bridge)?;
        let name = format!("{PREFIX}{id}");
        let namespace = NetworkNamespace::make(Path::new(NETNS), &name)?;
        match bridge.attach(&namespace, id.as_str(), INTERFACE, ports) {
            Ok(attached) => Ok(Network {
                namespace: namespace.path().to_owned(),
                addresses: attached.addresses,
                ports: ports.to_vec(),
            }),
            Err(error) => {
                let _ = NetworkNamespace::remove(namespace.path());
                Err(error.into())
            }
        }
    }

    /// Gives back what the container `id` has. What is gone is fine.
    pub fn unplug_id(&self, id: &ContainerId) -> Result<(), BackgroundError> {
        let detached = self.bridge()?.detach(id.as_str());
        let path = Path::new(NETNS).join(format!("{PREFIX}{id}"));
        let removed = NetworkNamespace::remove(&path);
        Ok(detached.and(removed)?)
    }

    pub(super) fn unplug(&self, record: &Record) -> Result<(), BackgroundError> {
        let Some(network) = &record.network else { return Ok(()) };
        // After a reboot names are gone and leases are not.
        match network.namespace.symlink_metadata().is_ok() || self.bridge()?.has(&record.id)? {
            true => self.unplug_id(&ContainerId::parse(&record.id)?),
            false => Ok(()),
        }
    }

    fn leases(&self) -> PathBuf {
        self.images.root().join("leases").join(BRIDGE)
    }

    fn bridge(&self) -> Result<Bridge, BackgroundError> {
        Ok(Bridge::new(BridgeSettings {
            name: BRIDGE.into(),
            ipv4: Some(IPV4.into()),
            ipv6: Some(IPV6.into()),
            mtu: None,
            leases: self.leases(),
        })?)
    }

    /// Addresses, devices and namespaces of containers that are no more: of those whose maker was killed.
    fn collect_networks(&self, bridge: &Bridge) -> Result<(), BackgroundError> {
        if !self.leases().exists() {
            return Ok(());
        }
        let alive = |owner: &str| {
            let Ok(id) = ContainerId::parse(owner) else { return false };
            // One that cannot be read may be alive.
            let found =
                |found: Option<Container>| found.is_some_and(|found| found.liveness != Liveness::Gone);
            self.has(owner) || self.images.container(&id).map_or(true, found)
        };
        bridge.collect(&alive)?;
        for entry in std::fs::read_dir(NETNS).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let owner = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
            if owner.is_some_and(|owner| !alive(owner)) {
                NetworkNamespace::remove(&entry.path())?;
            }
        }
        Ok(())
    }
}

/// `-p [ADDRESS:][PORT]:PORT[/PROTOCOL]` or `-p PORT`, ranges of ports included. Without one of the host, one that is free.
pub fn published(text: &str) -> Result<Vec<PortMapping>, BackgroundError> {
    let wrong = |reason| BackgroundError::Port { text: text.into(), reason };
    let (rest, protocol) = text.rsplit_once('/').unwrap_or((text, "tcp"));
    let protocol = match protocol {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        "sctp" => Protocol::Sctp,
        _ => return Err(wrong("its protocol is none of tcp, udp and sctp")),
    };
    let (before, container) = rest.rsplit_once(':').map_or((None, rest), |(a, b)| (Some(a), b));
    let container = range(container).ok_or_else(|| wrong(FORM))?;
    let (address, host) = match before {
        None => (None, None),
        Some(before) => match before.rsplit_once(':') {
            // An IPv6 address stands in brackets.
            Some((address, host)) if !before.ends_with(']') => (Some(address), Some(host)),
            _ if before.ends_with(']') || before.parse::<IpAddr>().is_ok() => (Some(before), None),
            _ => (None, Some(before)),
        },
    };
    let bare = address.map(|address| address.trim_start_matches('[').trim_end_matches(']'));
    let address = bare.filter(|address| !address.is_empty()).map(str::parse::<IpAddr>).transpose();
    let address = address.map_err(|_| wrong("what stands before the host's port is no address"))?;
    let address = address.filter(|address| !address.is_unspecified());
    let count = container.len();
    let host = match host.filter(|host| !host.is_empty()) {
        None => None,
        Some(host) => {
            let host = range(host).ok_or_else(|| wrong(FORM))?;
            if host.len() != count {
                return Err(wrong("the ranges of the host and of the container differ in length"));
            }
            Some(host)
        }
    };
    let free = || free_port(protocol).ok_or_else(|| wrong("no port of the host is free"));
    let mut ports = Vec::new();
    for (number, container) in container.enumerate() {
        let host = match host.clone().and_then(|mut host| host.nth(number)) {
            Some(host) => host,
            None => free()?,
        };
        ports.push(PortMapping { address, host, container, protocol });
    }
    Ok(ports)
}

const FORM: &str = "expected [ADDRESS:][HOST]:CONTAINER[/tcp|udp|sctp] with ports from 1 to 65535";

fn range(text: &str) -> Option<std::ops::RangeInclusive<u16>> {
    let port = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0);
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (port(first)?, port(last)?);
    (first <= last).then_some(first..=last)
}

/// Free at this moment, and for a while: the kernel gives the next one another.
fn free_port(protocol: Protocol) -> Option<u16> {
    let any = (Ipv4Addr::UNSPECIFIED, 0);
    let address = match protocol {
        Protocol::Udp => UdpSocket::bind(any).ok()?.local_addr(),
        _ => TcpListener::bind(any).ok()?.local_addr(),
    };
    Some(address.ok()?.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> Vec<String> {
        let tell = |port: PortMapping| {
            let address = port.address.map(|address| format!("{address} ")).unwrap_or_default();
            format!("{address}{} {} {:?}", port.host, port.container, port.protocol)
        };
        published(text).unwrap().into_iter().map(tell).collect()
    }

    #[test]
    fn ports_are_dockers() {
        assert_eq!(told("8080:80"), ["8080 80 Tcp"]);
        assert_eq!(told("53:53/udp"), ["53 53 Udp"]);
        assert_eq!(told("127.0.0.1:8080:80"), ["127.0.0.1 8080 80 Tcp"]);
        assert_eq!(told("[::1]:8080:80"), ["::1 8080 80 Tcp"]);
        assert_eq!(told("0.0.0.0:8080:80"), ["8080 80 Tcp"]);
        assert_eq!(told("8000-8001:80-81"), ["8000 80 Tcp", "8001 81 Tcp"]);
        for text in ["80", "127.0.0.1::80", ":80"] {
            let ports = published(text).unwrap();
            assert!(ports[0].host > 0 && ports[0].container == 80, "{text}");
        }
    }

    #[test]
    fn what_is_no_port_says_why() {
        for (text, reason) in [
            ("", "expected"),
            ("0:80", "expected"),
            ("80:65536", "expected"),
            ("80:x", "expected"),
            ("80:90-80", "expected"),
            ("80:80/icmp", "protocol"),
            ("1-3:1-2", "differ in length"),
            ("host:80:80", "no address"),
        ] {
            let error = published(text).unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
