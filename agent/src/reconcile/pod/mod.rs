//! A Pod's life: volumes, sandbox, init containers and sidecars, containers, probes, hooks, restarts, its end, its status.
//!
//! [`reconcile`] looks at what is ([`view`]), says what is to become of the Pod ([`fate`]) and goes one step further on the way
//! there: up ([`life`], [`start`], [`probes`]) or down ([`end`]). It then says how the Pod is ([`status`], [`conditions`]).
//! [`outcome`] remembers what came of steps. Times are in [`times`], what a Pod refers to in [`references`].

mod conditions;
mod end;
mod fate;
mod life;
pub mod outcome;
mod probes;
mod references;
mod start;
mod status;
mod steps;
mod times;
mod view;

#[cfg(test)]
mod simulator;
#[cfg(test)]
mod tests;

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;

use super::observed::{PodObserved, ProbeKind, Target};
use super::{Action, Decision, EventType, Observed};
use crate::objects::{Key, Objects, Typed};
use fate::Fate;
use steps::Steps;
use view::View;

pub use outcome::{Notice, Outcome, begin, pulling, record};
pub use references::dependents;

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
    /// `restart`: another one follows, whatever the exit code and the restartPolicy say.
    Stop { container: String, id: String, grace: Duration, pre_stop: bool, reason: String, restart: bool },
    /// Stop a container that is being stopped sooner than it was told: beside the [`PodStep::Stop`] that is under way.
    Kill { container: String, id: String, grace: Duration },
    /// Remove an ended container.
    RemoveContainer { container: String, id: String },
    /// Ask a probe once.
    Probe { container: String, id: String, kind: ProbeKind },
    /// Unmount and remove the volumes of a Pod that is over. Its containers, their logs and last words stay.
    ReleaseVolumes,
    /// Unmount and remove volumes, logs of the Pod, and what is remembered.
    TearDown,
}

/// What a step is about: while one is under way, no other of the same target is asked for.
pub fn target(step: &PodStep) -> Target {
    match step {
        PodStep::PrepareVolumes | PodStep::ReleaseVolumes | PodStep::TearDown => Target::Volumes,
        PodStep::RunSandbox { .. } | PodStep::StopSandbox { .. } | PodStep::RemoveSandbox { .. } => {
            Target::Sandbox
        }
        PodStep::Pull { container } => Target::Image(container.clone()),
        PodStep::Start { container, .. }
        | PodStep::Stop { container, .. }
        | PodStep::RemoveContainer { container, .. } => Target::Container(container.clone()),
        PodStep::PostStart { id, .. } => Target::PostStart(id.clone()),
        PodStep::Kill { id, .. } => Target::Kill(id.clone()),
        PodStep::Probe { id, kind, .. } => Target::Probe(id.clone(), *kind),
    }
}

/// Decides for a Pod, which may have no object any more.
pub fn reconcile(key: &Key, desired: &Objects, observed: &Observed, now: Timestamp) -> Decision {
    let mut decision = Decision::default();
    if !observed.listed {
        return decision;
    }
    let pod = desired.find::<Pod>(&key.namespace, &key.name);
    let uid = pod.map_or("", Typed::uid);
    let of_name = |seen: &PodObserved| seen.namespace == key.namespace && seen.name == key.name;
    for (orphan, seen) in observed.pods.iter().filter(|(id, seen)| *id != uid && of_name(seen)) {
        let mut steps = Steps::new(key, orphan, seen, now);
        end::orphan(&mut steps);
        decision.and(steps.decision);
    }
    let Some((pod, spec)) = pod.and_then(|pod| Some((pod, pod.spec.as_ref()?))) else { return decision };
    let nothing = PodObserved::default();
    let seen = observed.pods.get(uid).unwrap_or(&nothing);
    let view = View::new(pod, spec, seen, desired, &observed.node, now);
    decision.and(decide(key, &view));
    decision
}

/// Decides for a Pod that has an object.
fn decide(key: &Key, view: &View<'_>) -> Decision {
    let mut steps = Steps::new(key, view.pod.uid(), view.seen, view.now);
    if status::is_new(view) {
        let message = format!("Successfully assigned {}/{} to {}", key.namespace, key.name, view.node.name);
        steps.event(EventType::Normal, "Scheduled", message);
    }
    let fate = fate::of(view);
    match &fate {
        Fate::Lives => life::go_on(view, &mut steps),
        Fate::Over { .. } | Fate::Expired => end::finish(view, &mut steps),
        Fate::Deleted => {
            if end::delete(view, &mut steps) {
                return steps.decision;
            }
        }
    }
    fate::deadline(view).filter(|at| *at > view.now).into_iter().for_each(|at| steps.wake(at));
    status::report(view, &fate, &mut steps);
    steps.decision
}
