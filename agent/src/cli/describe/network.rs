//! Services, Endpoints, Ingresses.

use serde_json::Value;

use super::super::columns::endpoint_addresses;
use super::super::value::{Look as _, or, pairs};
use super::layout::Text;
use super::metadata;

/// With its Endpoints.
pub fn service(text: &mut Text, service: &Value, endpoints: &[Value]) {
    metadata(text, service);
    text.field(0, "Selector", pairs(service, "/spec/selector", "<none>"));
    text.field(0, "Type", or(service.text("/spec/type"), "ClusterIP"));
    text.field(0, "IP Family Policy", or(service.text("/spec/ipFamilyPolicy"), "<none>"));
    let addresses: Vec<&str> = service.items("/spec/clusterIPs").iter().filter_map(Value::as_str).collect();
    text.field(0, "IP", or(service.text("/spec/clusterIP"), "<none>"));
    text.field(0, "IPs", or(&addresses.join(","), "<none>"));
    text.optional(0, "External Name", service.text("/spec/externalName"));
    for port in service.items("/spec/ports") {
        let protocol = or(port.text("/protocol"), "TCP");
        let name = or(port.text("/name"), "<unset>");
        text.field(0, "Port", format!("{name}  {}/{protocol}", port.number("/port")));
        text.field(0, "TargetPort", format!("{}/{protocol}", port.plain("/targetPort")));
        if port.number("/nodePort") > 0 {
            text.field(0, "NodePort", format!("{name}  {}/{protocol}", port.number("/nodePort")));
        }
        text.field(0, "Endpoints", endpoints_of(port, endpoints).join(","));
    }
    text.field(0, "Session Affinity", or(service.text("/spec/sessionAffinity"), "None"));
}

/// Of the Endpoints' ports, those of the same name.
fn endpoints_of<'a>(port: &Value, endpoints: impl IntoIterator<Item = &'a Value>) -> Vec<String> {
    let mut all = Vec::new();
    for subset in endpoints.into_iter().flat_map(|endpoints| endpoints.items("/subsets")) {
        for of in subset.items("/ports").iter().filter(|of| of.text("/name") == port.text("/name")) {
            let addresses = subset.items("/addresses").iter();
            all.extend(addresses.map(|address| format!("{}:{}", address.text("/ip"), of.number("/port"))));
        }
    }
    all
}

pub fn endpoints(text: &mut Text, endpoints: &Value) {
    metadata(text, endpoints);
    if endpoints.items("/subsets").is_empty() {
        return text.field(0, "Subsets", "<none>");
    }
    text.line(0, "Subsets:");
    for subset in endpoints.items("/subsets") {
        for (name, pointer) in [("Addresses", "/addresses"), ("NotReadyAddresses", "/notReadyAddresses")] {
            let all: Vec<&str> = subset.items(pointer).iter().map(|address| address.text("/ip")).collect();
            text.field(1, name, or(&all.join(","), "<none>"));
        }
        for port in subset.items("/ports") {
            let protocol = or(port.text("/protocol"), "TCP");
            text.field(
                1,
                "Port",
                format!("{}  {}/{protocol}", or(port.text("/name"), "<unset>"), port.number("/port")),
            );
        }
    }
    text.field(0, "Ready", endpoint_addresses(endpoints));
}

/// With the Services and Endpoints of its namespace.
pub fn ingress(text: &mut Text, ingress: &Value, related: &[Value]) {
    metadata(text, ingress);
    let addresses: Vec<&str> =
        ingress.items("/status/loadBalancer/ingress").iter().map(|address| address.text("/ip")).collect();
    text.field(0, "Address", addresses.join(","));
    text.field(0, "Ingress Class", or(ingress.text("/spec/ingressClassName"), "<none>"));
    text.field(0, "Default backend", backend(&ingress["spec"]["defaultBackend"], related));
    if !ingress.items("/spec/tls").is_empty() {
        text.line(0, "TLS:");
        for tls in ingress.items("/spec/tls") {
            let hosts: Vec<&str> = tls.items("/hosts").iter().filter_map(Value::as_str).collect();
            text.line(1, format!("{} terminates {}", tls.text("/secretName"), hosts.join(",")));
        }
    }
    text.line(0, "Rules:");
    text.row(1, &["Host", "Path", "Backends"]);
    text.row(1, &["----", "----", "--------"]);
    for rule in ingress.items("/spec/rules") {
        for path in rule.items("/http/paths") {
            let of = format!("{} ({})", or(path.text("/path"), "/"), path.text("/pathType"));
            text.row(1, &[or(rule.text("/host"), "*"), &of, &backend(&path["backend"], related)]);
        }
    }
}

/// How many endpoints of a backend are shown.
const SHOWN: usize = 3;

fn backend(backend: &Value, related: &[Value]) -> String {
    let service = backend.text("/service/name");
    if service.is_empty() {
        return "<default>".to_owned();
    }
    let port = match backend.text("/service/port/name") {
        "" => backend.plain("/service/port/number"),
        name => name.to_owned(),
    };
    let called = |kind: &str| {
        let mut related = related.iter().filter(move |object| object.text("/kind") == kind);
        related.find(|object| object.text("/metadata/name") == service)
    };
    let Some(of) = called("Service") else {
        return format!("{service}:{port} (<error: services \"{service}\" not found>)");
    };
    let mut ports = of.items("/spec/ports").iter();
    let meant = ports.find(|of| of.plain("/port") == port || of.text("/name") == port);
    let mut all = meant.map_or_else(Vec::new, |port| endpoints_of(port, called("Endpoints")));
    let more = all.len().saturating_sub(SHOWN);
    all.truncate(SHOWN);
    let more = if more > 0 { format!(" + {more} more...") } else { String::new() };
    format!("{service}:{port} ({}{more})", or(&all.join(","), "<none>"))
}
