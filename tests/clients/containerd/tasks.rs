//! What `ctr task` does with a running container.

use super::*;

#[test]
fn exec_passes_output_and_exit_status_on() {
    let containerd = require!(Containerd::new());
    containerd.run_detached("one", "sleep 1000");
    let outcome = containerd.exec(&[], "one", &["sh", "-c", "echo out; echo err >&2; exit 7"]);
    assert_eq!((outcome.code(), &*outcome.stdout, &*outcome.stderr), (7, "out\n", "err\n"), "{outcome}");
    let options = ["--user", "user", "--cwd", "/tmp"];
    containerd.exec(&options, "one", &["sh", "-c", "id -u; pwd"]).prints("1000\n/tmp");
    containerd.end("one");
}

#[test]
fn exec_on_a_terminal() {
    let containerd = require!(Containerd::new());
    containerd.run_detached("one", "sleep 1000");
    let (mut pty, slave) = Pty::open();
    pty.resize(33, 99);
    let script = format!("tty; {SIZE}; read word; echo got $word; exit 5");
    let exec = containerd.exec_command(&["--tty"], "one", &["sh", "-c", &script]).on_terminal(&slave).spawn();
    drop(slave);
    pty.wait_for("/dev/pts/0");
    pty.wait_for("33 99");
    pty.write("hello\n");
    pty.wait_for("got hello");
    exec.wait().exits_with(5);
    containerd.end("one");
}

#[test]
fn a_task_is_killed_by_the_number_and_by_the_name_of_a_signal() {
    let containerd = require!(Containerd::new());
    for signal in ["10", "SIGUSR1", "USR1"] {
        containerd.run_detached("one", "trap 'exit 9' USR1; touch /ready; while :; do sleep 0.1; done");
        containerd.wait_for_file("one", "/ready");
        containerd.ctr(&["task", "kill", "--signal", signal, "one"]).success();
        containerd.wait_for_status("one", "STOPPED");
        let outcome = containerd.delete("one");
        assert!(outcome.stderr.contains("exit code 9"), "{signal}: {outcome}");
    }
    containerd.run_detached("one", "sleep 1000");
    containerd.end("one");
}

#[test]
fn a_signal_can_go_to_an_executed_process_alone() {
    let containerd = require!(Containerd::new());
    containerd.run_detached("one", "sleep 1000");
    let exec = containerd.exec_command(&[], "one", &["sleep", "2000"]).spawn();
    wait_for("the second process", 15, || {
        containerd.exec(&["--exec-id", "look"], "one", &["ps"]).stdout.contains("sleep 2000").then_some(())
    });
    containerd.ctr(&["task", "kill", "--exec-id", "another", "--signal", "KILL", "one"]).success();
    exec.wait().exits_with(137);
    assert_eq!(containerd.status("one"), "RUNNING");
    containerd.end("one");
}

#[test]
fn a_paused_task_stands_still_until_it_is_resumed() {
    let containerd = require!(Containerd::new());
    containerd.run_detached("one", COUNTING);
    containerd.wait_for_counting("one");
    containerd.ctr(&["task", "pause", "one"]).success();
    assert_eq!(containerd.status("one"), "PAUSED");
    let events = containerd.daemon.view.read("/sys/fs/cgroup/default/one/cgroup.events");
    assert!(events.contains("frozen 1"), "{events}");
    containerd.ctr(&["task", "resume", "one"]).success();
    assert_eq!(containerd.status("one"), "RUNNING");
    containerd.wait_for_counting("one");
    containerd.end("one");
}

#[test]
fn a_paused_task_can_be_deleted() {
    let containerd = require!(Containerd::new());
    containerd.run_detached("one", "sleep 1000");
    containerd.ctr(&["task", "pause", "one"]).success();
    containerd.ctr(&["task", "delete", "--force", "one"]);
    containerd.ctr(&["container", "delete", "one"]).success();
}

#[test]
fn tasks_processes_and_metrics_are_listed() {
    let containerd = require!(Containerd::new());
    containerd.run_detached("one", "sleep 1000 & sleep 1001 & wait");
    let pid = containerd.pid("one");
    assert_eq!(containerd.status("one"), "RUNNING");
    wait_for("three processes", 15, || {
        let listed = containerd.ctr(&["task", "ps", "one"]).success();
        let pids: Vec<_> =
            listed.stdout.lines().skip(1).filter_map(|line| line.split_whitespace().next()).collect();
        (pids.len() == 3 && pids.contains(&&*pid)).then_some(())
    });
    let metrics = containerd.ctr(&["task", "metrics", "one"]).success();
    for name in ["pids.current", "cpu.usage_usec", "memory.usage"] {
        assert!(metrics.stdout.contains(name), "{metrics}");
    }
    containerd.end("one");
}

#[test]
fn a_detached_task_is_deleted_by_force() {
    let containerd = require!(Containerd::new());
    containerd.run_detached("one", "sleep 1000");
    let outcome = containerd.ctr(&["task", "delete", "one"]);
    assert!(!outcome.status.success() && containerd.status("one") == "RUNNING", "{outcome}");
    containerd.ctr(&["task", "delete", "--force", "one"]);
    assert_eq!(containerd.status("one"), "");
    containerd.ctr(&["container", "delete", "one"]).success();
}

#[test]
fn a_task_whose_shim_was_killed_is_cleared_away() {
    let containerd = require!(Containerd::new());
    containerd.run_detached("one", "sleep 1000");
    containerd.daemon.view.run(&["pkill", "-KILL", "containerd-shim"]).success();
    wait_for("the end of the task", 15, || containerd.status("one").is_empty().then_some(()));
    containerd.ctr(&["container", "delete", "one"]).success();
}
