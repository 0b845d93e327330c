//! Services' addresses and ports of the node: those that are asked for, if they are free, or free ones.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use anyhow::{Context, bail};
use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};

use super::{Ranges, Refusal};
use crate::objects::{Key, Object, Objects, Typed};

/// No more addresses of a range than these are used: a range of IPv6 has more than anybody counts.
const MOST: u128 = 1 << 20;

/// A range of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Network {
    base: IpAddr,
    /// The number of addresses, with the network's own and the broadcast address.
    size: u128,
}

impl Network {
    pub(super) fn parse(text: &str) -> anyhow::Result<Self> {
        let (base, prefix) = text.split_once('/').context("a range as 10.96.0.0/16 is wanted")?;
        let base: IpAddr = base.parse().context("its address")?;
        let prefix: u32 = prefix.parse().context("its prefix length")?;
        let bits: u32 = if base.is_ipv4() { 32 } else { 128 };
        if prefix > bits.saturating_sub(3) {
            bail!("it has room for fewer than 6 Services: take a prefix of at most {}", bits - 3);
        }
        let size = 1_u128.checked_shl(bits - prefix).unwrap_or(u128::MAX);
        if !number(base).is_multiple_of(size) {
            bail!("its address is not that of a network of this length");
        }
        Ok(Self { base, size })
    }

    /// Whether a Service may have an address: the network's own and the broadcast address it may not.
    fn may_be(&self, address: IpAddr) -> bool {
        let at = number(address).checked_sub(number(self.base));
        self.base.is_ipv4() == address.is_ipv4() && at.is_some_and(|at| at > 0 && at < self.size - 1)
    }

    /// The addresses of Services, from a place on.
    fn addresses(&self, start: u64) -> impl Iterator<Item = IpAddr> {
        let count = (self.size - 2).min(MOST);
        let (base, start) = (*self, u128::from(start) % count);
        (0..count).map(move |step| base.at(1 + (start + step) % count))
    }

    fn at(&self, offset: u128) -> IpAddr {
        let number = number(self.base) + offset;
        match self.base {
            IpAddr::V4(_) => Ipv4Addr::from(u32::try_from(number).unwrap_or(u32::MAX)).into(),
            IpAddr::V6(_) => Ipv6Addr::from(number).into(),
        }
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => u128::from(address),
    }
}

/// Where to begin to look: the same for a name, so that a Service that is made again has its address again.
fn start(key: &Key, more: u64) -> u64 {
    let name = key.namespace.bytes().chain([b'/']).chain(key.name.bytes());
    crate::fnv::hash(name.chain(more.to_le_bytes()))
}

/// Gives a Service what it lacks, and refuses what others have.
pub(super) fn assign(
    objects: &Objects,
    ranges: &Ranges,
    live: Option<&Object>,
    wanted: &mut Object,
) -> Result<(), Refusal> {
    let key = wanted.key();
    let Object::Service(service) = wanted else { return Ok(()) };
    let Some(spec) = &mut Arc::make_mut(service).spec else { return Ok(()) };
    let live = live.and_then(Service::of).and_then(|service| service.spec.as_ref());
    if spec.type_.as_deref() == Some("ExternalName") {
        return Ok(());
    }
    cluster_ip(objects, ranges, &key, spec)?;
    if spec.type_.as_deref() == Some("NodePort") {
        return node_ports(objects, ranges, &key, live, spec);
    }
    spec.ports.iter_mut().flatten().for_each(|port| port.node_port = None);
    Ok(())
}

