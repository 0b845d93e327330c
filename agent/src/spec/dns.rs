//! A Pod's resolv.conf: `dnsPolicy` and `dnsConfig`.

use k8s_openapi::api::core::v1::{Pod, PodDNSConfig};

use super::{Settings, host_network};
use crate::cri::api::DnsConfig;
use crate::objects::Typed as _;

/// What libc's resolver takes; more is left out, as kubelet does.
const MOST_SERVERS: usize = 3;
const MOST_SEARCHES: usize = 32;
/// Of all searches in a line, and of one.
const LONGEST_SEARCHES: usize = 2048;
const LONGEST_NAME: usize = 253;

/// What the sandbox is told; `resolv_conf` is the host's.
pub(super) fn config(pod: &Pod, resolv_conf: &str, settings: &Settings) -> DnsConfig {
    let spec = pod.spec.as_ref();
    let policy = spec.and_then(|spec| spec.dns_policy.as_deref()).unwrap_or("ClusterFirst");
    let mut config = match (policy, settings.cluster_dns) {
        ("None", _) => DnsConfig::default(),
        ("ClusterFirst", Some(server)) if !host_network(pod) => cluster(pod, resolv_conf, server, settings),
        ("ClusterFirstWithHostNet", Some(server)) => cluster(pod, resolv_conf, server, settings),
        _ => parse(resolv_conf),
    };
    if let Some(own) = spec.and_then(|spec| spec.dns_config.as_ref()) {
        merge(&mut config, own);
    }
    config.servers.truncate(MOST_SERVERS);
    config.searches.retain(|search| search.len() <= LONGEST_NAME);
    config.searches.truncate(MOST_SEARCHES);
    while config.searches.join(" ").len() > LONGEST_SEARCHES {
        config.searches.pop();
    }
    config
}

fn cluster(pod: &Pod, resolv_conf: &str, server: std::net::IpAddr, settings: &Settings) -> DnsConfig {
    let domain = &settings.cluster_domain;
    let mut searches =
        vec![format!("{}.svc.{domain}", pod.namespace()), format!("svc.{domain}"), domain.clone()];
    searches.extend(parse(resolv_conf).searches);
    DnsConfig { servers: vec![server.to_string()], searches: once(searches), options: vec!["ndots:5".into()] }
}

/// resolv.conf(5): the last `search` counts, of each option the last.
fn parse(resolv_conf: &str) -> DnsConfig {
    let mut config = DnsConfig::default();
    for line in resolv_conf.lines() {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("nameserver") => config.servers.extend(words.next().map(ToOwned::to_owned)),
            Some("search") => {
                let searches = words.filter(|word| *word != ".");
                config.searches =
                    searches.map(|word| word.strip_suffix('.').unwrap_or(word).to_owned()).collect();
            }
            Some("options") => words.for_each(|word| set_option(&mut config.options, word.to_owned())),
            _ => {}
        }
    }
    config.servers = once(config.servers);
    config.searches = once(config.searches);
    config
}

fn merge(config: &mut DnsConfig, own: &PodDNSConfig) {
    config.servers.extend(own.nameservers.iter().flatten().cloned());
    config.servers = once(std::mem::take(&mut config.servers));
    config.searches.extend(own.searches.iter().flatten().cloned());
    config.searches = once(std::mem::take(&mut config.searches));
    for option in own.options.iter().flatten() {
        let name = option.name.as_deref().unwrap_or_default();
        let option = match option.value.as_deref() {
            Some(value) if !value.is_empty() => format!("{name}:{value}"),
            _ => name.to_owned(),
        };
        set_option(&mut config.options, option);
    }
}

fn set_option(options: &mut Vec<String>, option: String) {
    let name = |option: &str| option.split(':').next().unwrap_or_default().to_owned();
    match options.iter_mut().find(|other| name(other) == name(&option)) {
        Some(other) => *other = option,
        None => options.push(option),
    }
}

fn once(words: Vec<String>) -> Vec<String> {
    let mut kept: Vec<String> = Vec::new();
    for word in words {
        if !kept.contains(&word) {
            kept.push(word);
        }
    }
    kept
}
