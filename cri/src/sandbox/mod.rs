//! Pod sandboxes: namespaces without a process, a cgroup, a network.
//!
//! ```text
//! NETNS_DIR/rcrun-ID   the network namespace, where other agents look
//! RUN/pods/ID/         ipc, uts: pins of namespaces; shm: a tmpfs; hostname, hosts, resolv.conf
//!   init/              bundle and volatile directory of the init of a shared PID namespace
//! ```
//!
//! The record says before anything is made what will be made ([`crate::state::PodState::Making`]), so that a process that was
//! killed is cleaned up after by the next ([`recover`]). [`release`] gives everything back, each thing once or never there.

mod cgroup;
mod check;
mod files;
mod init;
mod list;
mod namespaces;
mod recover;
mod release;
mod resolv_conf;
mod run;
mod status;
mod stop;
mod sysctl;
mod update;

use std::sync::Arc;

use tonic::Status;

pub use cgroup::of_container;
pub use files::files;
pub use init::pid_namespace;
pub use recover::{Unfinished, finish, recover};

use crate::api;
use crate::container::error::{not_there, table as record};
use crate::runtime::Runtime;
use crate::server::Answers;
use crate::work::{blocking, to_the_end};

/// RunPodSandbox.
pub async fn run_pod_sandbox(
    runtime: &Arc<Runtime>,
    request: api::RunPodSandboxRequest,
) -> Result<api::RunPodSandboxResponse, Status> {
    let runtime = Arc::clone(runtime);
    // Goes on to its end also where the client has gone away meanwhile.
    let pod_sandbox_id = blocking(move || run::run(&runtime, request)).await?;
    Ok(api::RunPodSandboxResponse { pod_sandbox_id })
}

/// StopPodSandbox.
pub async fn stop_pod_sandbox(
    runtime: &Arc<Runtime>,
    request: api::StopPodSandboxRequest,
) -> Result<api::StopPodSandboxResponse, Status> {
    to_the_end(stop::stop(Arc::clone(runtime), request.pod_sandbox_id)).await?;
    Ok(api::StopPodSandboxResponse {})
}

/// RemovePodSandbox.
pub async fn remove_pod_sandbox(
    runtime: &Arc<Runtime>,
    request: api::RemovePodSandboxRequest,
) -> Result<api::RemovePodSandboxResponse, Status> {
    to_the_end(stop::remove(Arc::clone(runtime), request.pod_sandbox_id)).await?;
    Ok(api::RemovePodSandboxResponse {})
}

/// PodSandboxStatus.
pub async fn pod_sandbox_status(
    runtime: &Arc<Runtime>,
    request: api::PodSandboxStatusRequest,
) -> Result<api::PodSandboxStatusResponse, Status> {
    status::status(runtime, request).await
}

/// ListPodSandbox.
pub async fn list_pod_sandbox(
    runtime: &Arc<Runtime>,
    request: api::ListPodSandboxRequest,
) -> Result<api::ListPodSandboxResponse, Status> {
    Ok(api::ListPodSandboxResponse { items: list::list(runtime, request.filter.as_ref()) })
}

/// StreamPodSandboxes.
pub fn stream_pod_sandboxes(
    runtime: &Arc<Runtime>,
    request: &api::StreamPodSandboxesRequest,
) -> Answers<api::StreamPodSandboxesResponse> {
    list::stream(runtime, request.filter.as_ref())
}

/// UpdatePodSandboxResources.
pub async fn update_pod_sandbox_resources(
    runtime: &Arc<Runtime>,
    request: api::UpdatePodSandboxResourcesRequest,
) -> Result<api::UpdatePodSandboxResourcesResponse, Status> {
    to_the_end(update::update(Arc::clone(runtime), request)).await?;
    Ok(api::UpdatePodSandboxResourcesResponse {})
}
