//! A process that attaches and detaches is killed, again and again.

use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use rcrun::network::{NetworkNamespace, PortMapping, Protocol};

use crate::host::{Host, ask, bridge_in, require};

const DIRECTORY: &str = "RCRUN_TEST_NETWORK";

fn ports() -> Vec<PortMapping> {
    let port = |host, protocol| PortMapping { address: None, host, container: 80, protocol };
    vec![port(8080, Protocol::Tcp), port(8081, Protocol::Udp)]
}

/// The process that is killed; in no run by itself.
#[test]
#[ignore = "part of another test"]
fn attaches_until_it_is_killed() {
    let Some(directory) = std::env::var_os(DIRECTORY) else { return };
    let directory = std::path::PathBuf::from(directory);
    let bridge = bridge_in(&directory);
    let namespace = NetworkNamespace::open(&directory.join("netns/one")).unwrap().unwrap();
    for n in 0.. {
        let name = format!("owner{n}");
        bridge.attach(&namespace, &name, "eth0", &ports()).unwrap();
        bridge.detach(&name).unwrap();
    }
}

#[test]
fn killed_at_any_moment_it_leaves_what_is_collected() {
    let host = require!(Host::new());
    let bridge = host.bridge();
    let namespace = host.namespace("one");
    for round in 0..40 {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--ignored", "--exact", "crash::attaches_until_it_is_killed"]);
        command.env(DIRECTORY, host.path("")).stdout(Stdio::null()).process_group(0);
        let mut child = command.spawn().unwrap();
        // Each time a bit later in what it does.
        std::thread::sleep(Duration::from_millis(20 + round * 3));
        child.kill().unwrap();
        child.wait().unwrap();
        bridge.collect(&|_| false).unwrap();
        host.is_empty();
        assert!(ask(SocketAddr::from(([127, 0, 0, 1], 8080))).is_err(), "no rule is left");
        // Nothing is in the way of the next.
        let addresses = bridge.attach(&namespace, "next", "eth0", &ports()).unwrap().addresses;
        assert_eq!(addresses.len(), 2);
        bridge.detach("next").unwrap();
    }
}
