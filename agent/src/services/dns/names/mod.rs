//! What names mean, as Kubernetes' specification of its DNS says. Pure.

use std::net::IpAddr;

use hickory_server::proto::op::ResponseCode;
use hickory_server::proto::rr::rdata::{CNAME, NS, PTR, SOA, SRV, TXT};
use hickory_server::proto::rr::{Name, RData, Record, RecordType};
use k8s_openapi::api::core::v1::{EndpointAddress, Endpoints, Namespace, Pod, Service, ServiceSpec};

use super::super::endpoints::pod_addresses;
use super::super::frontend::{Protocol, cluster_ips};
use super::super::rules::Network;
use super::Answer;
use crate::objects::pod::is_unknown;
use crate::objects::{Objects, Typed as _};

/// Seconds that an answer may be remembered, also one that there is nothing.
const TTL: u32 = 5;

/// The cluster's domain.
#[derive(Clone, Debug)]
pub struct Zone {
    domain: Name,
    /// Of ClusterIPs, whose names nobody else knows.
    ranges: Vec<Network>,
}

impl Zone {
    /// `cluster.local`, and ranges as in [`super::super::Settings`].
    pub fn new(domain: &str, ranges: &str) -> anyhow::Result<Self> {
        let name =
            Name::from_ascii(domain).map_err(|error| anyhow::anyhow!("cluster domain {domain}: {error}"))?;
        let mut domain = name.to_lowercase();
        domain.set_fqdn(true);
        Ok(Self { domain, ranges: Network::parse_list(ranges)? })
    }

    fn soa(&self) -> Record {
        let within = |label: &str| self.name(&[label, "dns"]).unwrap_or_else(|| self.domain.clone());
        // The serial says nothing: nobody transfers this zone.
        let soa = SOA::new(within("ns"), within("hostmaster"), 1, 7200, 1800, 86400, TTL);
        Record::from_rdata(self.domain.clone(), TTL, RData::SOA(soa))
    }

    /// A name within the domain.
    fn name(&self, labels: &[&str]) -> Option<Name> {
        Name::from_labels(labels.iter().map(|label| label.as_bytes())).ok()?.append_domain(&self.domain).ok()
    }
}

/// Who knows.
#[derive(Debug)]
pub(super) enum Reply {
    /// This is all there is.
    Here(Answer),
    /// The name is another's.
    Alias(Record),
    /// Servers outside.
    Elsewhere,
}

/// Answers a query.
pub(super) fn answer(objects: &Objects, zone: &Zone, name: &Name, of: RecordType) -> Reply {
    if !zone.domain.zone_of(name) {
        return match name.parse_arpa_name() {
            Ok(network) if network.prefix_len() == network.max_prefix_len() => {
                reverse(objects, zone, name, of, network.addr())
            }
            _ => Reply::Elsewhere,
        };
    }
    let own = usize::from(zone.domain.num_labels());
    let count = name.iter().count() - own;
    let labels: Vec<_> =
        name.iter().take(count).map(|label| String::from_utf8_lossy(label).to_ascii_lowercase()).collect();
    let labels: Vec<_> = labels.iter().map(String::as_str).collect();
    let asked = Asked { objects, zone, name, of };
    match labels.as_slice() {
        [] => asked.domain(),
        ["dns-version"] => asked.records(vec![RData::TXT(TXT::new(vec!["1.1.0".into()]))]),
        ["ns", "dns"] | ["svc" | "pod" | "dns"] => asked.nothing(),
        [namespace, "svc" | "pod"] => match objects.find::<Namespace>("", namespace) {
            Some(_) => asked.nothing(),
            None => asked.unknown(),
        },
        [address, namespace, "pod"] => asked.pod(address, namespace),
        [rest @ .., service, namespace, "svc"] => match objects.find::<Service>(namespace, service) {
            Some(service) => asked.service(service, rest),
            None => asked.unknown(),
        },
        _ => asked.unknown(),
    }
}

