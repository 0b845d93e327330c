//! Statistics of Pods: of the Pod's own cgroup where it has one, else of its containers together.

use std::sync::Arc;

use rcrun::cgroups::Hierarchy;
use tonic::Status;

use super::usage::Usage;
use super::{cgroup, container, matches, network};
use crate::api;
use crate::runtime::Runtime;
use crate::state::{Container, Pod, PodState, now};

/// PodSandboxStats.
pub(super) fn stats(
    runtime: &Runtime,
    hierarchy: &Hierarchy,
    pod: &Pod,
) -> Result<api::PodSandboxStats, Status> {
    Ok(one(runtime, hierarchy, pod, &runtime.pods.list(), &runtime.containers.list()))
}

/// ListPodSandboxStats: of those that are ready.
pub(super) fn list(
    runtime: &Runtime,
    hierarchy: &Hierarchy,
    filter: Option<&api::PodSandboxStatsFilter>,
) -> Result<Vec<api::PodSandboxStats>, Status> {
    let (pods, containers) = (runtime.pods.list(), runtime.containers.list());
    let filter = filter.cloned().unwrap_or_default();
    let id = match filter.id.as_str() {
        "" => None,
        id => match runtime.pods.find(id) {
            Ok(entry) => Some(entry.get().id.clone()),
            Err(_) => return Ok(Vec::new()),
        },
    };
    let is_wanted = |pod: &&Arc<Pod>| {
        pod.state == PodState::Ready
            && id.as_ref().is_none_or(|id| *id == pod.id)
            && matches(&filter.label_selector, &pod.config.labels)
    };
    Ok(pods.iter().filter(is_wanted).map(|pod| one(runtime, hierarchy, pod, &pods, &containers)).collect())
}

fn one(
    runtime: &Runtime,
    hierarchy: &Hierarchy,
    pod: &Pod,
    pods: &[Arc<Pod>],
    containers: &[Arc<Container>],
) -> api::PodSandboxStats {
    let own = containers.iter().map(AsRef::as_ref).filter(|container: &&Container| container.pod == pod.id);
    let (usages, containers) = container::several(runtime, hierarchy, own);
    let sum = Usage::sum(usages.iter(), now());
    let whole = own_cgroup(hierarchy, pod, pods).unwrap_or_else(|| sum.clone());
    let rate = runtime.samples.nano_cores(&pod.id, whole.cpu, whole.timestamp);
    let linux = api::LinuxPodSandboxStats {
        cpu: Some(whole.cpu(rate)),
        memory: Some(whole.memory()),
        network: network(pod),
        // The Pod's own cgroup has no processes, and tells of those below it only with the pids controller.
        process: Some(sum.process()),
        containers,
        io: Some(whole.io()),
    };
    api::PodSandboxStats {
        attributes: Some(api::PodSandboxAttributes {
            id: pod.id.clone(),
            metadata: pod.config.metadata.clone(),
            labels: pod.config.labels.clone(),
            annotations: pod.config.annotations.clone(),
        }),
        linux: Some(linux),
        windows: None,
    }
}

/// None where the Pod has no cgroup that is its alone.
fn own_cgroup(hierarchy: &Hierarchy, pod: &Pod, pods: &[Arc<Pod>]) -> Option<Usage> {
    let read = || {
        let path = cgroup::of_pod(&pod.cgroup_parent)?;
        let is_shared = || {
            let same =
                |other: &&Arc<Pod>| cgroup::of_pod(&other.cgroup_parent).is_ok_and(|other| other == path);
            pods.iter().filter(same).count() > 1
        };
        if path.is_root() || is_shared() { Ok(None) } else { cgroup::read(hierarchy, &path) }
    };
    read().unwrap_or_else(|error| {
        tracing::warn!(pod = pod.id, %error, "statistics of its containers alone");
        None
    })
}

/// None of a Pod with the host's network.
fn network(pod: &Pod) -> Option<api::NetworkUsage> {
    network::read(pod.network.namespace.as_deref()?).unwrap_or_else(|error| {
        tracing::warn!(pod = pod.id, %error, "no statistics of its network");
        None
    })
}
