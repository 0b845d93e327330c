//! StopContainer: the stop signal, patience, SIGKILL.
//!
//! Whoever stops holds no turn while waiting, so that a stop in a hurry does not wait for one with patience; the end itself is
//! recorded by [`super::watch`]. Where the client goes away, the rest is not done: who asks again has a new timeout.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rcrun::lifecycle;
use rcrun::monitor::{self, MonitorError};
use rcrun::state;
use tokio::task::JoinSet;
use tonic::Status;

use super::{error, watch};
use crate::api::{self, ContainerState};
use crate::fault;
use crate::runtime::Runtime;
use crate::state::{Container, Entry};

/// How long a killed container may take to end: processes in the kernel's hands die late.
const KILLED: Duration = Duration::from_secs(120);
/// How long its next shim may take to be there before that. A kubelet waits for two minutes, and is told why by then.
const SHIM: Duration = Duration::from_secs(60);
/// Between two tries: while another shim takes over, a container of another runtime cannot be signalled.
const RETRY: Duration = Duration::from_millis(100);

/// StopContainer.
pub async fn stop_container(
    runtime: &Arc<Runtime>,
    request: api::StopContainerRequest,
) -> Result<api::StopContainerResponse, Status> {
    let patience = match u64::try_from(request.timeout) {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => return Err(Status::invalid_argument(format!("timeout: {} is negative", request.timeout))),
    };
    // What is not there is stopped.
    if let Ok(entry) = runtime.containers.find(&request.container_id) {
        stop(runtime, &entry, patience).await?;
    }
    Ok(api::StopContainerResponse {})
}

/// Stops all containers of a Pod at once, without patience: the kubelet has had it before.
pub async fn stop_all(runtime: &Arc<Runtime>, pod: &str) -> Result<(), Status> {
    let mut stops = JoinSet::new();
    for entry in of_pod(runtime, pod) {
        let runtime = Arc::clone(runtime);
        stops.spawn(async move { stop(&runtime, &entry, Duration::ZERO).await });
    }
    let mut first = Ok(());
    while let Some(stopped) = stops.join_next().await {
        let stopped = stopped.unwrap_or_else(|error| Err(Status::internal(error.to_string())));
        first = first.and(stopped);
    }
    first
}

/// The containers of a Pod.
pub(super) fn of_pod(runtime: &Runtime, pod: &str) -> impl Iterator<Item = Arc<Entry<Container>>> {
    runtime.containers.entries().into_iter().filter(move |entry| entry.get().pod == pod)
}

/// Stops a container; one that does not run is stopped.
pub(super) async fn stop(
    runtime: &Arc<Runtime>,
    entry: &Arc<Entry<Container>>,
    patience: Duration,
) -> Result<(), Status> {
    // One that is just being started is waited for.
    drop(entry.turn.lock().await);
    if entry.get().state() != ContainerState::ContainerRunning {
        return Ok(());
    }
    if !patience.is_zero() {
        let signal = entry.get().stop_signal;
        // Some programs take a second one for impatience.
        if !entry.live.signalled.swap(true, Ordering::Relaxed) {
            let sent = send(runtime, entry, signal, false, patience.min(SHIM)).await;
            if !matches!(sent, Ok(true)) {
                entry.live.signalled.store(false, Ordering::Relaxed);
            }
            sent?;
        }
        fault::point("stop signal");
        if watch::until_ended(entry, patience).await.is_ok() {
            return Ok(());
        }
    }
    if !send(runtime, entry, libc::SIGKILL, true, SHIM).await? {
        return Err(Status::unavailable(format!(
            "container {} has no shim that could be asked: try again",
            entry.get().id
        )));
    }
    fault::point("kill");
    watch::until_ended(entry, KILLED).await
}

/// Sends a signal through the shim, or without one where it was killed. A container that has ended is fine. False: there was nobody to
/// send it within the time.
async fn send(
    runtime: &Arc<Runtime>,
    entry: &Arc<Entry<Container>>,
    signal: i32,
    all: bool,
    patience: Duration,
) -> Result<bool, Status> {
    let begun = Instant::now();
    loop {
        let container = entry.get();
        if container.exit.is_some() {
            return Ok(true);
        }
        let runtime = Arc::clone(runtime);
        if super::blocking(move || try_send(&runtime, &container, signal, all)).await? {
            return Ok(true);
        }
        if begun.elapsed() >= patience {
            return Ok(false);
        }
        let _ = tokio::time::timeout(RETRY, entry.until(|container| container.exit.is_some())).await;
    }
}

/// False: not now.
fn try_send(runtime: &Runtime, container: &Container, signal: i32, all: bool) -> Result<bool, Status> {
    let failed = match super::shim(runtime, &container.id).kill(signal, all) {
        Ok(()) => return Ok(true),
        Err(MonitorError::Gone { .. }) => None,
        // The container's own end, seen from the shim.
        Err(_) if watch::has_ended(runtime, container) => return Ok(true),
        // It may wait for a process of the container's that another one keeps from starting: what ends the container, frees it.
        Err(failed) => Some(failed),
    };
    let monitor::Runtime::Own { state } = super::maker(runtime, &container.handler.name)? else {
        return failed.map_or(Ok(false), |failed| Err(error::monitor(failed)));
    };
    let store = state::Store::new(state, |_| ());
    match lifecycle::kill(&store, &super::library_id(&container.id)?, signal, all) {
        Ok(()) => Ok(true),
        Err(_) if watch::has_ended(runtime, container) => Ok(true),
        Err(failed) => Err(Status::internal(failed.to_string())),
    }
}
