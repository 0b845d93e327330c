//! Ports of the host, of which each is one Pod's.

use k8s_openapi::api::core::v1::{ContainerPort, Pod};

use super::Refusal;
use crate::objects::pod::is_finished;
use crate::objects::{Object, Objects, Typed, validate};

/// Whether all ports of the host that a Pod wants are free.
pub(super) fn may_put(objects: &Objects, object: &Object) -> Result<(), Refusal> {
    let Some(pod) = Pod::of(object) else { return Ok(()) };
    let wanted: Vec<_> = host_ports(pod).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    for other in objects.list::<Pod>().filter(|other| other.key() != pod.key() && !is_finished(other)) {
        for taken in host_ports(other) {
            if let Some(port) = wanted.iter().find(|port| overlap(port, taken)) {
                let number = port.host_port.unwrap_or_default();
                let message = format!("{}: hostPort {number}: port taken by {}", object.key(), other.key());
                return Err(Refusal::new(409, message));
            }
        }
    }
    Ok(())
}

fn host_ports(pod: &Pod) -> impl Iterator<Item = &ContainerPort> {
    let containers = pod.spec.iter().flat_map(validate::containers);
    let ports = containers.flat_map(|(_, _, container)| container.ports.iter().flatten());
    ports.filter(|port| port.host_port.is_some_and(|port| port > 0))
}

/// Whether two ports are one for somebody who connects.
fn overlap(one: &ContainerPort, other: &ContainerPort) -> bool {
    let any = |port: &ContainerPort| matches!(port.host_ip.as_deref(), None | Some("" | "0.0.0.0" | "::"));
    let protocol = |port: &ContainerPort| port.protocol.clone().unwrap_or_else(|| "TCP".into());
    one.host_port == other.host_port
        && protocol(one) == protocol(other)
        && (any(one) || any(other) || one.host_ip == other.host_ip)
}
