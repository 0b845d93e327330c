//! CreateContainer: everything is looked up, decided and written down; nothing runs yet.
//!
//! The record comes last. Until then the reservation and the directory in the image store undo themselves; what a killed
//! process leaves is a directory without a record, and one without a keeper.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, PoisonError};

use oci_spec::runtime::Spec;
use rcrun::image::container::Base;
use rcrun::image::container::root::{self, Owner, Root};
use tonic::Status;

use super::{error, events, lacking, signal, user};
use crate::api::{self, ContainerEventType};
use crate::config::Config;
use crate::fault;
use crate::image::{self, Found};
use crate::runtime::Runtime;
use crate::sandbox;
use crate::spec::{self, HostFacts, ThisHost, User};
use crate::state::{Container, Entry, Handler, Pod, PodState, Record as _, SCHEMA, new_id, now};

/// CreateContainer.
pub async fn create_container(
    runtime: &Arc<Runtime>,
    request: api::CreateContainerRequest,
) -> Result<api::CreateContainerResponse, Status> {
    let runtime = Arc::clone(runtime);
    super::to_the_end(async move { create(runtime, request).await }).await
}

async fn create(
    runtime: Arc<Runtime>,
    request: api::CreateContainerRequest,
) -> Result<api::CreateContainerResponse, Status> {
    let config = request.config.ok_or_else(|| error::missing("config"))?;
    check(&config)?;
    let entry = runtime.pods.find(&request.pod_sandbox_id).map_err(error::not_there)?;
    // A Pod that is stopped or removed waits until its new container is there to be stopped or removed, too.
    let _turn = entry.turn.lock().await;
    let pod = entry.get();
    ready(&runtime, &pod)?;
    let name = config.image.as_ref().map(|image| image.image.clone()).unwrap_or_default();
    let image = image::find(&runtime, &name).await?;
    let wanted = Wanted { id: new_id(), pod, config, image, name };
    let made = {
        let runtime = Arc::clone(&runtime);
        super::blocking(move || make(&runtime, wanted)).await
    };
    // Its making has used the image store.
    image::collect_overdue_beside(&runtime);
    let entry = made?;
    let container = entry.get();
    events::send(&runtime, &container, ContainerEventType::ContainerCreatedEvent).await;
    Ok(api::CreateContainerResponse { container_id: container.id.clone() })
}

/// What a container is made of.
struct Wanted {
    id: String,
    pod: Arc<Pod>,
    config: api::ContainerConfig,
    image: Found,
    /// The image as the request calls it.
    name: String,
}

/// What must be there whatever the image is.
fn check(config: &api::ContainerConfig) -> Result<(), Status> {
    let name = config.metadata.as_ref().ok_or_else(|| error::missing("config.metadata"))?.name.as_str();
    if name.is_empty() {
        return Err(error::missing("config.metadata.name"));
    }
    if config.image.as_ref().is_none_or(|image| image.image.is_empty()) {
        return Err(error::missing("config.image.image"));
    }
    let climbs =
        |path: &Path| path.components().any(|part| !matches!(part, Component::Normal(_) | Component::CurDir));
    if climbs(Path::new(&config.log_path)) {
        return Err(Status::invalid_argument(format!(
            "config.log_path: {:?} leads out of the Pod's log directory: give a path below it",
            config.log_path
        )));
    }
    Ok(())
}

/// Containers are made and started in Pods that are ready alone.
pub(super) fn ready(runtime: &Runtime, pod: &Pod) -> Result<(), Status> {
    if runtime.pods.find(&pod.id).is_err() {
        return Err(Status::not_found(format!("Pod sandbox {:?} was removed meanwhile", pod.id)));
    }
    match pod.state {
        PodState::Ready => Ok(()),
        PodState::Making | PodState::NotReady => {
            Err(Status::failed_precondition(format!("Pod sandbox {} is not ready: run another one", pod.id)))
        }
    }
}

fn make(runtime: &Arc<Runtime>, wanted: Wanted) -> Result<Arc<Entry<Container>>, Status> {
    let config = runtime.config();
    let mut container = record(&config, &wanted)?;
    let reserved = runtime.containers.reserve(&wanted.id, container.name()).map_err(error::table)?;
    fault::point("directory of the record");
    let mut root = make_root(runtime, &wanted, reserved.directory())?;
    fault::point("directory in the image store");
    let security = security(&wanted.config);
    let user = user::resolve(&root.mount, &security, &wanted.image.facts.user)?;
    container.user = shown_user(&user);
    let made = configure(runtime, &config, &wanted, &container, &root, user)?;
    for directory in &made.make_directories {
        let mut builder = fs::DirBuilder::new();
        builder
            .recursive(true)
            .mode(0o755)
            .create(directory)
            .map_err(|error| error::file("make the source of a mount", directory, &error))?;
    }
    write_config(reserved.directory(), &made.spec)?;
    fault::point("config.json");
    let entry = reserved.commit(container).map_err(error::table)?;
    fault::point("record of the container");
    root.directory.keep();
    *entry.live.root.lock().unwrap_or_else(PoisonError::into_inner) = Some(root.mount);
    Ok(entry)
}

fn make_root(runtime: &Runtime, wanted: &Wanted, keeper: &Path) -> Result<Root, Status> {
    let id = super::library_id(&wanted.id)?;
    let store = runtime.images.store(&runtime.paths).map_err(error::store)?;
    let in_use = store.use_shared().map_err(error::store)?;
    let base = Base { store: &store, image: &wanted.image.image, name: &wanted.name };
    let state = runtime.paths.containers_run();
    let owner = Owner { id: &id, state: &state, keeper };
    root::make(base, wanted.image.documents.contents.diff_ids(), in_use, &owner).map_err(error::root)
}

