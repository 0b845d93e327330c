//! create, start, state, kill, delete: a container's life in single commands.

use std::fs;

use rustix::process::Signal;
use serde_json::json;

use crate::support::{busybox, cgroup_of, cgroup_text, process_exists, wait_for};

#[test]
fn a_life_in_single_commands() {
    let bundle = busybox!().script("echo started; sleep 100");
    bundle.create().success();
    let state = bundle.state();
    assert_eq!(state["status"], "created");
    assert_eq!(state["id"], bundle.id());
    assert_eq!(state["bundle"], bundle.path().to_str().expect("UTF-8"));
    assert!(state["ociVersion"].as_str().is_some_and(|v| v.starts_with("1.")), "{state}");
    let pid = bundle.pid();
    assert!(process_exists(pid));
    bundle.start().success();
    let state = bundle.state();
    assert_eq!((&state["status"], &state["pid"]), (&json!("running"), &json!(pid)));
    bundle.kill("KILL").success();
    bundle.wait_for_status("stopped");
    assert_eq!(bundle.state()["pid"], 0);
    bundle.delete().success();
    bundle.leaves_nothing();
}

#[test]
fn the_program_runs_at_start_and_not_at_create() {
    let bundle = busybox!().writable().script("touch /tmp/here; sleep 100");
    let file = bundle.rootfs().join("tmp/here");
    bundle.create().success();
    std::thread::sleep(std::time::Duration::from_millis(200));
    assert!(!file.exists());
    bundle.start().success();
    wait_for("the program", 5, || file.exists().then_some(()));
    bundle.delete_forced().success();
}

#[test]
fn create_writes_the_pid_file() {
    let bundle = busybox!().script("sleep 100");
    let file = bundle.file("pid");
    bundle.create_with(&["--pid-file", file.to_str().expect("UTF-8")]).success();
    assert_eq!(fs::read_to_string(file).expect("the pid file"), bundle.pid().to_string());
    bundle.delete_forced().success();
}

#[test]
fn options_after_the_id_are_options_of_create_too() {
    let bundle = busybox!().script("sleep 100");
    bundle.write_config();
    let (path, file) = (bundle.path(), bundle.file("pid"));
    let (path, file) = (path.to_str().expect("UTF-8"), file.to_str().expect("UTF-8"));
    bundle.rcrun(&["create", bundle.id(), "--bundle", path, "--pid-file", file]).success();
    assert_eq!(fs::read_to_string(file).expect("the pid file"), bundle.pid().to_string());
    bundle.delete_forced().success();
}

#[test]
fn changing_the_bundle_after_create_changes_nothing() {
    let bundle = busybox!().writable().script("echo first >/tmp/word; sleep 100");
    let word = bundle.rootfs().join("tmp/word");
    bundle.create().success();
    fs::write(bundle.path().join("config.json"), "{}").expect("write");
    bundle.start().success();
    wait_for("the program", 5, || fs::read_to_string(&word).ok().filter(|w| w == "first\n"));
    bundle.delete_forced().success();
}

#[test]
fn a_created_container_can_be_deleted_by_force() {
    let bundle = busybox!().script("sleep 100");
    bundle.create().success();
    bundle.delete_forced().success();
    bundle.leaves_nothing();
}

#[test]
fn a_created_container_can_be_killed_and_deleted() {
    let bundle = busybox!().script("sleep 100");
    bundle.create().success();
    bundle.kill("KILL").success();
    bundle.wait_for_status("stopped");
    bundle.delete().success();
}

#[test]
fn delete_by_force_of_nothing_is_no_error() {
    let bundle = busybox!();
    bundle.delete_forced().success();
}

#[test]
fn a_stopped_containers_name_is_free_after_delete() {
    let bundle = busybox!().args(["true"]);
    for _ in 0..3 {
        bundle.create().success();
        bundle.start().success();
        bundle.wait_for_status("stopped");
        bundle.delete().success();
    }
}

#[test]
fn kill_takes_signals_by_name_and_number() {
    for signal in ["SIGUSR1", "USR1", "usr1", "10"] {
        let bundle = busybox!().script("trap 'exit 0' USR1; while :; do sleep 0.05; done");
        bundle.run_detached();
        // The trap is set a moment after the program has started.
        wait_for("the container's end", 5, || {
            let outcome = bundle.kill(signal);
            (!outcome.status.success() || bundle.status() == "stopped").then_some(())
        });
        bundle.wait_for_status("stopped");
        bundle.delete().success();
    }
}

#[test]
fn kill_sends_sigterm_by_default() {
    let bundle = busybox!()
        .writable()
        .script("trap 'touch /tmp/termed; exit' TERM; touch /tmp/ready; while :; do sleep 0.05; done");
    bundle.run_detached();
    wait_for("the trap", 5, || bundle.rootfs().join("tmp/ready").exists().then_some(()));
    bundle.rcrun(&["kill", bundle.id()]).success();
    bundle.wait_for_status("stopped");
    assert!(bundle.rootfs().join("tmp/termed").exists());
    bundle.delete().success();
}

#[test]
fn kill_all_reaches_every_process_without_a_pid_namespace() {
    let bundle = busybox!()
        .without_namespace("pid")
        .script("setsid sleep 1001 & setsid sleep 1002 & sleep 1003 & wait");
    bundle.run_detached();
    wait_for("three sleeps", 5, || (bundle.traces().processes().len() == 4).then_some(()));
    bundle.rcrun(&["kill", "--all", bundle.id(), "KILL"]).success();
    bundle.wait_for_status("stopped");
    wait_for("their end", 5, || bundle.traces().processes().is_empty().then_some(()));
    bundle.delete().success();
}

