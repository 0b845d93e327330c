//! docker's options for limits: what the container finds in its cgroup, and that they limit.

use super::node_with;
use crate::fixtures::{Image, Node, nothing_is_left, run, script};
use crate::support::{Outcome, require};

/// Fills a buffer of 100 MiB.
const HUNGRY: [&str; 5] = ["dd", "if=/dev/zero", "of=/dev/null", "bs=100M", "count=1"];

/// What these files of its cgroup hold in a container, one line each.
fn cgroup(node: &Node, options: &[&str], files: &[&str]) -> Outcome {
    script(node, options, &format!("cd /sys/fs/cgroup; cat {}", files.join(" ")))
}

#[test]
fn a_process_above_its_memory_is_killed_and_named() {
    let node = require!(node_with(Image::busybox()));
    let id = node.marker();
    run(&node, &["--memory", "16m", "--name", id], &HUNGRY).exits_with(137).explains(&[
        "out of memory",
        "16777216",
        id,
    ]);
    run(&node, &["--memory", "16k"], &["true"]).exits_with(125).explains(&["out of memory", "16384 bytes"]);
    run(&node, &["--memory", "200m"], &HUNGRY).success();
    nothing_is_left(&node);
}

#[test]
fn memory_and_swap_are_told_apart() {
    let node = require!(node_with(Image::busybox()));
    let files = ["memory.max", "memory.swap.max", "memory.low"];
    for (options, expected) in [
        // Twice the memory in all.
        (&["-m", "64m"][..], "67108864\n67108864\n0"),
        (&["-m", "64m", "--memory-swap", "80m", "--memory-reservation", "8m"], "67108864\n16777216\n8388608"),
        (&["-m", "64m", "--memory-swap", "64m"], "67108864\n0\n0"),
        (&["-m", "64m", "--memory-swap", "-1"], "67108864\nmax\n0"),
        (&[], "max\nmax\n0"),
    ] {
        cgroup(&node, options, &files).prints(expected);
    }
    let refused = run(&node, &["-m", "64m", "--memory-swap", "32m"], &["true"]);
    refused.exits_with(125).explains(&["--memory-swap", "more than --memory"]);
    nothing_is_left(&node);
}

#[test]
fn cpu_time_and_cpus_are_limited() {
    let node = require!(node_with(Image::busybox()));
    let files = ["cpu.max", "cpu.weight"];
    cgroup(&node, &["--cpus", "0.5", "--cpu-shares", "512"], &files).prints("50000 100000\n59");
    cgroup(&node, &["--cpu-quota", "20000", "--cpu-period", "50000"], &files).prints("20000 50000\n100");
    cgroup(&node, &["--cpuset-cpus", "1", "--cpuset-mems", "0"], &["cpuset.cpus", "cpuset.mems"])
        .prints("1\n0");
    script(&node, &["--cpuset-cpus", "1"], "grep Cpus_allowed_list /proc/self/status | cut -f2").prints("1");
    run(&node, &["--cpuset-cpus", "1000000"], &["true"])
        .exits_with(125)
        .explains(&["1000000", "cpuset.cpus"]);
    nothing_is_left(&node);
}

#[test]
fn processes_are_counted() {
    let node = require!(node_with(Image::busybox()));
    let many = script(&node, &["--pids-limit", "5"], "for i in 1 2 3 4 5 6 7; do sleep 100 & done");
    assert!(many.stderr.contains("can't fork"), "{many}");
    for (limit, expected) in [("5", "5"), ("-1", "max"), ("0", "max")] {
        cgroup(&node, &["--pids-limit", limit], &["pids.max"]).prints(expected);
    }
    nothing_is_left(&node);
}

/// More open files than the VM's processes may have, and a lower score: both need CAP_SYS_RESOURCE.
#[test]
fn limits_may_be_above_rcruns_own() {
    let node = require!(node_with(Image::busybox()));
    for more in [&[][..], &["--userns", "auto"]] {
        let options = [&["--ulimit", "nofile=300000:400000", "--oom-score-adj", "-500"], more].concat();
        script(&node, &options, "ulimit -Sn; ulimit -Hn; cat /proc/self/oom_score_adj")
            .prints("300000\n400000\n-500");
    }
    nothing_is_left(&node);
}

#[test]
fn a_container_of_another_user_namespace_is_limited() {
    let node = require!(node_with(Image::busybox()));
    let options = ["--userns", "auto", "--memory", "64m", "--cpus", "0.5", "--pids-limit", "9"];
    cgroup(&node, &options, &["memory.max", "cpu.max", "pids.max"]).prints("67108864\n50000 100000\n9");
    run(&node, &["--userns", "auto", "--memory", "16m"], &HUNGRY)
        .exits_with(137)
        .explains(&["out of memory"]);
    nothing_is_left(&node);
}
