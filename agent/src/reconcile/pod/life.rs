//! The way up: volumes, sandbox, containers; and what older attempts left.

use super::super::observed::{Sandbox, State, Volumes};
use super::times::{SETUP_RETRY, retry_at};
use super::view::View;
use super::{EventType, PodStep, Steps, end, probes, references, start};
use crate::volumes;

/// The next steps of a Pod that is to run.
pub(super) fn go_on(view: &View<'_>, steps: &mut Steps<'_>) {
    volumes(view, steps);
    let current = view.sandbox.map(|sandbox| sandbox.id.as_str());
    if end::leftovers(view, steps, current) {
        sandbox(view, steps);
    }
    start::containers(view, steps);
    probes::ask(view, steps);
    end::garbage(view, steps);
}

/// Makes the volumes, and again when what they show has changed.
fn volumes(view: &View<'_>, steps: &mut Steps<'_>) {
    let due = match &view.seen.volumes {
        Volumes::Absent | Volumes::Released | Volumes::Gone => view.now,
        Volumes::Failed(failure) if references::came_since(view, failure.at) => view.now,
        Volumes::Failed(failure) => retry_at(failure, SETUP_RETRY, view.now),
        Volumes::Ready(_) if view.spec.volumes.as_ref().is_none_or(Vec::is_empty) => return,
        Volumes::Ready(revision) => match volumes::plan(view.pod, view.desired) {
            Ok(plan) if plan.revision != *revision => view.now,
            // What is gone since then is still there for those that run.
            _ => return,
        },
    };
    if due <= view.now {
        steps.step(PodStep::PrepareVolumes);
    } else {
        steps.wake(due);
    }
}

/// Makes a sandbox where none is ready.
fn sandbox(view: &View<'_>, steps: &mut Steps<'_>) {
    if view.sandbox.is_some() || !matches!(view.seen.volumes, Volumes::Ready(_)) {
        return;
    }
    let due = view.seen.sandbox_failure.as_ref().map(|failure| retry_at(failure, SETUP_RETRY, view.now));
    if let Some(due) = due.filter(|due| *due > view.now) {
        return steps.wake(due);
    }
    let last = view.seen.sandbox();
    let attempt = last.map_or(0, |last: &Sandbox| last.attempt + 1);
    if steps.step(PodStep::RunSandbox { attempt }) && last.is_some() {
        let message = "Pod sandbox changed, it will be killed and re-created.";
        steps.event(EventType::Normal, "SandboxChanged", message.into());
    }
}

/// Whether containers can be made.
pub(super) fn is_set_up(view: &View<'_>) -> bool {
    view.sandbox.is_some() && matches!(view.seen.volumes, Volumes::Ready(_))
}

/// Whether it has ended.
pub(super) fn is_exited(state: &State) -> bool {
    matches!(state, State::Exited { .. })
}
