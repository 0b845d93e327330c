//! Containers: made of a Pod, an image and wishes; held by their shims.
//!
//! One file an RPC. CreateContainer decides everything and writes it down ([`create`]); StartContainer launches a shim and
//! from then on one task waits for the container's end ([`watch`]), which the shim has put on the disk before anybody can see
//! it. A record changes with its entry's turn held; StartContainer and CreateContainer hold the Pod's turn before it, so that
//! nothing starts in a Pod that is stopped. What changes something runs to its end, even where the client is gone.

mod create;
pub(crate) mod error;
mod events;
mod exec;
mod lacking;
mod list;
mod logs;
mod recover;
mod remove;
mod signal;
mod start;
mod status;
mod stop;
mod update;
mod user;
mod watch;

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use rcrun::id::ContainerId;
use rcrun::monitor::{self, Monitor};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tonic::Status;

pub use create::create_container;
pub use events::container_events;
pub use exec::exec_sync;
pub use list::{list_containers, stream_containers};
pub use logs::reopen_container_log;
pub use recover::recover;
pub use remove::{remove_all, remove_container};
pub use start::start_container;
pub use status::{container_status, status, statuses_of};
pub use stop::{stop_all, stop_container};
pub use update::update_container_resources;
pub use watch::watch;

use crate::api;
use crate::config::{Config, RuntimeProfile};
use crate::runtime::Runtime;
use crate::state::{Container, Entry};
use crate::work::{blocking, to_the_end};

/// A container that runs. NOT_FOUND, or FAILED_PRECONDITION where it does not.
pub fn running(runtime: &Arc<Runtime>, id: &str) -> Result<Arc<Entry<Container>>, Status> {
    let entry = runtime.containers.find(id).map_err(error::not_there)?;
    let container = entry.get();
    match container.state() {
        api::ContainerState::ContainerRunning => Ok(entry),
        state => Err(Status::failed_precondition(format!(
            "container {} is {}, not running: start it first",
            container.id,
            word(state)
        ))),
    }
}

/// The OCI process of an exec in a container, as [`Monitor::exec`] takes it. Reads the container's config.json.
pub fn process(
    runtime: &Arc<Runtime>,
    container: &Container,
    args: &[String],
    tty: bool,
) -> Result<serde_json::Value, Status> {
    if args.is_empty() {
        return Err(error::missing("cmd"));
    }
    let path = runtime.paths.container_state(&container.id).join("config.json");
    let bytes = std::fs::read(&path).map_err(|error| error::file("read", &path, &error))?;
    let spec = serde_json::from_slice(&bytes)
        .map_err(|error| Status::data_loss(format!("{path:?} is damaged: {error}: remove the container")))?;
    let process = crate::spec::exec(&spec, args, tty)?;
    serde_json::to_value(process).map_err(|error| Status::internal(format!("process: {error}")))
}

/// A container's shim.
pub fn shim(runtime: &Runtime, id: &str) -> Monitor {
    Monitor::of(&runtime.paths.shim_run(id))
}

fn word(state: api::ContainerState) -> &'static str {
    match state {
        api::ContainerState::ContainerCreated => "created",
        api::ContainerState::ContainerRunning => "running",
        api::ContainerState::ContainerExited => "exited",
        api::ContainerState::ContainerUnknown => "in an unknown state",
    }
}

/// The container's directory in the image store: `upper/`, the mount point, volumes.
fn root_directory(runtime: &Runtime, id: &str) -> PathBuf {
    runtime.paths.images.join("containers").join(id)
}

/// Ids of records are ids of the library.
fn library_id(id: &str) -> Result<ContainerId, Status> {
    ContainerId::parse(id).map_err(|error| Status::internal(error.to_string()))
}

/// The profile of a runtime handler.
fn profile(config: &Config, handler: &str) -> Result<RuntimeProfile, Status> {
    match config.runtimes.get(handler) {
        Some(profile) => Ok(profile.clone()),
        None if handler.is_empty() => Ok(RuntimeProfile::default()),
        None => Err(Status::failed_precondition(format!(
            "runtime handler {handler:?} is not in the configuration any more: add [runtimes.{handler}]"
        ))),
    }
}

/// Who makes a container of this handler, and where the state of such is.
fn maker(runtime: &Runtime, handler: &str) -> Result<monitor::Runtime, Status> {
    let profile = profile(&runtime.config(), handler)?;
    Ok(match profile.program {
        None => monitor::Runtime::Own { state: runtime.paths.containers_run() },
        Some(program) => {
            let state = runtime.paths.run.join("runtimes").join(handler);
            monitor::Runtime::Program { program, state }
        }
    })
}

/// Is it still listed? Who held its turn may have removed it.
fn is_listed(runtime: &Runtime, entry: &Arc<Entry<Container>>) -> bool {
    runtime.containers.find(&entry.get().id).is_ok_and(|listed| Arc::ptr_eq(&listed, entry))
}

fn gone(id: &str) -> Status {
    Status::not_found(format!("container {id:?} was removed meanwhile"))
}

/// A descriptor that can be awaited.
#[expect(
    deprecated,
    reason = "sound for an OwnedFd; what replaces it is unsafe, which is for the library alone"
)]
pub(crate) fn readable(fd: OwnedFd) -> std::io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(fd, Interest::READABLE)
}

#[cfg(test)]
mod tests {
    use crate::api;
    use crate::state::{Container, Handler, SCHEMA};

    /// A created container.
    pub fn container(id: &str, pod: &str) -> Container {
        let metadata = api::ContainerMetadata { name: format!("name-{id}"), attempt: 0 };
        Container {
            schema: SCHEMA,
            id: id.into(),
            pod: pod.into(),
            config: api::ContainerConfig { metadata: Some(metadata), ..Default::default() },
            image_id: "sha256:1".into(),
            image_ref: "sha256:1".into(),
            handler: Handler { name: String::new() },
            stop_signal: libc::SIGTERM,
            log: None,
            cgroup: format!("/pod/{id}"),
            created: 1,
            started: None,
            pid: None,
            exit: None,
            resources: api::ContainerResources::default(),
            user: api::LinuxContainerUser::default(),
        }
    }
}
