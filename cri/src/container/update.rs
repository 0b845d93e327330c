//! UpdateContainerResources: of a running container in its cgroup, of a created one in its config.json.

use std::fs;
use std::sync::Arc;

use oci_spec::runtime::{LinuxResources, Spec};
use rcrun::lifecycle;
use rcrun::monitor;
use rcrun::resctrl::Shares;
use rcrun::state;
use tonic::Status;

use super::{create, error, lacking};
use crate::api::{self, ContainerState};
use crate::runtime::Runtime;
use crate::spec;
use crate::state::{Container, Entry};

/// UpdateContainerResources.
pub async fn update_container_resources(
    runtime: &Arc<Runtime>,
    request: api::UpdateContainerResourcesRequest,
) -> Result<api::UpdateContainerResourcesResponse, Status> {
    let runtime = Arc::clone(runtime);
    super::to_the_end(async move { update(runtime, request).await }).await
}

async fn update(
    runtime: Arc<Runtime>,
    request: api::UpdateContainerResourcesRequest,
) -> Result<api::UpdateContainerResourcesResponse, Status> {
    let wanted = request.linux.ok_or_else(|| error::missing("linux"))?;
    let entry = runtime.containers.find(&request.container_id).map_err(error::not_there)?;
    let _turn = entry.turn.lock().await;
    if !super::is_listed(&runtime, &entry) {
        return Err(super::gone(&request.container_id));
    }
    let entry = Arc::clone(&entry);
    super::blocking(move || apply(&runtime, &entry, &wanted)).await?;
    Ok(api::UpdateContainerResourcesResponse {})
}

fn apply(
    runtime: &Runtime,
    entry: &Entry<Container>,
    wanted: &api::LinuxContainerResources,
) -> Result<(), Status> {
    let container = entry.get();
    let all = merged(container.resources.linux.clone().unwrap_or_default(), wanted);
    // What the whole says is checked, too: swap is held against the limit that stays.
    let resources = spec::resources(&all, "linux")?;
    let config = runtime.config();
    let profile = super::profile(&config, &container.handler.name)?;
    let resources = lacking::without(&config, &profile, resources);
    match container.state() {
        ContainerState::ContainerCreated => rewrite(runtime, &container, &all, resources)?,
        ContainerState::ContainerRunning => in_cgroup(runtime, &container, &resources)?,
        state => {
            return Err(Status::failed_precondition(format!(
                "container {} is {}: it has no resources any more",
                container.id,
                super::word(state)
            )));
        }
    }
    let recorded = runtime.containers.update(entry, |container| container.resources.linux = Some(all));
    recorded.map(drop).map_err(error::table)
}

/// What is not given stays as it is.
fn merged(
    mut old: api::LinuxContainerResources,
    new: &api::LinuxContainerResources,
) -> api::LinuxContainerResources {
    let numbers = [
        (&mut old.cpu_period, new.cpu_period),
        (&mut old.cpu_quota, new.cpu_quota),
        (&mut old.cpu_shares, new.cpu_shares),
        (&mut old.memory_limit_in_bytes, new.memory_limit_in_bytes),
        (&mut old.memory_swap_limit_in_bytes, new.memory_swap_limit_in_bytes),
        (&mut old.oom_score_adj, new.oom_score_adj),
    ];
    for (old, new) in numbers {
        if new != 0 {
            *old = new;
        }
    }
    for (old, new) in [(&mut old.cpuset_cpus, &new.cpuset_cpus), (&mut old.cpuset_mems, &new.cpuset_mems)] {
        if !new.is_empty() {
            old.clone_from(new);
        }
    }
    if !new.hugepage_limits.is_empty() {
        old.hugepage_limits.clone_from(&new.hugepage_limits);
    }
    old.unified.extend(new.unified.clone());
    old
}

fn in_cgroup(runtime: &Runtime, container: &Container, resources: &LinuxResources) -> Result<(), Status> {
    let refused = |reason: String| Status::internal(format!("container {}: {reason}", container.id));
    match super::maker(runtime, &container.handler.name)? {
        monitor::Runtime::Own { state } => {
            let store = state::Store::new(state, |note| tracing::warn!("{note}"));
            let missing = runtime.config().missing_controllers;
            let id = super::library_id(&container.id)?;
            lifecycle::update(&store, &id, resources, &Shares::default(), missing)
                .map_err(|failed| refused(failed.to_string()))
        }
        // Nothing of it can be had here.
        monitor::Runtime::Program { .. } if *resources == LinuxResources::default() => Ok(()),
        monitor::Runtime::Program { program, state } => {
            by_program(&program, &state, &container.id, resources).map_err(refused)
        }
    }
}

/// `PROGRAM --root STATE update --resources - ID`.
fn by_program(
    program: &std::path::Path,
    state: &std::path::Path,
    id: &str,
    resources: &LinuxResources,
) -> Result<(), String> {
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    let json = serde_json::to_vec(resources).map_err(|error| error.to_string())?;
    let words = |error: std::io::Error| format!("{program:?} update: {error}");
    let mut command = Command::new(program);
    command.arg("--root").arg(state).args(["update", "--resources", "-", id]);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(words)?;
    // A program that reads nothing says why.
    let _ = child.stdin.take().map(|mut stdin| stdin.write_all(&json));
    let output = child.wait_with_output().map_err(words)?;
    match output.status.success() {
        true => Ok(()),
        false => {
            let said = String::from_utf8_lossy(&output.stderr);
            Err(format!("{program:?} update: {}", rcrun::text::on_one_line(said.trim())))
        }
    }
}

fn rewrite(
    runtime: &Runtime,
    container: &Container,
    all: &api::LinuxContainerResources,
    mut resources: LinuxResources,
) -> Result<(), Status> {
    let bundle = runtime.paths.container_state(&container.id);
    let path = bundle.join("config.json");
    let bytes = fs::read(&path).map_err(|error| error::file("read", &path, &error))?;
    let mut spec: Spec = serde_json::from_slice(&bytes)
        .map_err(|error| Status::data_loss(format!("{path:?} is damaged: {error}: remove the container")))?;
    let Some(linux) = spec.linux_mut().as_mut() else {
        return Err(Status::data_loss(format!("{path:?} has no linux object: remove the container")));
    };
    // Devices are none of the CRI's resources.
    resources.set_devices(linux.resources().as_ref().and_then(|old| old.devices().clone()));
    linux.set_resources(Some(resources));
    if all.oom_score_adj != 0
        && let Some(process) = spec.process_mut().as_mut()
    {
        let lowest = spec::HostFacts::read().lowest_oom_score_adj;
        let wanted = i32::try_from(all.oom_score_adj).unwrap_or(lowest);
        process.set_oom_score_adj(Some(wanted.max(lowest)));
    }
    create::write_config(&bundle, &spec)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_given_stays() {
        let old = api::LinuxContainerResources {
            cpu_shares: 2,
            memory_limit_in_bytes: 64,
            cpuset_cpus: "0".into(),
            unified: [("memory.high".to_owned(), "1".to_owned())].into(),
            ..Default::default()
        };
        let new = api::LinuxContainerResources {
            cpu_shares: 4,
            unified: [("memory.min".to_owned(), "2".to_owned())].into(),
            ..Default::default()
        };
        let merged = merged(old, &new);
        assert_eq!((merged.cpu_shares, merged.memory_limit_in_bytes), (4, 64));
        assert_eq!((merged.cpuset_cpus.as_str(), merged.unified.len()), ("0", 2));
    }
}
