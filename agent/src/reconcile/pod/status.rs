//! How a Pod is, as its status says it.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::{
    ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting, ContainerStatus,
    HostIP, Pod, PodIP, PodStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

use super::super::observed::{Container, Failure, State, Target};
use super::fate::{self, Fate};
use super::times::{due, words};
use super::view::{Member, Role, View, is_live};
use super::{EventType, Steps, conditions, start};
use crate::objects::Typed;
use crate::spec;

/// For so long a failed pull is told as itself, and then as what is waited for.
const PULL_ERROR_SHOWN: i64 = 2;
const EXPIRED: &str = "Pod was active on the node longer than the specified deadline";

/// Whether nothing has been said of the Pod, and nothing of it is there.
pub(super) fn is_new(view: &View<'_>) -> bool {
    let said = view.pod.status.as_ref().is_some_and(|status| status.start_time.is_some());
    !said && view.seen.sandboxes.is_empty()
}

/// Says how the Pod is, if it is not as it was said last.
pub(super) fn report(view: &View<'_>, fate: &Fate, steps: &mut Steps<'_>) {
    let nothing = PodStatus::default();
    let before = view.pod.status.as_ref().unwrap_or(&nothing);
    let status = of(view, *fate, before, steps);
    if *before == status {
        return;
    }
    back_off_events(view, before, &status, steps);
    if *fate == Fate::Expired {
        steps.event(EventType::Normal, "DeadlineExceeded", EXPIRED.into());
    }
    let mut pod: Pod = view.pod.clone();
    pod.status = Some(status);
    steps.status(pod.wrap());
}

fn of(view: &View<'_>, fate: Fate, before: &PodStatus, steps: &mut Steps<'_>) -> PodStatus {
    let mut of_members = |members: &[Member<'_>], old: &Option<Vec<ContainerStatus>>| -> Vec<_> {
        let old = old.as_deref().unwrap_or_default();
        members.iter().map(|member| container(view, member, old, fate, steps)).collect()
    };
    let inits = of_members(&view.inits, &before.init_container_statuses);
    let mains = of_members(&view.mains, &before.container_statuses);
    let phase = phase(view, fate, before);
    let same = before.phase.as_deref() == Some(phase);
    let kept = |text: &Option<String>| text.clone().filter(|_| same);
    let (reason, message) = match fate {
        Fate::Expired => (Some("DeadlineExceeded".to_owned()), Some(EXPIRED.to_owned())),
        _ => (kept(&before.reason), kept(&before.message)),
    };
    let hosts = &view.node.addresses[..view.node.addresses.len().min(2)];
    let ips = addresses(view, fate, before, hosts);
    let mut status = PodStatus {
        host_ip: hosts.first().map(ToString::to_string),
        host_ips: list(hosts.iter().map(|ip| HostIP { ip: ip.to_string() }).collect()),
        init_container_statuses: list(inits),
        container_statuses: list(mains),
        observed_generation: view.pod.metadata.generation,
        phase: Some(phase.into()),
        pod_ip: ips.first().cloned(),
        pod_ips: list(ips.into_iter().map(|ip| PodIP { ip }).collect()),
        qos_class: Some(spec::qos_class(view.pod).into()),
        start_time: Some(time(fate::started(view))),
        reason,
        message,
        ..PodStatus::default()
    };
    status.conditions = Some(conditions::of(view, &status, before));
    status
}

fn list<T>(items: Vec<T>) -> Option<Vec<T>> {
    Some(items).filter(|items| !items.is_empty())
}

/// Of the sandbox in use, or the node. What is over keeps what it had.
fn addresses(view: &View<'_>, fate: Fate, before: &PodStatus, hosts: &[IpAddr]) -> Vec<String> {
    let of = |addresses: &[IpAddr]| addresses.iter().take(2).map(ToString::to_string).collect();
    match view.sandbox {
        Some(_) if view.spec.host_network == Some(true) => of(hosts),
        Some(sandbox) => of(&sandbox.addresses),
        None if fate != Fate::Lives => before.pod_ips.iter().flatten().map(|ip| ip.ip.clone()).collect(),
        None => Vec::new(),
    }
}

fn phase(view: &View<'_>, fate: Fate, before: &PodStatus) -> &'static str {
    match before.phase.as_deref() {
        Some("Succeeded") => return "Succeeded",
        Some("Failed") => return "Failed",
        _ => {}
    }
    let seen = view.seen;
    let starting = seen.busy.iter().any(|target| matches!(target, Target::Container(_)));
    let all_ended = !starting && !seen.containers.iter().any(|container| is_live(seen, container));
    let ended = |member: &Member<'_>| match member.run.map(|run| &run.state) {
        Some(State::Exited { code, .. }) => Some(*code),
        _ => None,
    };
    match fate {
        Fate::Expired => return "Failed",
        Fate::Over { failed: true } if all_ended => return "Failed",
        Fate::Over { failed: false } if all_ended => return "Succeeded",
        Fate::Deleted if all_ended && view.mains.iter().all(|member| ended(member).is_some()) => {
            let well = view.mains.iter().all(|member| ended(member) == Some(0));
            return if well { "Succeeded" } else { "Failed" };
        }
        _ => {}
    }
    let ran = |member: &Member<'_>| {
        member.previous.is_some()
            || member.newest.is_some_and(|newest| !matches!(newest.state, State::Created { .. }))
    };
    let is_running = view.is_initialized() && view.mains.iter().all(ran);
    // What ends, and is being removed, does not become pending again.
    let was_running = fate != Fate::Lives && before.phase.as_deref() == Some("Running");
    if is_running || was_running { "Running" } else { "Pending" }
}

