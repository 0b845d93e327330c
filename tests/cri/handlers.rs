//! Runtime handlers: Pods whose containers runc or crun makes, where they are.

use std::path::{Path, PathBuf};
use std::process::Command;

use rcrun_cri::api::{self, ContainerState};
use rcrun_cri::config::RuntimeProfile;
use rustix::process::Signal;
use tonic::Code;

use crate::calls::{Pod, container_config, pod_config, resources};
use crate::crash;
use crate::node::Node;
use crate::support;

/// One of the peers that `make bench-peers` has made, or an installed one. Err is a reason to skip.
fn peer(name: &str) -> Result<PathBuf, String> {
    let made = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/peers").join(name);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut found = std::env::split_paths(&path).map(|directory| directory.join(name));
    let found = Some(made).filter(|made| made.is_file()).or_else(|| found.find(|file| file.is_file()));
    let found = found.ok_or_else(|| format!("{name} is neither installed nor made by make bench-peers"))?;
    let found = found.canonicalize().map_err(|error| format!("{found:?}: {error}"))?;
    match Command::new(&found).arg("--version").output() {
        Ok(output) if output.status.success() => Ok(found),
        _ => Err(format!("{found:?} does not run here")),
    }
}

/// A node with a handler of the peer's name.
fn node_of(name: &str) -> Result<Node, String> {
    let program = Some(peer(name)?);
    Node::configured(|config| {
        config.runtimes.insert(name.into(), RuntimeProfile { program, ..Default::default() });
    })
}

/// Ends a container that waits for this file; perhaps before touch(1) itself has ended.
fn end(node: &Node, id: &str) {
    node.try_exec(id, &["touch", "/end"], 0).unwrap();
}

