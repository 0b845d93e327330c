//! The values of fields that a manifest leaves out, as Kubernetes' API server fills them in.

mod pod;
mod workloads;

use std::sync::Arc;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{
    ClientIPConfig, Endpoints, LimitRange, Namespace, NamespaceStatus, PersistentVolume,
    PersistentVolumeClaim, PersistentVolumeClaimSpec, PersistentVolumeStatus, Secret, Service,
    SessionAffinityConfig,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::Object;

/// The timeout of session affinity: three hours.
const AFFINITY_SECONDS: i32 = 10_800;

/// Fills in what is left out. What it fills in is seen by `get -o yaml`.
pub fn complete(object: &mut Object) {
    match object {
        Object::Namespace(namespace) => complete_namespace(Arc::make_mut(namespace)),
        Object::LimitRange(range) => limit_range(Arc::make_mut(range)),
        Object::PersistentVolume(volume) => persistent_volume(Arc::make_mut(volume)),
        Object::PersistentVolumeClaim(claim) => persistent_volume_claim(Arc::make_mut(claim)),
        Object::Secret(secret) => complete_secret(Arc::make_mut(secret)),
        Object::Service(service) => complete_service(Arc::make_mut(service)),
        Object::Endpoints(endpoints) => complete_endpoints(Arc::make_mut(endpoints)),
        Object::Deployment(deployment) => workloads::deployment(Arc::make_mut(deployment)),
        Object::StatefulSet(set) => workloads::stateful_set(Arc::make_mut(set)),
        Object::DaemonSet(set) => workloads::daemon_set(Arc::make_mut(set)),
        Object::CronJob(job) => workloads::cron_job(Arc::make_mut(job)),
        Object::Job(job) => workloads::job(Arc::make_mut(job)),
        Object::ReplicaSet(set) => workloads::replica_set(Arc::make_mut(set)),
        Object::Pod(pod) => pod::pod(Arc::make_mut(pod)),
        Object::ResourceQuota(_)
        | Object::RuntimeClass(_)
        | Object::ConfigMap(_)
        | Object::Ingress(_)
        | Object::Event(_) => {}
    }
}

/// Sets what is not set.
fn fill<T>(field: &mut Option<T>, value: T) {
    field.get_or_insert(value);
}

/// Sets a text that is not set, or empty.
fn fill_text(field: &mut Option<String>, value: &str) {
    if field.as_deref().unwrap_or_default().is_empty() {
        *field = Some(value.into());
    }
}

fn complete_namespace(namespace: &mut Namespace) {
    if let Some(name) = namespace.metadata.name.clone() {
        namespace.metadata.labels.get_or_insert_default().insert("kubernetes.io/metadata.name".into(), name);
    }
    let status = namespace.status.get_or_insert_with(NamespaceStatus::default);
    fill_text(&mut status.phase, "Active");
}

/// Of containers: max is the limit, the limit is the request, and min is the request.
fn limit_range(range: &mut LimitRange) {
    for item in
        range.spec.iter_mut().flat_map(|spec| &mut spec.limits).filter(|item| item.type_ == "Container")
    {
        let defaults = item.default.get_or_insert_default();
        for (name, amount) in item.max.iter().flatten() {
            defaults.entry(name.clone()).or_insert_with(|| amount.clone());
        }
        let requests = item.default_request.get_or_insert_default();
        for (name, amount) in defaults.iter().chain(item.min.iter().flatten()) {
            requests.entry(name.clone()).or_insert_with(|| amount.clone());
        }
    }
}

fn persistent_volume(volume: &mut PersistentVolume) {
    let status = volume.status.get_or_insert_with(PersistentVolumeStatus::default);
    fill_text(&mut status.phase, "Pending");
    if let Some(spec) = &mut volume.spec {
        fill_text(&mut spec.persistent_volume_reclaim_policy, "Retain");
        fill_text(&mut spec.volume_mode, "Filesystem");
        if let Some(path) = &mut spec.host_path {
            fill(&mut path.type_, String::new());
        }
    }
}

fn persistent_volume_claim(claim: &mut PersistentVolumeClaim) {
    // Its phase is said when it is looked at, with the reason.
    claim.spec.iter_mut().for_each(claim_spec);
}

fn claim_spec(spec: &mut PersistentVolumeClaimSpec) {
    fill_text(&mut spec.volume_mode, "Filesystem");
}

/// What is written plainly is stored as data, which it wins over.
fn complete_secret(secret: &mut Secret) {
    if let Some(plain) = secret.string_data.take() {
        let data = secret.data.get_or_insert_default();
        data.extend(plain.into_iter().map(|(key, value)| (key, ByteString(value.into_bytes()))));
    }
    fill_text(&mut secret.type_, "Opaque");
}

fn complete_service(service: &mut Service) {
    let Some(spec) = &mut service.spec else { return };
    fill_text(&mut spec.type_, "ClusterIP");
    fill_text(&mut spec.session_affinity, "None");
    if spec.session_affinity.as_deref() == Some("ClientIP") {
        let config = spec.session_affinity_config.get_or_insert_with(SessionAffinityConfig::default);
        let client = config.client_ip.get_or_insert_with(ClientIPConfig::default);
        fill(&mut client.timeout_seconds, AFFINITY_SECONDS);
    } else {
        spec.session_affinity_config = None;
    }
    for port in spec.ports.iter_mut().flatten() {
        fill_text(&mut port.protocol, "TCP");
        let none = [IntOrString::Int(0), IntOrString::String(String::new())];
        if port.target_port.as_ref().is_none_or(|target| none.contains(target)) {
            port.target_port = Some(IntOrString::Int(port.port));
        }
    }
    if spec.type_.as_deref() == Some("NodePort") {
        fill_text(&mut spec.external_traffic_policy, "Cluster");
    }
    if spec.type_.as_deref() != Some("ExternalName") {
        fill_text(&mut spec.internal_traffic_policy, "Cluster");
    }
}

fn complete_endpoints(endpoints: &mut Endpoints) {
    for port in endpoints.subsets.iter_mut().flatten().flat_map(|subset| subset.ports.iter_mut().flatten()) {
        fill_text(&mut port.protocol, "TCP");
    }
}

#[cfg(test)]
mod tests;