#[test]
fn kill_all_with_another_signal_reaches_every_process() {
    let script = "sh -c 'trap \"touch /tmp/one; exit\" USR1; touch /tmp/r1; while :; do sleep 0.05; done' & \
        trap 'touch /tmp/two; exit' USR1; touch /tmp/r2; while :; do sleep 0.05; done";
    let bundle = busybox!().writable().without_namespace("pid").script(script);
    bundle.run_detached();
    let exists = |name: &str| bundle.rootfs().join("tmp").join(name).exists();
    wait_for("both traps", 5, || (exists("r1") && exists("r2")).then_some(()));
    bundle.rcrun(&["kill", "--all", bundle.id(), "USR1"]).success();
    wait_for("both signals", 5, || (exists("one") && exists("two")).then_some(()));
    bundle.delete_forced().success();
}

#[test]
fn delete_ends_what_a_container_without_a_pid_namespace_left() {
    let bundle = busybox!().without_namespace("pid").script("setsid sleep 1000 & sleep 0.1");
    // Not run_detached, which asks for a pid that may be gone by then.
    bundle.run_with(&["--detach"]).success();
    bundle.wait_for_status("stopped");
    bundle.delete_forced().success();
    bundle.leaves_nothing();
}

#[test]
fn annotations_are_in_the_state() {
    let bundle = busybox!().script("sleep 100").set("/annotations", json!({"org.example.key": "value"}));
    bundle.create().success();
    assert_eq!(bundle.state()["annotations"], json!({"org.example.key": "value"}));
    bundle.delete_forced().success();
}

#[test]
fn a_paused_container_is_frozen_until_it_is_resumed() {
    let bundle = busybox!().script("sleep 100");
    let pid = bundle.run_detached();
    let cgroup = cgroup_of(pid);
    bundle.rcrun(&["pause", bundle.id()]).success();
    assert_eq!(bundle.status(), "paused");
    assert!(cgroup_text(&cgroup, "cgroup.events").contains("frozen 1"));
    bundle.rcrun(&["resume", bundle.id()]).success();
    assert_eq!(bundle.status(), "running");
    assert!(cgroup_text(&cgroup, "cgroup.events").contains("frozen 0"));
    bundle.delete_forced().success();
}

#[test]
fn a_paused_container_can_be_killed_and_deleted() {
    let bundle = busybox!().script("sleep 100");
    bundle.run_detached();
    bundle.rcrun(&["pause", bundle.id()]).success();
    bundle.kill("KILL").success();
    bundle.wait_for_status("stopped");
    bundle.delete().success();

    bundle.run_detached();
    bundle.rcrun(&["pause", bundle.id()]).success();
    bundle.delete_forced().success();
    bundle.leaves_nothing();
}

#[test]
fn a_create_killed_midway_is_cleaned_by_delete() {
    // Stopped in a hook: everything exists but the program.
    let bundle = busybox!().script("sleep 100");
    let ready = bundle.file("ready");
    let bundle = bundle.hook("createRuntime", &format!("touch '{}'; exec sleep 1000", ready.display()));
    bundle.write_config();
    let running = bundle.invocation(&bundle.bundle_command("create", &[])).spawn();
    wait_for("the hook", 5, || ready.exists().then_some(()));
    let sleeps =
        |pid: &i32| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "sleep\n");
    let hook = wait_for("its sleep", 5, || bundle.traces().processes().into_iter().find(sleeps));
    running.signal(Signal::KILL);
    drop(running);
    // The hook is no process of the container's, and nobody is left who could end it.
    let hook = rustix::process::Pid::from_raw(hook).expect("a pid");
    rustix::process::kill_process(hook, Signal::KILL).expect("kill the hook");
    bundle.delete_forced().success();
    bundle.leaves_nothing();
}

#[test]
fn a_foreground_run_killed_midway_leaves_a_container_that_can_be_deleted() {
    let bundle = busybox!().script("echo ready; sleep 100");
    let mut running = bundle.run_invocation(&[]).spawn();
    running.wait_for_output("ready");
    running.signal(Signal::KILL);
    drop(running);
    assert_eq!(bundle.status(), "running");
    bundle.delete_forced().success();
    bundle.leaves_nothing();
}

#[test]
fn a_create_killed_at_any_moment_is_cleaned_by_delete() {
    for milliseconds in 0..20 {
        let bundle = busybox!().script("sleep 100");
        bundle.write_config();
        let running = bundle.invocation(&bundle.bundle_command("create", &[])).spawn();
        std::thread::sleep(std::time::Duration::from_millis(milliseconds));
        running.signal(Signal::KILL);
        drop(running);
        bundle.delete_forced().success();
        bundle.leaves_nothing();
        // The name is free again.
        bundle.create().success();
        bundle.delete_forced().success();
    }
}

#[test]
fn a_program_that_ends_at_once_is_stopped_and_nothing_else() {
    let bundle = busybox!().args(["true"]);
    for _ in 0..50 {
        bundle.run_with(&["--keep"]).success();
        assert_eq!(bundle.status(), "stopped");
        bundle.delete().success();
    }
}

#[test]
fn a_container_that_was_never_started_is_deleted_without_force() {
    let bundle = busybox!().script("sleep 100");
    bundle.create().success();
    bundle.rcrun(&["delete", bundle.id()]).success();
    bundle.leaves_nothing();
}
