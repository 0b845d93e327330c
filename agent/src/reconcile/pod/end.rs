//! The way down: containers, sandboxes, volumes, the object.

use std::time::Duration;

use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::super::observed::{Container, State, Target, Volumes};
use super::life::is_exited;
use super::times::due;
use super::view::{ORPHAN_GRACE, Role, View, is_live};
use super::{EventType, PodStep, Steps};

/// Even a container whose grace has run out while others ended gets so much, but where no grace was given at all.
const SHORTEST_GRACE: Duration = Duration::from_secs(2);
/// A container of which the runtime said that it has ended, and which is still seen running after so many seconds, is stopped again.
const SEEN_ENDED: i64 = 30;

/// How containers are to end.
struct Ending<'a> {
    grace: Duration,
    pre_stop: bool,
    /// Sidecars by name, the first to end first.
    sidecars: Vec<&'a str>,
}

/// Ends a Pod that is over: its containers and sandboxes stop, and stay for those who ask for logs. Its volumes go: an eviction is to free
/// the disk.
pub(super) fn finish(view: &View<'_>, steps: &mut Steps<'_>) {
    if !stop(steps, &ending(view), |_| true) {
        return;
    }
    let is_released = matches!(steps.seen.volumes, Volumes::Released | Volumes::Gone);
    let has_volumes = view.spec.volumes.as_ref().is_some_and(|volumes| !volumes.is_empty());
    if stop_sandboxes(steps, None) && has_volumes && !is_released {
        steps.step(PodStep::ReleaseVolumes);
    }
    garbage(view, steps);
}

/// Ends a Pod that is deleted. Says whether all of it is gone, with which the object goes.
pub(super) fn delete(view: &View<'_>, steps: &mut Steps<'_>) -> bool {
    let gone = stop(steps, &ending(view), |_| true) && stop_sandboxes(steps, None) && remove(steps);
    if gone {
        steps.remove();
    }
    gone
}

/// Ends what has no object.
pub(super) fn orphan(steps: &mut Steps<'_>) {
    let ending = Ending { grace: ORPHAN_GRACE, pre_stop: false, sidecars: Vec::new() };
    let _ = stop(steps, &ending, |_| true) && stop_sandboxes(steps, None) && remove(steps);
}

/// Ends all sandboxes but the one in use. Says whether there is nothing to be ended.
pub(super) fn leftovers(view: &View<'_>, steps: &mut Steps<'_>, current: Option<&str>) -> bool {
    let is_left = |container: &Container| current != Some(&container.sandbox);
    stop(steps, &ending(view), is_left) && stop_sandboxes(steps, current)
}

fn ending<'a>(view: &View<'a>) -> Ending<'a> {
    let sidecars = view.inits.iter().rev().filter(|member| member.role == Role::Sidecar);
    let sidecars = sidecars.map(|member| member.spec.name.as_str()).collect();
    let grace = view.grace();
    Ending { grace, pre_stop: !grace.is_zero(), sidecars }
}

/// Stops those containers: first all but the sidecars, then those one by one. Says whether none of them is live or may be soon.
fn stop(steps: &mut Steps<'_>, ending: &Ending<'_>, which: impl Fn(&Container) -> bool) -> bool {
    let seen = steps.seen;
    let live: Vec<_> = seen.containers.iter().filter(|c| which(c) && is_live(seen, c)).collect();
    let turn = |container: &Container| ending.sidecars.iter().position(|name| *name == container.name);
    let first = live.iter().map(|container| turn(container)).min();
    let deadline = deadline(steps, ending, &which);
    for container in &live {
        let its_turn = Some(turn(container)) == first || deadline <= steps.now;
        if its_turn {
            stop_one(steps, ending, container, deadline);
        } else {
            steps.wake(deadline);
        }
    }
    // One that is being started will be there, and has to be waited for.
    let starting = seen.busy.iter().any(|target| matches!(target, Target::Container(_)));
    live.is_empty() && !(starting && which_may_start(seen.busy.iter(), &which, steps))
}

/// Whether a busy container may turn out to be one of those: it is not known, or it is one of them.
fn which_may_start<'t>(
    mut busy: impl Iterator<Item = &'t Target>,
    which: impl Fn(&Container) -> bool,
    steps: &Steps<'_>,
) -> bool {
    busy.any(|target| match target {
        Target::Container(name) => steps.seen.named(name).first().is_none_or(|container| which(container)),
        _ => false,
    })
}

