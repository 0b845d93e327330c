//! What needs cgroup controllers: run in the VM.

use super::*;
use crate::support::controller;

/// As docker's options have them.
const LIMITS: [&str; 6] = ["--memory", "32m", "--pids-limit", "20", "--cpus", "0.5"];

#[test]
fn limits_are_applied_changed_and_counted() {
    require!(controller("memory"));
    let docker = require!(Docker::without_network());
    docker.run_detached(&LIMITS, "sleep 1000");
    let files = ["memory.max", "pids.max", "cpu.max"].map(|file| format!("/sys/fs/cgroup/{file}"));
    let files = files.each_ref().map(String::as_str);
    let limits = || docker.docker(&[&["exec", "one", "cat"], &files[..]].concat());
    limits().prints("33554432\n20\n50000 100000");
    // Without --memory-swap docker 20.10 takes no other --memory where it knows of no limit of swap.
    let other = ["--memory", "24m", "--memory-swap", "-1", "--pids-limit", "30"];
    docker.docker(&[&["update"], &other[..], &["one"]].concat()).success();
    limits().prints("25165824\n30\n50000 100000");
    let stats =
        docker.docker(&["stats", "--no-stream", "--format", "{{.MemUsage}} {{.PIDs}}", "one"]).success();
    assert!(stats.stdout.contains("/ 24MiB 1\n") && !stats.stdout.starts_with("0B"), "{stats}");
    docker.remove();
}

#[test]
fn a_container_that_runs_out_of_memory_is_called_so() {
    require!(controller("memory"));
    let docker = require!(Docker::without_network());
    let options = [&["--name", "one"], &LIMITS[..]].concat();
    docker.run_command(&options, &["sh", "-c", "tail /dev/zero"]).wait().exits_with(137);
    // containerd tells of it beside the end, or not at all where the cgroup is gone before: then once more.
    wait_for("an end that is called so", 15, || {
        let killed = docker.inspect("/State/OOMKilled") == true;
        if !killed {
            docker.docker(&["start", "--attach", "one"]).exits_with(137);
        }
        killed.then_some(())
    });
    docker.remove();
}
