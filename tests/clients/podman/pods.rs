//! Pods: containers that share namespaces.
//!
//! --share-parent=false, for in the pod's own cgroup podman 4.3 with the cgroupfs manager and cgroup v2 denies every
//! device; runc fails there, too.

use super::{IMAGE, Podman};
use crate::support::require;

const POD: [&str; 7] = ["pod", "create", "--share-parent=false", "--network", "none", "--name", "pod"];
const KINDS: &str = "for n in net ipc uts pid mnt; do readlink /proc/self/ns/$n; done";

fn add(podman: &Podman, name: &str) {
    podman.run(&["run", "--detach", "--pod", "pod", "--name", name, IMAGE, "sleep", "1000"]).success();
}

/// The namespaces of a container: net, ipc, uts, pid, mnt.
fn namespaces(podman: &Podman, name: &str) -> Vec<String> {
    let outcome = podman.run(&["exec", name, "sh", "-c", KINDS]).success();
    outcome.stdout.lines().map(str::to_owned).collect()
}

#[test]
fn the_containers_of_a_pod_share_the_namespaces_that_it_names() {
    let podman = require!(Podman::new());
    podman.run(&[&POD[..], &["--share", "net,ipc,uts,pid"]].concat()).success();
    for name in ["one", "two"] {
        add(&podman, name);
    }
    let (one, two) = (namespaces(&podman, "one"), namespaces(&podman, "two"));
    assert_eq!(one[..4], two[..4]);
    assert_ne!(one[4], two[4]);
    let processes = podman.run(&["exec", "one", "ps", "-o", "args"]).success();
    assert_eq!(processes.stdout.matches("sleep 1000").count(), 2, "{processes}");
    podman.run(&["exec", "two", "hostname"]).prints("pod");
    podman.remove_pod();
}

#[test]
fn a_pod_shares_no_process_ids_unless_asked() {
    let podman = require!(Podman::new());
    podman.run(&POD).success();
    for name in ["one", "two"] {
        add(&podman, name);
    }
    let (one, two) = (namespaces(&podman, "one"), namespaces(&podman, "two"));
    assert_eq!(one[..3], two[..3]);
    assert_ne!(one[3], two[3]);
    podman.remove_pod();
}

#[test]
fn a_pod_is_paused_stopped_and_started_as_one() {
    let podman = require!(Podman::new());
    podman.run(&POD).success();
    add(&podman, "one");
    // The pod's own container is one, too.
    let both_are = |status: &str| {
        let listed =
            podman.run(&["ps", "--all", "--quiet", "--filter", &format!("status={status}")]).success();
        assert_eq!(listed.stdout.lines().count(), 2, "{listed}");
    };
    podman.run(&["pod", "pause", "pod"]).success();
    both_are("paused");
    podman.run(&["pod", "unpause", "pod"]).success();
    podman.run(&["pod", "stop", "--time", "0", "pod"]).success();
    both_are("exited");
    podman.view.leaves_nothing();
    podman.run(&["pod", "start", "pod"]).success();
    podman.run(&["exec", "one", "true"]).success();
    podman.remove_pod();
}

#[test]
fn devices_that_a_pods_cgroup_denies_are_named_with_the_likely_cause() {
    let podman = require!(Podman::new());
    let version = podman.run(&["--version"]).success();
    if !version.stdout.contains("version 4.3.") {
        return crate::support::skip("only podman 4.3 is known to deny them");
    }
    let create = ["pod", "create", "--network", "none", "--name", "pod"];
    podman.run(&create).success();
    let outcome = podman.run(&["pod", "start", "pod"]).exits_with(125);
    assert!(outcome.stderr.contains("/dev/null") && outcome.stderr.contains("a cgroup above"), "{outcome}");
    podman.remove_pod();
}
