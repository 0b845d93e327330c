//! A detached container from `run` to `rm`.

use super::{IMAGE, NAME, Podman};
use crate::support::{require, wait_for};

#[test]
fn a_detached_container_is_listed_logged_and_removed() {
    let podman = require!(Podman::new());
    podman.start(&[], &["sh", "-c", "echo out; echo err >&2; exec sleep 1000"]);
    podman.run(&["ps", "--filter", "status=running", "--format", "{{.Names}}"]).prints("it");
    wait_for("the log", 10, || {
        let logs = podman.run(&["logs", NAME]).success();
        (logs.stdout == "out\n" && logs.stderr == "err\n").then_some(())
    });
    podman.remove();
    podman.run(&["ps", "--all", "--quiet"]).prints("");
    podman.view.leaves_nothing();
}

#[test]
fn exec_takes_user_directory_and_environment() {
    let podman = require!(Podman::new());
    podman.start_sleeping(&[]);
    let args = ["exec", "--user", "1000:7", "--workdir", "/tmp", "--env", "A=b", NAME];
    let script = ["sh", "-c", "id -u; id -g; pwd; echo $A; exit 9"];
    let outcome = podman.run(&[&args[..], &script].concat()).exits_with(9);
    assert_eq!(outcome.stdout, "1000\n7\n/tmp\nb\n");
    podman.remove();
}

#[test]
fn exec_reports_a_program_that_is_not_there() {
    let podman = require!(Podman::new());
    podman.start_sleeping(&[]);
    podman.exec(&["/no/such"]).exits_with(127).explains(&["/no/such", "No such file or directory"]);
    podman.remove();
}

#[test]
fn a_detached_exec_is_seen_by_top() {
    let podman = require!(Podman::new());
    podman.start_sleeping(&[]);
    podman.run(&["exec", "--detach", NAME, "sleep", "2000"]).success();
    let both = |outcome: &str| outcome.contains("sleep 1000") && outcome.contains("sleep 2000");
    wait_for("both processes", 10, || {
        both(&podman.run(&["top", NAME, "args"]).success().stdout).then_some(())
    });
    podman.remove();
}

#[test]
fn a_paused_container_stands_still_until_it_is_unpaused() {
    let podman = require!(Podman::new());
    podman.start(&[], &["sh", "-c", "while :; do echo x >> /count; sleep 0.02; done"]);
    wait_for("the first line", 10, || podman.exec(&["test", "-s", "/count"]).status.success().then_some(()));
    podman.run(&["pause", NAME]).success();
    assert_eq!(podman.inspect(".State.Status"), "paused");
    let lines = || {
        let copied = podman.run(&["cp", &format!("{NAME}:/count"), "/run/count"]);
        copied.success();
        podman.view.read("/run/count").len()
    };
    let before = lines();
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert_eq!(lines(), before);
    podman.run(&["unpause", NAME]).success();
    // A file that grows cannot be copied.
    let more = format!("test $(wc -c </count) -gt {before}");
    wait_for("more lines", 10, || podman.exec(&["sh", "-c", &more]).status.success().then_some(()));
    podman.remove();
}

#[test]
fn a_paused_container_is_removed_by_force() {
    let podman = require!(Podman::new());
    podman.start_sleeping(&[]);
    podman.run(&["pause", NAME]).success();
    podman.remove();
    podman.view.leaves_nothing();
}

#[test]
fn files_are_copied_into_and_out_of_a_running_container() {
    let podman = require!(Podman::new());
    podman.start(&[], &["sh", "-c", "mkdir /d; echo inside > /d/f; exec sleep 1000"]);
    wait_for("the file", 10, || podman.exec(&["test", "-s", "/d/f"]).status.success().then_some(()));
    podman.run(&["cp", &format!("{NAME}:/d"), "/run/copy"]).success();
    assert_eq!(podman.view.read("/run/copy/f"), "inside\n");
    podman.view.write("/run/new", "outside\n");
    podman.run(&["cp", "/run/new", &format!("{NAME}:/d/new")]).success();
    podman.exec(&["cat", "/d/new"]).prints("outside");
    podman.remove();
}

