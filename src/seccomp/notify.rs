//! What the agent of SCMP_ACT_NOTIFY is told: runtime.md, "The Container Process State".

use serde::Serialize;
use serde_json::Value;

use super::Listener;
use crate::spec::OCI_VERSION;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ProcessState<'a> {
    oci_version: &'static str,
    fds: [&'static str; 1],
    pid: i32,
    #[serde(skip_serializing_if = "str::is_empty")]
    metadata: &'a str,
    state: Option<Value>,
}

/// The JSON that goes with the listener: its process, the agent's own words, the container's state.
pub fn process_state(listener: &Listener, pid: i32, state: &[u8]) -> Vec<u8> {
    let state = serde_json::from_slice(state).ok();
    let message = ProcessState {
        oci_version: OCI_VERSION,
        fds: ["seccompFd"],
        pid,
        metadata: &listener.metadata,
        state,
    };
    serde_json::to_vec(&message).unwrap_or_default()
}