/// When the last of those containers is to have ended.
fn deadline(steps: &Steps<'_>, ending: &Ending<'_>, which: &impl Fn(&Container) -> bool) -> Timestamp {
    let told = steps.seen.containers.iter().filter(|container| which(container));
    let told = told.filter_map(|container| steps.seen.stopping.get(&container.id));
    let until = told.filter(|stopping| !stopping.restart).map(|stopping| stopping.until).max();
    until.unwrap_or_else(|| in_grace(steps.now, ending.grace))
}

fn stop_one(steps: &mut Steps<'_>, ending: &Ending<'_>, container: &Container, deadline: Timestamp) {
    let (name, id, now) = (container.name.clone(), container.id.clone(), steps.now);
    match steps.seen.stopping.get(&container.id) {
        Some(stopping) if stopping.done.is_none() => {
            if stopping.until > in_grace(now, ending.grace) {
                steps.step(PodStep::Kill { container: name, id, grace: ending.grace });
            }
        }
        Some(stopping) if stopping.done.is_some_and(|done| due(done, SEEN_ENDED, now) > now) => {
            stopping.done.into_iter().for_each(|done| steps.wake(due(done, SEEN_ENDED, now)));
        }
        _ => {
            let left = Duration::try_from(deadline.duration_since(now)).unwrap_or_default();
            let grace = left.clamp(SHORTEST_GRACE.min(ending.grace), ending.grace);
            let reason = format!("Stopping container {name}");
            let pre_stop = ending.pre_stop && container.state != State::Unknown;
            let step = PodStep::Stop {
                container: name,
                id,
                grace,
                pre_stop,
                reason: reason.clone(),
                restart: false,
            };
            if steps.step(step) {
                steps.event(EventType::Normal, "Killing", reason);
            }
        }
    }
}

fn in_grace(now: Timestamp, grace: Duration) -> Timestamp {
    let grace = SignedDuration::try_from(grace).unwrap_or(SignedDuration::MAX);
    now.checked_add(grace).unwrap_or(Timestamp::MAX)
}

/// Stops all sandboxes but the one in use. One that is not ready any more is told as well, once, so that its network is taken down.
/// Says whether there is none to be stopped.
fn stop_sandboxes(steps: &mut Steps<'_>, current: Option<&str>) -> bool {
    let seen = steps.seen;
    let is_left = |id: &str| current != Some(id);
    let mut left = seen
        .sandboxes
        .iter()
        .filter(|sandbox| is_left(&sandbox.id) && (sandbox.ready || !seen.stopped.contains(&sandbox.id)));
    let next = left.next();
    if let Some(sandbox) = next {
        steps.step(PodStep::StopSandbox { id: sandbox.id.clone() });
    }
    next.is_none() && (current.is_some() || steps.is_free(&Target::Sandbox))
}

/// Removes all that has ended. Says whether nothing is left.
fn remove(steps: &mut Steps<'_>) -> bool {
    let seen = steps.seen;
    for sandbox in &seen.sandboxes {
        steps.step(PodStep::RemoveSandbox { id: sandbox.id.clone() });
    }
    let has_sandbox = |container: &&Container| seen.sandboxes.iter().any(|s| s.id == container.sandbox);
    for container in seen.containers.iter().filter(|container| !has_sandbox(container)) {
        let (container, id) = (container.name.clone(), container.id.clone());
        steps.step(PodStep::RemoveContainer { container, id });
    }
    if !seen.sandboxes.is_empty() || !seen.containers.is_empty() {
        return false;
    }
    if seen.volumes != Volumes::Gone {
        steps.step(PodStep::TearDown);
        return false;
    }
    true
}

/// Removes what nobody asks for any more: of each container all but the newest and the one that ended before it, and sandboxes that
/// are empty for it.
pub(super) fn garbage(view: &View<'_>, steps: &mut Steps<'_>) {
    let seen = view.seen;
    let kept = |container: &Container| {
        let named = seen.named(&container.name);
        let previous = named.iter().skip(1).find(|other| is_exited(&other.state));
        named.first().is_some_and(|newest| newest.id == container.id)
            || previous.is_some_and(|previous| previous.id == container.id)
    };
    for container in seen.containers.iter().filter(|c| !is_live(seen, c) && !kept(c)) {
        let (container, id) = (container.name.clone(), container.id.clone());
        steps.step(PodStep::RemoveContainer { container, id });
    }
    let newest = seen.sandbox().map(|sandbox| sandbox.id.as_str());
    for sandbox in seen.sandboxes.iter().filter(|sandbox| newest != Some(&sandbox.id)) {
        let is_empty = !seen.containers.iter().any(|container| container.sandbox == sandbox.id);
        if is_empty && !sandbox.ready && seen.stopped.contains(&sandbox.id) {
            steps.step(PodStep::RemoveSandbox { id: sandbox.id.clone() });
        }
    }
}
