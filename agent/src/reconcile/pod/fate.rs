//! What is to become of a Pod.

use k8s_openapi::jiff::Timestamp;

use super::super::observed::{Container, State};
use super::times::after;
use super::view::{Member, Role, View};

/// What is to become of a Pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is to run.
    Lives,
    /// Its containers have done what they had to, or failed for good.
    Over { failed: bool },
    /// It ran for longer than its activeDeadlineSeconds.
    Expired,
    /// It is being deleted.
    Deleted,
}

/// What is to become of the Pod. Once it is over it stays over.
pub(super) fn of(view: &View<'_>) -> Fate {
    if view.pod.metadata.deletion_timestamp.is_some() {
        return Fate::Deleted;
    }
    match phase(view) {
        Some("Succeeded") => return Fate::Over { failed: false },
        Some("Failed") => return Fate::Over { failed: true },
        _ => {}
    }
    if deadline(view).is_some_and(|at| at <= view.now) {
        return Fate::Expired;
    }
    match outcome(view) {
        Some(failed) => Fate::Over { failed },
        None => Fate::Lives,
    }
}

/// As it was said last.
pub(super) fn phase<'a>(view: &View<'a>) -> Option<&'a str> {
    view.pod.status.as_ref().and_then(|status| status.phase.as_deref())
}

/// When the Pod has been active for too long. None: never, or it is over already.
pub(super) fn deadline(view: &View<'_>) -> Option<Timestamp> {
    let is_over = matches!(phase(view), Some("Succeeded" | "Failed"));
    let seconds = view.spec.active_deadline_seconds.filter(|_| !is_over)?;
    Some(after(started(view), seconds))
}

/// When the node took the Pod: as soon as it was made, since there is no other. This way it is the same after a restart.
pub(super) fn started(view: &View<'_>) -> Timestamp {
    let of_status = || view.pod.status.as_ref()?.start_time.as_ref().map(|time| time.0);
    let created = view.pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
    created.or_else(of_status).unwrap_or(view.now)
}

/// Whether the Pod failed. None: there is something to do yet.
fn outcome(view: &View<'_>) -> Option<bool> {
    let init_failed =
        |member: &Member<'_>| member.role == Role::Init && ended(view, member).is_some_and(|code| code != 0);
    if !view.has_main() && view.inits.iter().any(init_failed) {
        return Some(true);
    }
    let codes: Option<Vec<i32>> = view.mains.iter().map(|member| ended(view, member)).collect();
    if let Some(codes) = codes {
        return Some(codes.iter().any(|code| *code != 0));
    }
    is_lost(view).then_some(true)
}

/// The exit code of a container that has ended for good.
fn ended(view: &View<'_>, member: &Member<'_>) -> Option<i32> {
    match member.run {
        Some(run @ Container { state: State::Exited { code, .. }, .. }) => {
            (!view.restarts(member, run, *code)).then_some(*code)
        }
        _ => None,
    }
}

/// Whether the sandbox ended under containers that are not to be started a second time.
fn is_lost(view: &View<'_>) -> bool {
    let never = view.spec.restart_policy.as_deref() == Some("Never");
    never && view.sandbox.is_none() && !view.seen.containers.is_empty()
}
