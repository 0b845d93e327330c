//! The variables by which containers are told of Services: `WEB_SERVICE_HOST`, `WEB_PORT_80_TCP_ADDR` and so on.

use k8s_openapi::api::core::v1::{Pod, Service};

use crate::objects::{Objects, Typed as _};

/// Of all Services with an address in the Pod's namespace, unless `enableServiceLinks` is false.
pub(super) fn service_variables(pod: &Pod, objects: &Objects) -> Vec<(String, String)> {
    let links = pod.spec.as_ref().and_then(|spec| spec.enable_service_links).unwrap_or(true);
    let mut variables = Vec::new();
    if links {
        objects.list_in::<Service>(pod.namespace()).for_each(|service| of_service(service, &mut variables));
    }
    variables
}

fn of_service(service: &Service, variables: &mut Vec<(String, String)>) {
    let Some(spec) = &service.spec else { return };
    let address = spec.cluster_ip.as_deref().unwrap_or_default();
    let ports = spec.ports.as_deref().unwrap_or_default();
    let (false, Some(first)) = (address.is_empty() || address == "None", ports.first()) else { return };
    let prefix = variable(service.name());
    let mut put = |name: String, value: String| variables.push((name, value));
    put(format!("{prefix}_SERVICE_HOST"), address.into());
    put(format!("{prefix}_SERVICE_PORT"), first.port.to_string());
    for port in ports {
        if let Some(name) = port.name.as_deref().filter(|name| !name.is_empty()) {
            put(format!("{prefix}_SERVICE_PORT_{}", variable(name)), port.port.to_string());
        }
    }
    let host = if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
    for (index, port) in ports.iter().enumerate() {
        let protocol = port.protocol.as_deref().unwrap_or("TCP");
        let lower = protocol.to_ascii_lowercase();
        let url = format!("{lower}://{host}:{}", port.port);
        if index == 0 {
            put(format!("{prefix}_PORT"), url.clone());
        }
        let prefix = format!("{prefix}_PORT_{}_{}", port.port, protocol.to_ascii_uppercase());
        put(format!("{prefix}_PROTO"), lower);
        put(format!("{prefix}_PORT"), port.port.to_string());
        put(format!("{prefix}_ADDR"), address.into());
        put(prefix, url);
    }
}

fn variable(name: &str) -> String {
    name.replace('-', "_").to_ascii_uppercase()
}
