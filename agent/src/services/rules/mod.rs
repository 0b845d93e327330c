//! The nftables rule set of all Services. Pure: objects -> text for nft(8).
//!
//! One table, `inet rcrun-agent`. A first packet is looked up in a map of addresses and ports, however many Services there are, whose
//! verdict is the chain of its Service's port; that one chooses a backend. Later packets of the connection pass no rule at all.
//!
//! What has changed goes into the kernel in one transaction, which touches nothing else: neither other Services' rules nor the sets of
//! clients (session affinity).

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
use script::Family;

const FAMILIES: [Family; 2] = [Family::V4, Family::V6];
/// A bit of the connection's mark, which its first packet bears from prerouting to postrouting if it goes back to where it has come from:
/// only prerouting can look for that.
const MARK_BACK: &str = "ct mark set ct mark or 0x4000";
/// Where it has that, takes it away.
const UNMARK_BACK: &str = "ct mark and 0x4000 == 0x4000 ct mark set ct mark and 0xffffbfff";

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

impl Facts {
    /// Whether rules see packets of this family that stay on a bridge.
    fn is_bridged(&self, family: Family) -> bool {
        let [v4, v6] = self.bridged;
        if family == Family::V4 { v4 } else { v6 }
    }
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
    let mut table = Rules::default();
    for frontend in &frontends {
        match frontend.backends.is_empty() {
            true => refuse(&mut table, frontend),
            false => lead(&mut table, frontend),
        }
    }
    let backends: BTreeSet<SocketAddr> = frontends.iter().flat_map(|f| f.backends.iter().copied()).collect();
    // Without backends nobody's source matters: no change of a Pod is one of the rules then.
    let pods: BTreeSet<IpAddr> = match backends.is_empty() {
        true => BTreeSet::new(),
        false => objects.list::<Pod>().filter(|pod| has_own_network(pod)).flat_map(pod_addresses).collect(),
    };
    let is_bridged = |ip: &&IpAddr| facts.is_bridged(Family::of(**ip));
    for ip in pods.iter().filter(is_bridged) {
        table.element(Family::of(*ip).name("pods"), ip.to_string());
    }
    let ips: BTreeSet<IpAddr> = backends.iter().map(SocketAddr::ip).collect();
    for ip in ips.iter().filter(|ip| pods.contains(ip)).filter(is_bridged) {
        table.element(Family::of(*ip).name("hairpin"), format!("{ip} . {ip}"));
    }
    for ip in ips.iter().filter(|ip| !pods.contains(ip)) {
        table.element(Family::of(*ip).name("outside"), ip.to_string());
    }
    base_chains(&mut table, facts);
    table
}

fn has_own_network(pod: &Pod) -> bool {
    let shares = pod.spec.as_ref().and_then(|spec| spec.host_network) == Some(true);
    !shares && !is_finished(pod)
}

fn refuse(table: &mut Rules, frontend: &Frontend) {
    let Frontend { protocol, port, .. } = frontend;
    for ip in &frontend.addresses {
        table.element(Family::of(*ip).name("unserved"), format!("{ip} . {protocol} . {port}"));
    }
    if let Some(port) = frontend.node_port {
        table.element("unserved-node-ports", format!("{protocol} . {port}"));
    }
}

/// Maps lead to the chain of the port, which chooses a backend.
fn lead(table: &mut Rules, frontend: &Frontend) {
    let Frontend { service, protocol, port, .. } = frontend;
    let chain = format!("service/{service}/{protocol}/{port}");
    for ip in &frontend.addresses {
        let family = Family::of(*ip);
        match frontend.backends.iter().any(|backend| Family::of(backend.ip()) == family) {
            true => {
                table.element(family.name("services"), format!("{ip} . {protocol} . {port} : goto {chain}"));
            }
            false => table.element(family.name("unserved"), format!("{ip} . {protocol} . {port}")),
        }
    }
    if let Some(port) = frontend.node_port {
        table.element("node-ports", format!("{protocol} . {port} : goto {chain}"));
    }
    let mut rules = Vec::new();
    for family in FAMILIES {
        let backends: Vec<_> =
            frontend.backends.iter().copied().filter(|backend| Family::of(backend.ip()) == family).collect();
        match (backends.is_empty(), frontend.affinity) {
            (true, _) => {}
            (false, None) => rules.extend(spread(family, frontend, &backends)),
            (false, Some(seconds)) => rules.extend(stay(table, family, frontend, &backends, seconds)),
        }
    }
    table.chain(chain, rules);
}

/// Any of the backends. When other rules take the place of these, the elements of a map of theirs are gone a moment before they are: a
/// packet that has come here by then goes to the first one.
fn spread(family: Family, frontend: &Frontend, backends: &[SocketAddr]) -> Vec<String> {
    let choices = backends.iter().enumerate();
    let choices: Vec<_> = choices.map(|(n, to)| format!("{n} : {} . {}", to.ip(), to.port())).collect();
    let ip = family.ip();
    let asked = format!("meta nfproto {} meta l4proto {}", family.protocol(), frontend.protocol);
    let (count, choices) = (backends.len(), choices.join(", "));
    let mut rules =
        vec![format!("{asked} dnat {ip} addr . port to numgen random mod {count} map {{ {choices} }}")];
    rules.extend(backends.first().map(|first| format!("{asked} dnat {ip} to {first}")));
    rules
}

