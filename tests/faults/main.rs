//! rcrun killed with SIGKILL after each of its effects and after each step of the container's
//! process: `rcrun delete --force` then leaves nothing, and the name can be used again.
//!
//! Needs the feature `fault-injection` (src/fault.rs).

#[path = "../support/mod.rs"]
mod support;

use serde_json::json;
use support::{Bundle, KEPT_FILTERS, Outcome, busybox};

/// No command passes as many points.
const MOST: u32 = 300;

fn was_killed(outcome: &Outcome) -> bool {
    use std::os::unix::process::ExitStatusExt;
    outcome.status.signal() == Some(9) && outcome.stderr.contains("killed after: ")
}

/// Lets `command` be killed at each point of `side` in turn, until it passes them all. After each
/// kill the container can be deleted, and after that nothing of it is there. The number of kills.
fn killed_at_each_point(bundle: &Bundle, side: &str, command: &dyn Fn(&Bundle, &str) -> Outcome) -> u32 {
    for point in 1..MOST {
        let outcome = command(bundle, &format!("{side}:{point}"));
        let killed = was_killed(&outcome);
        if !killed {
            outcome.success();
        }
        bundle.delete_forced().success();
        let left = bundle.traces().remaining();
        assert!(left.is_empty(), "{side}:{point}: {left:?}");
        if !killed {
            return point - 1;
        }
    }
    panic!("more than {MOST} points");
}

fn with_fault(bundle: &Bundle, fault: &str, args: &[std::ffi::OsString]) -> Outcome {
    bundle.invocation(args).env("RCRUN_FAULT", fault).wait()
}

fn create(bundle: &Bundle, fault: &str) -> Outcome {
    with_fault(bundle, fault, &bundle.bundle_command("create", &[]))
}

fn create_and_start(bundle: &Bundle, fault: &str) -> Outcome {
    let created = create(bundle, fault);
    if !created.status.success() {
        return created;
    }
    bundle.start()
}

fn start(bundle: &Bundle, fault: &str) -> Outcome {
    bundle.create().success();
    with_fault(bundle, fault, &["start".into(), bundle.id().into()])
}

fn delete(bundle: &Bundle, fault: &str) -> Outcome {
    bundle.run_detached();
    with_fault(bundle, fault, &["delete".into(), "--force".into(), bundle.id().into()])
}

fn run(bundle: &Bundle, fault: &str) -> Outcome {
    with_fault(bundle, fault, &bundle.bundle_command("run", &[]))
}

fn run_detached(bundle: &Bundle, fault: &str) -> Outcome {
    with_fault(bundle, fault, &bundle.bundle_command("run", &["--detach"]))
}

#[test]
fn create_killed_at_any_point() {
    let bundle = busybox!().script("sleep 100");
    bundle.write_config();
    let kills = killed_at_each_point(&bundle, "parent", &create);
    assert!(kills >= 10, "{kills}");
}

#[test]
fn create_killed_at_any_point_without_a_cgroup() {
    let bundle = busybox!().script("sleep 100").global("--cgroup-manager").global("disabled");
    bundle.write_config();
    killed_at_each_point(&bundle, "parent", &create);
    killed_at_each_point(&bundle, "child", &create_and_start);
}

#[test]
fn create_killed_at_any_point_leaves_no_ancestor_of_its_cgroup() {
    let bundle = busybox!().script("sleep 100");
    let path = format!("/{0}-above/deeper/{0}", bundle.id());
    let bundle = bundle.set("/linux/cgroupsPath", json!(path));
    bundle.write_config();
    let kills = killed_at_each_point(&bundle, "parent", &create);
    assert!(kills >= 12, "{kills}");
}

#[test]
fn create_and_start_killed_after_any_step_of_the_child() {
    let bundle = busybox!().script("sleep 100");
    bundle.write_config();
    let kills = killed_at_each_point(&bundle, "child", &create_and_start);
    assert!(kills >= 20, "{kills}");
}

#[test]
fn a_container_in_a_user_namespace_killed_at_any_point() {
    let bundle = busybox!().script("sleep 100").user_namespace();
    bundle.write_config();
    killed_at_each_point(&bundle, "parent", &create);
    killed_at_each_point(&bundle, "child", &create_and_start);
}

#[test]
fn a_container_on_the_hosts_pid_namespace_killed_at_any_point() {
    let bundle = busybox!().script("sleep 100").without_namespace("pid");
    bundle.write_config();
    killed_at_each_point(&bundle, "parent", &create);
    killed_at_each_point(&bundle, "child", &create_and_start);
}

/// Its filter is kept for the next one; half a file is never read.
#[test]
fn a_filtered_container_killed_at_any_point() {
    let bundle = busybox!().script("sleep 100");
    let bundle = bundle.set("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ALLOW"}));
    bundle.write_config();
    let kept = || std::fs::read_dir(bundle.state_directory().join(KEPT_FILTERS)).map_or(0, Iterator::count);
    let create = |bundle: &Bundle, fault: &str| {
        let before = kept();
        let outcome = create(bundle, fault);
        // The new file of the one that was killed beside it.
        assert!(kept() <= before + 1 && kept() <= 2, "{fault}: {outcome}");
        outcome
    };
    killed_at_each_point(&bundle, "parent", &create);
    assert_eq!(kept(), 2);
}

/// Its mounts are the host's until it is deleted.
#[test]
fn a_container_on_the_hosts_mounts_killed_at_any_point() {
    let bundle = busybox!().script("sleep 100").writable().without_namespace("mount");
    let bundle = bundle.set("/mounts", json!([{"destination": "/proc", "type": "proc", "source": "proc"}]));
    let bundle = bundle.set("/linux/maskedPaths", json!([])).set("/linux/readonlyPaths", json!([]));
    bundle.write_config();
    killed_at_each_point(&bundle, "parent", &create);
    killed_at_each_point(&bundle, "child", &create_and_start);
}

#[test]
fn start_killed_at_any_point() {
    let bundle = busybox!().script("sleep 100");
    let kills = killed_at_each_point(&bundle, "parent", &start);
    assert!(kills >= 4, "{kills}");
}

#[test]
fn delete_killed_at_any_point() {
    let bundle = busybox!().script("sleep 100");
    let kills = killed_at_each_point(&bundle, "parent", &delete);
    assert!(kills >= 4, "{kills}");
}

#[test]
fn run_killed_at_any_point() {
    let bundle = busybox!().args(["true"]);
    bundle.write_config();
    let kills = killed_at_each_point(&bundle, "parent", &run);
    assert!(kills >= 10, "{kills}");
    killed_at_each_point(&bundle, "child", &run);
}

#[test]
fn a_detached_run_killed_at_any_point() {
    let bundle = busybox!().script("sleep 100");
    bundle.write_config();
    killed_at_each_point(&bundle, "parent", &run_detached);
    killed_at_each_point(&bundle, "child", &run_detached);
}