/// What runc keeps of containers.
fn states(node: &Node) -> Vec<String> {
    let entries =
        std::fs::read_dir(node.path("/run/rcrun/cri/runtimes/runc")).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

/// What a kubelet always asks for, whatever controllers the host has.
fn wishes(config: &mut api::ContainerConfig) {
    let wanted = resources(config);
    (wanted.cpu_shares, wanted.cpu_quota, wanted.cpu_period) = (512, 50_000, 100_000);
    (wanted.memory_limit_in_bytes, wanted.oom_score_adj) = (64 << 20, 900);
    wanted.cpuset_cpus = "0".into();
    wanted.unified.insert("memory.high".into(), (48 << 20).to_string());
}

fn lives(name: &str) {
    let node = support::require!(node_of(name));
    let pod = node.try_run_pod_by(&pod_config("web"), name).unwrap();
    assert_eq!(node.pod_status(&pod.id).runtime_handler, name);
    let script = "echo hello; echo oops >&2; while ! [ -e /end ]; do sleep 0.01; done; exit 7";
    let mut config = container_config("c", &["sh", "-c", script]);
    wishes(&mut config);
    node.run(&["sh", "-ec", "mkdir -p /run/v/sub; mount -t tmpfs t /run/v/sub"]).success();
    config.mounts = vec![api::Mount {
        host_path: "/run/v".into(),
        container_path: "/v".into(),
        readonly: true,
        recursive_read_only: true,
        ..Default::default()
    }];
    let id = node.run_container(&pod, &config);
    support::wait_for("its output", 10, || (node.output(&id).lines().count() == 2).then_some(()));
    assert_eq!(node.exec(&id, &["echo", "here"]), "here\n");
    assert_eq!(node.try_exec(&id, &["sh", "-c", "echo err >&2; exit 3"], 0).unwrap().exit_code, 3);
    assert_eq!(node.info(&id)["runtimeHandler"], name);
    let error = node.try_exec(&id, &["touch", "/v/sub/x"], 0).unwrap().stderr;
    assert!(String::from_utf8_lossy(&error).contains("Read-only file system"), "{error:?}");
    let linux = api::LinuxContainerResources {
        memory_limit_in_bytes: 96 << 20,
        cpu_shares: 1024,
        ..Default::default()
    };
    let request = || api::UpdateContainerResourcesRequest {
        container_id: id.clone(),
        linux: Some(linux.clone()),
        ..Default::default()
    };
    node.call(async |mut c| c.update_container_resources(request()).await).unwrap();
    let shown = node.status(&id).resources.unwrap().linux.unwrap();
    assert_eq!((shown.memory_limit_in_bytes, shown.cpu_shares), (96 << 20, 1024));
    // A new server goes on with it.
    node.end(Signal::KILL);
    node.start();
    assert_eq!(node.status(&id).state(), ContainerState::ContainerRunning);
    end(&node, &id);
    let ended = node.exited(&id);
    assert_eq!((ended.exit_code, ended.reason.as_str()), (7, "Error"));
    let mut lines: Vec<_> = node.output(&id).lines().map(ToOwned::to_owned).collect();
    lines.sort();
    assert_eq!(lines, ["hello", "oops"]);
    let error = node.call(async |mut c| c.update_container_resources(request()).await).unwrap_err();
    assert_eq!(error.code(), Code::FailedPrecondition, "{error}");
    node.remove(&id);
    let stopped = node.container(&pod, "stopped", &["sleep", "1000"]);
    node.stop(&stopped, 0);
    assert_eq!(node.exited(&stopped).exit_code, 137);
    node.remove(&stopped);
    // One that runs goes with the Pod.
    node.container(&pod, "runs", &["sleep", "1000"]);
    node.stop_pod(&pod.id);
    node.remove_pod(&pod.id);
    node.run(&["umount", "/run/v/sub"]).success();
    assert!(node.remaining().is_empty(), "{:#?}", node.remaining());
}

#[test]
fn runc_makes_a_pods_containers() {
    lives("runc");
}

#[test]
fn crun_makes_a_pods_containers() {
    lives("crun");
}

#[test]
fn a_program_that_is_not_there_is_runcs_error_and_leaves_nothing() {
    let node = support::require!(node_of("runc"));
    let pod = node.try_run_pod_by(&pod_config("web"), "runc").unwrap();
    let id = node.create(&pod, &container_config("c", &["/no/such/program"]));
    let error = node.try_start(&id).unwrap_err();
    assert!(
        error.message().contains("runc run: ") && error.message().contains("/no/such/program"),
        "{error}"
    );
    let status = node.status(&id);
    assert_eq!((status.state(), status.reason.as_str()), (ContainerState::ContainerExited, "StartError"));
}

#[test]
fn a_server_that_is_killed_at_any_of_its_steps_leaves_nothing_of_runcs() {
    let node = support::require!(node_of("runc"));
    crash::killed_at_each_step(&node, "runc");
    node.restart();
    assert_eq!(states(&node), Vec::<String>::new());
}

/// A Pod whose container runs by runc; its id, and its shim's pid.
fn running(node: &Node) -> (Pod, String, i32) {
    let pod = node.try_run_pod_by(&pod_config("web"), "runc").unwrap();
    let script = "while ! [ -e /end ]; do sleep 0.01; done; echo over; exit 5";
    let id = node.container(&pod, "c", &["sh", "-c", script]);
    let shim = crash::shim_of(node, &id);
    (pod, id, shim)
}

#[test]
fn a_container_of_runcs_whose_shim_was_killed_gets_another() {
    let node = support::require!(node_of("runc"));
    let (_pod, id, first) = running(&node);
    crash::kill(first);
    support::wait_for("another shim", 10, || node.try_exec(&id, &["true"], 0).ok());
    end(&node, &id);
    let status = node.exited(&id);
    assert!(matches!(status.exit_code, 5 | 255), "{status:?}");
    assert_eq!(node.output(&id), "over\n");
    node.remove(&id);
    assert_eq!(states(&node), Vec::<String>::new());
}

#[test]
fn a_container_of_runcs_goes_with_its_pod_though_shim_and_server_were_killed() {
    let node = support::require!(node_of("runc"));
    let (pod, id, shim) = running(&node);
    node.end(Signal::KILL);
    crash::kill(shim);
    node.start();
    assert_eq!(node.status(&id).state(), ContainerState::ContainerRunning);
    node.stop_pod(&pod.id);
    let status = node.status(&id);
    assert!(status.state() == ContainerState::ContainerExited && status.exit_code != 0, "{status:?}");
    node.remove_pod(&pod.id);
    assert_eq!(states(&node), Vec::<String>::new());
}

#[test]
fn who_stops_a_container_of_runcs_waits_for_its_next_shim() {
    let node = support::require!(node_of("runc"));
    let (pod, id, shim) = running(&node);
    // Without it nobody takes the container over, and nobody can signal it.
    let settings = node.path(&format!("/var/lib/rcrun/cri/containers/{id}/shim.json"));
    let aside = settings.with_extension("aside");
    std::fs::rename(&settings, &aside).unwrap();
    crash::kill(shim);
    std::thread::scope(|scope| {
        let stopped = scope.spawn(|| node.stop_pod(&pod.id));
        std::thread::sleep(std::time::Duration::from_secs(7));
        assert!(!stopped.is_finished());
        std::fs::rename(&aside, &settings).unwrap();
    });
    assert_eq!(node.status(&id).state(), ContainerState::ContainerExited);
    node.remove_pod(&pod.id);
    assert_eq!(states(&node), Vec::<String>::new());
}

#[test]
fn handlers_are_reported_and_an_unknown_one_is_told_them() {
    let node = support::require!(node_of("runc"));
    let request = api::StatusRequest::default();
    let handlers = node.call(async |mut c| c.status(request).await).unwrap().runtime_handlers;
    let recursive = |handler: &api::RuntimeHandler| handler.features.unwrap().recursive_read_only_mounts;
    let told: Vec<_> = handlers.iter().map(|handler| (handler.name.as_str(), recursive(handler))).collect();
    assert_eq!(told, [("", true), ("runc", true)]);
    let error = node.try_run_pod_by(&pod_config("web"), "kata").unwrap_err();
    let said = "runtime_handler: \"kata\" is unknown (runc): add [runtimes.kata] to the configuration";
    assert_eq!((error.code(), error.message()), (Code::InvalidArgument, said));
    assert!(node.pods().is_empty());
}
