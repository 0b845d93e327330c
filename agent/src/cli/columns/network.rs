//! Services, Endpoints, Ingresses.

use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use super::super::value::{Look as _, or, pairs};
use super::{Columns, created, name, or_none};

/// More endpoints than these are counted.
const ENDPOINTS_SHOWN: usize = 3;
/// The same of hosts.
const HOSTS_SHOWN: usize = 3;

pub const SERVICE: Columns = Columns {
    headings: &["NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "AGE", "SELECTOR*"],
    cells: service,
};

fn service(service: &Value, now: Timestamp) -> Vec<String> {
    let external = match service.text("/spec/type") {
        "ExternalName" => service.text("/spec/externalName").to_owned(),
        _ => String::new(),
    };
    let ports: Vec<String> = service
        .items("/spec/ports")
        .iter()
        .map(|port| {
            let node = match port.number("/nodePort") {
                0 => String::new(),
                node => format!(":{node}"),
            };
            format!("{}{node}/{}", port.number("/port"), or(port.text("/protocol"), "TCP"))
        })
        .collect();
    vec![
        name(service),
        or(service.text("/spec/type"), "ClusterIP").to_owned(),
        or_none(service.text("/spec/clusterIP")),
        or_none(&external),
        or_none(&ports.join(",")),
        created(service, now),
        pairs(service, "/spec/selector", "<none>"),
    ]
}

pub const ENDPOINTS: Columns = Columns { headings: &["NAME", "ENDPOINTS", "AGE"], cells: endpoints };

fn endpoints(endpoints: &Value, now: Timestamp) -> Vec<String> {
    vec![name(endpoints), addresses(endpoints), created(endpoints, now)]
}

/// `10.1.0.2:80,10.1.0.3:80 + 2 more...`.
pub fn addresses(endpoints: &Value) -> String {
    let mut all = Vec::new();
    for subset in endpoints.items("/subsets") {
        for address in subset.items("/addresses") {
            let address = address.text("/ip");
            let address = if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
            let ports = subset.items("/ports");
            if ports.is_empty() {
                all.push(address.clone());
            }
            all.extend(ports.iter().map(|port| format!("{address}:{}", port.number("/port"))));
        }
    }
    shortened(&all, ENDPOINTS_SHOWN)
}

fn shortened(all: &[String], shown: usize) -> String {
    let text = or_none(&all.iter().take(shown).cloned().collect::<Vec<_>>().join(","));
    match all.len().saturating_sub(shown) {
        0 => text,
        more => format!("{text} + {more} more..."),
    }
}

pub const INGRESS: Columns =
    Columns { headings: &["NAME", "CLASS", "HOSTS", "ADDRESS", "PORTS", "AGE"], cells: ingress };

fn ingress(ingress: &Value, now: Timestamp) -> Vec<String> {
    let hosts: Vec<String> =
        ingress.items("/spec/rules").iter().map(|rule| or(rule.text("/host"), "*").to_owned()).collect();
    let hosts = if hosts.is_empty() { "*".to_owned() } else { shortened(&hosts, HOSTS_SHOWN) };
    let addresses: Vec<&str> = ingress
        .items("/status/loadBalancer/ingress")
        .iter()
        .map(|address| or(address.text("/ip"), address.text("/hostname")))
        .collect();
    let ports = if ingress.items("/spec/tls").is_empty() { "80" } else { "80, 443" };
    vec![
        name(ingress),
        or_none(ingress.text("/spec/ingressClassName")),
        hosts,
        addresses.join(","),
        ports.to_owned(),
        created(ingress, now),
    ]
}
