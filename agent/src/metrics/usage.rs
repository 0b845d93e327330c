//! What containers use, as the runtime says: for /metrics and for `top`.

use std::collections::HashMap;
use std::time::Duration;

use tonic::{Code, Request, Status};

use crate::cri::{Runtime, api};
use crate::spec;

/// The runtime looks at many files for its answer.
const LONGEST: Duration = Duration::from_secs(10);

/// What one container uses. None: the runtime does not say.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ContainerUsage {
    /// Of its Pod.
    pub namespace: String,
    /// Its Pod.
    pub pod: String,
    /// Its name.
    pub container: String,
    /// The runtime's id of it.
    pub id: String,
    /// Processor time since it started.
    pub cpu_nanoseconds: Option<u64>,
    /// When that was so, in nanoseconds since 1970.
    pub cpu_at: Option<i64>,
    /// And at the moment: a billion of them is one processor.
    pub cpu_nanocores: Option<u64>,
    /// Memory that cannot be taken back easily, in bytes.
    pub memory_working_set: Option<u64>,
    /// Memory with caches of files, in bytes.
    pub memory_usage: Option<u64>,
    /// Memory of its own, in bytes.
    pub memory_rss: Option<u64>,
    /// In bytes.
    pub swap: Option<u64>,
    /// Written to its root filesystem, in bytes.
    pub filesystem: Option<u64>,
    /// Files and directories of its own there.
    pub inodes: Option<u64>,
}

/// A network interface of a Pod, since it was made.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs)]
pub struct InterfaceUsage {
    pub namespace: String,
    pub pod: String,
    pub interface: String,
    pub received_bytes: Option<u64>,
    pub received_errors: Option<u64>,
    pub sent_bytes: Option<u64>,
    pub sent_errors: Option<u64>,
}

/// All of the agent's Pods.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Usage {
    /// Of running containers.
    pub containers: Vec<ContainerUsage>,
    /// Of Pods with a network of their own.
    pub interfaces: Vec<InterfaceUsage>,
}

/// What the running containers of the agent's Pods use now, in the order of namespaces, Pods and names.
pub async fn usage(runtime: &Runtime) -> Result<Vec<ContainerUsage>, Status> {
    Ok(of_all(runtime).await?.containers)
}

/// The same with networks. A runtime that knows nothing of Pods' statistics is asked for those of containers.
pub async fn of_all(runtime: &Runtime) -> Result<Usage, Status> {
    let mut request = Request::new(api::ListPodSandboxStatsRequest { filter: None });
    request.set_timeout(LONGEST);
    match runtime.runtime().list_pod_sandbox_stats(request).await {
        Ok(answer) => Ok(of_sandboxes(answer.into_inner().stats)),
        Err(status) if status.code() == Code::Unimplemented => {
            let mut request = Request::new(api::ListContainerStatsRequest { filter: None });
            request.set_timeout(LONGEST);
            let stats = runtime.runtime().list_container_stats(request).await?.into_inner().stats;
            Ok(sorted(Usage {
                containers: stats.iter().filter_map(of_container).collect(),
                interfaces: Vec::new(),
            }))
        }
        Err(status) => Err(status),
    }
}

fn of_sandboxes(sandboxes: Vec<api::PodSandboxStats>) -> Usage {
    let mut usage = Usage::default();
    for sandbox in &sandboxes {
        let Some(linux) = &sandbox.linux else { continue };
        usage.containers.extend(linux.containers.iter().filter_map(of_container));
        let Some(attributes) = &sandbox.attributes else { continue };
        let Some((namespace, pod)) = pod_of(&attributes.labels) else { continue };
        let Some(network) = &linux.network else { continue };
        // Some runtimes list the default interface once more among all of them.
        let default = network.default_interface.iter();
        let others = network.interfaces.iter().filter(|interface| {
            network.default_interface.as_ref().is_none_or(|default| default.name != interface.name)
        });
        usage.interfaces.extend(default.chain(others).filter(|interface| interface.name != "lo").map(
            |interface| InterfaceUsage {
                namespace: namespace.to_owned(),
                pod: pod.to_owned(),
                interface: interface.name.clone(),
                received_bytes: number(&interface.rx_bytes),
                received_errors: number(&interface.rx_errors),
                sent_bytes: number(&interface.tx_bytes),
                sent_errors: number(&interface.tx_errors),
            },
        ));
    }
    sorted(usage)
}

