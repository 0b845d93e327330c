//! A container's end: noticed, read from where its shim has put it, recorded.
//!
//! One task a running container waits on its shim's connection, without a thread. A shim that is gone without exit.json was
//! killed: another one takes the container over.

use std::os::fd::AsFd as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rcrun::lifecycle;
use rcrun::monitor::{self, Event, MonitorError, Watch};
use rcrun::state::{self, Status as Life};
use tonic::Status;

use super::events;
use crate::api::ContainerEventType;
use crate::fault;
use crate::runtime::Runtime;
use crate::state::{Container, Entry, Exit, now};

/// Between two tries to reach a container's shim, or to start another.
const PATIENCE: [Duration; 4] =
    [Duration::from_millis(20), Duration::from_millis(200), Duration::from_secs(1), Duration::from_secs(5)];
/// What is reported of an end that nobody saw.
const UNKNOWN: i32 = 255;

/// Waits for the end of a container that runs, in a task of its own.
pub fn watch(runtime: &Arc<Runtime>, entry: &Arc<Entry<Container>>) {
    let (runtime, entry) = (Arc::clone(runtime), Arc::clone(entry));
    tokio::spawn(async move {
        let exit = end_of(&runtime, &entry).await;
        record(&runtime, &entry, exit).await;
    });
}

/// Waits for how it ended; None where nobody knows.
async fn end_of(runtime: &Arc<Runtime>, entry: &Entry<Container>) -> Option<monitor::Exit> {
    let container = entry.get();
    let mut tries = PATIENCE.iter().chain(std::iter::repeat(&PATIENCE[PATIENCE.len() - 1]));
    loop {
        // The shim writes it before its connections end.
        if let Some(exit) = read_exit(runtime, &container.id).await {
            return Some(exit);
        }
        let waited = wait(runtime, &container.id).await;
        if let Some(exit) = read_exit(runtime, &container.id).await {
            return Some(exit);
        }
        let held = match waited {
            Ok(()) => take_over(runtime, &container).await,
            Err(reason) => Err(reason),
        };
        match held {
            Ok(true) => {}
            Ok(false) => return None,
            Err(reason) => {
                tracing::error!(
                    container = container.id,
                    "its shim cannot be asked, nor another started: {reason}"
                );
                tokio::time::sleep(*tries.next().unwrap_or(&PATIENCE[0])).await;
            }
        }
    }
}

/// Returns when the shim is gone.
pub(super) async fn wait(runtime: &Runtime, id: &str) -> Result<(), String> {
    let shim = super::shim(runtime, id);
    let connected = tokio::task::spawn_blocking(move || shim.watch()).await;
    let mut watch: Watch = match connected {
        Ok(Ok(watch)) => watch,
        Ok(Err(MonitorError::Gone { .. })) => return Ok(()),
        Ok(Err(error)) => return Err(error.to_string()),
        Err(error) => return Err(error.to_string()),
    };
    let words = |error: std::io::Error| format!("wait for the shim: {error}");
    let fd = watch.as_fd().try_clone_to_owned().map_err(words)?;
    let readable = super::readable(fd).map_err(words)?;
    loop {
        let mut guard = readable.readable().await.map_err(words)?;
        loop {
            match watch.next() {
                // exit.json says so, too.
                Ok(Some(Event::OutOfMemory)) => {}
                Ok(Some(Event::Ended)) | Err(MonitorError::Gone { .. }) => return Ok(()),
                Ok(None) => break,
                Err(error) => return Err(error.to_string()),
            }
        }
        guard.clear_ready();
    }
}

/// exit.json; one that is damaged says nothing.
async fn read_exit(runtime: &Arc<Runtime>, id: &str) -> Option<monitor::Exit> {
    let bundle = runtime.paths.container_state(id);
    tokio::task::spawn_blocking(move || exit_of(&bundle)).await.ok()?
}

pub(super) fn exit_of(bundle: &Path) -> Option<monitor::Exit> {
    monitor::Exit::read(bundle).inspect_err(|error| tracing::error!("{error}")).ok()?
}

