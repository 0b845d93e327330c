//! Rules of what makes Pods.

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::batch::v1::{CronJob, Job, JobSpec};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::path::{At, Broken};
use super::{metadata, names, pod, storage};
use crate::objects::selector::selects;
use crate::reconcile::workloads::check_schedule;

const ALWAYS: &[&str] = &["Always"];

/// More than anybody wants of one machine, and less than what would fill its memory.
const MOST: i64 = 10_000;
/// Kubernetes' of Indexed Jobs.
const MOST_COMPLETIONS: i64 = 100_000;

pub(super) fn deployment(deployment: &Deployment, at: &At<'_>, broken: &mut Broken) {
    let spec = &deployment.spec;
    selected(&spec.selector, &spec.template, ALWAYS, at, broken);
    broken.range(&at.field("replicas"), spec.replicas, 0, MOST);
    broken.natural(&at.field("minReadySeconds"), spec.min_ready_seconds);
    broken.natural(&at.field("revisionHistoryLimit"), spec.revision_history_limit);
    let ready = i64::from(spec.min_ready_seconds.unwrap_or(0));
    let deadline = spec.progress_deadline_seconds.map(i64::from);
    let at_deadline = at.field("progressDeadlineSeconds");
    broken.natural(&at_deadline, deadline);
    broken.that(
        deadline.is_none_or(|deadline| deadline > ready),
        &at_deadline,
        "it must be more than minReadySeconds",
    );
    let Some(strategy) = &spec.strategy else { return };
    let at = at.field("strategy");
    let rolling =
        strategy.rolling_update.as_ref().map(|r| (r.max_surge.as_ref(), r.max_unavailable.as_ref()));
    strategy_of(strategy.type_.as_ref(), "Recreate", rolling, &at, broken);
}

pub(super) fn replica_set(set: &ReplicaSet, at: &At<'_>, broken: &mut Broken) {
    let template = set.spec.template.clone().unwrap_or_default();
    selected(&set.spec.selector, &template, ALWAYS, at, broken);
    broken.range(&at.field("replicas"), set.spec.replicas, 0, MOST);
    broken.natural(&at.field("minReadySeconds"), set.spec.min_ready_seconds);
}

pub(super) fn stateful_set(set: &StatefulSet, at: &At<'_>, broken: &mut Broken) {
    let spec = &set.spec;
    let mut template = spec.template.clone();
    // Containers mount claims' templates by their names, as volumes.
    let claims = spec.volume_claim_templates.as_deref().unwrap_or_default();
    if let Some(of) = &mut template.spec {
        let made = claims.iter().filter_map(|claim| claim.metadata.name.clone());
        let made = made.map(|name| k8s_openapi::api::core::v1::Volume {
            name,
            empty_dir: Some(Default::default()),
            ..Default::default()
        });
        of.volumes.get_or_insert_default().extend(made);
    }
    selected(&spec.selector, &template, ALWAYS, at, broken);
    broken.range(&at.field("replicas"), spec.replicas, 0, MOST);
    broken.natural(&at.field("minReadySeconds"), spec.min_ready_seconds);
    broken.natural(&at.field("revisionHistoryLimit"), spec.revision_history_limit);
    broken.rule_if(&at.field("serviceName"), spec.service_name.as_ref(), names::dns_label);
    let policies = ["OrderedReady", "Parallel"];
    broken.one_of(&at.field("podManagementPolicy"), spec.pod_management_policy.as_ref(), &policies);
    if let Some(strategy) = &spec.update_strategy {
        let at = at.field("updateStrategy");
        let rolling = strategy.rolling_update.as_ref();
        kind(strategy.type_.as_ref(), &["RollingUpdate", "OnDelete"], rolling.is_some(), &at, broken);
        broken.natural(&at.field("rollingUpdate.partition"), rolling.and_then(|rolling| rolling.partition));
    }
    for (index, claim) in claims.iter().enumerate() {
        let list = at.field("volumeClaimTemplates");
        let at = list.item(index);
        let name = claim.metadata.name.clone().unwrap_or_default();
        broken.rule(&at.field("metadata.name"), &name, names::dns_label);
        metadata::labels(&claim.metadata, &at.field("metadata"), broken);
        storage::claim_spec(claim.spec.as_ref(), &at.field("spec"), broken);
    }
}

pub(super) fn daemon_set(set: &DaemonSet, at: &At<'_>, broken: &mut Broken) {
    let spec = &set.spec;
    selected(&spec.selector, &spec.template, ALWAYS, at, broken);
    broken.natural(&at.field("minReadySeconds"), spec.min_ready_seconds);
    broken.natural(&at.field("revisionHistoryLimit"), spec.revision_history_limit);
    let Some(strategy) = &spec.update_strategy else { return };
    let at = at.field("updateStrategy");
    let rolling =
        strategy.rolling_update.as_ref().map(|r| (r.max_surge.as_ref(), r.max_unavailable.as_ref()));
    strategy_of(strategy.type_.as_ref(), "OnDelete", rolling, &at, broken);
}

pub(super) fn job(job: &Job, at: &At<'_>, broken: &mut Broken) {
    match &job.spec {
        Some(spec) => job_spec(spec, at, broken),
        None => broken.add(at, "it is not set"),
    }
}