fn sorted(mut usage: Usage) -> Usage {
    usage
        .containers
        .sort_by(|a, b| (&a.namespace, &a.pod, &a.container).cmp(&(&b.namespace, &b.pod, &b.container)));
    usage
        .interfaces
        .sort_by(|a, b| (&a.namespace, &a.pod, &a.interface).cmp(&(&b.namespace, &b.pod, &b.interface)));
    usage
}

/// None: it is not the agent's.
fn of_container(stats: &api::ContainerStats) -> Option<ContainerUsage> {
    let attributes = stats.attributes.as_ref()?;
    let (namespace, pod) = pod_of(&attributes.labels)?;
    let (cpu, memory) = (stats.cpu.as_ref(), stats.memory.as_ref());
    let layer = stats.writable_layer.as_ref();
    Some(ContainerUsage {
        namespace: namespace.to_owned(),
        pod: pod.to_owned(),
        container: attributes.labels.get("io.kubernetes.container.name").cloned().unwrap_or_default(),
        id: attributes.id.clone(),
        cpu_nanoseconds: cpu.and_then(|cpu| number(&cpu.usage_core_nano_seconds)),
        cpu_at: cpu.map(|cpu| cpu.timestamp),
        cpu_nanocores: cpu.and_then(|cpu| number(&cpu.usage_nano_cores)),
        memory_working_set: memory.and_then(|memory| number(&memory.working_set_bytes)),
        memory_usage: memory.and_then(|memory| number(&memory.usage_bytes)),
        memory_rss: memory.and_then(|memory| number(&memory.rss_bytes)),
        swap: stats.swap.as_ref().and_then(|swap| number(&swap.swap_usage_bytes)),
        filesystem: layer.and_then(|layer| number(&layer.used_bytes)),
        inodes: layer.and_then(|layer| number(&layer.inodes_used)),
    })
}

/// Namespace and name of the Pod, if it is one of an agent.
fn pod_of(labels: &HashMap<String, String>) -> Option<(&str, &str)> {
    labels.get(spec::MANAGED)?;
    Some((labels.get("io.kubernetes.pod.namespace")?, labels.get("io.kubernetes.pod.name")?))
}

fn number(value: &Option<api::UInt64Value>) -> Option<u64> {
    value.as_ref().map(|value| value.value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(managed: bool) -> HashMap<String, String> {
        let mut labels: HashMap<String, String> = [
            ("io.kubernetes.pod.namespace", "web"),
            ("io.kubernetes.pod.name", "front"),
            ("io.kubernetes.container.name", "nginx"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        if managed {
            labels.insert(spec::MANAGED.into(), "node".into());
        }
        labels
    }

    fn sandbox(managed: bool) -> api::PodSandboxStats {
        let value = |value| Some(api::UInt64Value { value });
        let interface = |name: &str, bytes| api::NetworkInterfaceUsage {
            name: name.into(),
            rx_bytes: value(bytes),
            ..Default::default()
        };
        api::PodSandboxStats {
            attributes: Some(api::PodSandboxAttributes { labels: labels(managed), ..Default::default() }),
            linux: Some(api::LinuxPodSandboxStats {
                network: Some(api::NetworkUsage {
                    default_interface: Some(interface("eth0", 7)),
                    interfaces: vec![interface("lo", 1), interface("eth0", 7), interface("eth1", 8)],
                    ..Default::default()
                }),
                containers: vec![api::ContainerStats {
                    attributes: Some(api::ContainerAttributes {
                        id: "c1".into(),
                        labels: labels(managed),
                        ..Default::default()
                    }),
                    memory: Some(api::MemoryUsage { working_set_bytes: value(4096), ..Default::default() }),
                    ..Default::default()
                }],
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    #[test]
    fn only_pods_of_the_agent_count_and_each_interface_once() {
        let usage = of_sandboxes(vec![sandbox(true), sandbox(false)]);
        let [container] = &usage.containers[..] else { panic!("one: {usage:?}") };
        assert_eq!(
            (container.pod.as_str(), container.container.as_str(), container.id.as_str()),
            ("front", "nginx", "c1")
        );
        assert_eq!((container.memory_working_set, container.cpu_nanoseconds), (Some(4096), None));
        let received: Vec<_> =
            usage.interfaces.iter().map(|of| (of.interface.as_str(), of.received_bytes)).collect();
        assert_eq!(received, [("eth0", Some(7)), ("eth1", Some(8))]);
    }
}
