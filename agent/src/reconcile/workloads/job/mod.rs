//! Jobs: Pods that end, as many of them as are to succeed.

mod indexes;
mod released;
mod status;

use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::{EnvVar, Pod};
use k8s_openapi::jiff::Timestamp;

use super::{creation, owned, pods};
use crate::objects::{Objects, Typed};
use crate::reconcile::{Action, Decision};
use indexes::Indexes;
use released::is_released;
use status::Progress;

/// The label and annotation of a Pod that say which of the completions it is for.
const INDEX: &str = "batch.kubernetes.io/job-completion-index";
/// Failed Pods before a Job has failed, where it does not say.
const BACKOFF_LIMIT: i32 = 6;
/// Seconds after a Pod failed before the next one: doubled with each that does.
const FIRST_DELAY: i64 = 10;
/// The most of them.
const LONGEST_DELAY: i64 = 600;

/// `Complete` or `Failed` if it has come to its end.
pub(super) fn is_finished(job: &Job) -> Option<&'static str> {
    let conditions = job.status.as_ref()?.conditions.as_deref()?;
    let is = |kind: &&str| conditions.iter().any(|is| is.type_ == *kind && is.status == "True");
    ["Complete", "Failed"].into_iter().find(is)
}

/// What is decided on.
pub(super) struct Work<'a> {
    job: &'a Job,
    spec: &'a JobSpec,
    now: Timestamp,
    /// Those that count: all but released ones.
    pods: Vec<&'a Pod>,
    active: Vec<&'a Pod>,
    /// Of all, those that are ending, or will be.
    terminating: usize,
    completions: Option<i32>,
    parallelism: i32,
    indexed: bool,
    suspended: bool,
}

/// Decides for one.
pub(super) fn reconcile(job: &Job, desired: &Objects, now: Timestamp) -> Decision {
    if is_finished(job).is_some() {
        return after_the_end(job, now);
    }
    let Some(spec) = &job.spec else { return Decision::default() };
    let all = desired.list_in::<Pod>(job.namespace());
    let all = all.filter(|pod| owned::is_controlled_by(&pod.metadata, job.uid()));
    let (released, all): (Vec<&Pod>, Vec<&Pod>) = all.partition(|pod| is_released(pod));
    let ends = |pod: &&&Pod| pods::is_deleted(pod) && !pods::is_finished(pod);
    let work = Work {
        job,
        spec,
        now,
        active: all.iter().copied().filter(pods::is_active).collect(),
        terminating: all.iter().filter(ends).count()
            + released.iter().filter(|pod| !pods::is_finished(pod)).count(),
        pods: all,
        completions: match (spec.completions, spec.parallelism) {
            (None, None) => Some(1),
            (completions, _) => completions,
        },
        parallelism: spec.parallelism.unwrap_or(1),
        indexed: spec.completion_mode.as_deref() == Some("Indexed"),
        suspended: spec.suspend == Some(true),
    };
    let mut decision = Decision::default();
    creation::delete(&mut decision, job, released.into_iter().filter(|pod| !pods::is_deleted(pod)));
    let progress = Progress::of(&work, &mut decision);
    if !progress.is_ending() {
        manage(&work, &progress, desired, &mut decision);
    } else {
        creation::delete(&mut decision, job, work.active.iter().copied());
    }
    progress.write(&work, &mut decision);
    decision
}

/// A finished Job goes when its time is up.
fn after_the_end(job: &Job, now: Timestamp) -> Decision {
    let mut decision = Decision::default();
    let ttl = job.spec.as_ref().and_then(|spec| spec.ttl_seconds_after_finished);
    let conditions = job.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let finished = conditions.iter().find(|is| matches!(is.type_.as_str(), "Complete" | "Failed"));
    let finished = finished.and_then(|condition| condition.last_transition_time.as_ref());
    if let (Some(ttl), Some(finished)) = (ttl, finished) {
        match pods::after(finished.0, ttl.into()) {
            until if until > now => decision.wake_at(until),
            _ => decision.actions.push(Action::Delete {
                key: job.key(),
                uid: job.uid().to_owned(),
                grace: None,
            }),
        }
    }
    decision
}