fn job_spec(spec: &JobSpec, at: &At<'_>, broken: &mut Broken) {
    pod::template(&spec.template, &["OnFailure", "Never"], &at.field("template"), broken);
    let numbers =
        [("backoffLimit", spec.backoff_limit), ("ttlSecondsAfterFinished", spec.ttl_seconds_after_finished)];
    numbers.into_iter().for_each(|(field, number)| broken.natural(&at.field(field), number));
    broken.range(&at.field("parallelism"), spec.parallelism, 0, MOST);
    broken.range(&at.field("completions"), spec.completions, 0, MOST_COMPLETIONS);
    broken.natural(&at.field("activeDeadlineSeconds"), spec.active_deadline_seconds);
    let mode = spec.completion_mode.as_ref();
    broken.one_of(&at.field("completionMode"), mode, &["NonIndexed", "Indexed"]);
    let indexed = mode.is_some_and(|mode| mode == "Indexed");
    broken.that(
        !indexed || spec.completions.is_some(),
        &at.field("completions"),
        "the mode Indexed needs it",
    );
    let policies = ["TerminatingOrFailed", "Failed"];
    broken.one_of(&at.field("podReplacementPolicy"), spec.pod_replacement_policy.as_ref(), &policies);
    let manual = spec.manual_selector == Some(true);
    let given = spec.selector.is_some();
    broken.that(
        manual == given,
        &at.field("selector"),
        "a Job selects its Pods itself, unless manualSelector is true",
    );
    if let (Some(selector), true) = (&spec.selector, manual) {
        matches(selector, &spec.template, &at.field("selector"), broken);
    }
}

pub(super) fn cron_job(job: &CronJob, at: &At<'_>, broken: &mut Broken) {
    let spec = &job.spec;
    let template = at.field("jobTemplate.spec");
    match &spec.job_template.spec {
        Some(of) => job_spec(of, &template, broken),
        None => broken.add(&template, "it is not set"),
    }
    if let Err(why) = check_schedule(&spec.schedule, spec.time_zone.as_deref()) {
        broken.add(&at.field("schedule"), why);
    }
    let policies = ["Allow", "Forbid", "Replace"];
    broken.one_of(&at.field("concurrencyPolicy"), spec.concurrency_policy.as_ref(), &policies);
    broken.natural(&at.field("startingDeadlineSeconds"), spec.starting_deadline_seconds);
    broken.natural(&at.field("successfulJobsHistoryLimit"), spec.successful_jobs_history_limit);
    broken.natural(&at.field("failedJobsHistoryLimit"), spec.failed_jobs_history_limit);
}

/// A strategy's name, and whether its numbers are for it.
fn kind(kind: Option<&String>, allowed: &[&str], rolling: bool, at: &At<'_>, broken: &mut Broken) {
    broken.one_of(&at.field("type"), kind, allowed);
    let good = !rolling || kind.is_none_or(|kind| kind == "RollingUpdate");
    broken.that(good, &at.field("rollingUpdate"), "it is for the type RollingUpdate");
}

fn selected(
    selector: &LabelSelector,
    template: &PodTemplateSpec,
    restart: &[&str],
    at: &At<'_>,
    broken: &mut Broken,
) {
    pod::template(template, restart, &at.field("template"), broken);
    matches(selector, template, &at.field("selector"), broken);
}

/// Pods of a template have to be selected, or they would be made for ever.
fn matches(selector: &LabelSelector, template: &PodTemplateSpec, at: &At<'_>, broken: &mut Broken) {
    metadata::selector(selector, at, broken);
    let empty = |labels: bool, expressions: bool| labels && expressions;
    let labels = selector.match_labels.as_ref().is_none_or(|labels| labels.is_empty());
    let expressions = selector.match_expressions.as_ref().is_none_or(|all| all.is_empty());
    if empty(labels, expressions) {
        broken.add(at, "it is empty: it has to select the template's labels");
    } else if !selects(selector, template.metadata.as_ref().and_then(|metadata| metadata.labels.as_ref())) {
        broken.add(at, "it does not match the labels of spec.template.metadata");
    }
}

/// RollingUpdate with its maxSurge and maxUnavailable, or another one without.
fn strategy_of(
    name: Option<&String>,
    other: &str,
    rolling: Option<(Option<&IntOrString>, Option<&IntOrString>)>,
    at: &At<'_>,
    broken: &mut Broken,
) {
    kind(name, &["RollingUpdate", other], rolling.is_some(), at, broken);
    if let Some((most, unavailable)) = rolling {
        surge(most, unavailable, &at.field("rollingUpdate"), broken);
    }
}

/// Of a rolling update's numbers one has to allow a change.
fn surge(surge: Option<&IntOrString>, unavailable: Option<&IntOrString>, at: &At<'_>, broken: &mut Broken) {
    let most = [("maxSurge", surge, i64::MAX), ("maxUnavailable", unavailable, 100)];
    let mut none = true;
    for (field, value, percent) in most {
        let at = at.field(field);
        match value {
            None => {}
            Some(IntOrString::Int(number)) => {
                broken.natural(&at, Some(*number));
                none &= *number == 0;
            }
            Some(IntOrString::String(text)) => {
                let number =
                    text.strip_suffix('%').filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
                match number.and_then(|digits| digits.parse::<i64>().ok()) {
                    Some(number) => {
                        broken.range(&at, Some(number), 0, percent);
                        none &= number == 0;
                    }
                    None => {
                        none = false;
                        broken.add(&at, format!("\"{text}\" is neither a number nor a percentage"));
                    }
                }
            }
        }
    }
    broken.that(
        !none,
        &at.field("maxUnavailable"),
        "it cannot be 0 when maxSurge is 0: nothing could change",
    );
}
