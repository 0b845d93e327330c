//! Defaults of Pods and of their templates.

use k8s_openapi::api::core::v1::{
    Container, ContainerPort, DownwardAPIVolumeFile, EmptyDirVolumeSource, EnvVar, HTTPGetAction, Pod,
    PodSecurityContext, PodSpec, PodTemplateSpec, Probe, Volume,
};

use super::{fill, fill_text};

/// Mode 0644 of files in volumes.
const FILE_MODE: i32 = 0o644;
/// Between SIGTERM and SIGKILL, in seconds.
const GRACE: i64 = 30;

/// A Pod: what it is limited to it also requests, which its template does not say.
pub(super) fn pod(pod: &mut Pod) {
    let Some(spec) = &mut pod.spec else { return };
    pod_spec(spec);
    let host_network = spec.host_network == Some(true);
    for container in spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten()) {
        request_limits(container);
        if host_network {
            container
                .ports
                .iter_mut()
                .flatten()
                .for_each(|port| fill(&mut port.host_port, port.container_port));
        }
    }
    fill(&mut spec.enable_service_links, true);
}

/// A template of Pods.
pub(super) fn template(template: &mut PodTemplateSpec) {
    template.spec.iter_mut().for_each(pod_spec);
}

fn pod_spec(spec: &mut PodSpec) {
    fill_text(&mut spec.dns_policy, "ClusterFirst");
    fill_text(&mut spec.restart_policy, "Always");
    fill(&mut spec.termination_grace_period_seconds, GRACE);
    fill(&mut spec.security_context, PodSecurityContext::default());
    if spec.service_account_name.as_deref().unwrap_or_default().is_empty() {
        spec.service_account_name.clone_from(&spec.service_account);
    }
    spec.service_account.clone_from(&spec.service_account_name);
    spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten()).for_each(container);
    spec.volumes.iter_mut().flatten().for_each(volume);
}

fn request_limits(container: &mut Container) {
    let Some(resources) = &mut container.resources else { return };
    let Some(limits) = &resources.limits else { return };
    let requests = resources.requests.get_or_insert_default();
    for (name, amount) in limits {
        requests.entry(name.clone()).or_insert_with(|| amount.clone());
    }
}

fn container(container: &mut Container) {
    let image = container.image.as_deref().unwrap_or_default();
    let policy = if is_latest(image) { "Always" } else { "IfNotPresent" };
    fill_text(&mut container.image_pull_policy, policy);
    fill_text(&mut container.termination_message_path, "/dev/termination-log");
    fill_text(&mut container.termination_message_policy, "File");
    container
        .ports
        .iter_mut()
        .flatten()
        .for_each(|port: &mut ContainerPort| fill_text(&mut port.protocol, "TCP"));
    container.env.iter_mut().flatten().for_each(variable);
    let probes =
        [&mut container.liveness_probe, &mut container.readiness_probe, &mut container.startup_probe];
    probes.into_iter().flatten().for_each(probe);
    if let Some(lifecycle) = &mut container.lifecycle {
        let handlers = [&mut lifecycle.post_start, &mut lifecycle.pre_stop].into_iter().flatten();
        handlers.filter_map(|handler| handler.http_get.as_mut()).for_each(http_get);
    }
}

/// Whether a reference has the tag `latest`, or neither tag nor digest.
fn is_latest(image: &str) -> bool {
    let name = image.rsplit('/').next().unwrap_or_default();
    !image.contains('@') && name.split_once(':').is_none_or(|(_, tag)| tag == "latest")
}

fn variable(variable: &mut EnvVar) {
    let Some(from) = &mut variable.value_from else { return };
    if let Some(field) = &mut from.field_ref {
        fill_text(&mut field.api_version, "v1");
    }
}

fn probe(probe: &mut Probe) {
    let at_least_one = |field: &mut Option<i32>, value| {
        if field.unwrap_or_default() == 0 {
            *field = Some(value);
        }
    };
    at_least_one(&mut probe.timeout_seconds, 1);
    at_least_one(&mut probe.period_seconds, 10);
    at_least_one(&mut probe.success_threshold, 1);
    at_least_one(&mut probe.failure_threshold, 3);
    if let Some(get) = &mut probe.http_get {
        http_get(get);
    }
    if let Some(grpc) = &mut probe.grpc {
        fill(&mut grpc.service, String::new());
    }
}

fn http_get(get: &mut HTTPGetAction) {
    fill_text(&mut get.path, "/");
    fill_text(&mut get.scheme, "HTTP");
}

fn volume(volume: &mut Volume) {
    if is_without_source(volume) {
        volume.empty_dir = Some(EmptyDirVolumeSource::default());
    }
    if let Some(source) = &mut volume.config_map {
        fill(&mut source.default_mode, FILE_MODE);
    }
    if let Some(source) = &mut volume.secret {
        fill(&mut source.default_mode, FILE_MODE);
    }
    if let Some(source) = &mut volume.downward_api {
        fill(&mut source.default_mode, FILE_MODE);
        source.items.iter_mut().flatten().for_each(downward);
    }
    if let Some(source) = &mut volume.projected {
        fill(&mut source.default_mode, FILE_MODE);
        let parts = source.sources.iter_mut().flatten().filter_map(|source| source.downward_api.as_mut());
        parts.flat_map(|part| part.items.iter_mut().flatten()).for_each(downward);
    }
    if let Some(source) = &mut volume.host_path {
        fill(&mut source.type_, String::new());
    }
    if let Some(source) = &mut volume.image {
        let policy = if is_latest(source.reference.as_deref().unwrap_or_default()) {
            "Always"
        } else {
            "IfNotPresent"
        };
        fill_text(&mut source.pull_policy, policy);
    }
}

fn is_without_source(volume: &Volume) -> bool {
    *volume == Volume { name: volume.name.clone(), ..Volume::default() }
}

fn downward(file: &mut DownwardAPIVolumeFile) {
    if let Some(field) = &mut file.field_ref {
        fill_text(&mut field.api_version, "v1");
    }
}

#[cfg(test)]
mod tests {
    use super::is_latest;

    #[test]
    fn the_tag_latest_is_also_no_tag() {
        for image in ["app", "app:latest", "host:5000/app", "host:5000/a/app:latest"] {
            assert!(is_latest(image), "{image}");
        }
        for image in ["app:1", "host:5000/app:1", "app@sha256:00", "app:latest@sha256:00"] {
            assert!(!is_latest(image), "{image}");
        }
    }
}
