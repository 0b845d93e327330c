//! The message of a container.

use k8s_openapi::api::core::v1::{Container, Pod};

use super::environment::variables;
use super::users::UserRange;
use super::{
    ContainerInputs, Settings, SpecError, VolumeMount, expand, identity, resources, security, stop_signal,
};
use crate::cri::api::{
    ContainerConfig, ContainerMetadata, IdMapping, ImageSpec, KeyValue, LinuxContainerConfig, Mount,
    MountPropagation, Signal,
};

const HOSTS: &str = "/etc/hosts";
const TERMINATION_LOG: &str = "/dev/termination-log";

/// A container of a Pod.
pub fn container(
    pod: &Pod,
    container: &Container,
    inputs: &ContainerInputs<'_>,
    settings: &Settings,
) -> Result<ContainerConfig, SpecError> {
    let range = settings.users.of(pod).map_err(SpecError::config)?;
    let context = security::context(pod, container, inputs.image, range, settings)?;
    let variables = variables(pod, container, inputs.objects, inputs.addresses, settings)?;
    let signal = stop_signal::stop_signal(container)?;
    let words = |field: &str, words: &Option<Vec<String>>| {
        let words = words.iter().flatten();
        let expanded = words.map(|word| {
            let value = |name: &str| variables.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_slice());
            // The value is not told: it may be a Secret's.
            String::from_utf8(expand(word, value)).map_err(|_| {
                SpecError::config(format!(
                    "container {}: {field}: {word:?}: a variable's value is not UTF-8, which the runtime takes alone",
                    container.name
                ))
            })
        });
        expanded.collect::<Result<Vec<_>, _>>()
    };
    Ok(ContainerConfig {
        metadata: Some(ContainerMetadata { name: container.name.clone(), attempt: inputs.attempt }),
        image: Some(ImageSpec {
            image: inputs.image.id.clone(),
            user_specified_image: container.image.clone().unwrap_or_default(),
            ..Default::default()
        }),
        command: words("command", &container.command)?,
        args: words("args", &container.args)?,
        working_dir: container.working_dir.clone().unwrap_or_default(),
        mounts: mounts(container, inputs, range),
        labels: identity::container_labels(pod, container, &settings.node.name),
        annotations: identity::container_annotations(pod, container, inputs.attempt),
        log_path: format!("{}/{}.log", container.name, inputs.attempt),
        stdin: container.stdin == Some(true),
        stdin_once: container.stdin_once == Some(true),
        tty: container.tty == Some(true),
        linux: Some(LinuxContainerConfig {
            resources: Some(resources::resources(pod, container)),
            security_context: Some(context),
        }),
        stop_signal: Signal::into(signal),
        envs: variables.into_iter().map(|(key, value)| KeyValue { key, value }).collect(),
        ..Default::default()
    })
}

/// Volumes first; then the files that each container has, unless a volume is there.
fn mounts(container: &Container, inputs: &ContainerInputs<'_>, range: Option<UserRange>) -> Vec<Mount> {
    let ids: Vec<IdMapping> = range.iter().map(|range| range.mapping()).collect();
    let mut mounts: Vec<Mount> = inputs.mounts.iter().map(|volume| of_volume(volume, &ids)).collect();
    let message = container.termination_message_path.as_deref().filter(|path| !path.is_empty());
    let message = message.unwrap_or(TERMINATION_LOG);
    let message = if message.starts_with('/') { message.to_owned() } else { format!("/{message}") };
    let hosts = inputs.hosts_file.map(|file| (file, HOSTS.to_owned()));
    let files = hosts.into_iter().chain(inputs.termination_file.map(|file| (file, message)));
    for (file, container_path) in files {
        if !mounts.iter().any(|mount| mount.container_path.trim_end_matches('/') == container_path) {
            mounts.push(Mount {
                container_path,
                host_path: file.display().to_string(),
                uid_mappings: ids.clone(),
                gid_mappings: ids.clone(),
                ..Default::default()
            });
        }
    }
    mounts
}

fn of_volume(volume: &VolumeMount, ids: &[IdMapping]) -> Mount {
    let propagation = match volume.propagation.as_deref() {
        Some("HostToContainer") => MountPropagation::PropagationHostToContainer,
        Some("Bidirectional") => MountPropagation::PropagationBidirectional,
        _ => MountPropagation::PropagationPrivate,
    };
    let image = volume.image.as_ref().map(|image| ImageSpec { image: image.clone(), ..Default::default() });
    let host_path = if image.is_some() { String::new() } else { volume.host_path.display().to_string() };
    Mount {
        container_path: volume.container_path.clone(),
        host_path,
        readonly: volume.readonly,
        propagation: propagation.into(),
        uid_mappings: ids.to_vec(),
        gid_mappings: ids.to_vec(),
        recursive_read_only: volume.recursive_readonly,
        image,
        image_sub_path: volume.image_sub_path.clone(),
        ..Default::default()
    }
}
