//! A Job's status: counts, and the conditions that say how it ends.

use k8s_openapi::api::batch::v1::{Job, JobCondition, JobStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::super::creation::event;
use super::super::pods;
use super::{BACKOFF_LIMIT, Indexes, Work, count};
use crate::objects::Typed;
use crate::reconcile::{Action, Decision, EventType};

/// How far it is.
pub(super) struct Progress {
    pub succeeded: i32,
    failed: i32,
    pub succeeded_indexes: Indexes,
    start_time: Option<Time>,
    conditions: Vec<JobCondition>,
    /// Whether all is done that had to be.
    complete: bool,
}

impl Progress {
    pub fn of(work: &Work<'_>, decision: &mut Decision) -> Self {
        let before = work.job.status.clone().unwrap_or_default();
        let ended = |phase: &str| {
            let count = work.pods.iter().filter(|pod| pods::phase(pod) == phase).count();
            i32::try_from(count).unwrap_or(i32::MAX)
        };
        let end = count(work.completions.unwrap_or(0));
        let mut indexes = Indexes::default();
        if work.indexed {
            indexes = Indexes::parse(before.completed_indexes.as_deref().unwrap_or_default(), end);
            let succeeded = work.pods.iter().copied().filter(|pod| pods::phase(pod) == "Succeeded");
            indexes.add(succeeded, end);
        }
        let mut progress = Self {
            succeeded: match work.indexed {
                true => indexes.count(),
                // Pods that were counted may have been deleted since.
                false => ended("Succeeded").max(before.succeeded.unwrap_or(0)),
            },
            failed: ended("Failed").max(before.failed.unwrap_or(0)),
            succeeded_indexes: indexes,
            start_time: before.start_time,
            conditions: before.conditions.unwrap_or_default(),
            complete: false,
        };
        progress.suspend_or_resume(work, decision);
        progress.judge(work, decision);
        progress
    }

    /// Whether it has failed, so that what still runs is to end.
    pub fn is_ending(&self) -> bool {
        self.is("FailureTarget")
    }

    fn is(&self, kind: &str) -> bool {
        self.conditions.iter().any(|is| is.type_ == kind && is.status == "True")
    }

    fn set(&mut self, work: &Work<'_>, kind: &str, status: &str, reason: &str, message: &str) {
        self.conditions.retain(|condition| condition.type_ != kind);
        self.conditions.push(JobCondition {
            type_: kind.to_owned(),
            status: status.to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message.to_owned()),
            last_probe_time: Some(Time(work.now)),
            last_transition_time: Some(Time(work.now)),
        });
    }

    /// Time runs from its start, or from when it was resumed.
    fn suspend_or_resume(&mut self, work: &Work<'_>, decision: &mut Decision) {
        let was = self.is("Suspended");
        if work.suspended && !was {
            self.set(work, "Suspended", "True", "JobSuspended", "Job suspended");
            self.start_time = None;
            decision.actions.push(event(work.job, EventType::Normal, "Suspended", "Job suspended"));
        } else if !work.suspended && was {
            self.set(work, "Suspended", "False", "JobResumed", "Job resumed");
            self.start_time = None;
            decision.actions.push(event(work.job, EventType::Normal, "Resumed", "Job resumed"));
        }
        if !work.suspended {
            self.start_time.get_or_insert(Time(work.now));
        }
    }

    fn judge(&mut self, work: &Work<'_>, decision: &mut Decision) {
        let limit = work.spec.backoff_limit.unwrap_or(BACKOFF_LIMIT);
        if self.is_ending() {
            return;
        }
        if self.failed > limit || restarts_exceed(work, limit) {
            let message = "Job has reached the specified backoff limit";
            return self.set(work, "FailureTarget", "True", "BackoffLimitExceeded", message);
        }
        if let (Some(seconds), Some(start)) = (work.spec.active_deadline_seconds, &self.start_time) {
            let until = pods::after(start.0, seconds);
            if until <= work.now {
                let message = "Job was active longer than specified deadline";
                return self.set(work, "FailureTarget", "True", "DeadlineExceeded", message);
            }
            decision.wake_at(until);
        }
        self.complete = work.active.is_empty()
            && match work.completions {
                Some(completions) => self.succeeded >= completions,
                None => self.succeeded > 0,
            };
    }

    /// Writes what has changed. A failed Job is finished when none of its Pods is left.
    pub fn write(mut self, work: &Work<'_>, decision: &mut Decision) {
        let gone = work.active.is_empty() && work.terminating == 0;
        let mut completion_time = None;
        if self.complete && work.terminating == 0 {
            let message = "Reached expected number of succeeded pods";
            self.set(work, "SuccessCriteriaMet", "True", "CompletionsReached", message);
            self.set(work, "Complete", "True", "CompletionsReached", message);
            completion_time = Some(Time(work.now));
            decision.actions.push(event(work.job, EventType::Normal, "Completed", "Job completed"));
            decision.wake = None;
        } else if self.is_ending() && gone {
            let why = self.conditions.iter().find(|is| is.type_ == "FailureTarget");
            let why = why.map(|why| (why.reason.clone(), why.message.clone())).unwrap_or_default();
            let (reason, message) = (why.0.unwrap_or_default(), why.1.unwrap_or_default());
            self.set(work, "Failed", "True", &reason, &message);
            let reason = match reason.as_str() {
                "DeadlineExceeded" => "DeadlineExceeded",
                _ => "BackoffLimitExceeded",
            };
            decision.actions.push(event(work.job, EventType::Warning, reason, message));
        }
        let counted = |count: usize| Some(i32::try_from(count).unwrap_or(i32::MAX));
        let ready = work.active.iter().filter(|pod| pods::ready(pod).is_some()).count();
        let text = self.succeeded_indexes.text();
        let status = JobStatus {
            active: counted(work.active.len()).filter(|count| *count > 0),
            ready: counted(ready),
            terminating: counted(work.terminating),
            succeeded: Some(self.succeeded).filter(|count| *count > 0),
            failed: Some(self.failed).filter(|count| *count > 0),
            completed_indexes: Some(text).filter(|text| !text.is_empty()),
            start_time: self.start_time,
            completion_time,
            conditions: Some(self.conditions).filter(|conditions| !conditions.is_empty()),
            ..JobStatus::default()
        };
        if work.job.status.as_ref() != Some(&status) {
            let job = Job { status: Some(status), ..work.job.clone() };
            decision.actions.push(Action::Status(job.wrap()));
        }
    }
}

/// Where containers are restarted in their Pods, each restart counts.
fn restarts_exceed(work: &Work<'_>, limit: i32) -> bool {
    let policy = work.spec.template.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref());
    if policy != Some("OnFailure") {
        return false;
    }
    let restarts: i32 = work.active.iter().map(|pod| pods::restarts(pod)).sum();
    if limit == 0 { restarts > 0 } else { restarts >= limit }
}
