//! A Pod's name in its own eyes: hostname and /etc/hosts.

use std::fmt::Write as _;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::Pod;

use super::{Settings, SpecError, host_network, path_of};
use crate::objects::Typed as _;

/// The kernel's limit for a node name.
const LONGEST: usize = 64;
/// What others take: a DNS label's.
const LONGEST_LABEL: usize = 63;

struct Name {
    host: String,
    /// "" where the Pod has no subdomain.
    domain: String,
}

fn name(pod: &Pod, settings: &Settings) -> Name {
    let spec = pod.spec.as_ref();
    let said = |text: Option<&String>| text.filter(|text| !text.is_empty()).cloned();
    if let Some(host) = said(spec.and_then(|spec| spec.hostname_override.as_ref())) {
        return Name { host: shortened(&host), domain: String::new() };
    }
    let host = said(spec.and_then(|spec| spec.hostname.as_ref())).unwrap_or_else(|| pod.name().into());
    let domain = said(spec.and_then(|spec| spec.subdomain.as_ref()))
        .map(|subdomain| format!("{subdomain}.{}.svc.{}", pod.namespace(), settings.cluster_domain));
    Name { host: shortened(&host), domain: domain.unwrap_or_default() }
}

/// Names of Pods can be longer than a hostname can.
fn shortened(name: &str) -> String {
    let end = name
        .char_indices()
        .map(|(at, char)| at + char.len_utf8())
        .take_while(|end| *end <= LONGEST_LABEL)
        .last();
    name[..end.unwrap_or(0)].trim_end_matches(['-', '.']).to_owned()
}

/// "" in the host's network: there it is the host's.
pub(super) fn hostname(pod: &Pod, settings: &Settings) -> Result<String, SpecError> {
    if host_network(pod) {
        return Ok(String::new());
    }
    let Name { host, domain } = name(pod, settings);
    let with_domain = pod.spec.as_ref().and_then(|spec| spec.set_hostname_as_fqdn) == Some(true);
    if domain.is_empty() || !with_domain {
        return Ok(host);
    }
    let full = format!("{host}.{domain}");
    if full.len() > LONGEST {
        return Err(SpecError::sandbox(format!(
            "pod {}: spec.setHostnameAsFQDN: {full} has {} bytes, and a hostname at most {LONGEST}",
            path_of(pod),
            full.len()
        )));
    }
    Ok(full)
}

/// The /etc/hosts of a Pod's containers: its own name, and its hostAliases. In the host's network it is the host's with those.
/// None: as the runtime makes it.
pub fn hosts_file(pod: &Pod, addresses: &[IpAddr], settings: &Settings) -> Option<String> {
    let of_host = || std::fs::read_to_string("/etc/hosts").unwrap_or_default();
    hosts(pod, addresses, of_host, settings)
}

fn hosts(
    pod: &Pod,
    addresses: &[IpAddr],
    of_host: impl FnOnce() -> String,
    settings: &Settings,
) -> Option<String> {
    let aliases = pod.spec.as_ref().and_then(|spec| spec.host_aliases.as_deref()).unwrap_or_default();
    let mut text = String::new();
    if host_network(pod) {
        if aliases.is_empty() {
            return None;
        }
        text.push_str(&of_host());
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
    } else {
        text.push_str("# Made by rcrun-agent for this Pod.\n127.0.0.1\tlocalhost\n");
        for (address, names) in [
            ("::1", "localhost ip6-localhost ip6-loopback"),
            ("fe00::", "ip6-localnet"),
            ("ff00::", "ip6-mcastprefix"),
            ("ff02::1", "ip6-allnodes"),
            ("ff02::2", "ip6-allrouters"),
        ] {
            let _ = writeln!(text, "{address}\t{names}");
        }
        let Name { host, domain } = name(pod, settings);
        let names = if domain.is_empty() { host } else { format!("{host}.{domain}\t{host}") };
        for address in addresses {
            let _ = writeln!(text, "{address}\t{names}");
        }
    }
    if !aliases.is_empty() {
        text.push_str("\n# spec.hostAliases\n");
    }
    for alias in aliases {
        let _ = writeln!(text, "{}\t{}", alias.ip, alias.hostnames.as_deref().unwrap_or_default().join("\t"));
    }
    Some(text)
}
