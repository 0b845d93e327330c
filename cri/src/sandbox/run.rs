//! RunPodSandbox.

use std::path::PathBuf;
use std::sync::Arc;

use rcrun::namespaces::Kind;
use rcrun::network::NetworkNamespace;
use tonic::Status;

use super::check::Wishes;
use super::{cgroup, files, namespaces, release, status, sysctl};
use crate::api;
use crate::cni::Attachment;
use crate::config::Config;
use crate::fault;
use crate::runtime::Runtime;
use crate::state::{self, Pod, PodNetwork, PodState};

/// What network namespaces of Pods are called: this and the Pod's id.
pub const PREFIX: &str = "rcrun-";

/// Makes a Pod; its id. A failure leaves nothing of it, or, where even that fails, a Pod that is not ready, to be removed.
pub fn run(runtime: &Arc<Runtime>, request: api::RunPodSandboxRequest) -> Result<String, Status> {
    let config = runtime.config();
    let asked = request.config.ok_or_else(|| Status::invalid_argument("config: missing"))?;
    let host_name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let wishes = Wishes::of(&asked, &request.runtime_handler, &config, &host_name)?;
    let (mut pod, mut attachment) = plan(runtime, &config, asked, request.runtime_handler, &wishes)?;
    let entry = runtime.pods.insert(pod.clone()).map_err(super::record)?;
    let _turn = entry.turn.blocking_lock();
    fault::point("record of the Pod");
    match make(runtime, &config, &wishes, &mut pod, attachment.as_mut()) {
        Ok(()) => {
            pod.state = PodState::Ready;
            match runtime.pods.update(&entry, |record| record.clone_from(&pod)) {
                Ok(_) => {
                    fault::point("record of the ready Pod");
                    status::tell(runtime, &pod, api::ContainerEventType::ContainerCreatedEvent);
                    status::tell(runtime, &pod, api::ContainerEventType::ContainerStartedEvent);
                    Ok(pod.id)
                }
                Err(error) => Err(undo(runtime, &config, &entry, &pod, super::record(error))),
            }
        }
        Err(error) => Err(undo(runtime, &config, &entry, &pod, error)),
    }
}

/// The record before anything is made: what it names is what a clean-up looks for.
fn plan(
    runtime: &Runtime,
    config: &Config,
    asked: api::PodSandboxConfig,
    handler: String,
    wishes: &Wishes,
) -> Result<(Pod, Option<Attachment>), Status> {
    let id = state::new_id();
    let run = runtime.paths.pod_run(&id);
    let own = |wanted: bool, path: PathBuf| wanted.then_some(path);
    let mut pod = Pod {
        schema: state::SCHEMA,
        config: asked,
        handler,
        created: state::now(),
        state: PodState::Making,
        network: PodNetwork {
            namespace: own(wishes.network, config.network.netns_dir.join(format!("{PREFIX}{id}"))),
            ..Default::default()
        },
        ipc: own(wishes.ipc, run.join(namespaces::IPC)),
        uts: own(wishes.network, run.join(namespaces::UTS)),
        init: None,
        cgroup_parent: wishes.cgroup_parent.clone(),
        id,
    };
    let mut attachment = None;
    if wishes.network {
        let planned = runtime.network.plan(&config.network, &runtime.paths, &pod)?;
        pod.network.attachment = recorded(&planned)?;
        attachment = Some(planned);
    }
    Ok((pod, attachment))
}

fn recorded(attachment: &Attachment) -> Result<Option<serde_json::Value>, Status> {
    let value = serde_json::to_value(attachment);
    value.map(Some).map_err(|error| Status::internal(format!("record the network: {error}")))
}

fn make(
    runtime: &Runtime,
    config: &Config,
    wishes: &Wishes,
    pod: &mut Pod,
    attachment: Option<&mut Attachment>,
) -> Result<(), Status> {
    let state = runtime.paths.pod_state(&pod.id);
    files::make(&runtime.paths.pod_run(&pod.id), &state, pod, wishes)?;
    fault::point("files of the Pod");
    cgroup::make(runtime, config, pod)
        .map_err(|error| Status::internal(format!("cgroup {} of the Pod: {error}", pod.cgroup_parent)))?;
    let namespace = namespaces::make(pod, wishes)?;
    fault::point("namespaces of the Pod");
    let addresses = match (namespace, attachment) {
        (Some(namespace), Some(attachment)) => attach(runtime, config, wishes, pod, &namespace, attachment)?,
        _ => Vec::new(),
    };
    files::hosts(&state, wishes, &addresses)?;
    pod.network.addresses = addresses.iter().map(ToString::to_string).collect();
    Ok(())
}

fn attach(
    runtime: &Runtime,
    config: &Config,
    wishes: &Wishes,
    pod: &mut Pod,
    namespace: &NetworkNamespace,
    attachment: &mut Attachment,
) -> Result<Vec<std::net::IpAddr>, Status> {
    let attached = runtime.network.attach(&config.network, &pod.id, namespace, attachment);
    // Also after a failure: what has been done so far is said to DEL.
    pod.network.attachment = recorded(attachment)?;
    let addresses = attached?;
    fault::point("network of the Pod");
    if wishes.sysctls.iter().any(|sysctl| sysctl.kind == Kind::Network) {
        namespace
            .enter(|| sysctl::set(&wishes.sysctls, |kind| kind == Kind::Network))
            .map_err(|error| Status::internal(error.to_string()))??;
    }
    Ok(addresses)
}

/// Takes everything back; the error that led here, with what could not be taken back.
fn undo(runtime: &Runtime, config: &Config, entry: &state::Entry<Pod>, pod: &Pod, cause: Status) -> Status {
    let left = release::release(runtime, config, pod);
    if left.is_empty() {
        return match runtime.pods.remove(&pod.id) {
            Ok(()) => cause,
            Err(error) => Status::new(cause.code(), format!("{}; then: {error}", cause.message())),
        };
    }
    // Listed, so that it is stopped and removed by whoever asked for it.
    runtime.pods.update_or_note(entry, |record| {
        record.clone_from(pod);
        record.state = PodState::NotReady;
    });
    Status::new(cause.code(), format!("{}; then: {}", cause.message(), left.join("; ")))
}
