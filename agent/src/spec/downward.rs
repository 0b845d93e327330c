//! What a Pod is told about itself: `fieldRef` and `resourceFieldRef`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Container, Pod, ResourceFieldSelector};

use super::{container_of, machine, resources};
use crate::objects::{Typed as _, quantity};
use crate::reconcile::observed::NodeFacts;

/// The value of a field of the Pod, or why there is none. `addresses` are the Pod's, which are known once it has a sandbox.
pub fn field(pod: &Pod, path: &str, addresses: &[IpAddr], node: &NodeFacts) -> Result<String, String> {
    let spec = pod.spec.as_ref();
    let metadata = &pod.metadata;
    if let Some((map, key)) = subscript(path) {
        let map = match map {
            "metadata.labels" => &metadata.labels,
            "metadata.annotations" => &metadata.annotations,
            _ => return Err(unsupported(path)),
        };
        return Ok(map.as_ref().and_then(|map| map.get(key)).cloned().unwrap_or_default());
    }
    Ok(match path {
        "metadata.name" => pod.name().into(),
        "metadata.namespace" => pod.namespace().into(),
        "metadata.uid" => pod.uid().into(),
        "metadata.labels" => lines(metadata.labels.as_ref()),
        "metadata.annotations" => lines(metadata.annotations.as_ref()),
        "spec.nodeName" => node.name.clone(),
        "spec.serviceAccountName" => {
            spec.and_then(|spec| spec.service_account_name.clone()).unwrap_or_else(|| "default".into())
        }
        "status.hostIP" => first(&one_of_each_family(&node.addresses)),
        "status.hostIPs" => list(&one_of_each_family(&node.addresses)),
        "status.podIP" => first(&one_of_each_family(addresses)),
        "status.podIPs" => list(&one_of_each_family(addresses)),
        _ => return Err(unsupported(path)),
    })
}

fn unsupported(path: &str) -> String {
    format!("fieldRef.fieldPath: {path:?} is no field that a container can be told")
}

/// `metadata.labels['app']`.
fn subscript(path: &str) -> Option<(&str, &str)> {
    path.strip_suffix("']")?.split_once("['")
}

/// `name="value"` lines, in the order of names; values with escapes as Kubernetes writes them.
fn lines(map: Option<&BTreeMap<String, String>>) -> String {
    let lines = map.into_iter().flatten().map(|(name, value)| format!("{name}={}", quoted(value)));
    lines.collect::<Vec<_>>().join("\n")
}

/// As Go quotes a string.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for char in text.chars() {
        match char {
            '"' | '\\' => quoted.extend(['\\', char]),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{b}' => quoted.push_str("\\v"),
            '\u{c}' => quoted.push_str("\\f"),
            char if u32::from(char) < 0x20 || char == '\u{7f}' => {
                let _ = write!(quoted, "\\x{:02x}", u32::from(char));
            }
            char if char.is_control() => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(char));
            }
            char => quoted.push(char),
        }
    }
    quoted.push('"');
    quoted
}

fn one_of_each_family(addresses: &[IpAddr]) -> Vec<IpAddr> {
    let mut chosen: Vec<IpAddr> = Vec::new();
    for address in addresses {
        if !chosen.iter().any(|other| other.is_ipv4() == address.is_ipv4()) {
            chosen.push(*address);
        }
    }
    chosen
}

fn first(addresses: &[IpAddr]) -> String {
    addresses.first().map(ToString::to_string).unwrap_or_default()
}

fn list(addresses: &[IpAddr]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// An amount of a container's resources in units of the divisor, rounded up. A limit that is not set is what the machine has.
pub fn resource(
    pod: &Pod,
    container: &Container,
    selector: &ResourceFieldSelector,
) -> Result<String, String> {
    let other = selector.container_name.as_deref().filter(|name| !name.is_empty());
    let container = match other {
        Some(name) => container_of(pod, name)
            .ok_or_else(|| format!("resourceFieldRef.containerName: the Pod has no container {name:?}"))?,
        None => container,
    };
    let unsupported = || {
        format!(
            "resourceFieldRef.resource: {:?}: one of limits.cpu, limits.memory, requests.cpu, requests.memory and \
             ephemeral-storage's is needed",
            selector.resource
        )
    };
    let (which, name) = selector.resource.split_once('.').ok_or_else(unsupported)?;
    if !matches!(name, "cpu" | "memory" | "ephemeral-storage") {
        return Err(unsupported());
    }
    let milli = match which {
        "requests" => resources::request(container, name),
        "limits" => match (resources::limit(container, name), name) {
            (0, "cpu") => i128::from(machine::cpus()) * 1000,
            (0, "memory") => i128::from(machine::memory()) * 1000,
            (limit, _) => limit,
        },
        _ => return Err(unsupported()),
    };
    // Of anything but processors there are no parts.
    let unit = if name == "cpu" { 1 } else { 1000 };
    let divisor =
        selector.divisor.as_ref().and_then(quantity::milli).filter(|divisor| *divisor > 0).unwrap_or(1000);
    let (amount, divisor) = (up(milli, unit), up(divisor, unit));
    Ok(up(amount, divisor).to_string())
}

fn up(amount: i128, divisor: i128) -> i128 {
    amount.div_euclid(divisor) + i128::from(amount.rem_euclid(divisor) != 0)
}