#[test]
fn a_health_check_is_a_process_in_the_container() {
    let podman = require!(Podman::new());
    let check = ["--health-cmd", "test -e /well", "--health-interval", "disable", "--health-retries", "1"];
    podman.start_sleeping(&check);
    podman.run(&["healthcheck", "run", NAME]).exits_with(1);
    assert_eq!(podman.inspect(".State.Health.Status"), "unhealthy");
    podman.exec(&["touch", "/well"]).success();
    podman.run(&["healthcheck", "run", NAME]).success();
    assert_eq!(podman.inspect(".State.Health.Status"), "healthy");
    podman.remove();
}

#[test]
fn kill_sends_the_signal_that_it_names() {
    let podman = require!(Podman::new());
    let script = "trap 'echo usr1' USR1; echo ready; while :; do sleep 0.1; done";
    podman.start(&[], &["sh", "-c", script]);
    let logs = || podman.run(&["logs", NAME]).success().stdout;
    wait_for("the program", 10, || logs().contains("ready").then_some(()));
    podman.run(&["kill", "--signal", "USR1", NAME]).success();
    wait_for("the trap", 10, || logs().contains("usr1").then_some(()));
    podman.run(&["kill", NAME]).success();
    podman.run(&["wait", NAME]).prints("137");
    podman.run(&["rm", NAME]).success();
}

#[test]
fn stop_ends_a_container_with_its_own_exit_status() {
    let podman = require!(Podman::new());
    podman.start(&[], &["sh", "-c", "trap 'exit 5' TERM; echo ready; while :; do sleep 0.1; done"]);
    wait_for("the program", 10, || {
        podman.run(&["logs", NAME]).success().stdout.contains("ready").then_some(())
    });
    podman.run(&["stop", "--time", "60", NAME]).success();
    assert_eq!(podman.inspect(".State.ExitCode"), "5");
    podman.run(&["rm", NAME]).success();
}

#[test]
fn stop_kills_what_ignores_the_signal() {
    let podman = require!(Podman::new());
    // The first process of a PID namespace ignores what it has no handler for.
    podman.start_sleeping(&[]);
    podman.run(&["stop", "--time", "1", NAME]).success();
    assert_eq!(podman.inspect(".State.ExitCode"), "137");
    podman.run(&["rm", NAME]).success();
}

#[test]
fn a_stopped_container_is_started_again_with_its_files() {
    let podman = require!(Podman::new());
    podman.run(&[
        "create",
        "--network",
        "none",
        "--name",
        NAME,
        IMAGE,
        "sh",
        "-c",
        "wc -l < /log; date >> /log",
    ]);
    podman.run(&["start", "--attach", NAME]).exits_with(0);
    podman.run(&["start", "--attach", NAME]).prints("1");
    podman.run(&["start", "--attach", NAME]).prints("2");
    podman.run(&["rm", NAME]).success();
}

#[test]
fn restart_makes_a_new_process() {
    let podman = require!(Podman::new());
    podman.start_sleeping(&[]);
    let pid = podman.inspect(".State.Pid");
    podman.run(&["restart", "--time", "0", NAME]).success();
    assert_ne!(podman.inspect(".State.Pid"), pid);
    assert_eq!(podman.inspect(".State.Status"), "running");
    podman.remove();
}

#[test]
fn an_end_by_itself_is_cleaned_up_after() {
    let podman = require!(Podman::new());
    podman.start(&[], &["sh", "-c", "exit 3"]);
    podman.run(&["wait", NAME]).prints("3");
    // Before `rm`: conmon calls podman when the container ends, and that deletes it from rcrun.
    podman.view.leaves_nothing();
    podman.run(&["rm", NAME]).success();
}
