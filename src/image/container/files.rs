//! hostname, hosts and resolv.conf: what docker has in them.

use std::fmt::Write;
use std::net::IpAddr;

use super::options::{Dns, Network, Options};

/// /etc/hosts of a container without the host's network.
const HOSTS: &str = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::\tip6-localnet\n\
    ff00::\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n";

/// The text of hosts; `host` is the machine's own.
pub(super) fn hosts(options: &Options, hostname: &str, host: &str) -> String {
    let mut text = match options.network {
        Network::Host if host.is_empty() || host.ends_with('\n') => host.to_owned(),
        Network::Host => format!("{host}\n"),
        // Its own name leads to itself: programs look it up.
        Network::None => format!("{HOSTS}127.0.0.1\t{hostname}\n"),
        Network::Bridge => {
            let own = options.plugged.addresses.iter().map(|address| format!("{address}\t{hostname}\n"));
            HOSTS.chars().chain(own.collect::<String>().chars()).collect()
        }
    };
    for (name, address) in &options.add_hosts {
        let _ = writeln!(text, "{address}\t{name}");
    }
    text
}

/// The text of resolv.conf; `host` is the machine's own. Where its loopback device is another, the machine's is no way to a server.
pub(super) fn resolv_conf(dns: &Dns, host: &str, own_loopback: bool) -> String {
    let is_loopback = |address: Option<&str>| {
        address
            .and_then(|address| address.parse::<IpAddr>().ok())
            .is_some_and(|address| address.is_loopback())
    };
    let replaced = |line: &str| match line.split_whitespace().next() {
        Some("nameserver") => {
            !dns.servers.is_empty() || (own_loopback && is_loopback(line.split_whitespace().nth(1)))
        }
        Some("search" | "domain") => !dns.search.is_empty(),
        Some("options") => !dns.options.is_empty(),
        _ => false,
    };
    let mut text = String::new();
    for line in host.lines().filter(|line| !replaced(line)) {
        text.push_str(line);
        text.push('\n');
    }
    if !dns.search.is_empty() && dns.search != ["."] {
        let _ = writeln!(text, "search {}", dns.search.join(" "));
    }
    for server in &dns.servers {
        let _ = writeln!(text, "nameserver {server}");
    }
    if !dns.options.is_empty() {
        let _ = writeln!(text, "options {}", dns.options.join(" "));
    }
    text
}

/// `--add-host NAME:ADDRESS`; docker takes an equals sign, too.
pub fn add_host(text: &str) -> Result<(String, IpAddr), String> {
    let wrong = || format!("{text:?} is not of the form NAME:ADDRESS");
    let (name, address) = text.split_once(['=', ':']).ok_or_else(wrong)?;
    let bare = address.strip_prefix('[').and_then(|address| address.strip_suffix(']')).unwrap_or(address);
    let plain = !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c.is_control() || c == '#');
    match (plain, bare.parse()) {
        (true, Ok(address)) => Ok((name.to_owned(), address)),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_dockers_or_the_hosts_own() {
        let mut options = Options { add_hosts: vec![add_host("db:10.0.0.7").unwrap()], ..Options::default() };
        let text = hosts(&options, "c1", "1.2.3.4 x");
        assert!(
            text.starts_with("127.0.0.1\tlocalhost\n") && text.ends_with("127.0.0.1\tc1\n10.0.0.7\tdb\n")
        );
        assert!(!text.contains("1.2.3.4"));
        options.network = Network::Host;
        assert_eq!(hosts(&options, "c1", "1.2.3.4 x"), "1.2.3.4 x\n10.0.0.7\tdb\n");
    }

    #[test]
    fn resolv_conf_is_the_hosts_with_what_is_asked_for() {
        let host = "# made by x\nnameserver 1.1.1.1\nsearch a b\noptions ndots:2\n";
        assert_eq!(resolv_conf(&Dns::default(), host, false), host);
        let dns =
            Dns { servers: vec!["9.9.9.9".parse().unwrap()], search: vec![".".into()], options: vec![] };
        assert_eq!(resolv_conf(&dns, host, false), "# made by x\noptions ndots:2\nnameserver 9.9.9.9\n");
    }

    #[test]
    fn hosts_are_added_by_address() {
        assert_eq!(add_host("v6:[::1]").unwrap().1.to_string(), "::1");
        assert_eq!(add_host("v6=::1").unwrap().0, "v6");
        for text in ["", "a", "a:", ":1.1.1.1", "a b:1.1.1.1", "a:host-gateway"] {
            assert!(add_host(text).is_err(), "{text:?}");
        }
    }
}
