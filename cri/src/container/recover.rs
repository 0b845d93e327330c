//! Containers after a start of rcrun-cri, or of the machine.
//!
//! What is found, and what becomes of it:
//! - running, its shim there or gone: it is watched again, and another shim takes over where one is missing;
//! - running, ended meanwhile: exit.json is recorded; without one the exit code is unknown;
//! - created, but StartContainer was cut off: running where the shim came through, else created as before;
//! - a directory without a record: CreateContainer was cut off, all of it goes;
//! - a directory whose record cannot be read: for people to look at, nothing of it is touched.

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcrun::lifecycle;
use rcrun::monitor::{Reply, SETTINGS_FILE};
use rcrun::state::{self, Status as Life};
use tracing::{info, warn};

use super::{remove, shim, watch};
use crate::api::ContainerState;
use crate::runtime::Runtime;
use crate::state::{Container, Entry};

/// Makes records, disk and kernel agree; before the first request, and after Pods were looked at.
pub async fn recover(runtime: &Arc<Runtime>) -> anyhow::Result<()> {
    let live = {
        let runtime = Arc::clone(runtime);
        tokio::task::spawn_blocking(move || all(&runtime)).await?
    };
    for entry in live {
        watch::watch(runtime, &entry);
    }
    Ok(())
}

/// Those that run are returned.
fn all(runtime: &Runtime) -> Vec<Arc<Entry<Container>>> {
    let mut live = Vec::new();
    for entry in runtime.containers.entries() {
        match entry.get().state() {
            ContainerState::ContainerRunning => running(runtime, &entry),
            ContainerState::ContainerCreated => created(runtime, &entry),
            _ => {}
        }
        if entry.get().state() == ContainerState::ContainerRunning {
            live.push(entry);
        }
    }
    half_made(runtime);
    strays(runtime);
    live
}

fn running(runtime: &Runtime, entry: &Entry<Container>) {
    let container = entry.get();
    let bundle = runtime.paths.container_state(&container.id);
    if let Some(exit) = watch::exit_of(&bundle) {
        return watch::note(runtime, entry, Some(&exit));
    }
    if shim(runtime, &container.id).is_there() || !watch::has_ended(runtime, &container) {
        return;
    }
    // exit.json comes before the state goes.
    match watch::exit_of(&bundle) {
        Some(exit) => watch::note(runtime, entry, Some(&exit)),
        None => {
            info!(container = container.id, "ended while nobody watched it");
            watch::note_unknown(runtime, entry, end_at_most(&container));
        }
    }
}

/// A container that a reboot has ended did not live longer than to it.
fn end_at_most(container: &Container) -> i64 {
    let now = crate::state::now();
    let uptime = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let uptime = Duration::new(uptime.tv_sec.unsigned_abs(), uptime.tv_nsec.unsigned_abs() as u32);
    let boot = now - i64::try_from(uptime.as_nanos()).unwrap_or_default();
    if container.started.is_some_and(|started| started < boot) { boot } else { now }
}

fn created(runtime: &Runtime, entry: &Entry<Container>) {
    let container = entry.get();
    let bundle = runtime.paths.container_state(&container.id);
    let settings = bundle.join(SETTINGS_FILE);
    // Of one whose start was not begun there is none.
    let Ok(begun) = fs::metadata(&settings).and_then(|file| file.modified()) else { return };
    let monitor = shim(runtime, &container.id);
    // Asked first: a shim that is making the container answers when it runs.
    let pid = match monitor.status() {
        Ok(Reply::Status { pid, .. }) => Some(pid),
        _ => None,
    };
    if let Some(exit) = watch::exit_of(&bundle) {
        return watch::note(runtime, entry, Some(&exit));
    }
    if let Some(pid) = pid.or_else(|| adopted(runtime, &container)) {
        return started(runtime, entry, pid, begun);
    }
    if let Err(error) = runtime.shim.discard(&bundle) {
        warn!(container = container.id, "clean up after a start that was cut off: {error}");
        return;
    }
    let _ = fs::remove_file(&settings);
}

/// The shim and its caller were killed: the container lives.
fn adopted(runtime: &Runtime, container: &Container) -> Option<i32> {
    let store = state::Store::new(runtime.paths.containers_run(), |_| ());
    let report = lifecycle::state(&store, &super::library_id(&container.id).ok()?).ok()?;
    if report.status != Life::Running {
        return None;
    }
    runtime.shim.adopt(&runtime.paths.container_state(&container.id)).ok()?;
    match shim(runtime, &container.id).status() {
        Ok(Reply::Status { pid, .. }) => Some(pid),
        _ => None,
    }
}

fn started(runtime: &Runtime, entry: &Entry<Container>, pid: i32, at: SystemTime) {
    let at = at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    let change = |container: &mut Container| {
        container.started = i64::try_from(at).ok();
        container.pid = Some(pid);
    };
    runtime.containers.update_or_note(entry, change);
}

/// Directories without a record.
fn half_made(runtime: &Runtime) {
    for (path, reason) in &runtime.found.containers.broken {
        let Some(id) = path.file_name().and_then(|name| name.to_str()) else { continue };
        if path.join("record.json").exists() {
            warn!("container {id} is left alone, its record cannot be read: {reason}");
            continue;
        }
        // The keeper goes after what it keeps.
        let removed = remove::discard_files(runtime, id).map_err(|status| status.message().to_owned());
        if let Err(reason) =
            removed.and_then(|()| fs::remove_dir_all(path).map_err(|error| error.to_string()))
        {
            warn!("container {id}, which was not finished: {reason}");
        }
    }
}

/// What belongs to a container of which there is no directory: its removal, or its making, was cut off.
fn strays(runtime: &Runtime) {
    let known: HashSet<String> = names(&runtime.paths.state.join("containers")).collect();
    let (shims, states) = (runtime.paths.run.join("shims"), runtime.paths.containers_run());
    let volatile = names(&shims).chain(names(&states).filter(|name| is_ours(name)));
    for id in volatile.filter(|id| !known.contains(id)) {
        if shims.join(&id).exists() {
            let _ = shim(runtime, &id).kill(libc::SIGKILL, true);
        }
        if let Err(status) = remove::discard_files(runtime, &id) {
            warn!("stray container {id}: {}", status.message());
        }
    }
    // Of others' containers in the store we know nothing.
    for id in names(&runtime.paths.images.join("containers")).filter(|id| is_ours(id) && !known.contains(id))
    {
        if let Err(reason) = discard_stray_root(runtime, &id) {
            warn!("stray container {id}: {reason}");
        }
    }
}

fn discard_stray_root(runtime: &Runtime, id: &str) -> Result<(), String> {
    let store = runtime.images.store(&runtime.paths).map_err(|error| error.to_string())?;
    let id = super::library_id(id).map_err(|status| status.message().to_owned())?;
    let found = store.container(&id).map_err(|error| error.to_string())?;
    let ours = found.is_some_and(|found| {
        let keeper = found.record.keeper.unwrap_or_default();
        found.liveness == rcrun::image::store::Liveness::Gone && keeper.starts_with(&runtime.paths.state)
    });
    if !ours {
        return Ok(());
    }
    rcrun::image::container::remove(&super::root_directory(runtime, id.as_str()))
        .map_err(|error| error.to_string())
}

/// Ids as [`crate::state::new_id`] makes them.
fn is_ours(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn names(directory: &Path) -> impl Iterator<Item = String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok())
}