/// Another shim for a container without one. False: the container has ended, and nobody knows how.
async fn take_over(runtime: &Arc<Runtime>, container: &Arc<Container>) -> Result<bool, String> {
    let (runtime, container) = (Arc::clone(runtime), Arc::clone(container));
    let work = move || {
        let bundle = runtime.paths.container_state(&container.id);
        let adopted = runtime.shim.adopt(&bundle);
        // One that is damaged says as little as none.
        if exit_of(&bundle).is_some() {
            return Ok(true);
        }
        match adopted {
            Ok(()) if !has_ended(&runtime, &container) => Ok(true),
            Ok(()) => Ok(false),
            Err(_) if has_ended(&runtime, &container) => Ok(false),
            Err(error) => Err(error.to_string()),
        }
    };
    tokio::task::spawn_blocking(work).await.map_err(|error| error.to_string())?
}

/// Is its process gone, as far as can be known without a shim?
pub(super) fn has_ended(runtime: &Runtime, container: &Container) -> bool {
    let Ok(maker) = super::maker(runtime, &container.handler.name) else { return false };
    match maker {
        monitor::Runtime::Own { state } => {
            let store = state::Store::new(state, |_| ());
            let Ok(id) = super::library_id(&container.id) else { return true };
            match lifecycle::state(&store, &id) {
                Ok(report) => report.status == Life::Stopped,
                Err(lifecycle::Error::State(state::StateError::NotFound { .. })) => true,
                Err(_) => false,
            }
        }
        // Its state is its own: what is left to see is the process.
        monitor::Runtime::Program { .. } => {
            container.pid.is_none_or(|pid| !Path::new(&format!("/proc/{pid}")).exists())
        }
    }
}

/// Writes down how it ended, and tells everybody.
async fn record(runtime: &Arc<Runtime>, entry: &Arc<Entry<Container>>, exit: Option<monitor::Exit>) {
    let _turn = entry.turn.lock().await;
    if entry.get().exit.is_some() || !super::is_listed(runtime, entry) {
        return;
    }
    note(runtime, entry, exit.as_ref());
    // With the turn: who removes it tells so after this.
    events::send(runtime, &entry.get(), ContainerEventType::ContainerStoppedEvent).await;
}

/// The same, for who has the turn.
pub(super) fn note(runtime: &Runtime, entry: &Entry<Container>, exit: Option<&monitor::Exit>) {
    let ended = ended(exit);
    let change = |container: &mut Container| {
        container.started = container.started.or(exit.map(|exit| exit.started));
        container.pid = None;
        container.exit = Some(ended.clone());
    };
    // It is on a disk already: exit.json.
    runtime.containers.update_or_note(entry, change);
    fault::point("record of the end");
}

/// The same where nobody knows how it ended.
pub(super) fn note_unknown(runtime: &Runtime, entry: &Entry<Container>, finished: i64) {
    let started = entry.get().started.unwrap_or(finished);
    let exit = monitor::Exit { schema: monitor::SCHEMA, code: None, started, finished, oom_killed: false };
    note(runtime, entry, Some(&exit));
}

fn ended(exit: Option<&monitor::Exit>) -> Exit {
    let Some((exit, code)) = exit.and_then(|exit| Some((exit, exit.code?))) else {
        return Exit {
            code: UNKNOWN,
            finished: exit.map_or_else(now, |exit| exit.finished),
            reason: "ContainerStatusUnknown".into(),
            message: "the container ended while nobody watched it: its exit code is not known".into(),
        };
    };
    let reason = match (code, exit.oom_killed) {
        (0, _) => "Completed",
        (_, true) => "OOMKilled",
        (_, false) => "Error",
    };
    Exit { code, finished: exit.finished, reason: reason.into(), message: String::new() }
}

/// Waits until a container has ended.
pub(super) async fn until_ended(entry: &Entry<Container>, patience: Duration) -> Result<(), Status> {
    let ended = entry.until(|container| container.exit.is_some());
    match tokio::time::timeout(patience, ended).await {
        Ok(_) => Ok(()),
        Err(_) => Err(Status::deadline_exceeded(format!(
            "container {} has not ended within {} s",
            entry.get().id,
            patience.as_secs()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_what_kubernetes_knows() {
        let exit = |code, oom_killed| monitor::Exit { schema: 1, code, started: 1, finished: 2, oom_killed };
        for (code, oom_killed, expected) in [
            (Some(0), false, (0, "Completed")),
            (Some(0), true, (0, "Completed")),
            (Some(3), false, (3, "Error")),
            (Some(137), true, (137, "OOMKilled")),
            (None, false, (255, "ContainerStatusUnknown")),
        ] {
            let ended = ended(Some(&exit(code, oom_killed)));
            assert_eq!((ended.code, ended.reason.as_str(), ended.finished), (expected.0, expected.1, 2));
        }
        assert_eq!(ended(None).code, 255);
    }
}
