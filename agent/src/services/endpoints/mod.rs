//! A Service's Endpoints: the addresses of the Pods that it selects, as Kubernetes' endpoints controller keeps them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{
    Container, EndpointAddress, EndpointPort, EndpointSubset, Endpoints, ObjectReference, Pod, Service,
    ServicePort, ServiceSpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use k8s_openapi::jiff::Timestamp;

use crate::objects::pod::{is_finished, is_unknown};
use crate::objects::{Key, Kind, Object, Objects, Typed, selector};
use crate::reconcile::{Action, Decision};

/// On all Endpoints that are kept here, and on those of headless Services.
const MANAGED_BY: (&str, &str) = ("endpoints.kubernetes.io/managed-by", "endpoint-controller");
const HEADLESS: &str = "service.kubernetes.io/headless";

/// See [`super::reconcile`].
pub fn reconcile(key: &Key, desired: &Objects, _: Timestamp) -> Decision {
    let actions =
        desired.find::<Service>(&key.namespace, &key.name).and_then(|service| keep(service, desired));
    Decision { actions: actions.into_iter().collect(), wake: None }
}

/// The one action that makes the Endpoints true. Those of a Service without a selector are whoever's made them.
fn keep(service: &Service, desired: &Objects) -> Option<Action> {
    let spec = service.spec.as_ref()?;
    let selects = spec.selector.as_ref().is_some_and(|selector| !selector.is_empty());
    if !selects
        || spec.type_.as_deref() == Some("ExternalName")
        || service.metadata.deletion_timestamp.is_some()
    {
        return None;
    }
    let wanted = wanted(service, spec, desired);
    let Some(found) = desired.find::<Endpoints>(service.namespace(), service.name()) else {
        return Some(Action::Create(wanted.wrap()));
    };
    // Those of before stand until the agent, which has just started, has asked the runtime: nobody is to lose a Pod by that.
    if selected(service, spec, desired).any(|pod| is_unknown(pod) && named_in(found, pod)) {
        return None;
    }
    let same = found.subsets.as_deref().unwrap_or_default() == wanted.subsets.as_deref().unwrap_or_default()
        && found.metadata.labels == wanted.metadata.labels
        && found.metadata.owner_references == wanted.metadata.owner_references;
    if same {
        return None;
    }
    let mut metadata = found.metadata.clone();
    metadata.labels = wanted.metadata.labels;
    metadata.owner_references = wanted.metadata.owner_references;
    Some(Action::Update(Endpoints { metadata, subsets: wanted.subsets }.wrap()))
}

fn wanted(service: &Service, spec: &ServiceSpec, desired: &Objects) -> Endpoints {
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.insert(MANAGED_BY.0.into(), MANAGED_BY.1.into());
    if spec.cluster_ip.as_deref() == Some("None") {
        labels.insert(HEADLESS.into(), String::new());
    }
    let owner = OwnerReference {
        api_version: Kind::Service.api_version().into(),
        kind: Kind::Service.name().into(),
        name: service.name().into(),
        uid: service.uid().into(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    };
    let metadata = ObjectMeta {
        name: service.metadata.name.clone(),
        namespace: service.metadata.namespace.clone(),
        labels: Some(labels),
        owner_references: Some(vec![owner]),
        ..ObjectMeta::default()
    };
    Endpoints { metadata, subsets: Some(subsets(service, spec, selected(service, spec, desired))) }
}

fn selected<'a>(
    service: &'a Service,
    spec: &'a ServiceSpec,
    desired: &'a Objects,
) -> impl Iterator<Item = &'a Pod> {
    let pods = desired.list_in::<Pod>(service.namespace());
    pods.filter(|pod| selector::has_all(spec.selector.as_ref(), pod.metadata.labels.as_ref()))
}

/// Pods that have the same ports for the Service.
struct Group {
    ports: Vec<EndpointPort>,
    ready: Vec<EndpointAddress>,
    not_ready: Vec<EndpointAddress>,
}

