//! The text that nft(8) reads, and how it takes the place of what is there.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::IpAddr;

/// The table's name, with its family.
pub const TABLE: &str = "inet rcrun-agent";

/// How the first line of a chain begins that a hook calls.
const HOOK: &str = "type ";

/// Maps and sets that are always there.
const ALWAYS: &[(&str, &str, &str)] = &[
    ("map", "services4", "type ipv4_addr . inet_proto . inet_service : verdict"),
    ("map", "services6", "type ipv6_addr . inet_proto . inet_service : verdict"),
    ("map", "node-ports", "type inet_proto . inet_service : verdict"),
    ("set", "unserved4", "type ipv4_addr . inet_proto . inet_service"),
    ("set", "unserved6", "type ipv6_addr . inet_proto . inet_service"),
    ("set", "unserved-node-ports", "type inet_proto . inet_service"),
    ("set", "pods4", "type ipv4_addr"),
    ("set", "pods6", "type ipv6_addr"),
    ("set", "hairpin4", "type ipv4_addr . ipv4_addr"),
    ("set", "hairpin6", "type ipv6_addr . ipv6_addr"),
    ("set", "outside4", "type ipv4_addr"),
    ("set", "outside6", "type ipv6_addr"),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

impl Family {
    pub fn of(ip: IpAddr) -> Self {
        if ip.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    /// As in `ip daddr`.
    pub fn ip(self) -> &'static str {
        match self {
            Self::V4 => "ip",
            Self::V6 => "ip6",
        }
    }

    /// As in `meta nfproto`.
    pub fn protocol(self) -> &'static str {
        match self {
            Self::V4 => "ipv4",
            Self::V6 => "ipv6",
        }
    }

    /// Of the set of this family.
    pub fn name(self, set: &str) -> String {
        format!("{set}{}", if self == Self::V4 { 4 } else { 6 })
    }
}

/// A rule set: what is in the table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Of sets and maps; these as `key : verdict`.
    elements: BTreeMap<String, BTreeSet<String>>,
    /// Sets of session affinity, with their types.
    clients: BTreeMap<String, &'static str>,
    /// Those that a hook calls begin with a line that says so.
    chains: BTreeMap<String, Vec<String>>,
}

/// As [`Rules`] are made.
impl Rules {
    pub(super) fn element(&mut self, set: impl Into<String>, element: String) {
        self.elements.entry(set.into()).or_default().insert(element);
    }

    pub(super) fn clients(&mut self, name: String, family: Family) {
        self.clients.insert(name, if family == Family::V4 { "ipv4_addr" } else { "ipv6_addr" });
    }

    pub(super) fn chain(&mut self, name: impl Into<String>, rules: Vec<String>) {
        self.chains.insert(name.into(), rules);
    }

    pub(super) fn hook(&mut self, name: &str, hook: &str, mut rules: Vec<String>) {
        rules.insert(0, format!("{HOOK}{hook}; policy accept;"));
        self.chain(name, rules);
    }
}

/// Names of what may have to go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    chains: BTreeSet<String>,
    clients: BTreeSet<String>,
}

impl Names {
    /// Of what `nft -t list table` says.
    pub fn read(listing: &str) -> Self {
        let of = |kind: &str, prefix: &str| {
            let names = listing.lines().filter_map(|line| line.trim().strip_prefix(kind)?.strip_suffix(" {"));
            names.filter(|name| name.starts_with(prefix)).map(str::to_owned).collect()
        };
        Self { chains: of("chain ", ""), clients: of("set ", "clients/") }
    }

    /// Whether there is no rule at all: chains are never missing.
    pub fn are_none(&self) -> bool {
        self.chains.is_empty()
    }
}

/// As nft(8) reads them.
impl Rules {
    /// The table.
    pub fn text(&self) -> String {
        let mut text = format!("table {TABLE} {{\n");
        for (kind, name, types) in ALWAYS {
            let _ = write!(text, "\t{kind} {name} {{\n\t\t{types}\n");
            if let Some(elements) = self.elements.get(*name) {
                let _ = writeln!(text, "\t\telements = {{ {} }}", joined(elements));
            }
            text.push_str("\t}\n");
        }
        for (name, address) in &self.clients {
            let _ = writeln!(text, "\tset {name} {{ {} }}", remembered(address));
        }
        for (name, rules) in &self.chains {
            let _ = write!(text, "\tchain {name} {{\n\t\t{}\n\t}}\n", rules.join("\n\t\t"));
        }
        text.push_str("}\n");
        text
    }

