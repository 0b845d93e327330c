//! ContainerStatus: the record in the CRI's words.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::json;
use tonic::Status;

use super::{error, signal};
use crate::api;
use crate::runtime::Runtime;
use crate::state::Container;

/// ContainerStatus.
pub async fn container_status(
    runtime: &Arc<Runtime>,
    request: api::ContainerStatusRequest,
) -> Result<api::ContainerStatusResponse, Status> {
    let container = runtime.containers.find(&request.container_id).map_err(error::not_there)?.get();
    let info = match request.verbose {
        true => {
            let (runtime, container) = (Arc::clone(runtime), Arc::clone(&container));
            super::blocking(move || Ok(info(&runtime, &container))).await?
        }
        false => HashMap::new(),
    };
    Ok(api::ContainerStatusResponse { status: Some(status(&container)), info })
}

/// The statuses of all containers of a Pod, the oldest first.
pub fn statuses_of(runtime: &Runtime, pod: &str) -> Vec<api::ContainerStatus> {
    let mut all: Vec<_> =
        runtime.containers.list().into_iter().filter(|container| container.pod == pod).collect();
    all.sort_by_key(|container| container.created);
    all.iter().map(|container| status(container)).collect()
}

/// A container's record as the CRI shows it.
pub fn status(container: &Container) -> api::ContainerStatus {
    let config = &container.config;
    let exit = container.exit.as_ref();
    api::ContainerStatus {
        id: container.id.clone(),
        metadata: config.metadata.clone(),
        state: container.state() as i32,
        created_at: container.created,
        started_at: container.started.unwrap_or_default(),
        finished_at: exit.map_or(0, |exit| exit.finished),
        exit_code: exit.map_or(0, |exit| exit.code),
        image: config.image.clone().map(shown_image),
        image_ref: container.image_ref.clone(),
        reason: exit.map_or_else(String::new, |exit| exit.reason.clone()),
        message: exit.map_or_else(String::new, |exit| exit.message.clone()),
        labels: config.labels.clone(),
        annotations: config.annotations.clone(),
        mounts: config.mounts.clone(),
        log_path: container.log.as_ref().map_or_else(String::new, |path| path.display().to_string()),
        resources: Some(container.resources.clone()),
        image_id: container.image_id.clone(),
        user: Some(api::ContainerUser { linux: Some(container.user.clone()) }),
        stop_signal: signal::name(container.stop_signal) as i32,
    }
}

/// The kubelet creates containers by the image's id; people want to see what they have written.
fn shown_image(mut image: api::ImageSpec) -> api::ImageSpec {
    if !image.user_specified_image.is_empty() {
        image.image.clone_from(&image.user_specified_image);
    }
    image
}

/// What people who debug want to know; crictl looks for `pid` and `runtimeSpec`.
fn info(runtime: &Runtime, container: &Container) -> HashMap<String, String> {
    let bundle = runtime.paths.container_state(&container.id);
    let spec = std::fs::read(bundle.join("config.json")).unwrap_or_default();
    let spec: serde_json::Value = serde_json::from_slice(&spec).unwrap_or_default();
    let info = json!({
        "sandboxID": container.pod,
        "pid": container.pid.unwrap_or_default(),
        "runtimeHandler": container.handler.name,
        "cgroup": container.cgroup,
        "bundle": bundle,
        "state": runtime.paths.containers_run().join(&container.id),
        "root": super::root_directory(runtime, &container.id),
        "runtimeSpec": spec,
    });
    HashMap::from([("info".to_owned(), info.to_string())])
}

#[cfg(test)]
mod tests {
    use super::super::tests::container;
    use super::*;
    use crate::state::Exit;

    #[test]
    fn a_status_says_all_that_the_record_has() {
        let mut record = container("a1", "p1");
        record.config.image = Some(api::ImageSpec {
            image: "sha256:1".into(),
            user_specified_image: "web:1".into(),
            ..Default::default()
        });
        record.log = Some("/var/log/pods/x/0.log".into());
        record.user = api::LinuxContainerUser { uid: 7, gid: 8, supplemental_groups: vec![8, 9] };
        let created = status(&record);
        assert_eq!((created.started_at, created.finished_at), (0, 0));
        assert_eq!(created.state(), api::ContainerState::ContainerCreated);
        assert_eq!(created.image.unwrap().image, "web:1");
        assert_eq!(created.log_path, "/var/log/pods/x/0.log");
        assert_eq!(created.user.unwrap().linux.unwrap().supplemental_groups, [8, 9]);
        assert_eq!(api::Signal::try_from(created.stop_signal), Ok(api::Signal::Sigterm));
        record.started = Some(5);
        let reason = "OOMKilled".to_owned();
        record.exit = Some(Exit { code: 137, finished: 6, reason, message: String::new() });
        let ended = status(&record);
        assert_eq!((ended.started_at, ended.finished_at, ended.exit_code), (5, 6, 137));
        assert_eq!(ended.reason, "OOMKilled");
        assert_eq!(ended.state(), api::ContainerState::ContainerExited);
    }
}
