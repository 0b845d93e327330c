//! The number of processes; freezing and killing them all.

use std::fs;

use serde_json::json;

use crate::support::{cgroup_of, cgroup_text, process_exists, wait_for};
use crate::{Limited, bundle};

#[test]
fn a_container_at_its_process_limit_cannot_fork() {
    let fork = "i=0; while [ $i -lt 20 ]; do sleep 1000 & i=$((i + 1)); done; echo all";
    let bundle = bundle!().limit("pids", json!({"limit": 8})).script(fork);
    let outcome = bundle.run();
    assert!(!outcome.status.success() && outcome.stderr.contains("can't fork"), "{outcome}");
    assert!(!outcome.stdout.contains("all"), "{outcome}");
}

#[test]
fn the_process_limit_can_be_updated() {
    let mut bundle = bundle!().limit("pids", json!({"limit": 1}));
    let cgroup = bundle.sleeping();
    assert_eq!(cgroup_text(&cgroup, "pids.max"), "1");
    let many = ["sh", "-c", "sleep 0 & wait"];
    assert!(!bundle.exec(&many).status.success());
    bundle.update(&["--pids-limit", "20"]);
    assert_eq!(cgroup_text(&cgroup, "pids.max"), "20");
    bundle.exec(&many).success();
    bundle.update(&["--pids-limit", "-1"]);
    assert_eq!(cgroup_text(&cgroup, "pids.max"), "max");
    bundle.delete_forced().success();
}

#[test]
fn a_paused_container_stands_still_until_resumed() {
    let bundle = bundle!()
        .mount("/tmp", "tmpfs", "tmpfs", &[])
        .script("while :; do echo >>/tmp/ticks; sleep 0.05; done");
    let pid = bundle.run_detached();
    let ticks = || fs::metadata(format!("/proc/{pid}/root/tmp/ticks")).map_or(0, |m| m.len());
    wait_for("ticks", 10, || (ticks() > 2).then_some(()));
    bundle.rcrun(&["pause", bundle.id()]).success();
    assert_eq!(bundle.status(), "paused");
    assert!(cgroup_text(&cgroup_of(pid), "cgroup.events").contains("frozen 1"));
    let before = ticks();
    std::thread::sleep(crate::support::seconds(1) / 5);
    assert_eq!(ticks(), before);
    bundle.rcrun(&["resume", bundle.id()]).success();
    assert_eq!(bundle.status(), "running");
    wait_for("more ticks", 10, || (ticks() > before).then_some(()));
    bundle.delete_forced().success();
}

#[test]
fn a_paused_container_can_be_limited_and_deleted() {
    let mut bundle = bundle!().limit("memory", json!({"limit": 67_108_864}));
    let cgroup = bundle.sleeping();
    let pid = bundle.pid();
    bundle.rcrun(&["pause", bundle.id()]).success();
    bundle.update(&["--memory", "33554432"]);
    assert_eq!(cgroup_text(&cgroup, "memory.max"), "33554432");
    bundle.delete_forced().success();
    assert!(!process_exists(pid) && !cgroup.exists());
}

#[test]
fn kill_all_reaches_every_process_without_a_pid_namespace_too() {
    let script = "sleep 1000 & sleep 1000 & setsid sleep 1000 & wait";
    let bundle = bundle!().without_namespace("pid").limit("pids", json!({"limit": 100})).script(script);
    let cgroup = cgroup_of(bundle.run_detached());
    let processes = || cgroup_text(&cgroup, "cgroup.procs").lines().count();
    wait_for("four processes", 10, || (processes() == 4).then_some(()));
    bundle.rcrun(&["kill", "--all", bundle.id(), "KILL"]).success();
    wait_for("their end", 10, || (processes() == 0).then_some(()));
    bundle.wait_for_status("stopped");
    bundle.delete().success();
}
