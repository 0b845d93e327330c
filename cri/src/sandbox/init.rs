//! PID namespaces of containers: the Pod's shared one with its init, another container's, or none to join.
//!
//! The init is an ordinary container, held by a shim of its own: `rcrun-shim init` in an empty root. It is made for the first
//! container that wants to share, for most Pods never have one.

use std::fs;
use std::os::fd::AsFd as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rcrun::monitor::{self, Event, Monitor, MonitorError, Settings};
use rcrun::state::ProcessId;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt;
use rustix::process::{Signal, kill_process};
use serde_json::{Value, json};
use tonic::Status;

use crate::api::{self, NamespaceMode};
use crate::config::{Config, RestrictOomScoreAdj};
use crate::runtime::Runtime;
use crate::spec::HostFacts;
use crate::state::{Pod, PodInit, PodState};

/// Who the init is where the Pod does not say: nobody.
const NOBODY: i64 = 65535;
/// How long a killed init may take to be gone.
const PATIENCE: Duration = Duration::from_secs(10);

/// The PID namespace that a container joins; None: its own, or the host's, as its options say. Blocks; the caller has the Pod's turn.
pub fn pid_namespace(
    runtime: &Runtime,
    pod: &Pod,
    container: &api::ContainerConfig,
) -> Result<Option<PathBuf>, Status> {
    let linux = container.linux.as_ref();
    let options = linux.and_then(|linux| linux.security_context.as_ref()?.namespace_options.clone());
    let options = options.unwrap_or_default();
    match options.pid() {
        NamespaceMode::Container | NamespaceMode::Node => Ok(None),
        NamespaceMode::Pod if pods_mode(pod) == NamespaceMode::Node => Ok(Some(file(1))),
        NamespaceMode::Pod => shared(runtime, pod).map(Some),
        NamespaceMode::Target => target(runtime, pod, &options.target_id).map(Some),
    }
}

fn pods_mode(pod: &Pod) -> NamespaceMode {
    let linux = pod.config.linux.as_ref();
    let options = linux.and_then(|linux| linux.security_context.as_ref()?.namespace_options.as_ref());
    options.map_or(NamespaceMode::Pod, api::NamespaceOption::pid)
}

fn file(pid: u32) -> PathBuf {
    format!("/proc/{pid}/ns/pid").into()
}

fn target(runtime: &Runtime, pod: &Pod, id: &str) -> Result<PathBuf, Status> {
    const FIELD: &str = "linux.security_context.namespace_options.target_id";
    let entry =
        runtime.containers.find(id).map_err(|error| Status::not_found(format!("{FIELD}: {error}")))?;
    let container = entry.get();
    if container.pod != pod.id {
        return Err(Status::invalid_argument(format!(
            "{FIELD}: container {} is in another Pod, {}",
            container.id, container.pod
        )));
    }
    let running = container.state() == api::ContainerState::ContainerRunning;
    match container.pid.and_then(|pid| u32::try_from(pid).ok()) {
        Some(pid) if running => Ok(file(pid)),
        _ => Err(Status::failed_precondition(format!("{FIELD}: container {} does not run", container.id))),
    }
}

/// The namespace of the Pod's init, which is made if there is none that lives.
fn shared(runtime: &Runtime, pod: &Pod) -> Result<PathBuf, Status> {
    let entry = runtime.pods.find(&pod.id).map_err(super::not_there)?;
    let pod = entry.get();
    if pod.state != PodState::Ready {
        return Err(Status::failed_precondition(format!("Pod sandbox {} is not ready", pod.id)));
    }
    if let Some(init) = pod.init.as_ref().filter(|init| is_alive(init)) {
        return Ok(file(init.pid.unsigned_abs()));
    }
    // One that was killed has taken its namespace with it; the next container gets a new one.
    end(runtime, &pod.id)?;
    let pid = launch(runtime, &pod)?;
    let process = ProcessId::of(pid)
        .ok_or_else(|| Status::internal(format!("the init of Pod sandbox {} has ended at once", pod.id)))?;
    let init = PodInit { pid: process.pid, start_time: process.start_time };
    runtime.pods.update(&entry, |pod| pod.init = Some(init)).map_err(super::record)?;
    Ok(file(pid.unsigned_abs()))
}

