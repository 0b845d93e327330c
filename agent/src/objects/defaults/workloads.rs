//! Defaults of what makes Pods.

use k8s_openapi::api::apps::v1::{
    DaemonSet, DaemonSetUpdateStrategy, Deployment, DeploymentStrategy, ReplicaSet, RollingUpdateDaemonSet,
    RollingUpdateDeployment, RollingUpdateStatefulSetStrategy, StatefulSet, StatefulSetUpdateStrategy,
};
use k8s_openapi::api::batch::v1::{CronJob, Job, JobSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{claim_spec, fill, fill_text, pod};

const ROLLING_UPDATE: &str = "RollingUpdate";

pub(super) fn deployment(deployment: &mut Deployment) {
    let spec = &mut deployment.spec;
    pod::template(&mut spec.template);
    fill(&mut spec.replicas, 1);
    fill(&mut spec.revision_history_limit, 10);
    fill(&mut spec.progress_deadline_seconds, 600);
    let strategy = spec.strategy.get_or_insert_with(DeploymentStrategy::default);
    fill_text(&mut strategy.type_, ROLLING_UPDATE);
    if strategy.type_.as_deref() == Some(ROLLING_UPDATE) {
        let rolling = strategy.rolling_update.get_or_insert_with(RollingUpdateDeployment::default);
        fill(&mut rolling.max_unavailable, IntOrString::String("25%".into()));
        fill(&mut rolling.max_surge, IntOrString::String("25%".into()));
    }
}

pub(super) fn replica_set(set: &mut ReplicaSet) {
    let spec = &mut set.spec;
    spec.template.iter_mut().for_each(pod::template);
    fill(&mut spec.replicas, 1);
}

pub(super) fn stateful_set(set: &mut StatefulSet) {
    let spec = &mut set.spec;
    pod::template(&mut spec.template);
    fill(&mut spec.replicas, 1);
    fill(&mut spec.revision_history_limit, 10);
    fill_text(&mut spec.pod_management_policy, "OrderedReady");
    let strategy = spec.update_strategy.get_or_insert_with(StatefulSetUpdateStrategy::default);
    fill_text(&mut strategy.type_, ROLLING_UPDATE);
    if strategy.type_.as_deref() == Some(ROLLING_UPDATE) {
        let rolling = strategy.rolling_update.get_or_insert_with(RollingUpdateStatefulSetStrategy::default);
        fill(&mut rolling.partition, 0);
    }
    for claim in spec.volume_claim_templates.iter_mut().flatten() {
        claim.spec.iter_mut().for_each(claim_spec);
    }
}

pub(super) fn daemon_set(set: &mut DaemonSet) {
    let spec = &mut set.spec;
    pod::template(&mut spec.template);
    fill(&mut spec.revision_history_limit, 10);
    let strategy = spec.update_strategy.get_or_insert_with(DaemonSetUpdateStrategy::default);
    fill_text(&mut strategy.type_, ROLLING_UPDATE);
    if strategy.type_.as_deref() == Some(ROLLING_UPDATE) {
        let rolling = strategy.rolling_update.get_or_insert_with(RollingUpdateDaemonSet::default);
        fill(&mut rolling.max_unavailable, IntOrString::Int(1));
        fill(&mut rolling.max_surge, IntOrString::Int(0));
    }
}

pub(super) fn job(job: &mut Job) {
    let Some(spec) = &mut job.spec else { return };
    let labels = spec.template.metadata.as_ref().and_then(|metadata| metadata.labels.as_ref());
    if job.metadata.labels.as_ref().is_none_or(|labels| labels.is_empty()) {
        job.metadata.labels = labels.cloned();
    }
    job_spec(spec);
}

fn job_spec(spec: &mut JobSpec) {
    pod::template(&mut spec.template);
    if spec.completions.is_none() && spec.parallelism.is_none() {
        spec.completions = Some(1);
    }
    fill(&mut spec.parallelism, 1);
    fill(&mut spec.backoff_limit, 6);
    fill_text(&mut spec.completion_mode, "NonIndexed");
    fill(&mut spec.suspend, false);
    fill(&mut spec.manual_selector, false);
    fill_text(&mut spec.pod_replacement_policy, "TerminatingOrFailed");
}

pub(super) fn cron_job(job: &mut CronJob) {
    let spec = &mut job.spec;
    // The Job's own defaults come when it is made; its template's are those of any template.
    if let Some(of_job) = &mut spec.job_template.spec {
        pod::template(&mut of_job.template);
    }
    fill_text(&mut spec.concurrency_policy, "Allow");
    fill(&mut spec.suspend, false);
    fill(&mut spec.successful_jobs_history_limit, 3);
    fill(&mut spec.failed_jobs_history_limit, 1);
}
