//! The nftables rule set of all Services. Pure: objects -> text for nft(8).
//!
//! One table, `inet rcrun-agent`. A first packet is looked up in a map of addresses and ports, however many Services there are, whose
//! verdict is the chain of its Service's port; that one chooses a backend. Later packets of the connection pass no rule at all.
//!
//! A new rule set takes the place of the old one in one transaction, in which the sets of clients (session affinity) stay.

mod script;

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use k8s_openapi::api::core::v1::Pod;

pub use script::{Names, Rules, TABLE};

use super::endpoints::pod_addresses;
use super::frontend::{self, Frontend};
use crate::objects::Objects;
use crate::objects::pod::is_finished;
use script::{Body, Family};

/// What the rules depend on, beside the objects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Where ClusterIPs are from: what nobody answers there is refused.
    pub ranges: Vec<Network>,
    /// In a range, but no Service's.
    pub dns: Option<IpAddr>,
    /// Whether rules see packets that stay on a bridge (br_netfilter), of IPv4 and IPv6: where they do not, an answer from one Pod to
    /// another on its bridge would never be translated back, and Pods' packets to Services have to bear the bridge's address.
    pub bridged: [bool; 2],
}

/// `10.96.0.0/16`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// The first one.
    pub address: IpAddr,
    /// Bits.
    pub prefix: u8,
}

impl Network {
    /// Of a list: `10.96.0.0/16,fd00:96::/112`.
    pub fn parse_list(text: &str) -> anyhow::Result<Vec<Self>> {
        text.split(',').map(|text| Self::parse(text.trim())).collect()
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        let parts = text.split_once('/').and_then(|(address, prefix)| {
            let address: IpAddr = address.parse().ok()?;
            let longest = if address.is_ipv4() { 32 } else { 128 };
            Some((address, prefix.parse().ok().filter(|prefix| *prefix <= longest)?))
        });
        let Some((address, prefix)) = parts else {
            anyhow::bail!("{text}: not a range of addresses; write it as 10.96.0.0/16")
        };
        Ok(Self { address: first(address, prefix), prefix })
    }

    /// Whether the address is one of it.
    pub fn contains(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.address.is_ipv4() && first(address, self.prefix) == self.address
    }
}

