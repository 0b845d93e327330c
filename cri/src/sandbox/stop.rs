//! StopPodSandbox and RemovePodSandbox: both succeed for a Pod that is not there.

use std::sync::Arc;

use tonic::Status;

use super::{release, status};
use crate::api::ContainerEventType;
use crate::container;
use crate::fault;
use crate::runtime::Runtime;
use crate::state::{Entry, Pod, PodState};

/// Ends the Pod's containers and gives back what it has. Again and again, until that has succeeded and after.
pub fn stop(runtime: &Arc<Runtime>, id: &str) -> Result<(), Status> {
    let Ok(entry) = runtime.pods.find(id) else { return is_named(id) };
    let _turn = entry.turn.blocking_lock();
    stop_held(runtime, &entry)
}

/// Stops the Pod if that was not done, and removes containers and record.
pub fn remove(runtime: &Arc<Runtime>, id: &str) -> Result<(), Status> {
    let Ok(entry) = runtime.pods.find(id) else { return is_named(id) };
    let _turn = entry.turn.blocking_lock();
    // Somebody else may have removed it meanwhile.
    let id = entry.get().id.clone();
    if runtime.pods.find(&id).is_err() {
        return Ok(());
    }
    stop_held(runtime, &entry)?;
    let done = tokio::runtime::Handle::current().block_on(container::remove_all(runtime, &id));
    done.map_err(|error| failed("remove", &id, error.message(), error.code()))?;
    let pod = entry.get();
    fault::point("removal of the Pod's containers");
    runtime.pods.remove(&id).map_err(super::record)?;
    status::tell(runtime, &pod, ContainerEventType::ContainerDeletedEvent);
    Ok(())
}

fn stop_held(runtime: &Arc<Runtime>, entry: &Entry<Pod>) -> Result<(), Status> {
    let pod = entry.get();
    if pod.state != PodState::NotReady {
        // First: from now on no container is started in it, and a process that is killed here leaves a Pod to be stopped again.
        runtime.pods.update(entry, |pod| pod.state = PodState::NotReady).map_err(super::record)?;
        fault::point("record of the Pod's stop");
    }
    let done = tokio::runtime::Handle::current().block_on(container::stop_all(runtime, &pod.id));
    done.map_err(|error| failed("stop", &pod.id, error.message(), error.code()))?;
    let pod = entry.get();
    if !release::is_needed(runtime, &pod) {
        return Ok(());
    }
    let left = release::release(runtime, &runtime.config(), &pod);
    if !left.is_empty() {
        return Err(failed("stop", &pod.id, &left.join("; "), tonic::Code::Internal));
    }
    runtime.pods.update(entry, release::forget).map_err(super::record)?;
    fault::point("record of the stopped Pod");
    status::tell(runtime, &pod, ContainerEventType::ContainerStoppedEvent);
    Ok(())
}

fn failed(what: &str, id: &str, reason: &str, code: tonic::Code) -> Status {
    Status::new(code, format!("{what} Pod sandbox {id}: {reason}"))
}

fn is_named(id: &str) -> Result<(), Status> {
    if id.is_empty() { Err(Status::invalid_argument("pod_sandbox_id: missing")) } else { Ok(()) }
}
