//! A Pod sandbox as its record says.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Record;
use crate::api;

/// A Pod sandbox.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Pod {
    /// [`super::SCHEMA`].
    pub schema: u32,
    /// 64 hexadecimal digits.
    pub id: String,
    /// As RunPodSandbox was told.
    #[serde(with = "super::message")]
    pub config: api::PodSandboxConfig,
    /// The runtime handler's name; empty: the default one.
    pub handler: String,
    /// Nanoseconds since 1970.
    pub created: i64,
    /// What it is in.
    pub state: PodState,
    /// Its network.
    pub network: PodNetwork,
    /// Pins of its own IPC and UTS namespaces; None where it has the host's.
    pub ipc: Option<PathBuf>,
    /// The same for UTS.
    pub uts: Option<PathBuf>,
    /// The init of a shared PID namespace: the id of the container record-less shim that holds it, and `/proc/PID/ns/pid`'s pid.
    pub init: Option<PodInit>,
    /// The Pod's cgroup below the hierarchy's root, as containers' `cgroupsPath` begins; empty: none was asked for.
    pub cgroup_parent: String,
}

/// The process that a shared PID namespace begins with.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PodInit {
    /// Its pid in the host's PID namespace.
    pub pid: i32,
    /// Its start time, proc_pid_stat(5), for pids are used again.
    pub start_time: u64,
}

/// What a Pod is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PodState {
    /// RunPodSandbox has not come to its end; after a restart such a Pod is cleaned up.
    Making,
    /// Its namespaces are there.
    Ready,
    /// It was stopped, or lost its namespaces.
    NotReady,
}

/// A Pod's network.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct PodNetwork {
    /// `/run/netns/…`; None with the host's network.
    pub namespace: Option<PathBuf>,
    /// The Pod's addresses, the primary one first.
    pub addresses: Vec<String>,
    /// `cni` with what that has to remember, or `bridge`; None: nothing is attached (any more).
    pub attachment: Option<serde_json::Value>,
}

impl Record for Pod {
    type Live = ();

    fn id(&self) -> &str {
        &self.id
    }

    /// As other runtimes: name, namespace, uid and attempt.
    fn name(&self) -> String {
        let m = self.config.metadata.clone().unwrap_or_default();
        format!("{}_{}_{}_{}", m.name, m.namespace, m.uid, m.attempt)
    }

    fn schema(&self) -> u32 {
        self.schema
    }
}
