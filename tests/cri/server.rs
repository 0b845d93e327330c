//! The server itself: what it says of itself, how it starts and ends.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};

use rcrun_cri::api;
use rustix::process::Signal;

use crate::node::{Node, SOCKET};
use crate::support;

#[test]
fn it_says_who_it_is_and_that_it_is_ready() {
    let node = node!();
    let version = node.call(async |mut c| c.version(api::VersionRequest::default()).await).unwrap();
    assert_eq!((version.runtime_name.as_str(), version.runtime_api_version.as_str()), ("rcrun", "v1"));
    let status = node.call(async |mut c| c.status(api::StatusRequest { verbose: true }).await).unwrap();
    let conditions = status.status.unwrap().conditions;
    assert!(conditions.iter().all(|condition| condition.status), "{conditions:?}");
    let config: serde_json::Value = serde_json::from_str(&status.info["config"]).unwrap();
    assert_eq!(config["state"], "/var/lib/rcrun/cri");
    let config = node.call(async |mut c| c.runtime_config(api::RuntimeConfigRequest {}).await).unwrap();
    assert_eq!(config.linux.unwrap().cgroup_driver(), api::CgroupDriver::Cgroupfs);
}

#[test]
fn a_second_server_is_refused_and_the_first_goes_on() {
    let node = node!();
    let refused = node.cri(&["--listen", "/run/rcrun/other.sock"]).wait();
    refused.refused(&["/var/lib/rcrun/cri is used by another rcrun-cri (pid "]);
    assert!(!node.path("/run/rcrun/other.sock").exists());
    node.call(async |mut c| c.version(api::VersionRequest::default()).await).unwrap();
    // With another state it is the socket that is taken.
    node.write_config("state = \"/var/lib/rcrun/other\"\n");
    node.cri(&[]).wait().refused(&[SOCKET, "another process serves there"]);
}

#[test]
fn a_killed_server_leaves_a_socket_that_the_next_one_replaces() {
    let node = node!();
    node.end(Signal::KILL);
    assert!(node.path(SOCKET).exists());
    node.start();
    node.end(Signal::TERM);
    node.start();
}

#[test]
fn a_reload_takes_what_may_change_and_names_what_may_not() {
    let node = node!();
    node.configure(|config| {
        config.max_log_line = 4096;
        config.listen = "/run/elsewhere.sock".into();
    });
    node.signal(Signal::HUP);
    let max_log_line = || {
        let status = node.call(async |mut c| c.status(api::StatusRequest { verbose: true }).await).unwrap();
        let config: serde_json::Value = serde_json::from_str(&status.info["config"]).unwrap();
        (config["max_log_line"] == 4096).then_some(())
    };
    support::wait_for("the new configuration", 10, max_log_line);
    support::wait_for("what cannot change", 10, || node.log().contains("key=\"listen\"").then_some(()));
    node.write_config("nonsense = 1\n");
    node.signal(Signal::HUP);
    support::wait_for("the refusal", 10, || {
        node.log().contains("the configuration stays as it was").then_some(())
    });
    max_log_line().unwrap();
}

#[test]
fn a_pod_outlives_a_killed_server() {
    let node = node!();
    let pod = node.pod("web");
    node.restart();
    assert_eq!(node.pods().len(), 1);
    assert_eq!(node.pod_status(&pod.id).state, i32::from(api::PodSandboxState::SandboxReady));
}

#[test]
fn it_starts_on_a_machine_where_nothing_of_rcrun_is_yet() {
    let mut node = support::require!(Node::without_server());
    node.configure(|config| {
        config.images = "/var/lib/fresh".into();
        config.state = "/var/lib/fresh/cri".into();
    });
    node.start();
    node.accept_present();
    let images = node.image_call(async |mut c| c.list_images(api::ListImagesRequest::default()).await);
    assert!(images.unwrap().images.is_empty());
    node.pod("web");
}

/// rcrun-cri as systemd starts it with a socket: descriptor 3, said to be for this process.
fn activated(node: &Node, socket: impl Into<OwnedFd>) -> support::Invocation {
    let script = "exec 3<&0 </dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec \"$@\"";
    let cri = ["/run/bin/rcrun-cri", "--config", "/run/node/cri.toml", "--log-level", "debug"];
    let command = node.command(&[&["sh", "-c", script, "sh"], &cri[..]].concat());
    command.env("RCRUN_SHIM", "/run/bin/rcrun-shim").stdin_from(socket.into())
}

#[test]
fn a_socket_of_systemd_goes_before_the_configurations_and_stays() {
    let node = support::require!(Node::without_server());
    node.configure(|config| config.listen = "/run/elsewhere.sock".into());
    fs::create_dir_all(node.path("/run/rcrun")).unwrap();
    let socket = UnixListener::bind(node.path(SOCKET)).unwrap();
    node.serve(activated(&node, socket.try_clone().unwrap()));
    // Its name is the one that it was bound to.
    support::wait_for("the log's word", 10, || node.log().contains(&format!("root{SOCKET}")).then_some(()));
    assert!(!node.path("/run/elsewhere.sock").exists());
    node.end(Signal::TERM);
    // Who comes in between waits for the next one, as with systemd.
    UnixStream::connect(node.path(SOCKET)).unwrap();
    node.serve(activated(&node, socket));
    node.call(async |mut c| c.version(api::VersionRequest::default()).await).unwrap();
    node.end(Signal::TERM);
    let (connected, _other) = UnixStream::pair().unwrap();
    activated(&node, connected)
        .wait()
        .refused(&["systemd's socket is not a unix stream socket that listens"]);
}