impl Group {
    fn finish(mut self) -> EndpointSubset {
        self.ports.sort_by(|a, b| (&a.name, a.port, &a.protocol).cmp(&(&b.name, b.port, &b.protocol)));
        let sorted = |mut addresses: Vec<EndpointAddress>| {
            addresses.sort_by_key(|address| address.ip.parse::<IpAddr>().ok());
            (!addresses.is_empty()).then_some(addresses)
        };
        EndpointSubset {
            addresses: sorted(self.ready),
            not_ready_addresses: sorted(self.not_ready),
            ports: (!self.ports.is_empty()).then_some(self.ports),
        }
    }
}

/// One subset for each set of ports.
fn subsets<'a>(
    service: &Service,
    spec: &ServiceSpec,
    pods: impl Iterator<Item = &'a Pod>,
) -> Vec<EndpointSubset> {
    let unready_too = spec.publish_not_ready_addresses == Some(true);
    let service_ports = spec.ports.as_deref().unwrap_or_default();
    // EndpointPorts have no order of their own: number, protocol and name are all that there is to them.
    let mut groups = BTreeMap::new();
    for pod in pods {
        let over = is_finished(pod);
        let ending = pod.metadata.deletion_timestamp.is_some() && !unready_too;
        let ports: Vec<_> = service_ports.iter().filter_map(|port| endpoint_port(pod, port)).collect();
        if over || ending || (ports.is_empty() && !service_ports.is_empty()) {
            continue;
        }
        let mut names: Vec<_> =
            ports.iter().map(|port| (port.port, port.protocol.clone(), port.name.clone())).collect();
        names.sort();
        let group = groups.entry(names).or_insert(Group { ports, ready: Vec::new(), not_ready: Vec::new() });
        let addresses = addresses_of(pod, spec).map(|ip| address(service, pod, ip));
        match unready_too || is_ready(pod) {
            true => group.ready.extend(addresses),
            false => group.not_ready.extend(addresses),
        }
    }
    let all = groups.into_values().map(Group::finish);
    all.filter(|subset| subset.addresses.is_some() || subset.not_ready_addresses.is_some()).collect()
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// A Pod's addresses.
pub(super) fn pod_addresses(pod: &Pod) -> impl Iterator<Item = IpAddr> + '_ {
    let status = pod.status.as_ref();
    let all = status.and_then(|status| status.pod_ips.as_deref()).unwrap_or_default();
    let first = status.and_then(|status| status.pod_ip.as_deref()).filter(|_| all.is_empty());
    all.iter().map(|ip| ip.ip.as_str()).chain(first).filter_map(|ip| ip.parse().ok())
}

/// The families that a Service has: those it says, or else those of its addresses. None: whatever comes first.
fn families(spec: &ServiceSpec) -> Vec<bool> {
    let said = spec.ip_families.as_deref().unwrap_or_default();
    let addresses = spec.cluster_ips.as_deref().unwrap_or_default().iter().chain(&spec.cluster_ip);
    match said.is_empty() {
        false => said.iter().map(|family| family == "IPv4").collect(),
        true => addresses.filter_map(|ip| ip.parse::<IpAddr>().ok()).map(|ip| ip.is_ipv4()).collect(),
    }
}

/// The Pod's first address of each family that the Service has.
fn addresses_of<'a>(pod: &'a Pod, spec: &ServiceSpec) -> impl Iterator<Item = IpAddr> + use<'a> {
    let families = families(spec);
    let of = |v4: bool| pod_addresses(pod).find(|ip| ip.is_ipv4() == v4);
    let mut chosen: Vec<_> = match families.is_empty() {
        true => pod_addresses(pod).take(1).collect(),
        false => families.into_iter().filter_map(of).collect(),
    };
    chosen.dedup();
    chosen.into_iter()
}

fn address(service: &Service, pod: &Pod, ip: IpAddr) -> EndpointAddress {
    let spec = pod.spec.as_ref();
    let subdomain = spec.and_then(|spec| spec.subdomain.as_deref());
    let hostname = spec.and_then(|spec| spec.hostname.clone()).filter(|name| !name.is_empty());
    EndpointAddress {
        hostname: hostname.filter(|_| subdomain == Some(service.name())),
        ip: ip.to_string(),
        node_name: spec.and_then(|spec| spec.node_name.clone()),
        target_ref: Some(ObjectReference {
            kind: Some(Kind::Pod.name().into()),
            namespace: pod.metadata.namespace.clone(),
            name: pod.metadata.name.clone(),
            uid: pod.metadata.uid.clone(),
            ..ObjectReference::default()
        }),
    }
}

