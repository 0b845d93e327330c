//! What a Service's port is for the kernel's rules: where it is asked, and whom it leads to.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use k8s_openapi::api::core::v1::{Endpoints, Service, ServicePort, ServiceSpec};

use crate::objects::{Objects, Typed};

/// Seconds, where a Service with session affinity does not say how long.
const AFFINITY: u32 = 3 * 60 * 60;

/// One port of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frontend {
    /// `NAMESPACE/NAME`.
    pub service: String,
    pub protocol: Protocol,
    pub port: u16,
    /// Its ClusterIPs; none of a headless one.
    pub addresses: Vec<IpAddr>,
    pub node_port: Option<u16>,
    /// How long, in seconds, a client stays with a backend after his last connection.
    pub affinity: Option<u32>,
    /// Ready ones, sorted.
    pub backends: Vec<SocketAddr>,
}

/// As rules of nftables call it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Protocol {
    Tcp,
    Udp,
    Sctp,
}

impl Protocol {
    /// Of a manifest: TCP where it is left out.
    pub fn parse(name: Option<&str>) -> Option<Self> {
        match name {
            None | Some("TCP") => Some(Self::Tcp),
            Some("UDP") => Some(Self::Udp),
            Some("SCTP") => Some(Self::Sctp),
            Some(_) => None,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        })
    }
}

/// All ports of all Services that are asked at an address, in the order of the Services.
pub(super) fn all(objects: &Objects) -> Vec<Frontend> {
    let services = objects.list::<Service>();
    services.flat_map(|service| of_service(service, objects)).collect()
}

fn of_service(service: &Service, objects: &Objects) -> Vec<Frontend> {
    let Some(spec) = &service.spec else { return Vec::new() };
    let addresses = cluster_ips(spec);
    if addresses.is_empty() {
        return Vec::new();
    }
    let endpoints = objects.find::<Endpoints>(service.namespace(), service.name());
    let ports = spec.ports.iter().flatten();
    let frontend = |port: &ServicePort| {
        let protocol = Protocol::parse(port.protocol.as_deref())?;
        Some(Frontend {
            service: format!("{}/{}", service.namespace(), service.name()),
            protocol,
            port: number(port.port)?,
            addresses: addresses.clone(),
            node_port: port.node_port.filter(|_| is_on_node(spec)).and_then(number),
            affinity: affinity(spec),
            backends: endpoints.map(|endpoints| backends(endpoints, port, protocol)).unwrap_or_default(),
        })
    };
    ports.filter_map(frontend).collect()
}

fn number(port: i32) -> Option<u16> {
    u16::try_from(port).ok().filter(|port| *port != 0)
}

fn is_on_node(spec: &ServiceSpec) -> bool {
    matches!(spec.type_.as_deref(), Some("NodePort" | "LoadBalancer"))
}

/// The ClusterIPs of a Service: none where it is headless, is another's name, or has none yet.
pub(super) fn cluster_ips(spec: &ServiceSpec) -> Vec<IpAddr> {
    if spec.type_.as_deref() == Some("ExternalName") {
        return Vec::new();
    }
    let all = spec.cluster_ips.as_deref().unwrap_or_default();
    let first = spec.cluster_ip.iter().filter(|_| all.is_empty());
    all.iter().chain(first).filter_map(|ip| ip.parse().ok()).collect()
}

fn affinity(spec: &ServiceSpec) -> Option<u32> {
    if spec.session_affinity.as_deref() != Some("ClientIP") {
        return None;
    }
    let client_ip = spec.session_affinity_config.as_ref().and_then(|config| config.client_ip.as_ref());
    let seconds = client_ip.and_then(|config| config.timeout_seconds);
    seconds.map_or(Some(AFFINITY), |seconds| u32::try_from(seconds).ok())
}

/// The ready addresses behind a Service's port: it is found among those of the Endpoints by its name.
pub(super) fn backends(endpoints: &Endpoints, port: &ServicePort, protocol: Protocol) -> Vec<SocketAddr> {
    let mut found = Vec::new();
    for subset in endpoints.subsets.iter().flatten() {
        let ports = subset.ports.iter().flatten().filter(|candidate| {
            candidate.name.as_deref().unwrap_or_default() == port.name.as_deref().unwrap_or_default()
                && Protocol::parse(candidate.protocol.as_deref()) == Some(protocol)
        });
        for port in ports.filter_map(|port| number(port.port)) {
            let addresses = subset.addresses.iter().flatten().filter_map(|address| address.ip.parse().ok());
            found.extend(addresses.map(|ip: IpAddr| SocketAddr::new(ip, port)));
        }
    }
    found.sort();
    found.dedup();
    found
}
