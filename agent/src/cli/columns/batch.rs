//! Jobs and CronJobs.

use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use super::super::age;
use super::super::podwords::condition;
use super::super::value::Look as _;
use super::{Columns, containers, created, name, or_none, selector};

pub const JOB: Columns = Columns {
    headings: &["NAME", "STATUS", "COMPLETIONS", "DURATION", "AGE", "CONTAINERS*", "IMAGES*", "SELECTOR*"],
    cells: job,
};

fn job(job: &Value, now: Timestamp) -> Vec<String> {
    let succeeded = job.number("/status/succeeded");
    let parallelism = job.number("/spec/parallelism");
    let completions = match job.pointer("/spec/completions").and_then(Value::as_i64) {
        Some(completions) => format!("{succeeded}/{completions}"),
        None if parallelism > 1 => format!("{succeeded}/1 of {parallelism}"),
        None => format!("{succeeded}/1"),
    };
    let started = job.text("/status/startTime");
    let duration = match job.text("/status/completionTime") {
        _ if started.is_empty() => String::new(),
        "" => age::since(started, now),
        completed => age::between(started, completed).unwrap_or_default(),
    };
    let [names, images] = containers(&job["spec"]["template"]);
    vec![
        name(job),
        state(job).to_owned(),
        completions,
        duration,
        created(job, now),
        names,
        images,
        selector(&job["spec"]["selector"]),
    ]
}

fn state(job: &Value) -> &'static str {
    if condition(job, "Complete") {
        "Complete"
    } else if condition(job, "Failed") {
        "Failed"
    } else if job.has("/metadata/deletionTimestamp") {
        "Terminating"
    } else if condition(job, "Suspended") {
        "Suspended"
    } else if condition(job, "FailureTarget") {
        "FailureTarget"
    } else if condition(job, "SuccessCriteriaMet") {
        "SuccessCriteriaMet"
    } else {
        "Running"
    }
}

pub const CRON_JOB: Columns = Columns {
    headings: &[
        "NAME",
        "SCHEDULE",
        "TIMEZONE",
        "SUSPEND",
        "ACTIVE",
        "LAST SCHEDULE",
        "AGE",
        "CONTAINERS*",
        "IMAGES*",
    ],
    cells: cron_job,
};

fn cron_job(job: &Value, now: Timestamp) -> Vec<String> {
    let last = match job.text("/status/lastScheduleTime") {
        "" => "<none>".to_owned(),
        last => age::since(last, now),
    };
    let suspended = if job.flag("/spec/suspend") { "True" } else { "False" };
    let [names, images] = containers(&job["spec"]["jobTemplate"]["spec"]["template"]);
    vec![
        name(job),
        job.text("/spec/schedule").to_owned(),
        or_none(job.text("/spec/timeZone")),
        suspended.to_owned(),
        job.items("/status/active").len().to_string(),
        last,
        created(job, now),
        names,
        images,
    ]
}
