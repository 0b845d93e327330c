//! Deployments and the like, Jobs, CronJobs.

use serde_json::Value;

use super::super::columns;
use super::super::value::{Look as _, or};
use super::layout::Text;
use super::pod::template_into;
use super::{conditions, metadata};
use crate::objects::Kind;

/// A Deployment (with its ReplicaSets), or a ReplicaSet, StatefulSet or DaemonSet with its Pods.
pub fn controller(text: &mut Text, kind: Kind, object: &Value, owned: &[Value]) {
    text.field(0, "CreationTimestamp", object.text("/metadata/creationTimestamp"));
    metadata(text, object);
    text.field(0, "Selector", columns::selector(&object["spec"]["selector"]));
    owners(text, object);
    let of = |pointer: &str| object.number(pointer);
    let wanted = object.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(1);
    match kind {
        Kind::Deployment => {
            let counts = format!(
                "{wanted} desired | {} updated | {} total | {} available | {} unavailable",
                of("/status/updatedReplicas"),
                of("/status/replicas"),
                of("/status/availableReplicas"),
                of("/status/unavailableReplicas"),
            );
            text.field(0, "Replicas", counts);
            text.field(0, "StrategyType", object.text("/spec/strategy/type"));
            text.field(0, "MinReadySeconds", of("/spec/minReadySeconds").to_string());
            if object.has("/spec/strategy/rollingUpdate") {
                let at_most = |field: &str| object.plain(&format!("/spec/strategy/rollingUpdate/{field}"));
                let update = format!(
                    "{} max unavailable, {} max surge",
                    at_most("maxUnavailable"),
                    at_most("maxSurge")
                );
                text.field(0, "RollingUpdateStrategy", update);
            }
        }
        Kind::DaemonSet => {
            text.field(
                0,
                "Desired Number of Nodes Scheduled",
                of("/status/desiredNumberScheduled").to_string(),
            );
            text.field(
                0,
                "Current Number of Nodes Scheduled",
                of("/status/currentNumberScheduled").to_string(),
            );
            text.field(0, "Number of Nodes Available", of("/status/numberAvailable").to_string());
        }
        Kind::StatefulSet => {
            text.field(0, "Replicas", format!("{wanted} desired | {} total", of("/status/replicas")));
            text.field(0, "Update Strategy", object.text("/spec/updateStrategy/type"));
        }
        _ => text.field(0, "Replicas", format!("{} current / {wanted} desired", of("/status/replicas"))),
    }
    if kind != Kind::Deployment {
        text.field(0, "Pods Status", phases(owned));
    }
    template_into(text, &object["spec"]["template"]);
    claims(text, object);
    conditions(text, object);
    if kind == Kind::Deployment {
        replica_sets(text, object, owned);
    }
}

/// How many Pods are how far.
fn phases(pods: &[Value]) -> String {
    let of = |phase: &str| pods.iter().filter(|pod| pod.text("/status/phase") == phase).count();
    format!(
        "{} Running / {} Waiting / {} Succeeded / {} Failed",
        of("Running"),
        of("Pending"),
        of("Succeeded"),
        of("Failed")
    )
}

fn claims(text: &mut Text, object: &Value) {
    let templates = object.items("/spec/volumeClaimTemplates");
    if !templates.is_empty() {
        text.line(0, "Volume Claims:");
    }
    for template in templates {
        text.field(1, "Name", template.text("/metadata/name"));
        text.field(1, "StorageClass", template.text("/spec/storageClassName"));
        text.field(1, "Capacity", template.plain("/spec/resources/requests/storage"));
        text.field(1, "Access Modes", columns::modes(template, "/spec/accessModes"));
    }
}

fn owners(text: &mut Text, object: &Value) {
    for owner in object.items("/metadata/ownerReferences").iter().filter(|owner| owner.flag("/controller")) {
        text.field(0, "Controlled By", format!("{}/{}", owner.text("/kind"), owner.text("/name")));
    }
}

fn replica_sets(text: &mut Text, deployment: &Value, sets: &[Value]) {
    let revision = |object: &Value| {
        object.text("/metadata/annotations/deployment.kubernetes.io~1revision").parse::<i64>().unwrap_or(0)
    };
    let newest = match revision(deployment) {
        0 => sets.iter().map(revision).max().unwrap_or(0),
        revision => revision,
    };
    let words = |set: &Value| {
        let (name, have) = (set.text("/metadata/name"), set.number("/status/replicas"));
        format!("{name} ({have}/{} replicas created)", set.number("/spec/replicas"))
    };
    let old: Vec<String> = sets
        .iter()
        .filter(|set| {
            revision(set) != newest
                && (set.number("/spec/replicas") > 0 || set.number("/status/replicas") > 0)
        })
        .map(words)
        .collect();
    let new: Vec<String> = sets.iter().filter(|set| revision(set) == newest).map(words).collect();
    text.field(0, "OldReplicaSets", or(&old.join(", "), "<none>"));
    text.field(0, "NewReplicaSet", or(&new.join(", "), "<none>"));
}

pub fn job(text: &mut Text, job: &Value) {
    text.field(0, "Selector", columns::selector(&job["spec"]["selector"]));
    metadata(text, job);
    owners(text, job);
    text.field(0, "Parallelism", or(&job.plain("/spec/parallelism"), "<unset>"));
    text.field(0, "Completions", or(&job.plain("/spec/completions"), "<unset>"));
    text.optional(0, "Completion Mode", job.text("/spec/completionMode"));
    text.field(0, "Suspend", job.flag("/spec/suspend").to_string());
    text.field(0, "Backoff Limit", job.plain("/spec/backoffLimit"));
    text.optional(0, "Start Time", job.text("/status/startTime"));
    text.optional(0, "Completed At", job.text("/status/completionTime"));
    text.optional(0, "Active Deadline Seconds", job.plain("/spec/activeDeadlineSeconds"));
    let of = |field: &str| job.number(&format!("/status/{field}"));
    let counts = format!(
        "{} Active ({} Ready) / {} Succeeded / {} Failed",
        of("active"),
        of("ready"),
        of("succeeded"),
        of("failed")
    );
    text.field(0, "Pods Statuses", counts);
    text.optional(0, "Completed Indexes", job.text("/status/completedIndexes"));
    template_into(text, &job["spec"]["template"]);
    conditions(text, job);
}

pub fn cron_job(text: &mut Text, job: &Value) {
    metadata(text, job);
    text.field(0, "Schedule", job.text("/spec/schedule"));
    text.optional(0, "Time Zone", job.text("/spec/timeZone"));
    text.field(0, "Concurrency Policy", job.text("/spec/concurrencyPolicy"));
    text.field(0, "Suspend", job.flag("/spec/suspend").to_string());
    let of = |field: &str| or(&job.plain(&format!("/spec/{field}")), "<unset>").to_owned();
    text.field(0, "Successful Job History Limit", of("successfulJobsHistoryLimit"));
    text.field(0, "Failed Job History Limit", of("failedJobsHistoryLimit"));
    text.field(0, "Starting Deadline Seconds", of("startingDeadlineSeconds"));
    template_into(text, &job["spec"]["jobTemplate"]["spec"]["template"]);
    text.field(0, "Last Schedule Time", or(job.text("/status/lastScheduleTime"), "<unset>"));
    let active: Vec<&str> = job.items("/status/active").iter().map(|job| job.text("/name")).collect();
    text.field(0, "Active Jobs", or(&active.join(", "), "<none>"));
}
