//! The hooks that the runtime's side runs, and the state that they read: runtime.md, "State".

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use serde::Serialize;

use crate::id::ContainerId;
use crate::launch::hooks::{Hook, name, state_file};
use crate::launch::{LaunchError, Signals};
use crate::plan::step::{HookStep, Step};
use crate::sockets;
use crate::state::{Record, Status, Store};

/// A container's state as the specification has it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct HookState<'a> {
    oci_version: &'a str,
    id: &'a str,
    status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<i32>,
    bundle: &'a Path,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'a BTreeMap<String, String>,
}

/// The state's JSON; `pid` where there is a process.
pub(super) fn state_json(id: &ContainerId, record: &Record, status: Status, pid: Option<i32>) -> Vec<u8> {
    let state = HookState {
        oci_version: &record.oci_version,
        id: id.as_str(),
        status,
        pid,
        bundle: &record.bundle,
        annotations: &record.annotations,
    };
    serde_json::to_vec(&state).unwrap_or_default()
}

/// Hands a seccomp filter's listener to its agent, with what it is to know: the process and the container.
pub(super) fn send_listener(steps: &[Step], fd: OwnedFd, pid: i32, state: &[u8]) -> Result<(), LaunchError> {
    let Some(Step::Seccomp(step)) = steps.last() else { return Ok(()) };
    let Some(listener) = &step.filter.listener else { return Ok(()) };
    let failed = |operation| {
        let path = listener.path.clone();
        move |error| LaunchError::Socket { what: "linux.seccomp.listenerPath", path, operation, error }
    };
    let socket = sockets::connect_stream(&listener.path).map_err(failed("connect"))?;
    let message = crate::seccomp::process_state(listener, pid, state);
    sockets::send_descriptor(socket.as_fd(), fd.as_fd(), &message).map_err(failed("sendmsg"))
}

/// Runs hooks one after the other; the first that fails ends it.
pub(super) fn run(hooks: &[HookStep], state: &[u8], interrupt: Option<&Signals>) -> Result<(), LaunchError> {
    if hooks.is_empty() {
        return Ok(());
    }
    let file = state_file(state)?;
    for step in hooks {
        let failed = |error| LaunchError::Hook { path: name(step).to_string(), error };
        Hook::new(step).run(file.as_fd(), interrupt).map_err(failed)?;
    }
    Ok(())
}

/// Runs every poststop hook: one that fails is a warning and keeps none of the others from running.
pub(super) fn run_poststop(
    store: &Store,
    hooks: &[HookStep],
    id: &ContainerId,
    record: &Record,
    interrupt: Option<&Signals>,
) {
    let state = state_json(id, record, Status::Stopped, None);
    for step in hooks {
        if let Err(error) = run(std::slice::from_ref(step), &state, interrupt) {
            store.warn(&format!("container {id}: {error}"));
        }
    }
}
