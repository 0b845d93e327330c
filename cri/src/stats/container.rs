//! Statistics of containers.

use rcrun::cgroups::{CgroupError, Hierarchy};
use tonic::Status;

use super::usage::Usage;
use super::{cgroup, matches, value};
use crate::api;
use crate::runtime::Runtime;
use crate::state::Container;

/// What a container uses now; None where it does not run.
pub(super) fn usage(hierarchy: &Hierarchy, record: &Container) -> Result<Option<Usage>, CgroupError> {
    if record.state() != api::ContainerState::ContainerRunning {
        return Ok(None);
    }
    cgroup::read(hierarchy, &cgroup::of_container(&record.cgroup, &record.id)?)
}

/// What is known of a container; of one that does not run its writable layer.
pub(super) fn stats(runtime: &Runtime, record: &Container, usage: Option<&Usage>) -> api::ContainerStats {
    let rate = |usage: &Usage| runtime.samples.nano_cores(&record.id, usage.cpu, usage.timestamp);
    api::ContainerStats {
        attributes: Some(api::ContainerAttributes {
            id: record.id.clone(),
            metadata: record.config.metadata.clone(),
            labels: record.config.labels.clone(),
            annotations: record.config.annotations.clone(),
        }),
        cpu: usage.map(|usage| usage.cpu(rate(usage))),
        memory: usage.map(Usage::memory),
        writable_layer: Some(writable_layer(runtime, &record.id)),
        swap: usage.map(Usage::swap),
        io: usage.map(Usage::io),
    }
}

fn writable_layer(runtime: &Runtime, id: &str) -> api::FilesystemUsage {
    let images = &runtime.paths.images;
    let layer = runtime.samples.layer(id, &images.join("containers").join(id).join("upper"));
    api::FilesystemUsage {
        timestamp: layer.timestamp,
        // As ImageFsInfo says it: the kubelet compares them.
        fs_id: Some(api::FilesystemIdentifier { mountpoint: images.to_string_lossy().into_owned() }),
        used_bytes: value(layer.space.bytes),
        inodes_used: value(layer.space.inodes),
    }
}

/// Of several containers, without those that end meanwhile: what they use, and all that is known of them.
pub(super) fn several<'c>(
    runtime: &Runtime,
    hierarchy: &Hierarchy,
    records: impl Iterator<Item = &'c Container>,
) -> (Vec<Usage>, Vec<api::ContainerStats>) {
    let (mut usages, mut all) = (Vec::new(), Vec::new());
    for record in records {
        let usage = match usage(hierarchy, record) {
            Ok(None) if record.state() == api::ContainerState::ContainerRunning => continue,
            Ok(usage) => usage,
            Err(error) => {
                tracing::warn!(container = record.id, pod = record.pod, %error, "no statistics");
                continue;
            }
        };
        all.push(stats(runtime, record, usage.as_ref()));
        usages.extend(usage);
    }
    (usages, all)
}

/// ListContainerStats.
pub(super) fn list(
    runtime: &Runtime,
    hierarchy: &Hierarchy,
    filter: Option<&api::ContainerStatsFilter>,
) -> Result<Vec<api::ContainerStats>, Status> {
    let records = runtime.containers.list();
    let Some(filter) = filter else {
        runtime.samples.retain(|id| runtime.containers.find(id).is_ok() || runtime.pods.find(id).is_ok());
        return Ok(several(runtime, hierarchy, records.iter().map(AsRef::as_ref)).1);
    };
    // The beginning of an id stands for the only one that begins so; of none there is nothing to tell.
    let id = match filter.id.as_str() {
        "" => None,
        id => match runtime.containers.find(id) {
            Ok(entry) => Some(entry.get().id.clone()),
            Err(_) => return Ok(Vec::new()),
        },
    };
    let pod = match filter.pod_sandbox_id.as_str() {
        "" => None,
        id => match runtime.pods.find(id) {
            Ok(entry) => Some(entry.get().id.clone()),
            Err(_) => return Ok(Vec::new()),
        },
    };
    let is_wanted = |record: &&Container| {
        id.as_ref().is_none_or(|id| *id == record.id)
            && pod.as_ref().is_none_or(|pod| *pod == record.pod)
            && matches(&filter.label_selector, &record.config.labels)
    };
    Ok(several(runtime, hierarchy, records.iter().map(AsRef::as_ref).filter(is_wanted)).1)
}
