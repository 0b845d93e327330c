//! podman with limits, which need cgroup controllers.

use super::{NAME, Podman};
use crate::support::{require, wait_for};

/// podman where there are controllers.
fn podman() -> Result<Podman, String> {
    let podman = Podman::new()?;
    let controllers = podman.view.controllers();
    match ["memory", "pids", "cpu"].iter().all(|name| controllers.split_whitespace().any(|c| c == *name)) {
        true => Ok(podman),
        false => Err(format!("the view's cgroup2 has the controllers {:?} alone", controllers.trim())),
    }
}

#[test]
fn memory_and_pids_limits_are_those_of_the_containers_cgroup() {
    let podman = require!(podman());
    let options =
        ["--memory", "64m", "--memory-reservation", "32m", "--memory-swap", "64m", "--pids-limit", "50"];
    let files = "cd /sys/fs/cgroup; cat memory.max memory.low memory.swap.max pids.max";
    podman.once(&options, &["sh", "-c", files]).prints("67108864\n33554432\n0\n50");
}

#[test]
fn a_container_over_its_memory_limit_is_killed() {
    let podman = require!(podman());
    // podman 4.3 says OOMKilled: false here, with crun as well.
    let hungry = ["dd", "if=/dev/zero", "of=/dev/null", "bs=100M", "count=1"];
    podman.once(&["--memory", "20m", "--memory-swap", "20m"], &hungry).exits_with(137);
    podman.once(&["--memory", "300m", "--memory-swap", "300m"], &hungry).success();
}

#[test]
fn a_pids_limit_keeps_a_container_from_forking() {
    let podman = require!(podman());
    let script = "for n in 1 2 3 4 5 6 7 8; do sleep 5 & done; echo all";
    let outcome = podman.once(&["--pids-limit", "4"], &["sh", "-c", script]);
    assert!(outcome.stderr.contains("can't fork"), "{outcome}");
}

#[test]
fn stats_show_memory_processes_and_limit() {
    let podman = require!(podman());
    podman.start_sleeping(&["--memory", "64m"]);
    let format = "{{.PIDs}} {{.MemLimit}} {{.MemUsageBytes}}";
    let stats = podman.run(&["stats", "--no-stream", "--format", format, NAME]).success();
    let words: Vec<&str> = stats.stdout.split_whitespace().collect();
    assert_eq!(words[..2], ["1", "67108864"], "{stats}");
    podman.remove();
}

#[test]
fn update_changes_the_limits_of_a_running_container() {
    let podman = require!(podman());
    podman.start_sleeping(&[]);
    podman.run(&["update", "--cpus", "0.5", NAME]).success();
    podman.exec(&["cat", "/sys/fs/cgroup/cpu.max"]).prints("50000 100000");
    podman.remove();
}

#[test]
fn resource_limits_above_the_callers_are_set() {
    // It takes CAP_SYS_RESOURCE, which not every machine's root has.
    let podman = require!(podman());
    let options = ["--ulimit", "nofile=1000000:1000000", "--oom-score-adj", "-500"];
    podman.once(&options, &["sh", "-c", "ulimit -Hn; cat /proc/self/oom_score_adj"]).prints("1000000\n-500");
}

#[test]
fn a_container_goes_on_after_a_checkpoint_and_a_restore() {
    let podman = require!(podman());
    require!(crate::support::program("criu"));
    // What it keeps in memory alone: a process made anew would have another word.
    let script = "word=$(cat /proc/sys/kernel/random/uuid); while :; do echo $word > /word; sleep 0.1; done";
    podman.start(&[], &["sh", "-c", script]);
    let word = || Some(podman.exec(&["cat", "/word"]).stdout).filter(|word| word.len() > 30);
    let before = wait_for("the word", 10, word);
    podman.run(&["container", "checkpoint", NAME]).success();
    assert_eq!(podman.inspect(".State.Status"), "exited");
    podman.run(&["container", "restore", NAME]).success();
    podman.exec(&["rm", "/word"]).success();
    assert_eq!(wait_for("the word again", 10, word), before);
    podman.remove();
}
