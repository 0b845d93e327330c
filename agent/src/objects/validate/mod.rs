//! Whether an object is right in itself: names, ranges, references within it. And whether it may replace another.

pub mod names;

use k8s_openapi::api::core::v1::{Container, PodSpec};

use super::Object;

/// A rule that is broken: at which path, and how.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {why}")]
pub struct Invalid {
    /// `spec.selector`.
    pub path: String,
    /// For people.
    pub why: String,
}

/// All rules that a completed object breaks.
pub fn check(object: &Object) -> Vec<Invalid> {
    let _ = object;
    Vec::new()
}

/// All rules that a change breaks: fields that cannot be changed, for one.
pub fn check_change(before: &Object, after: &Object) -> Vec<Invalid> {
    let _ = (before, after);
    Vec::new()
}

/// The Pod in an object, or the Pods that it makes, with the path to it.
pub fn pod_spec(object: &Object) -> Option<(&'static str, &PodSpec)> {
    let template = "spec.template.spec";
    match object {
        Object::Pod(pod) => Some(("spec", pod.spec.as_ref()?)),
        Object::Deployment(deployment) => Some((template, deployment.spec.template.spec.as_ref()?)),
        Object::ReplicaSet(set) => Some((template, set.spec.template.as_ref()?.spec.as_ref()?)),
        Object::StatefulSet(set) => Some((template, set.spec.template.spec.as_ref()?)),
        Object::DaemonSet(set) => Some((template, set.spec.template.spec.as_ref()?)),
        Object::Job(job) => Some((template, job.spec.as_ref()?.template.spec.as_ref()?)),
        Object::CronJob(job) => {
            let job = job.spec.job_template.spec.as_ref()?;
            Some(("spec.jobTemplate.spec.template.spec", job.template.spec.as_ref()?))
        }
        _ => None,
    }
}

/// All containers of a Pod: in which list, at which place.
pub fn containers(spec: &PodSpec) -> impl Iterator<Item = (&'static str, usize, &Container)> {
    let init = spec
        .init_containers
        .iter()
        .flatten()
        .enumerate()
        .map(|(at, container)| ("initContainers", at, container));
    init.chain(spec.containers.iter().enumerate().map(|(at, container)| ("containers", at, container)))
}