/// How often a container has been started before its next start, where there is none to be asked.
pub(super) fn restarts_before(view: &View<'_>, member: &Member<'_>) -> u32 {
    let status = view.pod.status.as_ref();
    let all = status.map(|status| [&status.init_container_statuses, &status.container_statuses]);
    let old = all.into_iter().flatten().flatten().flatten().find(|old| old.name == member.spec.name);
    old.map_or(0, |old| u32::try_from(restarts_of_lost(old)).unwrap_or(0))
}

/// A container that was there and is not: the next one is one more.
fn restarts_of_lost(old: &ContainerStatus) -> i32 {
    old.restart_count.saturating_add(i32::from(old.container_id.is_some()))
}

fn container(
    view: &View<'_>,
    member: &Member<'_>,
    old: &[ContainerStatus],
    fate: Fate,
    steps: &mut Steps<'_>,
) -> ContainerStatus {
    let old = old.iter().find(|old| old.name == member.spec.name);
    let Some(newest) = member.newest else {
        if let Some(old) = old.filter(|_| fate != Fate::Lives) {
            return lost(old);
        }
        return ContainerStatus {
            name: member.spec.name.clone(),
            image: member.spec.image.clone().unwrap_or_default(),
            restart_count: old.map_or(0, restarts_of_lost),
            started: Some(false),
            state: Some(waiting(view, waits_for(view, member, fate, steps))),
            last_state: Some(ContainerState::default()),
            ..ContainerStatus::default()
        };
    };
    let wait = waits_for(view, member, fate, steps);
    let terminated = |run: &Container| exited(view, run);
    let (state, last) = match (&newest.state, wait) {
        (State::Running { since }, _) => {
            let running = Some(ContainerStateRunning { started_at: Some(time(*since)) });
            (ContainerState { running, ..ContainerState::default() }, member.previous.map(terminated))
        }
        (State::Exited { .. }, None) => (terminated(newest), member.previous.map(terminated)),
        (State::Exited { .. }, wait) => (waiting(view, wait), Some(terminated(newest))),
        (_, wait) => (waiting(view, wait), member.previous.map(terminated)),
    };
    let is_done =
        member.role == Role::Init && state.terminated.as_ref().is_some_and(|ended| ended.exit_code == 0);
    let has_run = !matches!(newest.state, State::Created { .. });
    ContainerStatus {
        name: member.spec.name.clone(),
        image: newest.image.clone(),
        image_id: newest.image_id.clone(),
        container_id: has_run.then(|| full_id(view, newest)),
        restart_count: i32::try_from(newest.attempt)
            .unwrap_or(i32::MAX)
            .max(old.map_or(0, |o| o.restart_count)),
        ready: is_done || (member.role != Role::Init && view.is_ready(member)),
        started: Some(view.is_started(member)),
        state: Some(state),
        last_state: Some(last.unwrap_or_default()),
        ..ContainerStatus::default()
    }
}

/// Of a container that has been removed with its Pod.
fn lost(old: &ContainerStatus) -> ContainerStatus {
    let mut status = old.clone();
    status.ready &= status.state.as_ref().is_some_and(|state| state.terminated.is_some());
    status.started = Some(false);
    if status.state.as_ref().is_some_and(|state| state.running.is_some()) {
        let terminated = ContainerStateTerminated {
            exit_code: 137,
            reason: Some("ContainerStatusUnknown".into()),
            message: Some("The container could not be located when the pod was terminated".into()),
            container_id: old.container_id.clone(),
            ..ContainerStateTerminated::default()
        };
        status.state = Some(ContainerState { terminated: Some(terminated), ..ContainerState::default() });
    }
    status
}

