//! StartContainer: a shim makes the container in one go.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use oci_spec::runtime::{LinuxNamespaceType, Spec};
use rcrun::image::container::root;
use rcrun::monitor::{MonitorError, SCHEMA, Settings, Started};
use tonic::{Code, Status};

use super::{create, error, events, watch};
use crate::api::{self, ContainerEventType};
use crate::config::CgroupDriver;
use crate::fault;
use crate::runtime::Runtime;
use crate::state::{Container, Entry, Exit, Pod, now};

/// As other runtimes have it for a container whose program could not be started.
const START_ERROR: i32 = 128;
/// How long the shim of one that was killed may take to be gone.
const KILLED: Duration = Duration::from_secs(10);

/// StartContainer.
pub async fn start_container(
    runtime: &Arc<Runtime>,
    request: api::StartContainerRequest,
) -> Result<api::StartContainerResponse, Status> {
    let runtime = Arc::clone(runtime);
    super::to_the_end(async move { start(runtime, request).await }).await
}

async fn start(
    runtime: Arc<Runtime>,
    request: api::StartContainerRequest,
) -> Result<api::StartContainerResponse, Status> {
    let entry = runtime.containers.find(&request.container_id).map_err(error::not_there)?;
    let of_pod = runtime.pods.find(&entry.get().pod).map_err(error::not_there)?;
    let _turn_of_pod = of_pod.turn.lock().await;
    let _turn = entry.turn.lock().await;
    if !super::is_listed(&runtime, &entry) {
        return Err(super::gone(&request.container_id));
    }
    let container = entry.get();
    if container.state() != api::ContainerState::ContainerCreated {
        let state = super::word(container.state());
        return Err(Status::failed_precondition(format!(
            "container {} is {state}: one starts once only, create another",
            container.id
        )));
    }
    let pod = of_pod.get();
    create::ready(&runtime, &pod)?;
    let launched = {
        let (runtime, entry) = (Arc::clone(&runtime), Arc::clone(&entry));
        super::blocking(move || launch(&runtime, &entry, &pod)).await
    };
    fault::point("launch of the shim");
    match launched {
        Ok(started) => {
            run(&runtime, &entry, started).await?;
            Ok(api::StartContainerResponse {})
        }
        // Nothing has run, and a disk that has no room for shim.json has none for a record: the same request may come again.
        Err(status) if status.code() == Code::ResourceExhausted => Err(status),
        Err(status) => {
            failed(&runtime, &entry, status.message()).await;
            Err(status)
        }
    }
}

/// It runs: that is written down before anybody is told.
async fn run(runtime: &Arc<Runtime>, entry: &Arc<Entry<Container>>, started: Started) -> Result<(), Status> {
    let recorded = runtime.containers.update(entry, |container| {
        container.started = Some(started.at);
        container.pid = Some(started.pid);
    });
    fault::point("record of the start");
    if let Err(unwritten) = recorded {
        // One that nobody would find again must not run.
        let container = entry.get();
        let shim = super::shim(runtime, &container.id);
        let _ = super::blocking(move || shim.kill(libc::SIGKILL, true).map_err(error::monitor)).await;
        // And who removes it finds nobody who writes beside it how it ended.
        let _ = tokio::time::timeout(KILLED, watch::wait(runtime, &container.id)).await;
        let status = error::table(unwritten);
        failed(runtime, entry, status.message()).await;
        return Err(status);
    }
    watch::watch(runtime, entry);
    events::send(runtime, &entry.get(), ContainerEventType::ContainerStartedEvent).await;
    Ok(())
}

async fn failed(runtime: &Arc<Runtime>, entry: &Arc<Entry<Container>>, message: &str) {
    let exit = Exit {
        code: START_ERROR,
        finished: now(),
        reason: "StartError".into(),
        message: rcrun::text::on_one_line(message),
    };
    let change = |container: &mut Container| {
        container.pid = None;
        container.exit = Some(exit.clone());
    };
    runtime.containers.update_or_note(entry, change);
    fault::point("record of the failed start");
    events::send(runtime, &entry.get(), ContainerEventType::ContainerStoppedEvent).await;
}

