//! What came of a step, and how it is remembered.

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::super::observed::{
    Container, Failure, Image, PodObserved, ProbeHistory, ProbeKind, Sandbox, State, Stopping, Volumes,
};
use super::steps::is_of_end;
use super::{EventType, PodStep, probes, target, times, view};

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
    /// Of Pull. `pulled`: how long it took; None: it was there.
    Image { id: String, pulled: Option<std::time::Duration> },
    /// Of Start: as it runs, or has ended already, be it because it could not be started (reason `StartError`: then that is told).
    /// Of Stop and Kill: as it ended.
    Container(Container),
    /// Of Probe.
    Probe { success: bool, message: String },
    /// It failed: as kubelet says it, and why. No secrets.
    Failed { reason: String, message: String },
}

/// An event to be told about the Pod: type, reason, message.
pub type Notice = (EventType, &'static str, String);

/// The notice of a pull that begins, which only the executor knows: the image may be there.
pub fn pulling(image: &str) -> Notice {
    (EventType::Normal, "Pulling", format!("Pulling image \"{image}\""))
}

/// Remembers that a step is under way: its target is busy. To be called before it is done.
pub fn begin(pod: &mut PodObserved, step: &PodStep, now: Timestamp) {
    pod.busy.insert(target(step));
    match step {
        PodStep::Start { container, .. } => {
            if let Some(State::Exited { finished, .. }) = pod.named(container).first().map(|c| &c.state) {
                let next = times::next_backoff(pod.backoff.get(container), *finished, now);
                pod.backoff.insert(container.clone(), next);
            }
        }
        PodStep::Stop { id, grace, restart, .. } => {
            let until = until(now, *grace);
            pod.stopping.insert(id.clone(), Stopping { until, restart: *restart, done: None });
        }
        PodStep::Kill { id, grace, .. } => {
            let until = until(now, *grace);
            pod.stopping.entry(id.clone()).and_modify(|stopping| stopping.until = until);
        }
        PodStep::Probe { id, kind, .. } => {
            let unasked =
                ProbeHistory { at: now, success: false, in_a_row: 0, verdict: None, message: String::new() };
            pod.probes.entry((id.clone(), *kind)).or_insert(unasked).at = now;
        }
        _ => {}
    }
}

fn until(now: Timestamp, grace: std::time::Duration) -> Timestamp {
    let grace = SignedDuration::try_from(grace).unwrap_or(SignedDuration::MAX);
    now.checked_add(grace).unwrap_or(Timestamp::MAX)
}

/// Remembers an outcome: the step is not busy any more. `object`: the Pod, if it is there. What is to be told comes back.
pub fn record(
    pod: &mut PodObserved,
    object: Option<&core::Pod>,
    step: &PodStep,
    outcome: Outcome,
    now: Timestamp,
) -> Vec<Notice> {
    let target = target(step);
    pod.busy.remove(&target);
    if let Outcome::Failed { reason, message } = outcome {
        return failed(pod, object, step, &reason, message, now);
    }
    pod.end_failures.remove(&target);
    match (step, outcome) {
        (PodStep::PrepareVolumes, Outcome::Volumes(revision)) => pod.volumes = Volumes::Ready(revision),
        (PodStep::ReleaseVolumes, _) => pod.volumes = Volumes::Released,
        (PodStep::TearDown, _) => pod.volumes = Volumes::Gone,
        (PodStep::RunSandbox { .. }, Outcome::Sandbox(sandbox)) => {
            pod.sandbox_failure = None;
            pod.sandboxes.retain(|other| other.id != sandbox.id);
            pod.sandboxes.insert(0, sandbox);
        }
        (PodStep::StopSandbox { id }, _) => {
            pod.stopped.insert(id.clone());
            pod.sandboxes.iter_mut().filter(|sandbox| sandbox.id == *id).for_each(|s| s.ready = false);
        }
        (PodStep::RemoveSandbox { id }, _) => forget_sandbox(pod, id),
        (PodStep::RemoveContainer { id, .. }, _) => pod.forget(id),
        (PodStep::Pull { container }, Outcome::Image { id, pulled }) => {
            pod.images.insert(container.clone(), Image::Present { id });
            // Of a Pod that went meanwhile nobody wants to know.
            return object.map(|object| pulled_notice(object, container, pulled)).into_iter().collect();
        }
        (PodStep::Start { container, .. }, Outcome::Container(started)) => {
            return start_done(pod, container, started);
        }
        (PodStep::Stop { id, .. } | PodStep::Kill { id, .. }, outcome) => {
            if let Some(stopping) = pod.stopping.get_mut(id) {
                stopping.done = Some(now);
            }
            if let Outcome::Container(ended) = outcome {
                put(pod, ended);
            }
        }
        (PodStep::PostStart { id, .. }, _) => {
            pod.hooks.insert(id.clone(), None);
        }
        (PodStep::Probe { container, id, kind }, Outcome::Probe { success, message }) => {
            return probed(pod, object, container, id, *kind, success, message);
        }
        _ => {}
    }
    Vec::new()
}

/// Puts a container as it is now.
fn put(pod: &mut PodObserved, container: Container) {
    match pod.containers.iter_mut().find(|other| other.id == container.id) {
        // It stays where it was made.
        Some(other) => *other = Container { sandbox: std::mem::take(&mut other.sandbox), ..container },
        None => pod.containers.insert(0, container),
    }
}

fn start_done(pod: &mut PodObserved, name: &str, started: Container) -> Vec<Notice> {
    pod.start_failures.remove(name);
    // The next start has to ask again: the image may have been removed, or is to be pulled always.
    pod.images.remove(name);
    pod.own.insert(started.id.clone());
    let error = match &started.state {
        State::Exited { reason, message, .. } if reason == "StartError" => Some(message.clone()),
        _ => None,
    };
    put(pod, started);
    let notice = |reason, verb| (EventType::Normal, reason, format!("{verb} container {name}"));
    let end = match error {
        Some(message) => (EventType::Warning, "Failed", format!("Error: {message}")),
        None => notice("Started", "Started"),
    };
    vec![notice("Created", "Created"), end]
}

fn forget_sandbox(pod: &mut PodObserved, id: &str) {
    pod.sandboxes.retain(|sandbox| sandbox.id != *id);
    pod.stopped.remove(id);
    let of_it: Vec<String> =
        pod.containers.iter().filter(|c| c.sandbox == *id).map(|c| c.id.clone()).collect();
    of_it.iter().for_each(|container| pod.forget(container));
}

fn probed(
    pod: &mut PodObserved,
    object: Option<&core::Pod>,
    container: &str,
    id: &str,
    kind: ProbeKind,
    success: bool,
    message: String,
) -> Vec<Notice> {
    let found = !pod.own.contains(id);
    let probe = object.and_then(|pod| spec_of(pod, container)).and_then(|spec| view::probe(spec, kind));
    // Of a container that is gone meanwhile nothing is kept.
    let is_known = pod.containers.iter().any(|container| container.id == id);
    let (Some(probe), Some(history)) = (probe, pod.probes.get_mut(&(id.to_owned(), kind))) else {
        return Vec::new();
    };
    let notice = (!success).then(|| {
        (EventType::Warning, "Unhealthy", format!("{} probe failed: {message}", probes::title(kind)))
    });
    probes::answered(history, probe, kind, found, success, message);
    if !is_known {
        pod.probes.remove(&(id.to_owned(), kind));
        return Vec::new();
    }
    notice.into_iter().collect()
}

fn failed(
    pod: &mut PodObserved,
    object: Option<&core::Pod>,
    step: &PodStep,
    reason: &str,
    message: String,
    now: Timestamp,
) -> Vec<Notice> {
    let again = |before: Option<&Failure>| Failure {
        reason: reason.into(),
        message: message.clone(),
        at: now,
        count: before.map_or(1, |before| before.count.saturating_add(1)),
    };
    let warning = |reason, text| vec![(EventType::Warning, reason, text)];
    let message_of = |what: &str| format!("{what}: {message}");
    if is_of_end(step) {
        let target = target(step);
        let failure = again(pod.end_failures.get(&target));
        pod.end_failures.insert(target, failure);
    }
    match step {
        PodStep::PrepareVolumes => {
            let before = if let Volumes::Failed(before) = &pod.volumes { Some(before) } else { None };
            pod.volumes = Volumes::Failed(again(before));
            warning("FailedMount", message)
        }
        PodStep::RunSandbox { .. } => {
            pod.sandbox_failure = Some(again(pod.sandbox_failure.as_ref()));
            warning("FailedCreatePodSandBox", message_of("Failed to create pod sandbox"))
        }
        PodStep::Pull { container } => {
            let before = if let Some(Image::Failed(before)) = pod.images.get(container) {
                Some(before.clone())
            } else {
                None
            };
            pod.images.insert(container.clone(), Image::Failed(again(before.as_ref())));
            object.map_or_else(Vec::new, |object| pull_failed(object, container, reason, &message))
        }
        PodStep::Start { container, .. } => {
            let failure = again(pod.start_failures.get(container));
            pod.start_failures.insert(container.clone(), failure);
            pod.images.remove(container);
            warning("Failed", message_of("Error"))
        }
        PodStep::PostStart { id, .. } => {
            pod.hooks.insert(id.clone(), Some(again(None)));
            // What a hook says may be a secret.
            warning("FailedPostStartHook", "PostStartHook failed".into())
        }
        PodStep::Stop { id, .. } => {
            // It is told again, after a while.
            pod.stopping.remove(id);
            warning("FailedKillPod", message_of("error killing pod"))
        }
        PodStep::Probe { kind, .. } => {
            let title = probes::title(*kind);
            warning("Unhealthy", format!("{title} probe errored: {message}"))
        }
        PodStep::StopSandbox { .. } | PodStep::Kill { .. } => {
            warning("FailedKillPod", message_of("error killing pod"))
        }
        PodStep::RemoveSandbox { .. }
        | PodStep::RemoveContainer { .. }
        | PodStep::ReleaseVolumes
        | PodStep::TearDown => warning("FailedCleanUp", message),
    }
}

fn pull_failed(object: &core::Pod, container: &str, reason: &str, message: &str) -> Vec<Notice> {
    let error = (EventType::Warning, "Failed", format!("Error: {reason}"));
    if matches!(reason, "ErrImageNeverPull" | "InvalidImageName" | "ImageInspectError") {
        let event = if reason == "ErrImageNeverPull" { "ErrImageNeverPull" } else { "InspectFailed" };
        return vec![(EventType::Warning, event, message.into()), error];
    }
    let image = image_of(object, container);
    vec![(EventType::Warning, "Failed", format!("Failed to pull image \"{image}\": {message}")), error]
}

fn pulled_notice(object: &core::Pod, container: &str, pulled: Option<std::time::Duration>) -> Notice {
    let image = image_of(object, container);
    let message = match pulled {
        Some(took) => format!("Successfully pulled image \"{image}\" in {:.3}s", took.as_secs_f64()),
        None => format!("Container image \"{image}\" already present on machine"),
    };
    (EventType::Normal, "Pulled", message)
}

fn image_of<'a>(object: &'a core::Pod, container: &str) -> &'a str {
    spec_of(object, container).and_then(|spec| spec.image.as_deref()).unwrap_or_default()
}

fn spec_of<'a>(pod: &'a core::Pod, name: &str) -> Option<&'a core::Container> {
    let spec = pod.spec.as_ref()?;
    spec.init_containers.iter().flatten().chain(&spec.containers).find(|container| container.name == name)
}
