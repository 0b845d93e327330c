//! Containers come up in their order, those that fail end, those that ended come again.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

use super::super::observed::{Container, Failure, Image, ProbeKind, State, Target};
use super::times::{PULL_RETRY, START_RETRY, restart_at, retry_at};
use super::view::{Member, Role, View, probe};
use super::{EventType, PodStep, Steps, life, references};
use crate::spec;

/// Whether the containers after one have to wait for it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    Next,
    Wait,
}

/// The next steps of all containers.
pub(super) fn containers(view: &View<'_>, steps: &mut Steps<'_>) {
    for member in view.members() {
        if let Some(run) = member.run {
            end_failed(view, steps, member, run);
        }
    }
    let (has_main, reached) = (view.has_main(), view.reached());
    for (index, member) in view.inits.iter().enumerate() {
        let is_behind = has_main || index < reached;
        if is_behind && member.role == Role::Init {
            continue;
        }
        let order = bring_up(view, steps, member, life::is_set_up(view));
        if !is_behind && (order == Order::Wait || !view.is_passed(member)) {
            return;
        }
    }
    // A container waits for those before it, but its image does not.
    let mut may_start = life::is_set_up(view);
    for member in &view.mains {
        may_start &= bring_up(view, steps, member, may_start) == Order::Next;
    }
}

/// Sees to it that a container runs, or has ended for good.
fn bring_up(view: &View<'_>, steps: &mut Steps<'_>, member: &Member<'_>, may_start: bool) -> Order {
    let name = &member.spec.name;
    match member.run.map(|run| (run, &run.state)) {
        Some((run, State::Running { .. })) => {
            if !view.hook_is_due(member, run) || view.seen.stopping.contains_key(&run.id) {
                return Order::Next;
            }
            steps.step(PodStep::PostStart { container: name.clone(), id: run.id.clone() });
            Order::Wait
        }
        Some((run, State::Created { .. })) => remake(view, steps, member, run),
        // It is being stopped, and is removed if it still is unknown then.
        Some((run, State::Unknown)) => {
            if view.seen.stopping.get(&run.id).is_some_and(|stopping| stopping.done.is_some()) {
                steps.step(PodStep::RemoveContainer { container: name.clone(), id: run.id.clone() });
            }
            Order::Wait
        }
        Some((run, State::Exited { code, .. })) if !view.restarts(member, run, *code) => Order::Next,
        _ => start(view, steps, member, may_start),
    }
}

/// One that was made but did not start is made again, under the same number since it never ran.
fn remake(view: &View<'_>, steps: &mut Steps<'_>, member: &Member<'_>, run: &Container) -> Order {
    if let Some(at) = start_failure_until(view, member).filter(|at| *at > view.now) {
        steps.wake(at);
        return Order::Next;
    }
    steps.step(PodStep::RemoveContainer { container: member.spec.name.clone(), id: run.id.clone() });
    Order::Wait
}

fn start(view: &View<'_>, steps: &mut Steps<'_>, member: &Member<'_>, may_start: bool) -> Order {
    let name = &member.spec.name;
    let is_free = |target| steps.is_free(&target);
    if !is_free(Target::Container(name.clone())) || !is_free(Target::Image(name.clone())) {
        return Order::Wait;
    }
    let waits = [crash_until(view, member), start_failure_until(view, member), pull_until(view, member)];
    if let Some(until) = waits.into_iter().flatten().max().filter(|until| *until > view.now) {
        steps.wake(until);
        return Order::Next;
    }
    match view.seen.images.get(name) {
        Some(Image::Present { .. }) => {
            if may_start {
                steps.step(PodStep::Start { container: name.clone(), attempt: attempt(view, member) });
            }
        }
        _ => {
            steps.step(PodStep::Pull { container: name.clone() });
        }
    }
    Order::Wait
}

/// How many there were before, also if the last of them was removed.
fn attempt(view: &View<'_>, member: &Member<'_>) -> u32 {
    let seen = member.newest.map_or(0, |newest| newest.attempt.saturating_add(1));
    seen.max(super::status::restarts_before(view, member))
}

/// Until when a container that ended waits.
pub(super) fn crash_until(view: &View<'_>, member: &Member<'_>) -> Option<Timestamp> {
    match member.newest.map(|newest| &newest.state) {
        Some(State::Exited { finished, .. }) => {
            restart_at(view.seen.backoff.get(&member.spec.name), *finished, view.now)
        }
        _ => None,
    }
}

/// Until when a container waits that could not be made: not if what it asked for has come since.
fn start_failure_until(view: &View<'_>, member: &Member<'_>) -> Option<Timestamp> {
    let failure = view.seen.start_failures.get(&member.spec.name)?;
    (!references::came_since(view, failure.at)).then(|| retry_at(failure, START_RETRY, view.now))
}

/// Why an image is not there.
pub(super) fn pull_failure<'a>(view: &View<'a>, member: &Member<'_>) -> Option<&'a Failure> {
    match view.seen.images.get(&member.spec.name) {
        Some(Image::Failed(failure)) => Some(failure),
        _ => None,
    }
}

fn pull_until(view: &View<'_>, member: &Member<'_>) -> Option<Timestamp> {
    pull_failure(view, member).map(|failure| retry_at(failure, PULL_RETRY, view.now))
}

/// Stops a container that runs but is not as it should be.
fn end_failed(view: &View<'_>, steps: &mut Steps<'_>, member: &Member<'_>, run: &Container) {
    if view.seen.stopping.contains_key(&run.id) {
        return;
    }
    let Some(why) = failing(view, member, run) else { return };
    let (container, id) = (member.spec.name.clone(), run.id.clone());
    let pre_stop = run.state != State::Unknown;
    let reason = why.message;
    let step = PodStep::Stop {
        container,
        id,
        grace: why.grace,
        pre_stop,
        reason: reason.clone(),
        restart: why.restart,
    };
    if steps.step(step) {
        steps.event(EventType::Normal, "Killing", reason);
    }
}

struct Failing {
    message: String,
    grace: Duration,
    restart: bool,
}

fn failing(view: &View<'_>, member: &Member<'_>, run: &Container) -> Option<Failing> {
    let grace = view.grace();
    if run.state == State::Unknown {
        let message = "Container is in \"unknown\" state, try killing it before restart".into();
        return Some(Failing { message, grace, restart: true });
    }
    if !matches!(run.state, State::Running { .. }) {
        return None;
    }
    let name = &member.spec.name;
    let title = if member.role == Role::Main { "Container" } else { "Init container" };
    let wanted = spec::hash(member.spec);
    if member.role != Role::Init && !run.hash.is_empty() && run.hash != wanted {
        let message = format!("{title} {name} definition changed, will be restarted");
        return Some(Failing { message, grace, restart: true });
    }
    if let Some(Some(_)) = view.seen.hooks.get(&run.id) {
        return Some(Failing { message: "FailedPostStartHook".into(), grace, restart: false });
    }
    let kinds = [(ProbeKind::Liveness, "liveness"), (ProbeKind::Startup, "startup")];
    let (kind, word) = kinds.into_iter().find(|(kind, _)| view.verdict(member, run, *kind) == Some(false))?;
    let restart = view.restart_policy(member) != "Never" || member.role == Role::Sidecar;
    let then = if restart { ", will be restarted" } else { "" };
    let own = probe(member.spec, kind).and_then(|probe| probe.termination_grace_period_seconds);
    let grace = own.map_or(grace, |seconds| Duration::from_secs(u64::try_from(seconds).unwrap_or(0)));
    Some(Failing { message: format!("{title} {name} failed {word} probe{then}"), grace, restart })
}