fn cluster_ip(objects: &Objects, ranges: &Ranges, key: &Key, spec: &mut ServiceSpec) -> Result<(), Refusal> {
    let invalid = |why: String| Refusal::new(422, format!("{key}: spec.clusterIP: {why}"));
    let first = spec.cluster_ips.as_ref().and_then(|addresses| addresses.first().cloned());
    let asked = spec.cluster_ip.clone().filter(|address| !address.is_empty()).or(first);
    let family = if ranges.network.base.is_ipv4() { "IPv4" } else { "IPv6" };
    // A headless Service has names alone, of any family that its Pods have.
    let mut other = spec.ip_families.iter().flatten().filter(|asked| *asked != family);
    if let Some(other) = other.next().filter(|_| asked.as_deref() != Some("None")) {
        let why =
            format!("{key}: spec.ipFamilies: {other}: Services have {family} here, of {}", ranges.services);
        return Err(Refusal::new(422, why));
    }
    let address = match asked.as_deref() {
        Some("None") => "None".to_owned(),
        Some(text) => {
            let address: IpAddr =
                text.parse().map_err(|_| invalid(format!("\"{text}\" is not an address")))?;
            if !ranges.network.may_be(address) {
                return Err(invalid(format!("{text} is not in the range {}", ranges.services)));
            }
            if ranges.dns == Some(address) {
                return Err(invalid(format!("{text} is cluster DNS's")));
            }
            if let Some(owner) = owner_of(objects, key, text) {
                return Err(invalid(format!("{text}: address taken by {owner}")));
            }
            text.to_owned()
        }
        None => {
            let mut free =
                ranges.network.addresses(start(key, 0)).filter(|address| ranges.dns != Some(*address));
            let found = free.find(|address| owner_of(objects, key, &address.to_string()).is_none());
            found.ok_or_else(|| invalid(format!("no address of {} is free", ranges.services)))?.to_string()
        }
    };
    spec.cluster_ip = Some(address.clone());
    spec.cluster_ips = Some(vec![address]);
    spec.ip_families.get_or_insert_with(|| vec![family.into()]);
    spec.ip_family_policy.get_or_insert_with(|| "SingleStack".into());
    Ok(())
}

fn owner_of(objects: &Objects, key: &Key, address: &str) -> Option<Key> {
    let has = |service: &&Service| {
        let spec = service.spec.as_ref();
        spec.and_then(|spec| spec.cluster_ip.as_deref()) == Some(address) && service.key() != *key
    };
    objects.list::<Service>().find(has).map(Typed::key)
}

/// Who has which port of the node.
type Taken = BTreeMap<(u16, String), Key>;

fn node_ports(
    objects: &Objects,
    ranges: &Ranges,
    key: &Key,
    live: Option<&ServiceSpec>,
    spec: &mut ServiceSpec,
) -> Result<(), Refusal> {
    let mut taken = Taken::new();
    for service in objects.list::<Service>().filter(|service| service.key() != *key) {
        for port in service.spec.iter().flat_map(|spec| spec.ports.iter().flatten()) {
            taken.extend(node_port(port).map(|number| ((number, protocol(port)), service.key())));
        }
    }
    let before = |port: &ServicePort| {
        let mut ports = live?.ports.iter().flatten();
        ports.find(|live| (live.port, &live.protocol) == (port.port, &port.protocol)).and_then(node_port)
    };
    let ports = spec.ports.get_or_insert_default();
    for port in ports.iter_mut().filter(|port| port.node_port.unwrap_or(0) == 0) {
        port.node_port = before(port).map(i32::from);
    }
    // Those that are asked for are theirs before others are given any.
    for (at, port) in ports.iter().enumerate() {
        let Some(asked) = port.node_port else { continue };
        let path = format!("spec.ports[{at}].nodePort");
        let invalid = |status, why: String| Err(Refusal::new(status, format!("{key}: {path}: {why}")));
        let Some(number) = node_port(port).filter(|number| ranges.node_ports.contains(number)) else {
            let (first, last) = ranges.node_ports.clone().into_inner();
            return invalid(422, format!("{asked} is not in the range {first}-{last}"));
        };
        if let Some(owner) = taken.insert((number, protocol(port)), key.clone()) {
            return invalid(422, format!("{asked}: port taken by {owner}"));
        }
    }
    for (at, port) in ports.iter_mut().enumerate().filter(|(_, port)| port.node_port.is_none()) {
        let (first, last) = ranges.node_ports.clone().into_inner();
        let count = u64::from(last - first) + 1;
        let from = start(key, port.port as u64 + 1);
        let mut all =
            (0..count).map(|step| first + u16::try_from((from % count + step) % count).unwrap_or(0));
        let free = all.find(|number| !taken.contains_key(&(*number, protocol(port))));
        let Some(number) = free else {
            let message = format!("{key}: spec.ports[{at}].nodePort: no port of {first}-{last} is free");
            return Err(Refusal::new(422, message));
        };
        taken.insert((number, protocol(port)), key.clone());
        port.node_port = Some(number.into());
    }
    Ok(())
}

fn node_port(port: &ServicePort) -> Option<u16> {
    u16::try_from(port.node_port?).ok().filter(|number| *number > 0)
}

fn protocol(port: &ServicePort) -> String {
    port.protocol.clone().unwrap_or_else(|| "TCP".into())
}