/// config.json.
fn configure(
    runtime: &Arc<Runtime>,
    config: &Config,
    wanted: &Wanted,
    container: &Container,
    root: &Root,
    user: User,
) -> Result<spec::Made, Status> {
    let mut files = sandbox::files(runtime, &wanted.pod);
    files.volumes = volumes(wanted, root)?;
    let pid_namespace = sandbox::pid_namespace(runtime, &wanted.pod, &wanted.config)?;
    let profile = super::profile(config, &wanted.pod.handler)?;
    let request = spec::Request {
        id: &wanted.id,
        pod: &wanted.pod,
        container: &wanted.config,
        image: &wanted.image.facts,
        user,
        files,
        pid_namespace,
        cgroup: container.cgroup.clone(),
        root: root.mount_point(),
        profile: &profile,
        config,
        host: &HostFacts::read(),
        host_files: &ThisHost,
    };
    let mut made = spec::container(&request)?;
    if let Some(linux) = made.spec.linux_mut()
        && let Some(resources) = linux.resources_mut().take()
    {
        linux.set_resources(Some(lacking::without(config, &profile, resources)));
    }
    Ok(made)
}

/// The image's volumes, but for those where the request mounts something.
fn volumes(wanted: &Wanted, root: &Root) -> Result<BTreeMap<String, PathBuf>, Status> {
    let clean = |path: &str| path.trim_end_matches('/').to_owned();
    let mounted: Vec<String> =
        wanted.config.mounts.iter().map(|mount| clean(&mount.container_path)).collect();
    let paths = wanted.image.facts.volumes.iter().map(|path| path.trim_end_matches('/'));
    let paths = paths.filter(|path| !mounted.iter().any(|mounted| mounted == path));
    let made = root.volumes(paths).map_err(error::root)?;
    Ok(made.into_iter().map(|(source, target)| (target, source)).collect())
}

fn record(config: &Config, wanted: &Wanted) -> Result<Container, Status> {
    let facts = &wanted.image.facts;
    let linux = wanted.config.linux.clone().unwrap_or_default();
    Ok(Container {
        schema: SCHEMA,
        id: wanted.id.clone(),
        pod: wanted.pod.id.clone(),
        image_id: wanted.image.id.clone(),
        image_ref: wanted.image.reference.clone(),
        handler: Handler { name: wanted.pod.handler.clone() },
        stop_signal: signal::stop_signal(wanted.config.stop_signal, &facts.stop_signal)?,
        log: log_path(&wanted.pod.config.log_directory, &wanted.config.log_path),
        cgroup: sandbox::of_container(config.cgroup_driver, &wanted.pod.cgroup_parent, &wanted.id),
        created: now(),
        started: None,
        pid: None,
        exit: None,
        resources: api::ContainerResources { linux: linux.resources, windows: None },
        user: api::LinuxContainerUser::default(),
        config: wanted.config.clone(),
    })
}

fn security(config: &api::ContainerConfig) -> api::LinuxContainerSecurityContext {
    config.linux.as_ref().and_then(|linux| linux.security_context.clone()).unwrap_or_default()
}

fn shown_user(user: &User) -> api::LinuxContainerUser {
    api::LinuxContainerUser {
        uid: user.uid.into(),
        gid: user.gid.into(),
        supplemental_groups: user.additional_gids.iter().map(|gid| i64::from(*gid)).collect(),
    }
}

/// Both are needed; without one of them nothing is kept.
fn log_path(directory: &str, path: &str) -> Option<PathBuf> {
    (!directory.is_empty() && !path.is_empty()).then(|| Path::new(directory).join(path))
}

pub(super) fn write_config(bundle: &Path, spec: &Spec) -> Result<(), Status> {
    let path = bundle.join("config.json");
    let new = bundle.join("config.json.new");
    let json = serde_json::to_vec(spec).map_err(|error| Status::internal(format!("config.json: {error}")))?;
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let written = options.open(&new).and_then(|mut file| std::io::Write::write_all(&mut file, &json));
    written.and_then(|()| fs::rename(&new, &path)).map_err(|error| {
        let _ = fs::remove_file(&new);
        error::file("write", &path, &error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> api::ContainerConfig {
        api::ContainerConfig {
            metadata: Some(api::ContainerMetadata { name: "web".into(), attempt: 0 }),
            image: Some(api::ImageSpec { image: "web:1".into(), ..Default::default() }),
            ..Default::default()
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        assert!(check(&config()).is_ok());
        let without = |change: fn(&mut api::ContainerConfig)| {
            let mut config = config();
            change(&mut config);
            check(&config).unwrap_err().message().to_owned()
        };
        assert_eq!(without(|config| config.metadata = None), "config.metadata is missing");
        assert_eq!(
            without(|config| config.metadata = Some(Default::default())),
            "config.metadata.name is missing"
        );
        assert_eq!(without(|config| config.image = None), "config.image.image is missing");
        assert!(without(|config| config.log_path = "../x".into()).contains("leads out"));
        assert!(without(|config| config.log_path = "/x".into()).contains("leads out"));
    }

    #[test]
    fn a_log_needs_directory_and_path() {
        assert_eq!(log_path("/var/log/pods/x", "c/0.log"), Some("/var/log/pods/x/c/0.log".into()));
        assert_eq!(log_path("", "c/0.log"), None);
        assert_eq!(log_path("/var/log/pods/x", ""), None);
    }
}
