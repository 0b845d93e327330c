//! StopPodSandbox and RemovePodSandbox: both succeed for a Pod that is not there.
//!
//! Who waits for a Pod's turn, or for its containers' end, holds no thread: the kubelet asks again and again.

use std::sync::Arc;

use tonic::Status;
use tracing::warn;

use super::{blocking, cgroup, release, status};
use crate::api::ContainerEventType;
use crate::container;
use crate::fault;
use crate::runtime::Runtime;
use crate::state::{Entry, Pod, PodState};

/// Ends the Pod's containers and gives back what it has. Again and again, until that has succeeded and after.
pub async fn stop(runtime: Arc<Runtime>, id: String) -> Result<(), Status> {
    let Ok(entry) = runtime.pods.find(&id) else { return is_named(&id) };
    let _turn = entry.turn.lock().await;
    if !is_there(&runtime, &entry) {
        return Ok(());
    }
    stop_held(&runtime, &entry).await
}

/// Stops the Pod if that was not done, and removes containers and record.
pub async fn remove(runtime: Arc<Runtime>, id: String) -> Result<(), Status> {
    let Ok(entry) = runtime.pods.find(&id) else { return is_named(&id) };
    let _turn = entry.turn.lock().await;
    if !is_there(&runtime, &entry) {
        return Ok(());
    }
    let id = entry.get().id.clone();
    stop_held(&runtime, &entry).await?;
    let removed = container::remove_all(&runtime, &id).await;
    removed.map_err(|error| failed("remove", &id, error.message(), error.code()))?;
    fault::point("removal of the Pod's containers");
    let pod = entry.get();
    {
        let (runtime, pod) = (Arc::clone(&runtime), Arc::clone(&pod));
        blocking(move || discard(&runtime, &pod)).await?;
    }
    status::tell(&runtime, &pod, ContainerEventType::ContainerDeletedEvent);
    Ok(())
}

/// What is left of a Pod when its containers are gone: a cgroup that one of them has kept in use, and the record.
fn discard(runtime: &Runtime, pod: &Pod) -> Result<(), Status> {
    match cgroup::remove(runtime, pod) {
        Ok(true) => {}
        Ok(false) => {
            warn!(
                pod = pod.id,
                "cgroup {} stays: somebody else has put something into it", pod.cgroup_parent
            );
        }
        Err(error) => {
            let reason = format!("cgroup {}: {error}", pod.cgroup_parent);
            return Err(failed("remove", &pod.id, &reason, tonic::Code::Internal));
        }
    }
    runtime.pods.remove(&pod.id).map_err(super::record)
}

async fn stop_held(runtime: &Arc<Runtime>, entry: &Arc<Entry<Pod>>) -> Result<(), Status> {
    let pod = entry.get();
    if pod.state != PodState::NotReady {
        let (runtime, entry) = (Arc::clone(runtime), Arc::clone(entry));
        // First: from now on no container is started in it, and a process that is killed here leaves a Pod to be stopped again.
        // A full disk keeps no Pod from its end, which is what gives space back.
        blocking(move || {
            runtime.pods.update_or_note(&entry, |pod| pod.state = PodState::NotReady);
            Ok(())
        })
        .await?;
        fault::point("record of the Pod's stop");
    }
    let stopped = container::stop_all(runtime, &pod.id).await;
    stopped.map_err(|error| failed("stop", &pod.id, error.message(), error.code()))?;
    let (runtime, entry) = (Arc::clone(runtime), Arc::clone(entry));
    blocking(move || give_back(&runtime, &entry)).await
}

fn give_back(runtime: &Runtime, entry: &Entry<Pod>) -> Result<(), Status> {
    let pod = entry.get();
    if !release::is_needed(runtime, &pod) {
        return Ok(());
    }
    let left = release::release(runtime, &runtime.config(), &pod);
    if !left.is_empty() {
        return Err(failed("stop", &pod.id, &left.join("; "), tonic::Code::Internal));
    }
    runtime.pods.update_or_note(entry, release::forget);
    fault::point("record of the stopped Pod");
    status::tell(runtime, &pod, ContainerEventType::ContainerStoppedEvent);
    Ok(())
}

/// Who has waited for the Pod's turn may find that it was removed meanwhile.
fn is_there(runtime: &Runtime, entry: &Entry<Pod>) -> bool {
    runtime.pods.find(&entry.get().id).is_ok()
}

fn failed(what: &str, id: &str, reason: &str, code: tonic::Code) -> Status {
    Status::new(code, format!("{what} Pod sandbox {id}: {reason}"))
}

fn is_named(id: &str) -> Result<(), Status> {
    if id.is_empty() { Err(Status::invalid_argument("pod_sandbox_id: missing")) } else { Ok(()) }
}
