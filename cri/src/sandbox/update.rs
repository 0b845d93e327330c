//! UpdatePodSandboxResources: the kubelet says what it has given the Pod's cgroup.

use std::sync::Arc;

use tonic::Status;

use super::{blocking, cgroup};
use crate::api;
use crate::runtime::Runtime;
use crate::state::{Entry, Pod};

/// Keeps the resources in the record; a cgroup that was made here gets them.
pub async fn update(
    runtime: Arc<Runtime>,
    request: api::UpdatePodSandboxResourcesRequest,
) -> Result<(), Status> {
    let entry = runtime.pods.find(&request.pod_sandbox_id).map_err(super::not_there)?;
    let _turn = entry.turn.lock().await;
    // It may have been removed meanwhile.
    runtime.pods.find(&entry.get().id).map_err(super::not_there)?;
    let (runtime, entry) = (Arc::clone(&runtime), Arc::clone(&entry));
    blocking(move || apply(&runtime, &entry, request)).await
}

fn apply(
    runtime: &Runtime,
    entry: &Entry<Pod>,
    request: api::UpdatePodSandboxResourcesRequest,
) -> Result<(), Status> {
    let mut linux = entry.get().config.linux.clone().unwrap_or_default();
    linux.overhead = request.overhead.or(linux.overhead);
    linux.resources = request.resources.or(linux.resources);
    cgroup::resources(&linux)?;
    let pod = runtime.pods.update(entry, |pod| pod.config.linux = Some(linux)).map_err(super::record)?;
    cgroup::update(runtime, &runtime.config(), &pod)
        .map_err(|error| Status::internal(format!("cgroup {} of the Pod: {error}", pod.cgroup_parent)))
}
