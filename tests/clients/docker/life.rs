//! What docker does with a running container.

use super::*;

#[test]
fn exec_passes_output_and_exit_status_on() {
    let docker = require!(Docker::without_network());
    docker.run_detached(&[], "sleep 1000");
    let outcome = docker.docker(&["exec", "one", "sh", "-c", "echo out; echo err >&2; exit 7"]);
    assert_eq!((outcome.code(), &*outcome.stdout, &*outcome.stderr), (7, "out\n", "err\n"), "{outcome}");
    let args = ["exec", "--user", "user", "--workdir", "/tmp", "--env", "A=b", "one"];
    docker.docker(&[&args[..], &["sh", "-c", "id -u; pwd; echo $A"]].concat()).prints("1000\n/tmp\nb");
    docker.remove();
}

#[test]
fn exec_on_a_terminal() {
    let docker = require!(Docker::without_network());
    docker.run_detached(&[], "sleep 1000");
    let (mut pty, slave) = Pty::open();
    let script = "tty; read word; echo got $word; exit 5";
    let args = ["exec", "--interactive", "--tty", "one", "sh", "-c", script];
    let exec = docker.command(&args).on_terminal(&slave).spawn();
    drop(slave);
    pty.wait_for("/dev/pts/0");
    pty.write("hello\n");
    pty.wait_for("got hello");
    exec.wait().exits_with(5);
    docker.remove();
}

#[test]
fn stop_lets_a_container_end_by_itself_and_kills_it_when_the_time_is_over() {
    let docker = require!(Docker::without_network());
    docker.run_detached(&[], "trap 'echo bye; exit 9' TERM; echo ready; while :; do sleep 0.1; done");
    wait_for("the trap", 15, || docker.docker(&["logs", "one"]).stdout.contains("ready").then_some(()));
    docker.docker(&["stop", "--time", "60", "one"]).prints("one");
    assert_eq!(docker.inspect("/State/ExitCode"), 9);
    docker.docker(&["logs", "one"]).prints("ready\nbye");
    docker.remove();
    // Process 1 ignores what it does not handle.
    docker.run_detached(&[], "sleep 1000 & wait; sleep 1000");
    docker.docker(&["stop", "--time", "0", "one"]).prints("one");
    assert_eq!(docker.inspect("/State/ExitCode"), 137);
    docker.remove();
}

#[test]
fn a_stopped_container_is_started_again() {
    let docker = require!(Docker::without_network());
    docker.run_detached(&[], "echo run >>/runs; sleep 1000");
    docker.docker(&["restart", "--time", "0", "one"]).success();
    wait_for("two runs", 15, || {
        (docker.docker(&["exec", "one", "cat", "/runs"]).stdout == "run\nrun\n").then_some(())
    });
    docker.docker(&["kill", "one"]).success();
    docker.docker(&["wait", "one"]).prints("137");
    docker.remove();
}

#[test]
fn a_paused_container_stands_still_until_it_is_resumed() {
    let docker = require!(Docker::without_network());
    docker.run_detached(&[], "sleep 1000");
    docker.docker(&["pause", "one"]).success();
    assert_eq!(docker.inspect("/State/Status"), "paused");
    let id = docker.inspect("/Id");
    let file = format!("/sys/fs/cgroup/docker/{}/cgroup.events", id.as_str().expect("an id"));
    let events = docker.daemon.view.read(&file);
    assert!(events.contains("frozen 1"), "{events}");
    docker.docker(&["unpause", "one"]).success();
    assert_eq!(docker.inspect("/State/Status"), "running");
    docker.docker(&["exec", "one", "true"]).success();
    docker.remove();
}
