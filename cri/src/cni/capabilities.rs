//! What a Pod wants of its network, as CNI's capability arguments (runtimeConfig) and as the bridge's ports.

use std::net::IpAddr;

use rcrun::network::{PortMapping, Protocol};
use serde_json::{Map, Value, json};

use super::{CniError, bandwidth};
use crate::api;

/// Every capability that this Pod has an argument for; each plugin gets those that it asks for.
pub fn arguments(
    config: &api::PodSandboxConfig,
    cgroup_parent: &str,
) -> Result<Map<String, Value>, CniError> {
    let mut arguments = Map::new();
    let ports = host_ports(&config.port_mappings)?;
    if !ports.is_empty() {
        arguments.insert("portMappings".into(), ports.iter().map(port).collect());
    }
    if let Some(limits) = bandwidth::limits(&config.annotations)? {
        arguments.insert("bandwidth".into(), limits);
    }
    if let Some(dns) = &config.dns_config {
        let dns = json!({"servers": dns.servers, "searches": dns.searches, "options": dns.options});
        arguments.insert("dns".into(), dns);
    }
    arguments.insert("io.kubernetes.cri.pod-annotations".into(), json!(config.annotations));
    if !cgroup_parent.is_empty() {
        arguments.insert("cgroupPath".into(), cgroup_parent.into());
    }
    Ok(arguments)
}

/// The mappings that ask for a port of the host. The others only say what the Pod listens on.
pub fn host_ports(mappings: &[api::PortMapping]) -> Result<Vec<PortMapping>, CniError> {
    let mut ports = Vec::new();
    for (index, mapping) in mappings.iter().enumerate() {
        let wrong = |field: &str, reason: String| CniError::Wish {
            field: format!("port_mappings[{index}].{field}"),
            reason,
        };
        let number = |field: &str, value: i32| {
            u16::try_from(value).map_err(|_| wrong(field, format!("{value} is no port, 1 to 65535")))
        };
        let (host, container) =
            (number("host_port", mapping.host_port)?, number("container_port", mapping.container_port)?);
        let protocol = match mapping.protocol() {
            api::Protocol::Tcp if mapping.protocol != 0 => {
                return Err(wrong("protocol", format!("{} is none", mapping.protocol)));
            }
            api::Protocol::Tcp => Protocol::Tcp,
            api::Protocol::Udp => Protocol::Udp,
            api::Protocol::Sctp => Protocol::Sctp,
        };
        let address: Option<IpAddr> = match mapping.host_ip.as_str() {
            "" => None,
            text => Some(text.parse().map_err(|_| wrong("host_ip", format!("{text:?} is no address")))?),
        };
        if host == 0 {
            continue;
        }
        if container == 0 {
            return Err(wrong("container_port", "missing beside a host_port".into()));
        }
        ports.push(PortMapping { address, host, container, protocol });
    }
    Ok(ports)
}

/// The portMappings capability's form.
fn port(mapping: &PortMapping) -> Value {
    let protocol = match mapping.protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
        Protocol::Sctp => "sctp",
    };
    let mut port =
        json!({"hostPort": mapping.host, "containerPort": mapping.container, "protocol": protocol});
    if let Some(address) = mapping.address {
        port["hostIP"] = address.to_string().into();
    }
    port
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(host_port: i32, container_port: i32) -> api::PortMapping {
        api::PortMapping { host_port, container_port, ..Default::default() }
    }

    #[test]
    fn only_ports_of_the_host_are_mapped() {
        let ports = host_ports(&[mapping(0, 80), mapping(8080, 80)]).unwrap();
        let expected = PortMapping { address: None, host: 8080, container: 80, protocol: Protocol::Tcp };
        assert_eq!(ports, [expected]);
    }

    #[test]
    fn mappings_that_make_no_sense_are_refused_by_field() {
        let strange = |change: &dyn Fn(&mut api::PortMapping)| {
            let mut wrong = mapping(8080, 80);
            change(&mut wrong);
            host_ports(&[mapping(1, 1), wrong]).unwrap_err().to_string()
        };
        assert_eq!(
            strange(&|m| m.host_port = 65536),
            "port_mappings[1].host_port: 65536 is no port, 1 to 65535"
        );
        assert_eq!(strange(&|m| m.host_port = -1), "port_mappings[1].host_port: -1 is no port, 1 to 65535");
        assert_eq!(
            strange(&|m| m.container_port = 0),
            "port_mappings[1].container_port: missing beside a host_port"
        );
        assert_eq!(
            strange(&|m| m.host_ip = "here".into()),
            "port_mappings[1].host_ip: \"here\" is no address"
        );
        assert_eq!(strange(&|m| m.protocol = 9), "port_mappings[1].protocol: 9 is none");
    }

    #[test]
    fn arguments_have_the_plugins_names() {
        let config = api::PodSandboxConfig {
            port_mappings: vec![api::PortMapping {
                host_port: 53,
                container_port: 5353,
                protocol: api::Protocol::Udp.into(),
                host_ip: "127.0.0.1".into(),
            }],
            dns_config: Some(api::DnsConfig { servers: vec!["10.0.0.10".into()], ..Default::default() }),
            ..Default::default()
        };
        let arguments = arguments(&config, "/pods/a").unwrap();
        let port = json!([{"hostPort": 53, "containerPort": 5353, "protocol": "udp", "hostIP": "127.0.0.1"}]);
        assert_eq!(arguments["portMappings"], port);
        assert_eq!(arguments["dns"], json!({"servers": ["10.0.0.10"], "searches": [], "options": []}));
        assert_eq!(arguments["cgroupPath"], json!("/pods/a"));
        assert!(!arguments.contains_key("bandwidth"));
    }
}