    /// What is in it, by name.
    pub fn names(&self) -> Names {
        Names {
            chains: self.chains.keys().cloned().collect(),
            clients: self.clients.keys().cloned().collect(),
        }
    }

    /// One transaction that makes this of `before`, and touches nothing that is in both.
    pub fn changing(&self, before: &Self) -> String {
        let mut script = String::new();
        for (name, address) in missing(&self.clients, &before.clients) {
            let _ = writeln!(script, "add set {TABLE} {name} {{ {} }}", remembered(address));
        }
        for (name, _) in missing(&self.chains, &before.chains) {
            let _ = writeln!(script, "add chain {TABLE} {name}");
        }
        // First nothing leads to a chain any more, then it goes.
        for (set, elements) in less(&before.elements, &self.elements) {
            let keys = elements.iter().map(|element| element.split(" : ").next().unwrap_or(element));
            let _ = writeln!(script, "delete element {TABLE} {set} {{ {} }}", joined(keys));
        }
        for (name, rules) in &before.chains {
            if self.chains.get(name) != Some(rules) {
                let _ = writeln!(script, "flush chain {TABLE} {name}");
            }
        }
        for (name, rules) in &self.chains {
            if before.chains.get(name) != Some(rules) {
                for rule in rules.iter().filter(|rule| !rule.starts_with(HOOK)) {
                    let _ = writeln!(script, "add rule {TABLE} {name} {rule}");
                }
            }
        }
        for (set, elements) in less(&self.elements, &before.elements) {
            let _ = writeln!(script, "add element {TABLE} {set} {{ {} }}", joined(elements));
        }
        for (name, _) in missing(&before.chains, &self.chains) {
            let _ = writeln!(script, "delete chain {TABLE} {name}");
        }
        for (name, _) in missing(&before.clients, &self.clients) {
            let _ = writeln!(script, "delete set {TABLE} {name}");
        }
        script
    }

    /// One transaction that makes this of a table that has `before` in it, with whatever rules. Clients that are remembered by backends
    /// that stay are kept.
    pub fn replacing(&self, before: &Names) -> String {
        let mut script = format!("add table {TABLE}\n");
        for (kind, name, types) in ALWAYS {
            let _ = writeln!(script, "add {kind} {TABLE} {name} {{ {types}; }}");
        }
        let _ = writeln!(script, "flush table {TABLE}");
        for (kind, name, _) in ALWAYS {
            let _ = writeln!(script, "flush {kind} {TABLE} {name}");
        }
        let now = self.names();
        for chain in before.chains.difference(&now.chains) {
            let _ = writeln!(script, "delete chain {TABLE} {chain}");
        }
        for clients in before.clients.difference(&now.clients) {
            let _ = writeln!(script, "delete set {TABLE} {clients}");
        }
        script + &self.text()
    }

    /// One transaction that makes this of whatever is there, and forgets everything.
    pub fn afresh(&self) -> String {
        format!("add table {TABLE}\ndelete table {TABLE}\n{}", self.text())
    }
}

fn remembered(address: &str) -> String {
    format!("type {address}; size 65535; flags dynamic,timeout;")
}

fn joined(elements: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    let mut all = String::new();
    for element in elements {
        if !all.is_empty() {
            all.push_str(", ");
        }
        all.push_str(element.as_ref());
    }
    all
}

/// What is in one by name, and not in the other.
fn missing<'a, T>(
    one: &'a BTreeMap<String, T>,
    other: &'a BTreeMap<String, T>,
) -> impl Iterator<Item = (&'a String, &'a T)> {
    one.iter().filter(|(name, _)| !other.contains_key(*name))
}

/// Of each set the elements that the other has not.
fn less<'a>(
    one: &'a BTreeMap<String, BTreeSet<String>>,
    other: &'a BTreeMap<String, BTreeSet<String>>,
) -> impl Iterator<Item = (&'a String, BTreeSet<&'a String>)> {
    let less = one.iter().map(|(set, elements)| {
        let has = |element: &&String| other.get(set).is_some_and(|others| others.contains(*element));
        (set, elements.iter().filter(|element| !has(element)).collect::<BTreeSet<_>>())
    });
    less.filter(|(_, elements)| !elements.is_empty())
}