/// Makes Pods, or ends those that are too many.
fn manage(work: &Work<'_>, progress: &Progress, desired: &Objects, decision: &mut Decision) {
    let active = work.active.len();
    let wanted = match work.completions {
        _ if work.suspended => 0,
        None if progress.succeeded > 0 => active,
        None => count(work.parallelism),
        Some(completions) => count(work.parallelism.min(completions - progress.succeeded)),
    };
    if active > wanted {
        // Deleted by the next decision: whatever becomes of them then, the Job has neither failed nor got on by it.
        let excess = pods::least_needed_first(&work.active).into_iter().take(active - wanted);
        return decision.actions.extend(excess.map(released::release));
    }
    let only_failed = work.spec.pod_replacement_policy.as_deref() == Some("Failed");
    let terminating = if only_failed { work.terminating } else { 0 };
    let missing = wanted.saturating_sub(active + terminating);
    if missing == 0 {
        return;
    }
    if let Some(until) = delayed(work) {
        return decision.wake_at(until);
    }
    let job = work.job;
    let made: Vec<Pod> = if work.indexed {
        let pending = progress.succeeded_indexes.pending(&work.active, count(work.completions.unwrap_or(0)));
        pending.into_iter().take(missing).map(|index| with_index(work, index, desired)).collect()
    } else {
        creation::free_names(job, job.name(), desired).take(missing).map(|name| of(work, name)).collect()
    };
    let _ = creation::create(decision, job, made, desired, work.now);
}

fn count(number: i32) -> usize {
    usize::try_from(number).unwrap_or(0)
}

/// Until when no Pod is made, because of those that failed since one succeeded.
fn delayed(work: &Work<'_>) -> Option<Timestamp> {
    let ended = |phase: &'static str| {
        let pods = work.pods.iter().filter(move |pod| pods::phase(pod) == phase);
        pods.map(|pod| pods::finished(pod).unwrap_or_else(|| pods::created(&pod.metadata)))
    };
    let success = ended("Succeeded").max();
    let failures = ended("Failed").filter(|at| success.is_none_or(|success| *at > success));
    pods::delayed(failures, (FIRST_DELAY, LONGEST_DELAY), work.now)
}

fn of(work: &Work<'_>, name: String) -> Pod {
    let job = work.job;
    let mut pod = pods::of_template(&work.spec.template, job.namespace(), name, owned::reference(job));
    released::take_back(&mut pod);
    pods::label(
        &mut pod,
        [
            ("batch.kubernetes.io/controller-uid", job.uid()),
            ("batch.kubernetes.io/job-name", job.name()),
            ("controller-uid", job.uid()),
            ("job-name", job.name()),
        ],
    );
    pod
}

/// A Pod for one of the completions: it is told so by its hostname and in JOB_COMPLETION_INDEX.
fn with_index(work: &Work<'_>, index: usize, desired: &Objects) -> Pod {
    let base = format!("{}-{index}", work.job.name());
    let name = creation::free_names(work.job, &base, desired).next().unwrap_or_default();
    let mut pod = of(work, name);
    let index = index.to_string();
    pods::label(&mut pod, [(INDEX, &index)]);
    pod.metadata.annotations.get_or_insert_default().insert(INDEX.to_owned(), index.clone());
    let spec = pod.spec.get_or_insert_default();
    spec.hostname.get_or_insert(base);
    for container in spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten()) {
        let env = container.env.get_or_insert_default();
        if env.iter().all(|variable| variable.name != "JOB_COMPLETION_INDEX") {
            env.push(EnvVar {
                name: "JOB_COMPLETION_INDEX".to_owned(),
                value: Some(index.clone()),
                value_from: None,
            });
        }
    }
    pod
}