/// The address without the bits after the prefix.
fn first(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            Ipv4Addr::from(u32::from(address) & mask).into()
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            Ipv6Addr::from(u128::from(address) & mask).into()
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// The rules of all Services.
pub fn rules(objects: &Objects, facts: &Facts) -> Rules {
    let frontends = frontend::all(objects);
    let mut body = Body::default();
    for frontend in &frontends {
        match frontend.backends.is_empty() {
            true => refuse(&mut body, frontend),
            false => lead(&mut body, frontend),
        }
    }
    let backends: BTreeSet<SocketAddr> = frontends.iter().flat_map(|f| f.backends.iter().copied()).collect();
    // Without backends nobody's source matters: no change of a Pod is one of the rules then.
    let pods: BTreeSet<IpAddr> = match backends.is_empty() {
        true => BTreeSet::new(),
        false => objects.list::<Pod>().filter(|pod| has_own_network(pod)).flat_map(pod_addresses).collect(),
    };
    for ip in &pods {
        body.element(Family::of(*ip).name("pods"), ip.to_string());
    }
    let ips: BTreeSet<IpAddr> = backends.iter().map(SocketAddr::ip).collect();
    for ip in ips.iter().filter(|ip| pods.contains(ip)) {
        body.element(Family::of(*ip).name("hairpin"), format!("{ip} . {ip}"));
    }
    for ip in ips.iter().filter(|ip| !pods.contains(ip)) {
        body.element(Family::of(*ip).name("outside"), ip.to_string());
    }
    base_chains(&mut body, facts);
    body.finish()
}

fn has_own_network(pod: &Pod) -> bool {
    let shares = pod.spec.as_ref().and_then(|spec| spec.host_network) == Some(true);
    !shares && !is_finished(pod)
}

fn refuse(body: &mut Body, frontend: &Frontend) {
    let Frontend { protocol, port, .. } = frontend;
    for ip in &frontend.addresses {
        body.element(Family::of(*ip).name("unserved"), format!("{ip} . {protocol} . {port}"));
    }
    if let Some(port) = frontend.node_port {
        body.element("unserved-node-ports", format!("{protocol} . {port}"));
    }
}

/// Maps lead to the chain of the port, which chooses a backend.
fn lead(body: &mut Body, frontend: &Frontend) {
    let Frontend { service, protocol, port, .. } = frontend;
    let chain = format!("service/{service}/{protocol}/{port}");
    for ip in &frontend.addresses {
        let family = Family::of(*ip);
        match frontend.backends.iter().any(|backend| Family::of(backend.ip()) == family) {
            true => {
                body.element(family.name("services"), format!("{ip} . {protocol} . {port} : goto {chain}"));
            }
            false => body.element(family.name("unserved"), format!("{ip} . {protocol} . {port}")),
        }
    }
    if let Some(port) = frontend.node_port {
        body.element("node-ports", format!("{protocol} . {port} : goto {chain}"));
    }
    let mut rules = Vec::new();
    for family in [Family::V4, Family::V6] {
        let backends: Vec<_> =
            frontend.backends.iter().copied().filter(|backend| Family::of(backend.ip()) == family).collect();
        match (backends.is_empty(), frontend.affinity) {
            (true, _) => {}
            (false, None) => rules.push(spread(family, frontend, &backends)),
            (false, Some(seconds)) => rules.extend(stay(body, family, frontend, &backends, seconds)),
        }
    }
    body.chain(chain, rules);
}

/// Any of the backends.
fn spread(family: Family, frontend: &Frontend, backends: &[SocketAddr]) -> String {
    let choices = backends.iter().enumerate();
    let choices: Vec<_> = choices.map(|(n, to)| format!("{n} : {} . {}", to.ip(), to.port())).collect();
    format!(
        "meta nfproto {} meta l4proto {} dnat {} addr . port to numgen random mod {} map {{ {} }}",
        family.protocol(),
        frontend.protocol,
        family.ip(),
        backends.len(),
        choices.join(", ")
    )
}

/// The backend that knows the client, or any. Each has a chain that remembers the client in the backend's set.
fn stay(
    body: &mut Body,
    family: Family,
    frontend: &Frontend,
    backends: &[SocketAddr],
    seconds: u32,
) -> Vec<String> {
    let Frontend { service, protocol, port, .. } = frontend;
    let ip = family.ip();
    let mut rules = Vec::new();
    let mut choices = Vec::new();
    for (n, backend) in backends.iter().enumerate() {
        // A name has no colons.
        let to = backend.ip().to_string().replace(':', "_");
        let chain = format!("endpoint/{service}/{protocol}/{port}/{to}/{}", backend.port());
        let clients = format!("clients/{service}/{protocol}/{port}/{to}/{}", backend.port());
        body.clients(clients.clone(), family);
        body.chain(
            chain.clone(),
            vec![
                format!("update @{clients} {{ {ip} saddr timeout {seconds}s }}"),
                format!("meta l4proto {protocol} dnat {ip} to {backend}"),
            ],
        );
        rules.push(format!("{ip} saddr @{clients} goto {chain}"));
        choices.push(format!("{n} : goto {chain}"));
    }
    let choices = choices.join(", ");
    let family = family.protocol();
    rules.push(format!("meta nfproto {family} numgen random mod {} vmap {{ {choices} }}", backends.len()));
    rules
}

/// What hooks call, which is the same for all Services.
fn base_chains(body: &mut Body, facts: &Facts) {
    let of = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
    body.hook("prerouting", "nat hook prerouting priority dstnat", of(&["jump services"]));
    body.hook("output", "nat hook output priority -100", of(&["jump services"]));
    body.chain(
        "services",
        of(&[
            "ip daddr . meta l4proto . th dport vmap @services4",
            "ip6 daddr . meta l4proto . th dport vmap @services6",
            "fib daddr type local jump node-ports",
        ]),
    );
    let loopback = ["ip daddr 127.0.0.0/8 return", "ip6 daddr ::1 return"];
    body.chain("node-ports", of(&[&loopback[..], &["meta l4proto . th dport vmap @node-ports"]].concat()));
    // Before others' rules (priority 100), of which the first that decides counts.
    let translated = of(&["oifname \"lo\" return", "ct status dnat jump translated"]);
    body.hook("postrouting", "nat hook postrouting priority 95", translated);
    body.chain("translated", source(facts));

    // In prerouting and not in forward: what has no way from here would be dropped between them.
    let new = ["ct state new jump unserved", "ct state new fib daddr type local jump unserved-local"];
    body.hook("filter-prerouting", "filter hook prerouting priority -90", of(&new));
    body.hook("filter-output", "filter hook output priority filter", of(&new[..1]));
    let local = "meta l4proto . th dport @unserved-node-ports goto refuse";
    body.chain("unserved-local", of(&[&loopback[..], &[local]].concat()));
    body.chain("unserved", unserved(facts));
    body.chain("refuse", of(&["meta l4proto tcp reject with tcp reset", "reject"]));
}

/// Whose packets get another source when they have been led to a backend.
fn source(facts: &Facts) -> Vec<String> {
    let mut rules = Vec::new();
    for (family, bridged) in [Family::V4, Family::V6].into_iter().zip(facts.bridged) {
        let (ip, name) = (family.ip(), |name| family.name(name));
        // A Pod that reaches itself: it does not take packets from itself.
        rules.push(format!("{ip} saddr . {ip} daddr @{} masquerade", name("hairpin")));
        // Answers from other machines have to come back here.
        rules.push(format!("{ip} daddr @{} masquerade", name("outside")));
        let among_pods = format!("{ip} saddr @{} {ip} daddr @{}", name("pods"), name("pods"));
        match bridged {
            false => rules.push(format!("{among_pods} masquerade")),
            // The answer comes by here: the Pod may see who asks, whatever later chains would do.
            true => {
                rules.extend(facts.ranges.iter().filter(|range| Family::of(range.address) == family).map(
                    |range| format!("{among_pods} ct original {ip} daddr {range} snat {ip} to {ip} saddr"),
                ))
            }
        }
    }
    rules
}

/// What is refused at once, for nobody would answer.
fn unserved(facts: &Facts) -> Vec<String> {
    let mut rules = Vec::new();
    for family in [Family::V4, Family::V6] {
        let set = family.name("unserved");
        rules.push(format!("{} daddr . meta l4proto . th dport @{set} goto refuse", family.ip()));
    }
    if let Some(dns) = facts.dns {
        rules.push(format!("{} daddr {dns} return", Family::of(dns).ip()));
    }
    for range in &facts.ranges {
        rules.push(format!("{} daddr {range} goto refuse", Family::of(range.address).ip()));
    }
    rules
}

#[cfg(test)]
mod tests;