/// One that was killed waits for all others of its namespace to be gone, and nobody gets in any more: ENOMEM.
fn is_alive(init: &PodInit) -> bool {
    ProcessId { pid: init.pid, start_time: init.start_time }.is_alive()
        && fs::read_to_string(format!("/proc/{}/stat", init.pid)).is_ok_and(|stat| !is_exiting(&stat))
}

/// Field 9 of proc_pid_stat(5), the seventh after the name.
fn is_exiting(stat: &str) -> bool {
    const PF_EXITING: u64 = 4;
    let flags = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(6)?.parse().ok());
    flags.is_none_or(|flags: u64| flags & PF_EXITING != 0)
}

fn directory(runtime: &Runtime, id: &str) -> PathBuf {
    runtime.paths.pod_run(id).join("init")
}

fn launch(runtime: &Runtime, pod: &Pod) -> Result<i32, Status> {
    let failed = |text: String| Status::internal(format!("init of Pod sandbox {}: {text}", pod.id));
    let bundle = directory(runtime, &pod.id);
    let config = runtime.config();
    let written = fs::DirBuilder::new()
        .recursive(true)
        // The init is nobody, and this is its root.
        .mode(0o755)
        .create(bundle.join("root"))
        .and_then(|()| fs::write(bundle.join("root/init"), ""))
        .and_then(|()| {
            let cgroup = super::of_container(config.cgroup_driver, &pod.cgroup_parent, &pod.id);
            let spec = spec(pod, &bundle.join("root"), runtime.shim.path(), &cgroup, oom_score_adj(&config));
            fs::write(bundle.join("config.json"), spec.to_string())
        });
    written.map_err(|error| failed(format!("write its bundle in {}: {error}", bundle.display())))?;
    let settings = Settings {
        schema: monitor::SCHEMA,
        id: pod.id.clone(),
        runtime: monitor::Runtime::Own { state: bundle.join("state") },
        run: bundle.join("run"),
        bundle,
        root: None,
        directory: None,
        stdin: false,
        stdin_once: false,
        terminal: false,
        log: None,
        max_log_line: config.max_log_line,
        missing_controllers: config.missing_controllers,
        systemd_cgroup: config.cgroup_driver == crate::config::CgroupDriver::Systemd,
        loopback: false,
    };
    let started = runtime.shim.launch(&settings, None).map_err(|error| failed(error.to_string()))?;
    Ok(started.pid)
}

/// The init's OCI configuration: the Pod's namespaces, no right, nothing to see but itself.
fn spec(pod: &Pod, root: &Path, program: &Path, cgroup: &str, oom_score_adj: i32) -> Value {
    let security = pod.config.linux.as_ref().and_then(|linux| linux.security_context.clone());
    let security = security.unwrap_or_default();
    let id = |wanted: Option<api::Int64Value>| wanted.map_or(NOBODY, |wanted| wanted.value);
    let mut namespaces = vec![json!({"type": "pid"}), json!({"type": "mount"})];
    let joined = [("ipc", &pod.ipc), ("uts", &pod.uts), ("network", &pod.network.namespace)];
    for (kind, path) in joined {
        namespaces.extend(path.as_ref().map(|path| json!({"type": kind, "path": path})));
    }
    json!({
        "ociVersion": "1.2.0",
        "process": {
            "user": {"uid": id(security.run_as_user), "gid": id(security.run_as_group)},
            "args": ["/init", "init"],
            "cwd": "/",
            "capabilities":
                {"bounding": [], "effective": [], "permitted": [], "inheritable": [], "ambient": []},
            "noNewPrivileges": true,
            "oomScoreAdj": oom_score_adj,
        },
        "root": {"path": root, "readonly": true},
        "mounts": [{
            "destination": "/init",
            "type": "bind",
            "source": program,
            // What opens it through /proc/PID/exe finds a mount that nobody can write through.
            "options": ["bind", "ro", "nosuid", "nodev"],
        }],
        "linux": {"namespaces": namespaces, "cgroupsPath": cgroup},
    })
}

