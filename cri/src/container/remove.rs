//! RemoveContainer: nothing is left of it but its log, which is the kubelet's.
//!
//! The record goes last: a removal that was cut off is asked for again.

use std::fs;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use rcrun::image::container;
use rcrun::lifecycle;
use rcrun::state;
use tonic::Status;

use super::{error, events, stop};
use crate::api::{self, ContainerEventType, ContainerState};
use crate::fault;
use crate::runtime::Runtime;
use crate::state::{Container, Entry};

/// RemoveContainer.
pub async fn remove_container(
    runtime: &Arc<Runtime>,
    request: api::RemoveContainerRequest,
) -> Result<api::RemoveContainerResponse, Status> {
    // What is not there is removed.
    if let Ok(entry) = runtime.containers.find(&request.container_id) {
        let runtime = Arc::clone(runtime);
        super::to_the_end(async move { remove(&runtime, &entry).await }).await?;
    }
    Ok(api::RemoveContainerResponse {})
}

/// Removes all containers of a Pod; goes on past a failure and tells the first.
pub async fn remove_all(runtime: &Arc<Runtime>, pod: &str) -> Result<(), Status> {
    let mut first = Ok(());
    for entry in stop::of_pod(runtime, pod) {
        first = first.and(remove(runtime, &entry).await);
    }
    first
}

async fn remove(runtime: &Arc<Runtime>, entry: &Arc<Entry<Container>>) -> Result<(), Status> {
    let turn = loop {
        stop::stop(runtime, entry, Duration::ZERO).await?;
        let turn = entry.turn.lock().await;
        // It may have been started in between.
        if entry.get().state() != ContainerState::ContainerRunning {
            break turn;
        }
    };
    if !super::is_listed(runtime, entry) {
        return Ok(());
    }
    let container = entry.get();
    {
        let (runtime, container) = (Arc::clone(runtime), Arc::clone(&container));
        super::blocking(move || discard(&runtime, &container)).await?;
    }
    drop(turn);
    crate::image::container_removed(runtime, &container.image_id);
    events::send(runtime, &container, ContainerEventType::ContainerDeletedEvent).await;
    Ok(())
}

fn discard(runtime: &Runtime, container: &Container) -> Result<(), Status> {
    discard_files(runtime, &container.id)?;
    runtime.containers.remove(&container.id).map_err(error::table)?;
    fault::point("removal of the record");
    Ok(())
}

/// All that a container has beside its record. What is volatile a shim takes away with the container's end: here it is that of
/// one that was killed.
pub(crate) fn discard_files(runtime: &Runtime, id: &str) -> Result<(), Status> {
    let run = runtime.paths.shim_run(id);
    if run.exists() {
        // Also of a container of another runtime.
        runtime.shim.discard(&runtime.paths.container_state(id)).map_err(error::monitor)?;
    }
    let store = state::Store::new(runtime.paths.containers_run(), |_| ());
    lifecycle::delete(&store, &super::library_id(id)?, true)
        .map_err(|failed| Status::internal(failed.to_string()))?;
    fault::point("removal of the state");
    match fs::remove_dir_all(&run) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error::file("remove", &run, &error)),
        _ => {}
    }
    fault::point("removal of the shim's directory");
    container::remove(&super::root_directory(runtime, id)).map_err(error::root)?;
    fault::point("removal of the root");
    Ok(())
}
