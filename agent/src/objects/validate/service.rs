//! Rules of Services and Endpoints.

use std::collections::BTreeSet;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Endpoints, Service, ServiceSpec};

use super::path::{At, Broken};
use super::{metadata, names, probes};

/// A day, in seconds.
const LONGEST_AFFINITY: i64 = 86_400;

pub(super) fn service(service: &Service, at: &At<'_>, broken: &mut Broken) {
    let Some(spec) = &service.spec else { return broken.add(at, "it is not set") };
    let kind = spec.type_.as_deref().unwrap_or("ClusterIP");
    if kind == "LoadBalancer" {
        broken.add(
            &at.field("type"),
            "LoadBalancer is not supported by this agent: use NodePort or an Ingress",
        );
    } else {
        broken.one_of(&at.field("type"), spec.type_.as_ref(), &["ClusterIP", "NodePort", "ExternalName"]);
    }
    metadata::pairs(spec.selector.as_ref(), &at.field("selector"), broken);
    let headless = spec.cluster_ip.as_deref() == Some("None");
    broken.that(!(headless && kind == "NodePort"), &at.field("clusterIP"), "None cannot be of type NodePort");
    if kind == "ExternalName" {
        external_name(spec, at, broken);
    } else {
        broken.that(
            spec.external_name.is_none(),
            &at.field("externalName"),
            "it is for the type ExternalName",
        );
        let none = spec.ports.as_ref().is_none_or(|ports| ports.is_empty());
        broken.that(!none || headless, &at.field("ports"), "at least one is needed");
    }
    ports(spec, kind, at, broken);
    let affinity = spec.session_affinity.as_ref();
    broken.one_of(&at.field("sessionAffinity"), affinity, &["None", "ClientIP"]);
    let client = spec.session_affinity_config.as_ref().and_then(|config| config.client_ip.as_ref());
    let timeout = client.and_then(|client| client.timeout_seconds);
    broken.range(&at.field("sessionAffinityConfig.clientIP.timeoutSeconds"), timeout, 1, LONGEST_AFFINITY);
    let policies = ["SingleStack", "PreferDualStack"];
    broken.one_of(&at.field("ipFamilyPolicy"), spec.ip_family_policy.as_ref(), &policies);
    for policy in [
        ("internalTrafficPolicy", &spec.internal_traffic_policy),
        ("externalTrafficPolicy", &spec.external_traffic_policy),
    ] {
        broken.one_of(&at.field(policy.0), policy.1.as_ref(), &["Cluster", "Local"]);
    }
    let addresses = spec.cluster_ips.as_deref().unwrap_or_default();
    let same = addresses.first().is_none_or(|first| spec.cluster_ip.as_ref() == Some(first));
    broken.that(
        same && addresses.len() <= 1,
        &at.field("clusterIPs"),
        "it has one address, which is clusterIP",
    );
}

fn external_name(spec: &ServiceSpec, at: &At<'_>, broken: &mut Broken) {
    let name = spec.external_name.clone().unwrap_or_default();
    broken.rule(&at.field("externalName"), name.strip_suffix('.').unwrap_or(&name), names::dns_subdomain);
    let address = spec.cluster_ip.as_ref().is_some_and(|address| !address.is_empty() && address != "None");
    broken.that(!address, &at.field("clusterIP"), "the type ExternalName has none");
}

fn ports(spec: &ServiceSpec, kind: &str, at: &At<'_>, broken: &mut Broken) {
    let (mut names_seen, mut ports_seen) = (BTreeSet::new(), BTreeSet::new());
    let all = spec.ports.as_deref().unwrap_or_default();
    let list = at.field("ports");
    for (index, port) in all.iter().enumerate() {
        let at = list.item(index);
        let name = port.name.as_deref().unwrap_or_default();
        broken.that(
            !name.is_empty() || all.len() == 1,
            &at.field("name"),
            "it is needed where there are several ports",
        );
        if !name.is_empty() {
            broken.rule(&at.field("name"), name, names::dns_label);
            broken.once(&at.field("name"), name.to_owned(), &mut names_seen);
        }
        broken.port(&at.field("port"), port.port);
        broken.one_of(&at.field("protocol"), port.protocol.as_ref(), &["TCP", "UDP", "SCTP"]);
        let protocol = port.protocol.as_deref().unwrap_or("TCP");
        broken.once(&at.field("port"), format!("{}/{protocol}", port.port), &mut ports_seen);
        if let Some(target) = &port.target_port {
            probes::port(target, &at.field("targetPort"), broken);
        }
        let asked = port.node_port.is_some_and(|port| port != 0);
        broken.that(!asked || kind == "NodePort", &at.field("nodePort"), "it is for the type NodePort");
    }
}

pub(super) fn endpoints(endpoints: &Endpoints, broken: &mut Broken) {
    let root = At::Object;
    let list = root.field("subsets");
    for (index, subset) in endpoints.subsets.iter().flatten().enumerate() {
        let at = list.item(index);
        for (field, addresses) in
            [("addresses", &subset.addresses), ("notReadyAddresses", &subset.not_ready_addresses)]
        {
            let list = at.field(field);
            for (index, address) in addresses.iter().flatten().enumerate() {
                let at = list.item(index);
                let good =
                    address.ip.parse::<IpAddr>().is_ok_and(|ip| !ip.is_unspecified() && !ip.is_multicast());
                broken.that(
                    good,
                    &at.field("ip"),
                    &format!("\"{}\" is no address of an endpoint", address.ip),
                );
                broken.rule_if(&at.field("hostname"), address.hostname.as_ref(), names::dns_label);
            }
        }
        let ports = subset.ports.as_deref().unwrap_or_default();
        let list = at.field("ports");
        for (index, port) in ports.iter().enumerate() {
            let at = list.item(index);
            broken.port(&at.field("port"), port.port);
            broken.one_of(&at.field("protocol"), port.protocol.as_ref(), &["TCP", "UDP", "SCTP"]);
            let named = port.name.as_ref().is_some_and(|name| !name.is_empty());
            broken.that(
                named || ports.len() == 1,
                &at.field("name"),
                "it is needed where there are several ports",
            );
        }
    }
}
