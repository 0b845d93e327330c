//! Whether an object is right in itself: names, ranges, references within it. And whether it may replace another.

mod change;
mod container;
mod downward;
mod ingress;
mod metadata;
pub mod names;
mod path;
mod pod;
mod policy;
mod probes;
mod security;
mod service;
mod storage;
mod volumes;
mod workloads;

use k8s_openapi::api::core::v1::{Container, PodSpec};

use super::Object;
pub use change::check_change;
use path::{At, Broken};

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
    let mut broken = Broken::default();
    let root = At::Object;
    let at = root.field("spec");
    metadata::object(object, &mut broken);
    match object {
        Object::Namespace(_) | Object::Event(_) => {}
        Object::ResourceQuota(quota) => policy::quota(quota, &at, &mut broken),
        Object::LimitRange(range) => policy::limit_range(range, &at, &mut broken),
        Object::RuntimeClass(class) => policy::runtime_class(class, &mut broken),
        Object::PersistentVolume(volume) => storage::volume(volume, &at, &mut broken),
        Object::PersistentVolumeClaim(claim) => storage::claim(claim, &at, &mut broken),
        Object::ConfigMap(map) => policy::config_map(map, &mut broken),
        Object::Secret(secret) => policy::secret(secret, &mut broken),
        Object::Service(service) => service::service(service, &at, &mut broken),
        Object::Endpoints(endpoints) => service::endpoints(endpoints, &mut broken),
        Object::Ingress(ingress) => ingress::ingress(ingress, &at, &mut broken),
        Object::Deployment(deployment) => workloads::deployment(deployment, &at, &mut broken),
        Object::StatefulSet(set) => workloads::stateful_set(set, &at, &mut broken),
        Object::DaemonSet(set) => workloads::daemon_set(set, &at, &mut broken),
        Object::CronJob(job) => workloads::cron_job(job, &at, &mut broken),
        Object::Job(job) => workloads::job(job, &at, &mut broken),
        Object::ReplicaSet(set) => workloads::replica_set(set, &at, &mut broken),
        Object::Pod(pod) => match &pod.spec {
            Some(spec) => pod::spec(spec, &at, &mut broken),
            None => broken.add(&at, "it is not set"),
        },
    }
    broken.0
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

#[cfg(test)]
mod tests;
