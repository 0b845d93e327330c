//! `rcrun run`: the forms of the command, its options, and the exit status.

use std::fs;

use crate::support::{busybox, process_exists};

#[test]
fn the_process_runs_and_its_output_comes_out() {
    busybox!().args(["echo", "hello"]).run().prints("hello");
}

#[test]
fn stdout_and_stderr_stay_apart() {
    let outcome = busybox!().script("echo out; echo err >&2").run().success();
    assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), ("out\n", "err\n"));
}

#[test]
fn stdin_reaches_the_process() {
    let bundle = busybox!().args(["cat"]);
    bundle.run_invocation(&[]).stdin("one\ntwo\n").wait().prints("one\ntwo");
}

#[test]
fn the_exit_status_is_that_of_the_process() {
    for code in [0, 3, 255] {
        busybox!().script(&format!("exit {code}")).run().exits_with(code);
    }
}

#[test]
fn a_signal_makes_128_and_its_number_the_exit_status() {
    // Without a PID namespace: there the first process is immune to signals of its own.
    let bundle = busybox!().without_namespace("pid").script("kill -KILL $$");
    bundle.run().exits_with(137);
    let bundle = busybox!().without_namespace("pid").script("kill -TERM $$");
    bundle.run().exits_with(143);
}

#[test]
fn a_container_killed_from_outside_exits_with_137() {
    let bundle = busybox!().script("echo ready; sleep 100");
    let mut running = bundle.run_invocation(&[]).spawn();
    running.wait_for_output("ready");
    bundle.kill("KILL").success();
    running.wait().exits_with(137);
}

#[test]
fn a_directory_alone_is_enough() {
    let bundle = busybox!().args(["echo", "hello"]);
    bundle.write_config();
    let path = format!("{}/", bundle.path().display());
    bundle.rcrun(&["run", &path]).prints("hello");
}

#[test]
fn made_up_ids_are_printed_and_differ() {
    let bundle = busybox!().args(["echo", "hello"]);
    bundle.write_config();
    let path = format!("{}/", bundle.path().display());
    let ids: Vec<String> = (0..2)
        .map(|_| {
            let outcome = bundle.rcrun(&["run", "--print-id", &path]).success();
            let lines: Vec<&str> = outcome.stdout.lines().collect();
            let [id, output] = lines[..] else { panic!("two lines expected: {outcome}") };
            assert_eq!(output, "hello");
            id.to_owned()
        })
        .collect();
    assert!(!ids[0].is_empty() && ids[0] != ids[1], "{ids:?}");
    for id in ids {
        let mut traces = bundle.traces();
        traces.id = id;
        assert_eq!(traces.remaining(), Vec::<String>::new());
    }
}

#[test]
fn the_id_can_be_given_by_option() {
    let bundle = busybox!().script("cat /proc/self/cgroup; hostname");
    bundle.write_config();
    let path = bundle.path();
    let args = ["run", "--print-id", "--id", bundle.id(), path.to_str().expect("UTF-8")];
    let outcome = bundle.rcrun(&args).success();
    assert_eq!(outcome.stdout.lines().next(), Some(bundle.id()));
}

#[test]
fn options_stand_before_or_after_the_id_as_with_runc() {
    let bundle = busybox!().args(["echo", "hello"]);
    bundle.write_config();
    let path = bundle.path();
    let path = path.to_str().expect("UTF-8");
    let pid_file = bundle.file("pid");
    let pid_file = pid_file.to_str().expect("UTF-8");
    let id = bundle.id();
    for args in [
        vec!["run", "--bundle", path, "--pid-file", pid_file, id],
        vec!["run", id, "--bundle", path, "--pid-file", pid_file],
        vec!["run", "-b", path, id, "--pid-file", pid_file],
        vec!["run", &format!("--bundle={path}"), id],
    ] {
        bundle.rcrun(&args).prints("hello");
    }
}

#[test]
fn the_current_directory_is_the_default_bundle() {
    let bundle = busybox!().args(["echo", "hello"]);
    bundle.write_config();
    let path = bundle.path();
    bundle.invocation(&["run", bundle.id()]).current_dir(&path).wait().prints("hello");
    bundle.invocation(&["run", "."]).current_dir(&path).wait().prints("hello");
}

#[test]
fn a_bundle_may_be_named_relative_to_the_current_directory() {
    let bundle = busybox!().args(["echo", "hello"]);
    bundle.write_config();
    let path = bundle.path();
    let parent = path.parent().expect("a parent");
    bundle.invocation(&["run", "bundle/"]).current_dir(parent).wait().prints("hello");
    bundle.invocation(&["run", "-b", "bundle", bundle.id()]).current_dir(parent).wait().prints("hello");
    bundle.invocation(&["run", "../bundle/"]).current_dir(&path).wait().prints("hello");
}

#[test]
fn a_bundle_may_lie_in_a_path_with_spaces() {
    let bundle = busybox!().in_directory("a bundle with spaces").args(["echo", "hello"]);
    bundle.run().prints("hello");
    let pid = bundle.script("sleep 100").in_directory("and\ttabs");
    pid.run_detached();
    let rootfs = pid.state()["rootfs"].as_str().map(str::to_owned);
    assert_eq!(rootfs.as_deref(), pid.rootfs().to_str());
    pid.delete_forced().success();
}

#[test]
fn an_absolute_root_path_is_taken_as_it_is() {
    let bundle = busybox!().args(["echo", "hello"]);
    let rootfs = bundle.rootfs().to_str().expect("UTF-8").to_owned();
    bundle.set("/root/path", rootfs.into()).run().prints("hello");
}

#[test]
fn detached_the_command_returns_and_the_process_runs_on() {
    let bundle = busybox!().script("echo started; sleep 100");
    let pid = bundle.run_detached();
    assert!(process_exists(pid));
    assert_eq!(bundle.status(), "running");
    bundle.delete_forced().success();
    assert!(!process_exists(pid));
}

#[test]
fn the_pid_file_holds_the_pid_on_the_host() {
    let bundle = busybox!().script("sleep 100");
    let file = bundle.file("pid");
    bundle.run_with(&["--detach", "--pid-file", file.to_str().expect("UTF-8")]).success();
    assert_eq!(fs::read_to_string(file).expect("the pid file"), bundle.pid().to_string());
    bundle.delete_forced().success();
}

#[test]
fn kept_the_container_is_there_until_it_is_deleted() {
    let bundle = busybox!().args(["false"]);
    bundle.run_with(&["--keep"]).exits_with(1);
    assert_eq!(bundle.status(), "stopped");
    bundle.delete().success();
    bundle.leaves_nothing();
}

#[test]
fn orphans_of_the_process_end_with_the_container() {
    let bundle = busybox!().script("setsid sleep 1000 & echo started");
    bundle.run().prints("started");
    bundle.leaves_nothing();
}

#[test]
fn without_a_pid_namespace_orphans_end_with_the_container_too() {
    let bundle = busybox!().without_namespace("pid").script("setsid sleep 1000 & echo started");
    bundle.run().prints("started");
    bundle.leaves_nothing();
}