/// The backend that knows the client, or any. Each has a chain that remembers the client in the backend's set.
fn stay(
    table: &mut Rules,
    family: Family,
    frontend: &Frontend,
    backends: &[SocketAddr],
    seconds: u32,
) -> Vec<String> {
    let Frontend { service, protocol, port, .. } = frontend;
    let ip = family.ip();
    let mut rules = Vec::new();
    let mut chains = Vec::new();
    for backend in backends {
        // A name has no colons.
        let to = backend.ip().to_string().replace(':', "_");
        let chain = format!("endpoint/{service}/{protocol}/{port}/{to}/{}", backend.port());
        let clients = format!("clients/{service}/{protocol}/{port}/{to}/{}", backend.port());
        table.clients(clients.clone(), family);
        table.chain(
            chain.clone(),
            vec![
                format!("update @{clients} {{ {ip} saddr timeout {seconds}s }}"),
                format!("meta l4proto {protocol} dnat {ip} to {backend}"),
            ],
        );
        rules.push(format!("{ip} saddr @{clients} goto {chain}"));
        chains.push(chain);
    }
    let choices: Vec<_> = chains.iter().enumerate().map(|(n, chain)| format!("{n} : goto {chain}")).collect();
    let (family, count, choices) = (family.protocol(), chains.len(), choices.join(", "));
    rules.push(format!("meta nfproto {family} numgen random mod {count} vmap {{ {choices} }}"));
    // As in [`spread`].
    rules.extend(chains.first().map(|first| format!("meta nfproto {family} goto {first}")));
    rules
}

/// What hooks call, which is the same for all Services.
fn base_chains(table: &mut Rules, facts: &Facts) {
    let of = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
    table.hook("prerouting", "nat hook prerouting priority dstnat", of(&["jump services"]));
    table.hook("output", "nat hook output priority -100", of(&["jump services"]));
    table.chain(
        "services",
        of(&[
            "ip daddr . meta l4proto . th dport vmap @services4",
            "ip6 daddr . meta l4proto . th dport vmap @services6",
            "fib daddr type local jump node-ports",
        ]),
    );
    let loopback = ["ip daddr 127.0.0.0/8 return", "ip6 daddr ::1 return"];
    table.chain("node-ports", of(&[&loopback[..], &["meta l4proto . th dport vmap @node-ports"]].concat()));
    // Before others' rules (priority 100), of which the first that decides counts.
    let translated = of(&["oifname \"lo\" return", "ct status dnat jump translated"]);
    table.hook("postrouting", "nat hook postrouting priority 95", translated);
    table.chain("translated", source(facts));

    // In prerouting and not in forward: what has no way from here would be dropped between them.
    let new = ["ct state new jump unserved", "ct state new fib daddr type local jump unserved-local"];
    let back = FAMILIES.into_iter().filter(|family| !facts.is_bridged(*family)).map(|family| {
        let family = family.protocol();
        format!("ct state new ct status dnat meta nfproto {family} fib daddr . iif oif exists {MARK_BACK}")
    });
    let prerouting = of(&new).into_iter().chain(back).collect();
    table.hook("filter-prerouting", "filter hook prerouting priority -90", prerouting);
    table.hook("filter-output", "filter hook output priority filter", of(&new[..1]));
    let local = "meta l4proto . th dport @unserved-node-ports goto refuse";
    table.chain("unserved-local", of(&[&loopback[..], &[local]].concat()));
    table.chain("unserved", unserved(facts));
    table.chain("refuse", of(&["meta l4proto tcp reject with tcp reset", "reject"]));
}

/// Whose packets get another source when they have been led to a backend.
fn source(facts: &Facts) -> Vec<String> {
    let mut rules = Vec::new();
    for family in FAMILIES {
        let (ip, name, bridged) = (family.ip(), |name| family.name(name), facts.is_bridged(family));
        rules.push(match bridged {
            // The answer would take the short way, past the rules: from a Pod to its neighbour, or to itself. The packet's way says so, and
            // not Pods' addresses: a Pod's first packets may be here before the word of its address.
            false => format!("meta nfproto {} {UNMARK_BACK} masquerade", family.protocol()),
            // A Pod that reaches itself: it does not take packets from itself.
            true => format!("{ip} saddr . {ip} daddr @{} masquerade", name("hairpin")),
        });
        // Answers from other machines have to come back here.
        rules.push(format!("{ip} daddr @{} masquerade", name("outside")));
        if bridged {
            // The answer comes by here: the Pod may see who asks, whatever later chains would do.
            let among_pods = format!("{ip} saddr @{} {ip} daddr @{}", name("pods"), name("pods"));
            let ranges = facts.ranges.iter().filter(|range| Family::of(range.address) == family);
            rules.extend(
                ranges.map(|range| {
                    format!("{among_pods} ct original {ip} daddr {range} snat {ip} to {ip} saddr")
                }),
            );
        }
    }
    rules
}

/// What is refused at once, for nobody would answer.
fn unserved(facts: &Facts) -> Vec<String> {
    let mut rules = Vec::new();
    for family in FAMILIES {
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
