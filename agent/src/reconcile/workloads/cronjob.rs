//! CronJobs: a Job at each time of a schedule.

use std::borrow::Cow;

use k8s_openapi::api::batch::v1::{CronJob, CronJobStatus, Job};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;

use super::creation::{self, event};
use super::schedule::Schedule;
use super::{job, owned, pods};
use crate::api::admission;
use crate::objects::{Objects, Typed, defaults};
use crate::reconcile::{Action, Decision, EventType};

/// The annotation of a Job with the time that it is of.
const SCHEDULED: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";
/// Finished Jobs that are kept where a CronJob does not say.
const KEPT: (i32, i32) = (3, 1);

/// Decides for one.
pub(super) fn reconcile(cron: &CronJob, desired: &Objects, now: Timestamp) -> Decision {
    let mut decision = Decision::default();
    let all = desired.list_in::<Job>(cron.namespace());
    let jobs: Vec<&Job> = all
        .filter(|job| {
            owned::is_controlled_by(&job.metadata, cron.uid()) && job.metadata.deletion_timestamp.is_none()
        })
        .collect();
    tell_of_ended(cron, &jobs, &mut decision);
    let mut status = cron.status.clone().unwrap_or_default();
    let successes = jobs.iter().filter(|job| job::is_finished(job) == Some("Complete"));
    let last = successes.filter_map(|job| job.status.as_ref()?.completion_time.clone());
    status.last_successful_time = last.chain(status.last_successful_time.take()).max();
    let mut active: Vec<&Job> = jobs.iter().copied().filter(|job| job::is_finished(job).is_none()).collect();
    if cron.spec.suspend != Some(true) {
        match Schedule::parse(&cron.spec.schedule, cron.spec.time_zone.as_deref()) {
            Ok(schedule) => start(cron, &schedule, &mut active, desired, &mut status, &mut decision, now),
            Err(why) => {
                decision.actions.push(event(cron, EventType::Warning, "UnparseableSchedule", why));
            }
        }
    }
    forget(cron, &jobs, &mut decision);
    status.active =
        Some(active.into_iter().map(reference).collect()).filter(|active: &Vec<_>| !active.is_empty());
    if cron.status.as_ref().unwrap_or(&CronJobStatus::default()) != &status {
        let cron = CronJob { status: Some(status), ..cron.clone() };
        decision.actions.push(Action::Status(cron.wrap()));
    }
    decision
}

/// Starts a Job if it is time.
fn start(
    cron: &CronJob,
    schedule: &Schedule,
    active: &mut Vec<&Job>,
    desired: &Objects,
    status: &mut CronJobStatus,
    decision: &mut Decision,
    now: Timestamp,
) {
    schedule.next(now).into_iter().for_each(|next| decision.wake_at(next));
    let since = status.last_schedule_time.as_ref().map(|time| time.0);
    let since = since.unwrap_or_else(|| pods::created(&cron.metadata).min(now));
    let Some(due) = schedule.last(now).filter(|due| *due > since) else { return };
    if cron.spec.starting_deadline_seconds.is_some_and(|seconds| pods::after(due, seconds) < now) {
        let message = format!("Missed scheduled time to start a job: {}", schedule.text(due));
        // Once is enough: it is remembered as if it had been.
        status.last_schedule_time = Some(Time(due));
        return decision.actions.push(event(cron, EventType::Warning, "MissSchedule", message));
    }
    let policy = cron.spec.concurrency_policy.as_deref();
    let job = made(cron, schedule, due);
    // It is there already where the agent ended between making it and noting so.
    if desired.find::<Job>(cron.namespace(), job.name()).is_none() {
        if policy == Some("Forbid") && !active.is_empty() {
            let message =
                "Not starting job because prior execution is running and concurrency policy is Forbid";
            return decision.actions.push(event(cron, EventType::Normal, "JobAlreadyActive", message));
        }
        let mut left = Cow::Borrowed(desired);
        if policy == Some("Replace") {
            for job in active.drain(..) {
                delete(cron, job, decision);
                left.to_mut().remove(&job.key());
            }
        }
        let message = format!("Created job {}", job.name());
        let mut object = job.wrap();
        defaults::complete(&mut object);
        if let Err(refusal) = admission::may_create(&left, &object) {
            // It is due until it is made, or too late.
            let message = format!("Error creating job: {refusal}");
            return creation::refused(decision, cron, "FailedCreate", message, now);
        }
        decision.actions.push(Action::Create(object));
        decision.actions.push(event(cron, EventType::Normal, "SuccessfulCreate", message));
    }
    status.last_schedule_time = Some(Time(due));
}

fn made(cron: &CronJob, schedule: &Schedule, due: Timestamp) -> Job {
    let template = &cron.spec.job_template;
    let of = template.metadata.clone().unwrap_or_default();
    let mut annotations = of.annotations.unwrap_or_default();
    annotations.insert(SCHEDULED.to_owned(), schedule.text(due));
    let metadata = ObjectMeta {
        name: Some(format!("{}-{}", cron.name(), due.as_second().div_euclid(60))),
        namespace: cron.metadata.namespace.clone(),
        labels: of.labels,
        annotations: Some(annotations),
        owner_references: Some(vec![owned::reference(cron)]),
        ..ObjectMeta::default()
    };
    Job { metadata, spec: template.spec.clone(), status: None }
}

fn delete(cron: &CronJob, job: &Job, decision: &mut Decision) {
    decision.actions.push(Action::Delete { key: job.key(), uid: job.uid().to_owned(), grace: None });
    let message = format!("Deleted job {}", job.name());
    decision.actions.push(event(cron, EventType::Normal, "SuccessfulDelete", message));
}

/// Deletes finished Jobs of which there are more than are kept.
fn forget(cron: &CronJob, jobs: &[&Job], decision: &mut Decision) {
    for (how, kept) in [
        ("Complete", cron.spec.successful_jobs_history_limit.unwrap_or(KEPT.0)),
        ("Failed", cron.spec.failed_jobs_history_limit.unwrap_or(KEPT.1)),
    ] {
        let mut finished: Vec<_> = jobs.iter().filter(|job| job::is_finished(job) == Some(how)).collect();
        finished.sort_by_key(|job| {
            (job.status.as_ref().and_then(|status| status.start_time.clone()), job.name())
        });
        let count = finished.len().saturating_sub(usize::try_from(kept).unwrap_or(0));
        finished.into_iter().take(count).for_each(|job| delete(cron, job, decision));
    }
}

/// Tells of Jobs that were active and are not any more.
fn tell_of_ended(cron: &CronJob, jobs: &[&Job], decision: &mut Decision) {
    let before = cron.status.as_ref().and_then(|status| status.active.as_deref()).unwrap_or_default();
    for reference in before {
        let name = reference.name.as_deref().unwrap_or_default();
        let (reason, message) = match jobs.iter().find(|job| job.metadata.uid == reference.uid) {
            None => ("MissingJob", format!("Active job went missing: {name}")),
            Some(job) => match job::is_finished(job) {
                Some(how) => ("SawCompletedJob", format!("Saw completed job: {name}, condition: {how}")),
                None => continue,
            },
        };
        decision.actions.push(event(cron, EventType::Normal, reason, message));
    }
}

fn reference(job: &Job) -> ObjectReference {
    ObjectReference {
        api_version: Some("batch/v1".to_owned()),
        kind: Some("Job".to_owned()),
        name: Some(job.name().to_owned()),
        namespace: job.metadata.namespace.clone(),
        uid: job.metadata.uid.clone(),
        ..ObjectReference::default()
    }
}
