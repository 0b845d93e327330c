//! A Pod's life: volumes, sandbox, init containers and sidecars, containers, probes, hooks, restarts, its end, its status.

pub mod outcome;

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

use super::observed::ProbeKind;
use super::{Decision, Observed};
use crate::objects::{Key, Object, Objects};

pub use outcome::{Outcome, record};

/// A step at the runtime. The executor (crate::node) does it and answers with an [`Outcome`].
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum PodStep {
    /// Make or update the Pod's volumes: directories, files, mounts.
    PrepareVolumes,
    /// Make a sandbox.
    RunSandbox {
        /// 0 for the first one.
        attempt: u32,
    },
    /// Stop a sandbox, which ends all containers in it.
    StopSandbox { id: String },
    /// Remove a sandbox and its containers.
    RemoveSandbox { id: String },
    /// See that the image of a container is there, as its imagePullPolicy says.
    Pull { container: String },
    /// Create and start a container.
    Start { container: String, attempt: u32 },
    /// Call the container's postStart hook.
    PostStart { container: String, id: String },
    /// Call the preStop hook (where there is one and `pre_stop`), then stop the container. The hook's time is part of the grace.
    Stop { container: String, id: String, grace: Duration, pre_stop: bool, reason: String },
    /// Remove an ended container.
    RemoveContainer { container: String, id: String },
    /// Ask a probe once.
    Probe { container: String, id: String, kind: ProbeKind },
    /// Unmount and remove volumes, logs of the Pod, and what is remembered.
    TearDown,
}

/// Decides for a Pod, which may have no object any more.
pub fn reconcile(key: &Key, desired: &Objects, observed: &Observed, now: Timestamp) -> Decision {
    let _ = (key, desired, observed, now);
    Decision::default()
}

/// Pods that use a ConfigMap, Secret or claim that changed.
pub fn dependents(changed: &Object, desired: &Objects) -> Vec<Key> {
    let _ = (changed, desired);
    Vec::new()
}