/// `4.3.2.1.in-addr.arpa`: the name of a Service, or of an endpoint.
fn reverse(objects: &Objects, zone: &Zone, name: &Name, of: RecordType, address: IpAddr) -> Reply {
    let asked = Asked { objects, zone, name, of };
    let found = objects.list::<Service>().find_map(|service| {
        let spec = service.spec.as_ref()?;
        let labels = [service.name(), service.namespace(), "svc"];
        if cluster_ips(spec).contains(&address) {
            return zone.name(&labels);
        }
        let endpoint =
            is_headless(spec).then(|| ready(objects, service).find(|(ip, _)| *ip == address))??;
        zone.name(&[&[host(endpoint).as_str()][..], &labels].concat())
    });
    match found {
        Some(found) => asked.records(vec![RData::PTR(PTR(found))]),
        None if zone.ranges.iter().any(|range| range.contains(address)) => asked.unknown(),
        None => Reply::Elsewhere,
    }
}

fn is_headless(spec: &ServiceSpec) -> bool {
    spec.type_.as_deref() != Some("ExternalName") && spec.cluster_ip.as_deref() == Some("None")
}

type Endpoint<'a> = (IpAddr, &'a EndpointAddress);

/// The published addresses of a Service.
fn ready<'a>(objects: &'a Objects, service: &Service) -> impl Iterator<Item = Endpoint<'a>> {
    let endpoints = objects.find::<Endpoints>(service.namespace(), service.name());
    let subsets = endpoints.and_then(|endpoints| endpoints.subsets.as_deref()).unwrap_or_default();
    let addresses = subsets.iter().flat_map(|subset| subset.addresses.as_deref().unwrap_or_default());
    addresses.filter_map(|address| Some((address.ip.parse().ok()?, address)))
}

/// The first label of an endpoint: its hostname, or its address.
fn host((ip, address): Endpoint<'_>) -> String {
    address.hostname.clone().unwrap_or_else(|| dashed(ip))
}

/// `10-88-0-2`, `fd00--2`.
fn dashed(ip: IpAddr) -> String {
    ip.to_string().replace(['.', ':'], "-")
}

struct Asked<'a> {
    objects: &'a Objects,
    zone: &'a Zone,
    name: &'a Name,
    of: RecordType,
}

