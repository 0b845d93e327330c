//! Containers' use of the machine, under cAdvisor's names.

use std::fmt;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::family::{Labels, counter, gauge};
use super::usage::{ContainerUsage, InterfaceUsage, Usage};
use crate::objects::Objects;

/// What the runtime said, with the objects that name images.
#[derive(Debug)]
pub struct Containers {
    /// Of now, or of a moment ago. None: the runtime did not answer.
    pub usage: Option<Arc<Usage>>,
    /// Pods.
    pub objects: Arc<Objects>,
}

impl Collector for Containers {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let encoder = &mut encoder;
        let up = if self.usage.is_some() { 1.0 } else { 0.0 };
        gauge(
            encoder,
            "rcrun_agent_runtime_up",
            "Whether the runtime answered when it was asked for statistics",
            [([], up)],
        )?;
        self.gauge_of(
            encoder,
            "container_memory_working_set_bytes",
            "Memory that cannot be taken back easily",
            |usage| usage.memory_working_set,
        )?;
        self.gauge_of(encoder, "container_memory_usage_bytes", "Memory with caches of files", |usage| {
            usage.memory_usage
        })?;
        self.gauge_of(encoder, "container_memory_rss", "Memory of its own, in bytes", |usage| {
            usage.memory_rss
        })?;
        self.gauge_of(encoder, "container_memory_swap", "Swapped memory, in bytes", |usage| usage.swap)?;
        self.gauge_of(encoder, "container_fs_usage_bytes", "Written to the root filesystem", |usage| {
            usage.filesystem
        })?;
        self.gauge_of(
            encoder,
            "container_fs_inodes_used",
            "Files of its own in the root filesystem",
            |usage| usage.inodes,
        )?;
        let seconds = self.containers().filter_map(|usage| {
            // Nanoseconds of three months fit a float.
            Some((self.labels(usage), usage.cpu_nanoseconds? as f64 / 1e9))
        });
        counter(encoder, "container_cpu_usage_seconds", "Processor time", seconds)?;
        for (name, help, value) in [
            (
                "container_network_receive_bytes",
                "Bytes that a Pod received",
                (|of| of.received_bytes) as fn(&InterfaceUsage) -> _,
            ),
            ("container_network_transmit_bytes", "Bytes that a Pod sent", |of| of.sent_bytes),
            ("container_network_receive_errors", "Errors while receiving", |of| of.received_errors),
            ("container_network_transmit_errors", "Errors while sending", |of| of.sent_errors),
        ] {
            let interfaces = self.usage.iter().flat_map(|usage| &usage.interfaces);
            let samples = interfaces.filter_map(|of| {
                let labels =
                    [("namespace", &*of.namespace), ("pod", &*of.pod), ("interface", &*of.interface)];
                Some((labels, value(of)? as f64))
            });
            counter(encoder, name, help, samples)?;
        }
        Ok(())
    }
}

impl Containers {
    fn containers(&self) -> impl Iterator<Item = &ContainerUsage> {
        self.usage.iter().flat_map(|usage| &usage.containers)
    }

    fn gauge_of(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        name: &str,
        help: &str,
        value: impl Fn(&ContainerUsage) -> Option<u64>,
    ) -> fmt::Result {
        let samples = self.containers().filter_map(|usage| Some((self.labels(usage), value(usage)? as f64)));
        gauge(encoder, name, help, samples)
    }

    fn labels<'a>(&'a self, usage: &'a ContainerUsage) -> Labels<'a, 5> {
        let pod = self.objects.find::<Pod>(&usage.namespace, &usage.pod);
        let spec = pod.and_then(|pod| pod.spec.as_ref());
        let all =
            spec.iter().flat_map(|spec| spec.containers.iter().chain(spec.init_containers.iter().flatten()));
        let image = all.into_iter().find(|container| container.name == usage.container);
        let image = image.and_then(|container| container.image.as_deref()).unwrap_or_default();
        [
            ("namespace", &usage.namespace),
            ("pod", &usage.pod),
            ("container", &usage.container),
            ("id", &usage.id),
            ("image", image),
        ]
    }
}