fn launch(runtime: &Arc<Runtime>, entry: &Entry<Container>, pod: &Pod) -> Result<Started, Status> {
    let container = entry.get();
    find_pid_namespace(runtime, &container, pod)?;
    let kept = entry.live.root.lock().unwrap_or_else(PoisonError::into_inner).take();
    let mount = match kept {
        Some(mount) => mount,
        None => mount_again(runtime, &container.id)?,
    };
    if let Some(directory) = container.log.as_deref().and_then(Path::parent) {
        make_log_directory(directory)?;
    }
    let settings = settings(runtime, &container)?;
    runtime.shim.launch(&settings, Some(mount)).map_err(|error| match error {
        MonitorError::Refused(reason) => {
            Status::unknown(format!("container {} could not be started: {reason}", container.id))
        }
        error => super::error::monitor(error),
    })
}

/// rcrun-cri was started anew since CreateContainer.
fn mount_again(runtime: &Runtime, id: &str) -> Result<OwnedFd, Status> {
    let store = runtime.images.store(&runtime.paths).map_err(error::store)?;
    root::mount(&store, &super::library_id(id)?, true).map_err(error::root)
}

fn make_log_directory(path: &Path) -> Result<(), Status> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o755).create(path);
    made.map_err(|error| error::file("make the log's directory", path, &error))
}

fn settings(runtime: &Runtime, container: &Container) -> Result<Settings, Status> {
    let config = runtime.config();
    Ok(Settings {
        schema: SCHEMA,
        id: container.id.clone(),
        runtime: super::maker(runtime, &container.handler.name)?,
        bundle: runtime.paths.container_state(&container.id),
        run: runtime.paths.shim_run(&container.id),
        root: Some(super::root_directory(runtime, &container.id).join("rootfs")),
        directory: None,
        stdin: container.config.stdin,
        stdin_once: container.config.stdin_once,
        terminal: container.config.tty,
        log: container.log.clone(),
        max_log_line: config.max_log_line,
        missing_controllers: config.missing_controllers,
        systemd_cgroup: config.cgroup_driver == CgroupDriver::Systemd,
        loopback: false,
    })
}

/// The process whose PID namespace is joined (another container's, the Pod's init) may have ended since CreateContainer, and its pid
/// be a stranger's.
fn find_pid_namespace(runtime: &Arc<Runtime>, container: &Container, pod: &Pod) -> Result<(), Status> {
    let Some(path) = crate::sandbox::pid_namespace(runtime, pod, &container.config)? else { return Ok(()) };
    let bundle = runtime.paths.container_state(&container.id);
    let file = bundle.join("config.json");
    let bytes = fs::read(&file).map_err(|error| error::file("read", &file, &error))?;
    let damaged = |error| Status::data_loss(format!("{file:?} is damaged: {error}: remove the container"));
    if joins(&bytes, &path).map_err(damaged)? {
        return Ok(());
    }
    let mut spec: Spec = serde_json::from_slice(&bytes).map_err(damaged)?;
    let namespaces = spec.linux_mut().as_mut().and_then(|linux| linux.namespaces_mut().as_mut());
    for namespace in namespaces.into_iter().flatten() {
        if namespace.typ() == LinuxNamespaceType::Pid {
            namespace.set_path(Some(path.clone()));
        }
    }
    create::write_config(&bundle, &spec)
}

/// Does a config.json join this PID namespace? Read as far as that takes: most of it is a seccomp profile.
fn joins(config: &[u8], path: &Path) -> serde_json::Result<bool> {
    #[derive(serde::Deserialize)]
    struct Config {
        linux: Linux,
    }
    #[derive(serde::Deserialize)]
    struct Linux {
        namespaces: Vec<Namespace>,
    }
    #[derive(serde::Deserialize)]
    struct Namespace {
        #[serde(rename = "type")]
        kind: String,
        path: Option<PathBuf>,
    }
    let config: Config = serde_json::from_slice(config)?;
    let mut pid = config.linux.namespaces.into_iter().filter(|namespace| namespace.kind == "pid");
    Ok(pid.any(|namespace| namespace.path.as_deref() == Some(path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_namespace_itself_counts() {
        let config = |path: &str| {
            let namespaces = serde_json::json!([{"type": "mount"}, {"type": "pid", "path": path}]);
            let config = serde_json::json!({
                "process": {"args": ["/proc/8/ns/pid"]},
                "linux": {"namespaces": namespaces},
            });
            config.to_string().into_bytes()
        };
        let wanted = Path::new("/proc/8/ns/pid");
        assert!(joins(&config("/proc/8/ns/pid"), wanted).unwrap());
        assert!(!joins(&config("/proc/7/ns/pid"), wanted).unwrap());
    }
}