impl Asked<'_> {
    /// There is no such name.
    fn unknown(&self) -> Reply {
        Reply::Here(Answer {
            own: true,
            soa: Some(self.zone.soa()),
            ..Answer::nothing(ResponseCode::NXDomain)
        })
    }

    /// The name is there, but has nothing of this type.
    fn nothing(&self) -> Reply {
        self.records(Vec::new())
    }

    /// Of all that the name has, what is asked for.
    fn records(&self, all: Vec<RData>) -> Reply {
        self.records_and(all, Vec::new())
    }

    fn records_and(&self, all: Vec<RData>, additionals: Vec<Record>) -> Reply {
        let wanted =
            all.into_iter().filter(|data| self.of == RecordType::ANY || data.record_type() == self.of);
        let records: Vec<_> = wanted.map(|data| Record::from_rdata(self.name.clone(), TTL, data)).collect();
        let soa = records.is_empty().then(|| self.zone.soa());
        let additionals = if records.is_empty() { Vec::new() } else { additionals };
        Reply::Here(Answer { code: ResponseCode::NoError, own: true, records, additionals, soa })
    }

    fn addresses(&self, addresses: impl IntoIterator<Item = IpAddr>) -> Reply {
        self.records(addresses.into_iter().map(RData::from).collect())
    }

    fn domain(&self) -> Reply {
        let soa = self.zone.soa().data;
        let server = self.zone.name(&["ns", "dns"]).map(|name| RData::NS(NS(name)));
        self.records(std::iter::once(soa).chain(server).collect())
    }

    /// `10-88-0-2.default.pod`: an address that a Pod of this namespace has.
    fn pod(&self, address: &str, namespace: &str) -> Reply {
        let pods = self.objects.list_in::<Pod>(namespace);
        let found =
            pods.flat_map(|pod| pod_addresses(pod).collect::<Vec<_>>()).find(|ip| dashed(*ip) == address);
        match found {
            Some(ip) => self.addresses([ip]),
            // The agent has just started, and a client would remember that there is no such name.
            None if self.objects.list_in::<Pod>(namespace).any(is_unknown) => {
                Reply::Here(Answer::nothing(ResponseCode::ServFail))
            }
            None => self.unknown(),
        }
    }

    fn service(&self, service: &Service, rest: &[&str]) -> Reply {
        let Some(spec) = &service.spec else { return self.unknown() };
        if spec.type_.as_deref() == Some("ExternalName") {
            return self.alias(spec, rest);
        }
        let endpoints: Vec<_> = ready(self.objects, service).collect();
        let headless = is_headless(spec);
        match rest {
            // So says the specification, and clients take it for: not yet.
            [] if headless && endpoints.is_empty() => self.unknown(),
            [] if self.of == RecordType::SRV => self.ports(service, spec, None),
            [] if headless => self.addresses(endpoints.into_iter().map(|(ip, _)| ip)),
            [] => self.addresses(cluster_ips(spec)),
            [endpoint] if headless => {
                let named = endpoints.into_iter().filter(|found| host(*found) == **endpoint);
                let named: Vec<_> = named.map(|(ip, _)| ip).collect();
                match (named.is_empty(), protocol(endpoint)) {
                    (false, _) => self.addresses(named),
                    (true, Some(_)) => self.nothing(),
                    (true, None) => self.unknown(),
                }
            }
            [label] if protocol(label).is_some() => self.nothing(),
            [port, label] => match (port.strip_prefix('_'), protocol(label)) {
                (Some(port), Some(protocol)) => self.ports(service, spec, Some((port, protocol))),
                _ => self.unknown(),
            },
            _ => self.unknown(),
        }
    }

    fn alias(&self, spec: &ServiceSpec, rest: &[&str]) -> Reply {
        let target = spec.external_name.as_deref().and_then(|name| Name::from_ascii(name).ok());
        let Some(mut target) = target.filter(|_| rest.is_empty()) else { return self.unknown() };
        target.set_fqdn(true);
        Reply::Alias(Record::from_rdata(self.name.clone(), TTL, RData::CNAME(CNAME(target))))
    }

    /// SRV of one named port, or of all ports; with the addresses of their targets.
    fn ports(&self, service: &Service, spec: &ServiceSpec, named: Option<(&str, Protocol)>) -> Reply {
        let labels = [service.name(), service.namespace(), "svc"];
        let (mut data, mut additionals) = (Vec::new(), Vec::new());
        let mut add = |labels: &[&str], port: u16, ip: IpAddr| {
            let Some(target) = self.zone.name(labels) else { return };
            let srv = RData::SRV(SRV::new(0, 100, port, target.clone()));
            if !data.contains(&srv) {
                data.push(srv);
            }
            let address = Record::from_rdata(target, TTL, RData::from(ip));
            if !additionals.contains(&address) {
                additionals.push(address);
            }
        };
        let is_asked = |name: Option<&str>, of: Option<&str>| match named {
            None => true,
            Some((asked, protocol)) => name == Some(asked) && Protocol::parse(of) == Some(protocol),
        };
        if is_headless(spec) {
            let endpoints = self.objects.find::<Endpoints>(service.namespace(), service.name());
            for subset in endpoints.iter().flat_map(|endpoints| endpoints.subsets.iter().flatten()) {
                let ports = subset.ports.iter().flatten();
                for port in ports.filter(|port| is_asked(port.name.as_deref(), port.protocol.as_deref())) {
                    for address in subset.addresses.iter().flatten() {
                        if let (Ok(ip), Ok(port)) = (address.ip.parse(), u16::try_from(port.port)) {
                            add(&[&[host((ip, address)).as_str()][..], &labels].concat(), port, ip);
                        }
                    }
                }
            }
        } else {
            let ports = spec.ports.iter().flatten();
            for port in ports.filter(|port| is_asked(port.name.as_deref(), port.protocol.as_deref())) {
                for ip in cluster_ips(spec) {
                    u16::try_from(port.port).into_iter().for_each(|port| add(&labels, port, ip));
                }
            }
        }
        match data.is_empty() {
            true => self.unknown(),
            false => self.records_and(data, additionals),
        }
    }
}

/// `_tcp`.
fn protocol(label: &str) -> Option<Protocol> {
    match label {
        "_tcp" => Some(Protocol::Tcp),
        "_udp" => Some(Protocol::Udp),
        "_sctp" => Some(Protocol::Sctp),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