/// Why a container that is to run does not: reason and message.
fn waits_for(
    view: &View<'_>,
    member: &Member<'_>,
    fate: Fate,
    steps: &mut Steps<'_>,
) -> Option<(String, String)> {
    if fate != Fate::Lives {
        return None;
    }
    match member.run.map(|run| (run, &run.state)) {
        Some((_, State::Running { .. } | State::Unknown)) => return None,
        Some((run, State::Exited { code, .. })) if !view.restarts(member, run, *code) => return None,
        _ => {}
    }
    let name = &member.spec.name;
    // The wait after its next end counts from its start on: one that is being started does not wait.
    let is_starting = view.seen.busy.contains(&Target::Container(name.clone()));
    if !is_starting && start::crash_until(view, member).is_some_and(|until| until > view.now) {
        let seconds = view.seen.backoff.get(name).map_or(0, |backoff| backoff.seconds);
        let pod = pod_words(view);
        let message = format!("back-off {} restarting failed container={name} pod={pod}", words(seconds));
        return Some(("CrashLoopBackOff".into(), message));
    }
    if let Some(failure) = start::pull_failure(view, member) {
        return Some(pull_words(view, member, failure, steps));
    }
    let failure = view.seen.start_failures.get(name)?;
    Some((failure.reason.clone(), failure.message.clone()))
}

fn pull_words(
    view: &View<'_>,
    member: &Member<'_>,
    failure: &Failure,
    steps: &mut Steps<'_>,
) -> (String, String) {
    let plain = || (failure.reason.clone(), failure.message.clone());
    if matches!(failure.reason.as_str(), "ErrImageNeverPull" | "InvalidImageName" | "ImageInspectError") {
        return plain();
    }
    let shown_until = due(failure.at, PULL_ERROR_SHOWN, view.now);
    if failure.count == 1 && shown_until > view.now {
        steps.wake(shown_until);
        return plain();
    }
    let image = member.spec.image.as_deref().unwrap_or_default();
    // A runtime's message may begin with its reason.
    let why = failure.message.strip_prefix(&format!("{}: ", failure.reason)).unwrap_or(&failure.message);
    let message = format!("Back-off pulling image \"{image}\": {}: {why}", failure.reason);
    ("ImagePullBackOff".into(), message)
}

fn pod_words(view: &View<'_>) -> String {
    format!("{}_{}({})", view.pod.name(), view.pod.namespace(), view.pod.uid())
}

fn waiting(view: &View<'_>, why: Option<(String, String)>) -> ContainerState {
    let first = if view.inits.is_empty() { "ContainerCreating" } else { "PodInitializing" };
    let (reason, message) = match why {
        Some((reason, message)) => (reason, Some(message)),
        None => (first.to_owned(), None),
    };
    let waiting = Some(ContainerStateWaiting { reason: Some(reason), message });
    ContainerState { waiting, ..ContainerState::default() }
}

fn exited(view: &View<'_>, run: &Container) -> ContainerState {
    let State::Exited { started, finished, code, reason, message } = &run.state else {
        return ContainerState::default();
    };
    let fallback = if *code == 0 { "Completed" } else { "Error" };
    let reason = if reason.is_empty() { fallback } else { reason };
    let terminated = Some(ContainerStateTerminated {
        container_id: Some(full_id(view, run)),
        exit_code: *code,
        finished_at: Some(time(*finished)),
        message: Some(message.clone()).filter(|message| !message.is_empty()),
        reason: Some(reason.into()),
        signal: None,
        started_at: started.map(time),
    });
    ContainerState { terminated, ..ContainerState::default() }
}

fn full_id(view: &View<'_>, run: &Container) -> String {
    let runtime = Some(view.node.runtime.as_str()).filter(|name| !name.is_empty());
    format!("{}://{}", runtime.unwrap_or("cri"), run.id)
}

/// In whole seconds, as Kubernetes' times are.
pub(super) fn time(at: Timestamp) -> Time {
    Time(Timestamp::from_second(at.as_second()).unwrap_or(at))
}

/// Told once, when a container begins to wait.
fn back_off_events(view: &View<'_>, before: &PodStatus, now: &PodStatus, steps: &mut Steps<'_>) {
    let all = |status: &PodStatus| -> Vec<ContainerStatus> {
        let lists = [&status.init_container_statuses, &status.container_statuses];
        lists.into_iter().flatten().flatten().cloned().collect()
    };
    let wait = |status: &ContainerStatus| -> Option<(String, String)> {
        let waiting = status.state.as_ref()?.waiting.as_ref()?;
        Some((waiting.reason.clone()?, waiting.message.clone()?))
    };
    let before = all(before);
    for status in all(now) {
        let old = before.iter().find(|old| old.name == status.name).and_then(wait);
        let Some(new) = wait(&status).filter(|new| old.as_ref() != Some(new)) else { continue };
        match new.0.as_str() {
            "CrashLoopBackOff" => {
                let (name, pod) = (&status.name, pod_words(view));
                let message = format!("Back-off restarting failed container {name} in pod {pod}");
                steps.event(EventType::Warning, "BackOff", message);
            }
            "ImagePullBackOff" => {
                let message = format!("Back-off pulling image \"{}\"", status.image);
                steps.event(EventType::Normal, "BackOff", message);
                steps.event(EventType::Warning, "Failed", "Error: ImagePullBackOff".into());
            }
            _ => {}
        }
    }
}
