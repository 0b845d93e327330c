//! The text that nft(8) reads, and how it takes the place of what is there.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::IpAddr;

/// The table's name, with its family.
pub const TABLE: &str = "inet rcrun-agent";

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

/// What is in the table.
#[derive(Default)]
pub(super) struct Body {
    elements: BTreeMap<String, Vec<String>>,
    /// Of session affinity, with their types.
    clients: BTreeMap<String, &'static str>,
    chains: BTreeMap<String, Vec<String>>,
}

impl Body {
    pub fn element(&mut self, set: impl Into<String>, element: String) {
        self.elements.entry(set.into()).or_default().push(element);
    }

    pub fn clients(&mut self, name: String, family: Family) {
        self.clients.insert(name, if family == Family::V4 { "ipv4_addr" } else { "ipv6_addr" });
    }

    pub fn chain(&mut self, name: impl Into<String>, rules: Vec<String>) {
        self.chains.insert(name.into(), rules);
    }

    pub fn hook(&mut self, name: &str, hook: &str, mut rules: Vec<String>) {
        rules.insert(0, format!("type {hook}; policy accept;"));
        self.chain(name, rules);
    }

    pub fn finish(self) -> Rules {
        let mut text = format!("table {TABLE} {{\n");
        for (kind, name, types) in ALWAYS {
            let _ = write!(text, "\t{kind} {name} {{\n\t\t{types}\n");
            if let Some(elements) = self.elements.get(*name) {
                let _ = writeln!(text, "\t\telements = {{ {} }}", elements.join(", "));
            }
            text.push_str("\t}\n");
        }
        for (name, address) in &self.clients {
            let _ = write!(
                text,
                "\tset {name} {{\n\t\ttype {address}\n\t\tsize 65535\n\t\tflags dynamic,timeout\n\t}}\n"
            );
        }
        for (name, rules) in &self.chains {
            let _ = write!(text, "\tchain {name} {{\n\t\t{}\n\t}}\n", rules.join("\n\t\t"));
        }
        text.push_str("}\n");
        let names =
            Names { chains: self.chains.into_keys().collect(), clients: self.clients.into_keys().collect() };
        Rules { text, names }
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

/// A rule set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// The table as nft(8) reads it.
    pub text: String,
    /// What is in it.
    pub names: Names,
}

impl Rules {
    /// One transaction that makes this of a table that has `before` in it. Clients that are remembered by backends that stay are kept.
    pub fn replacing(&self, before: &Names) -> String {
        let mut script = format!("add table {TABLE}\n");
        for (kind, name, types) in ALWAYS {
            let _ = writeln!(script, "add {kind} {TABLE} {name} {{ {types}; }}");
        }
        let _ = writeln!(script, "flush table {TABLE}");
        for (kind, name, _) in ALWAYS {
            let _ = writeln!(script, "flush {kind} {TABLE} {name}");
        }
        for chain in before.chains.difference(&self.names.chains) {
            let _ = writeln!(script, "delete chain {TABLE} {chain}");
        }
        for clients in before.clients.difference(&self.names.clients) {
            let _ = writeln!(script, "delete set {TABLE} {clients}");
        }
        script + &self.text
    }

    /// One transaction that makes this of whatever is there, and forgets everything.
    pub fn afresh(&self) -> String {
        format!("add table {TABLE}\ndelete table {TABLE}\n{}", self.text)
    }
}