/// The port of a Pod that a Service's port leads to. None: no container has one of this name.
fn endpoint_port(pod: &Pod, port: &ServicePort) -> Option<EndpointPort> {
    let protocol = port.protocol.as_deref().unwrap_or("TCP");
    let number = match &port.target_port {
        None | Some(IntOrString::Int(0)) => port.port,
        Some(IntOrString::Int(number)) => *number,
        Some(IntOrString::String(name)) if name.is_empty() => port.port,
        Some(IntOrString::String(name)) => container_port(pod, name, protocol)?,
    };
    Some(EndpointPort {
        app_protocol: port.app_protocol.clone(),
        name: port.name.clone().filter(|name| !name.is_empty()),
        port: number,
        protocol: Some(protocol.into()),
    })
}

fn container_port(pod: &Pod, name: &str, protocol: &str) -> Option<i32> {
    let spec = pod.spec.as_ref()?;
    let sidecars = spec.init_containers.iter().flatten();
    let sidecars = sidecars.filter(|container| container.restart_policy.as_deref() == Some("Always"));
    let ports = |container: &Container| container.ports.clone().unwrap_or_default();
    let found = spec.containers.iter().chain(sidecars).flat_map(ports).find(|port| {
        port.name.as_deref() == Some(name) && port.protocol.as_deref().unwrap_or("TCP") == protocol
    });
    found.map(|port| port.container_port)
}

/// See [`super::dependents`].
pub fn dependents(changed: &Object, desired: &Objects) -> Vec<Key> {
    match changed {
        Object::Endpoints(endpoints) => {
            vec![Key::new(Kind::Service, endpoints.namespace(), endpoints.name())]
        }
        Object::Pod(pod) => {
            let selected = desired.list_in::<Service>(pod.namespace()).filter(|service| {
                let selector = service.spec.as_ref().and_then(|spec| spec.selector.as_ref());
                selector::has_all(selector, pod.metadata.labels.as_ref())
            });
            // Where its labels have changed, those that still have it.
            let named =
                desired.list_in::<Endpoints>(pod.namespace()).filter(|endpoints| named_in(endpoints, pod));
            let named =
                named.map(|endpoints| Key::new(Kind::Service, endpoints.namespace(), endpoints.name()));
            let mut keys: Vec<_> = selected.map(Typed::key).chain(named).collect();
            keys.sort();
            keys.dedup();
            keys
        }
        _ => Vec::new(),
    }
}

/// Whether some are of before the agent's start, and not yet known to be right: see [`keep`].
pub(super) fn are_of_before(objects: &Objects) -> bool {
    let unknown: BTreeSet<_> =
        objects.list::<Pod>().filter(|pod| is_unknown(pod)).map(|pod| pod.uid()).collect();
    let is_of_one = |address: &EndpointAddress| {
        let uid = address.target_ref.as_ref().and_then(|target| target.uid.as_deref());
        uid.is_some_and(|uid| unknown.contains(uid))
    };
    !unknown.is_empty()
        && objects.list::<Endpoints>().any(|endpoints| {
            let subsets = endpoints.subsets.iter().flatten();
            subsets.flat_map(|subset| subset.addresses.iter().flatten()).any(is_of_one)
        })
}

/// Whether an address of theirs is the Pod's.
fn named_in(endpoints: &Endpoints, pod: &Pod) -> bool {
    let subsets = endpoints.subsets.iter().flatten();
    let mut addresses = subsets.flat_map(|s| s.addresses.iter().chain(&s.not_ready_addresses).flatten());
    addresses.any(|address| {
        let target = address.target_ref.as_ref();
        target.is_some_and(|target| target.uid == pod.metadata.uid && target.kind.as_deref() == Some("Pod"))
    })
}

#[cfg(test)]
mod tests;
