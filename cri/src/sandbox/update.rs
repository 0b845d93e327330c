//! UpdatePodSandboxResources: the kubelet says what it has given the Pod's cgroup.

use std::sync::Arc;

use tonic::Status;

use super::cgroup;
use crate::api;
use crate::runtime::Runtime;

/// Keeps the resources in the record; a cgroup that was made here gets them.
pub fn update(runtime: &Arc<Runtime>, request: api::UpdatePodSandboxResourcesRequest) -> Result<(), Status> {
    let entry = runtime.pods.find(&request.pod_sandbox_id).map_err(super::not_there)?;
    let _turn = entry.turn.blocking_lock();
    let updated = runtime.pods.update(&entry, |pod| {
        let linux = pod.config.linux.get_or_insert_default();
        if request.overhead.is_some() {
            linux.overhead = request.overhead;
        }
        if request.resources.is_some() {
            linux.resources = request.resources;
        }
    });
    let pod = updated.map_err(super::record)?;
    cgroup::update(runtime, &runtime.config(), &pod)
        .map_err(|error| Status::internal(format!("cgroup {} of the Pod: {error}", pod.cgroup_parent)))
}
