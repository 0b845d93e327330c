//! Commands at the wrong time: named in one line, and the container is as it was.

use crate::support::{Bundle, busybox};

const COMMANDS: [&[&str]; 9] = [
    &["start"],
    &["state"],
    &["kill"],
    &["delete"],
    &["pause"],
    &["resume"],
    &["ps"],
    &["events", "--stats"],
    &["update", "--pids-limit", "10"],
];

fn stopped(bundle: Bundle) -> Bundle {
    let bundle = bundle.args(["true"]);
    bundle.run_with(&["--keep"]).success();
    bundle
}

#[test]
fn a_container_that_does_not_exist_is_named_by_every_command() {
    let bundle = busybox!();
    for command in COMMANDS {
        let outcome = bundle.rcrun(&[command, &[bundle.id()]].concat());
        outcome.refused(&[bundle.id(), "does not exist"]);
    }
    std::fs::create_dir(bundle.state_directory()).expect("mkdir");
    for command in COMMANDS {
        let outcome = bundle.rcrun(&[command, &[bundle.id()]].concat());
        outcome.refused(&[bundle.id(), "does not exist"]);
    }
}

#[test]
fn an_id_in_use_is_named_and_its_container_goes_on() {
    let bundle = busybox!().script("sleep 100");
    let pid = bundle.run_detached();
    bundle.create().refused(&[bundle.id(), "in use", "choose another"]);
    bundle.run().refused(&[bundle.id(), "in use", "choose another"]);
    assert_eq!((bundle.status().as_str(), bundle.pid()), ("running", pid));
    bundle.delete_forced().success();
}

#[test]
fn the_id_of_a_stopped_container_is_in_use_too() {
    let bundle = stopped(busybox!());
    bundle.run().refused(&[bundle.id(), "in use", "choose another"]);
    bundle.delete().success();
}

#[test]
fn starting_twice_is_refused() {
    let bundle = busybox!().script("sleep 100");
    bundle.create().success();
    bundle.start().success();
    bundle.start().refused(&[bundle.id(), "running"]);
    assert_eq!(bundle.status(), "running");
    bundle.delete_forced().success();
}

#[test]
fn starting_a_stopped_container_is_refused() {
    let bundle = stopped(busybox!());
    bundle.start().refused(&[bundle.id(), "stopped"]);
    bundle.delete().success();
}

#[test]
fn deleting_a_running_container_is_refused_with_the_cure() {
    let bundle = busybox!().script("sleep 100");
    bundle.run_detached();
    bundle.delete().refused(&[bundle.id(), "running", "--force"]);
    assert_eq!(bundle.status(), "running");
    bundle.delete_forced().success();
}

#[test]
fn deleting_a_paused_container_is_refused() {
    let bundle = busybox!().script("sleep 100");
    bundle.run_detached();
    bundle.rcrun(&["pause", bundle.id()]).success();
    bundle.delete().refused(&[bundle.id(), "paused"]);
    bundle.delete_forced().success();
}

#[test]
fn killing_a_stopped_container_is_refused() {
    let bundle = stopped(busybox!());
    bundle.kill("TERM").refused(&[bundle.id(), "stopped"]);
    bundle.kill("KILL").refused(&[bundle.id(), "stopped"]);
    bundle.delete().success();
}

#[test]
fn killing_all_of_a_stopped_container_is_no_error() {
    let bundle = stopped(busybox!());
    bundle.rcrun(&["kill", "--all", bundle.id(), "KILL"]).success();
    bundle.delete().success();
}

#[test]
fn pausing_or_resuming_at_the_wrong_time_is_refused() {
    let bundle = busybox!().script("sleep 100");
    bundle.run_detached();
    bundle.rcrun(&["resume", bundle.id()]).refused(&[bundle.id(), "running"]);
    bundle.rcrun(&["pause", bundle.id()]).success();
    bundle.rcrun(&["pause", bundle.id()]).refused(&[bundle.id(), "paused"]);
    bundle.delete_forced().success();
    let bundle = stopped(busybox!());
    bundle.rcrun(&["pause", bundle.id()]).refused(&[bundle.id(), "stopped"]);
    bundle.delete().success();
}

#[test]
fn deleting_twice_is_refused() {
    let bundle = stopped(busybox!());
    bundle.delete().success();
    bundle.delete().refused(&[bundle.id(), "does not exist"]);
}

#[test]
fn two_starts_at_the_same_time_start_once() {
    let bundle = busybox!().writable().script("echo started >>/tmp/log; sleep 100");
    bundle.create().success();
    let starts: Vec<_> = (0..4).map(|_| bundle.invocation(&["start", bundle.id()]).spawn()).collect();
    let outcomes: Vec<_> = starts.into_iter().map(|start| start.wait()).collect();
    assert_eq!(outcomes.iter().filter(|o| o.status.success()).count(), 1, "{outcomes:#?}");
    let log = bundle.rootfs().join("tmp/log");
    let written = || std::fs::read_to_string(&log).ok().filter(|text| !text.is_empty());
    assert_eq!(crate::support::wait_for("the program", 5, written), "started\n");
    bundle.delete_forced().success();
}
