//! The message of a Pod's sandbox.

use k8s_openapi::api::core::v1::Pod;

use super::users::UserRange;
use super::{Settings, SpecError, containers, dns, hostname, identity, security};
use crate::cri::api::{
    self, Int64Value, LinuxPodSandboxConfig, LinuxSandboxSecurityContext, PodSandboxConfig,
    PodSandboxMetadata, PortMapping, Protocol, SecurityProfile, security_profile::ProfileType,
};
use crate::cri::log_directory;
use crate::objects::Typed as _;

/// The sandbox of a Pod.
pub fn sandbox(pod: &Pod, attempt: u32, settings: &Settings) -> Result<PodSandboxConfig, SpecError> {
    let range = settings.users.of(pod).map_err(SpecError::sandbox)?;
    // A host without one has no resolver, which Pods can have nevertheless.
    let resolv_conf = std::fs::read_to_string(&settings.resolv_conf).unwrap_or_default();
    let directory = log_directory(&settings.logs, pod.namespace(), pod.name(), pod.uid());
    Ok(PodSandboxConfig {
        metadata: Some(PodSandboxMetadata {
            name: pod.name().into(),
            uid: pod.uid().into(),
            namespace: pod.namespace().into(),
            attempt,
        }),
        hostname: hostname::hostname(pod, settings)?,
        log_directory: directory.display().to_string(),
        dns_config: Some(dns::config(pod, &resolv_conf, settings)),
        port_mappings: port_mappings(pod),
        labels: identity::sandbox_labels(pod, &settings.node.name),
        annotations: pod.metadata.annotations.clone().unwrap_or_default().into_iter().collect(),
        linux: Some(linux(pod, range)),
        windows: None,
    })
}

/// All ports of containers, sidecars' too. The runtime leads the host's ports there where one is asked for.
fn port_mappings(pod: &Pod) -> Vec<PortMapping> {
    if super::host_network(pod) {
        return Vec::new();
    }
    let ports = containers(pod).flat_map(|container| container.ports.iter().flatten());
    let mut mappings: Vec<PortMapping> = Vec::new();
    for port in ports {
        let protocol = match port.protocol.as_deref() {
            Some("UDP") => Protocol::Udp,
            Some("SCTP") => Protocol::Sctp,
            _ => Protocol::Tcp,
        };
        let mapping = PortMapping {
            protocol: protocol.into(),
            container_port: port.container_port,
            host_port: port.host_port.unwrap_or(0),
            host_ip: port.host_ip.clone().unwrap_or_default(),
        };
        if !mappings.contains(&mapping) {
            mappings.push(mapping);
        }
    }
    mappings
}

fn linux(pod: &Pod, range: Option<UserRange>) -> LinuxPodSandboxConfig {
    let context = pod.spec.as_ref().and_then(|spec| spec.security_context.as_ref());
    let number = |value: Option<i64>| value.map(|value| Int64Value { value });
    let sysctls = context.and_then(|context| context.sysctls.as_deref()).unwrap_or_default();
    let selinux = context.and_then(|context| context.se_linux_options.as_ref());
    LinuxPodSandboxConfig {
        // Where the runtime puts its Pods.
        cgroup_parent: String::new(),
        security_context: Some(LinuxSandboxSecurityContext {
            namespace_options: Some(security::namespaces(pod, range)),
            selinux_options: selinux.map(security::selinux),
            run_as_user: number(context.and_then(|context| context.run_as_user)),
            run_as_group: number(context.and_then(|context| context.run_as_group)),
            supplemental_groups: security::supplemental_groups(context),
            supplemental_groups_policy: security::groups_policy(context),
            privileged: containers(pod).any(security::is_privileged),
            // Whatever containers ask for: nothing of theirs runs in the sandbox itself.
            seccomp: Some(SecurityProfile {
                profile_type: ProfileType::RuntimeDefault.into(),
                localhost_ref: String::new(),
            }),
            ..Default::default()
        }),
        sysctls: sysctls.iter().map(|sysctl| (sysctl.name.clone(), sysctl.value.clone())).collect(),
        overhead: None,
        resources: None::<api::LinuxContainerResources>,
    }
}