/// The kernel takes it last, as other runtimes' first process of a Pod: all others would go with it. As low as it may be.
fn oom_score_adj(config: &Config) -> i32 {
    const LAST: i32 = -998;
    match config.restrict_oom_score_adj {
        RestrictOomScoreAdj::Never => LAST,
        RestrictOomScoreAdj::Auto => HostFacts::read().lowest_oom_score_adj.max(LAST),
        RestrictOomScoreAdj::Always => HostFacts::read().own_oom_score_adj.max(LAST),
    }
}

/// Ends the Pod's init, if there is one, and takes away what is left of it.
pub fn end(runtime: &Runtime, id: &str) -> Result<(), Status> {
    let bundle = directory(runtime, id);
    if !bundle.exists() {
        return Ok(());
    }
    let failed = |error: MonitorError| Status::internal(format!("init of Pod sandbox {id}: {error}"));
    let monitor = Monitor::of(&bundle.join("run"));
    match monitor.watch() {
        Ok(mut watch) => {
            match monitor.kill(libc::SIGKILL, true) {
                // It has ended meanwhile, or says nothing: one that waits for its processes' end hears nobody.
                Err(MonitorError::Gone { .. } | MonitorError::Call { .. }) => {}
                result => result.map_err(failed)?,
            }
            if !wait(&mut watch).map_err(failed)? {
                end_silent(&watch);
            }
        }
        Err(MonitorError::Gone { .. }) => {}
        Err(error) => return Err(failed(error)),
    }
    // Its shim may have been killed before.
    runtime.shim.discard(&bundle).map_err(failed)?;
    match fs::remove_dir_all(&bundle) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Status::internal(format!("remove {}: {error}", bundle.display())))
        }
        _ => Ok(()),
    }
}

/// Kills a shim that does not come to its end: later it would take the next init, of the same names, for its own, and remove that.
fn end_silent(watch: &monitor::Watch) {
    // It holds the other end: the pid is nobody else's.
    if let Ok(shim) = sockopt::socket_peercred(watch.as_fd()) {
        let _ = kill_process(shim.pid, Signal::KILL);
    }
}

/// Waits for the shim's end. False: it has not come in time.
fn wait(watch: &mut monitor::Watch) -> Result<bool, MonitorError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match watch.next() {
            Ok(Some(Event::Ended)) | Err(MonitorError::Gone { .. }) => return Ok(true),
            Ok(Some(Event::OutOfMemory)) => {}
            Ok(None) => {
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    // Discarding it will say what is the matter.
                    return Ok(false);
                }
                let left = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
                let fd = watch.as_fd();
                let _ = poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&left));
            }
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{PodNetwork, SCHEMA};

    #[test]
    fn a_process_on_its_way_out_is_not_alive() {
        let stat = |flags: u64| format!("7 (a) b) S 1 7 7 0 -1 {flags} 0 0");
        assert!(!is_exiting(&stat(0x40_0100)) && is_exiting(&stat(0x40_0104)) && is_exiting("7 (x"));
        let own = fs::read_to_string("/proc/self/stat").unwrap();
        assert!(!is_exiting(&own));
    }

    #[test]
    fn the_init_has_the_pods_namespaces_and_no_right() {
        let pod = Pod {
            schema: SCHEMA,
            id: "abc".into(),
            config: api::PodSandboxConfig::default(),
            handler: String::new(),
            created: 1,
            state: PodState::Ready,
            network: PodNetwork { namespace: Some("/run/netns/rcrun-abc".into()), ..Default::default() },
            ipc: Some("/run/pods/abc/ipc".into()),
            uts: None,
            init: None,
            cgroup_parent: "/pods".into(),
        };
        let spec = spec(&pod, Path::new("/root"), Path::new("/bin/rcrun-shim"), "/pods/abc", -998);
        assert_eq!(spec["linux"]["namespaces"][2], json!({"type": "ipc", "path": "/run/pods/abc/ipc"}));
        let network = json!({"type": "network", "path": "/run/netns/rcrun-abc"});
        assert_eq!(spec["linux"]["namespaces"][3], network);
        assert_eq!(spec["process"]["capabilities"]["bounding"], json!([]));
        let spec: rcrun::spec::Spec = serde_json::from_value(spec).unwrap();
        assert!(spec.process().as_ref().unwrap().no_new_privileges().unwrap());
    }
}
