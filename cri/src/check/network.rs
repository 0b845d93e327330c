//! Pods' networks.

use std::fs;
use std::path::Path;

use rustix::net::{AddressFamily, SocketFlags, SocketType, netlink, socket_with};

use crate::cni::ConfList;
use crate::config::Config;

use super::Fact;

pub fn facts(config: &Config) -> Vec<Fact> {
    let netfilter =
        socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, Some(netlink::NETFILTER));
    let mut facts = vec![
        Fact::or_limited(
            "nftables",
            netfilter.is_ok(),
            "host ports and masquerading of the built-in bridge do not work",
        ),
        forwarding("ip_forward", "/proc/sys/net/ipv4/ip_forward"),
        forwarding("ipv6 forwarding", "/proc/sys/net/ipv6/conf/all/forwarding"),
        Fact::or_limited(
            "br_netfilter",
            Path::new("/proc/sys/net/bridge").exists(),
            "it is not loaded: Pods of one bridge do not reach each other by the addresses of Services (kube-proxy)",
        ),
    ];
    facts.extend(pods(config));
    facts
}

fn forwarding(name: &str, file: &str) -> Fact {
    match fs::read_to_string(file) {
        Ok(text) if text.trim() == "1" => Fact::ok(name, ""),
        Ok(_) => Fact::ok(name, "off; the built-in bridge turns it on with the first Pod"),
        Err(_) => Fact::limited(name, "the kernel has no such protocol: Pods get no address of it"),
    }
}

/// CNI's configuration and its plugins, or the built-in bridge.
fn pods(config: &Config) -> Vec<Fact> {
    let directory = &config.network.cni_conf_dir;
    let list = match ConfList::load(directory) {
        Err(error) => return vec![Fact::fatal("network of Pods", error.to_string())],
        Ok(None) => {
            let note = format!(
                "built-in bridge {}, for {} has no CNI configuration",
                config.network.bridge,
                directory.display()
            );
            return vec![Fact::ok("network of Pods", note)];
        }
        Ok(Some(list)) => list,
    };
    let mut facts =
        vec![Fact::ok("network of Pods", format!("CNI {} of {}", list.name, list.file.display()))];
    let mut types: Vec<&str> =
        list.plugins.iter().filter_map(|plugin| plugin.get("type")?.as_str()).collect();
    types.sort_unstable();
    types.dedup();
    for plugin in types {
        let found = config
            .network
            .cni_bin_dirs
            .iter()
            .map(|directory| directory.join(plugin))
            .find(|path| path.is_file());
        facts.push(match found {
            Some(path) => Fact::ok(format!("CNI plugin {plugin}"), path.display().to_string()),
            None => Fact::fatal(
                format!("CNI plugin {plugin}"),
                format!(
                    "it is in none of {:?}: install it, or change network.cni_bin_dirs",
                    config.network.cni_bin_dirs
                ),
            ),
        });
    }
    facts
}
