//! What else a process is given: directory, limits, environment, names, sysctls.

use std::fs;

use serde_json::json;

use crate::support::busybox;

#[test]
fn the_environment_is_that_of_the_configuration_alone() {
    let bundle = busybox!().args(["env"]).set("/process/env", json!(["PATH=/bin", "A=b c", "EMPTY="]));
    let marker = format!("RCRUN_TEST={}", bundle.marker());
    let bundle =
        bundle.edit(|config| config["process"]["env"].as_array_mut().expect("env").push(json!(marker)));
    let outcome = bundle.run_invocation(&[]).env("OF_THE_HOST", "x").wait().success();
    let lines: Vec<&str> = outcome.stdout.lines().filter(|line| !line.starts_with("RCRUN_TEST=")).collect();
    // HOME is added as runc does; a shell in between may add PWD and SHLVL, env is none.
    assert_eq!(lines, ["PATH=/bin", "A=b c", "EMPTY=", "HOME=/root"]);
}

#[test]
fn the_program_is_looked_up_in_the_containers_path() {
    let bundle = busybox!().args(["mine"]).set("/process/env/0", json!("PATH=/nowhere:/opt/here:/bin"));
    bundle.make_program(
        "opt/here/mine",
        b"#!/bin/sh
echo found $0
",
        0o755,
    );
    bundle.run().prints("found /opt/here/mine");
}

#[test]
fn a_program_with_a_slash_is_relative_to_the_working_directory() {
    let bundle = busybox!().args(["./sh", "-c", "echo hello"]).set("/process/cwd", json!("/bin"));
    bundle.run().prints("hello");
}

#[test]
fn the_working_directory_is_entered() {
    busybox!().args(["pwd"]).set("/process/cwd", json!("/etc")).run().prints("/etc");
}

#[test]
fn a_missing_working_directory_is_made() {
    for readonly in [true, false] {
        let bundle = busybox!().args(["pwd"]).set("/process/cwd", json!("/a/new/one"));
        bundle.set("/root/readonly", json!(readonly)).run().prints("/a/new/one");
    }
}

#[test]
fn a_working_directory_on_a_mount_of_the_container_is_made_there() {
    let bundle = busybox!().args(["pwd"]).set("/process/cwd", json!("/mnt/new"));
    let bundle = bundle.mount("/mnt", "tmpfs", "tmpfs", &[]);
    bundle.run().prints("/mnt/new");
    assert!(!bundle.rootfs().join("mnt/new").exists());
}

#[test]
fn resource_limits_are_set() {
    let bundle = busybox!().set(
        "/process/rlimits",
        json!([
            {"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200},
            {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
            {"type": "RLIMIT_NPROC", "soft": 300, "hard": 400},
        ]),
    );
    let outcome = bundle.args(["cat", "/proc/self/limits"]).run().success();
    for (name, soft, hard) in
        [("Max open files", "100", "200"), ("Max core file size", "0", "0"), ("Max processes", "300", "400")]
    {
        let line = outcome.stdout.lines().find_map(|line| line.strip_prefix(name)).expect("the limit");
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(words[..2], [soft, hard], "{outcome}");
    }
}

#[test]
fn hostname_and_domainname_are_set_in_the_container_alone() {
    let before = fs::read_to_string("/proc/sys/kernel/hostname").expect("hostname");
    let bundle = busybox!().set("/hostname", json!("box")).set("/domainname", json!("example.org"));
    bundle.script("hostname; cat /proc/sys/kernel/domainname").run().prints("box\nexample.org");
    assert_eq!(fs::read_to_string("/proc/sys/kernel/hostname").expect("hostname"), before);
}

#[test]
fn sysctls_are_set_in_the_container_alone() {
    let file = "/proc/sys/net/ipv4/ip_unprivileged_port_start";
    let before = fs::read_to_string(file).expect("sysctl");
    let sysctls = json!({"net.ipv4.ip_unprivileged_port_start": "81", "kernel.shm_rmid_forced": "1"});
    let bundle = busybox!().set("/linux/sysctl", sysctls);
    bundle.args(["cat", file, "/proc/sys/kernel/shm_rmid_forced"]).run().prints("81\n1");
    assert_eq!(fs::read_to_string(file).expect("sysctl"), before);
}

#[test]
fn sysctls_may_be_written_with_slashes() {
    let bundle = busybox!().set("/linux/sysctl", json!({"net/ipv4/ip_unprivileged_port_start": "82"}));
    bundle.args(["cat", "/proc/sys/net/ipv4/ip_unprivileged_port_start"]).run().prints("82");
}

#[test]
fn oom_score_adj_is_set_for_the_process_and_not_for_rcrun() {
    let bundle = busybox!().set("/process/oomScoreAdj", json!(500));
    let bundle = bundle.script("cat /proc/self/oom_score_adj; echo ready; sleep 100");
    let mut running = bundle.run_invocation(&[]).spawn();
    running.wait_for_output("500\nready\n");
    let own = fs::read_to_string("/proc/self/oom_score_adj").expect("own score");
    let of_rcrun = fs::read_to_string(format!("/proc/{}/oom_score_adj", running.pid())).expect("its score");
    assert_eq!(of_rcrun, own);
    bundle.kill("KILL").success();
    running.wait().exits_with(137);
}

#[test]
fn without_a_configured_oom_score_adj_it_is_the_callers() {
    let own = fs::read_to_string("/proc/self/oom_score_adj").expect("own score");
    busybox!().args(["cat", "/proc/self/oom_score_adj"]).run().prints(own.trim());
}

#[test]
fn the_first_process_is_number_one_in_a_session_of_its_own() {
    // Fields of stat: pid, comm, state, ppid, pgrp, session.
    let outcome = busybox!().args(["cat", "/proc/self/stat"]).run().success();
    let fields: Vec<&str> = outcome.stdout.split(' ').collect();
    assert_eq!((fields[0], fields[3], fields[4], fields[5]), ("1", "0", "1", "1"), "{outcome}");
}

#[test]
fn no_signal_is_blocked_and_none_is_ignored_that_the_caller_does_not_ignore() {
    let own = crate::support::process_status_field(std::process::id() as i32, "SigIgn");
    // SIGPIPE (13): a Rust program ignores it for itself, and its children get the default back.
    // 32 and 33 are glibc's own, which posix_spawn(3) sets to be ignored in the test's children.
    let callers = u64::from_str_radix(&own, 16).expect("a mask") & !(1 << 12) | 1 << 31 | 1 << 32;
    let outcome = busybox!().args(["grep", "^Sig[BI]", "/proc/self/status"]).run().success();
    let mask = |line: &str| u64::from_str_radix(line[7..].trim(), 16).expect("hexadecimal");
    let masks: Vec<u64> = outcome.stdout.lines().map(mask).collect();
    let [blocked, ignored] = masks[..] else { panic!("two masks expected: {outcome}") };
    assert_eq!((blocked, ignored & !callers), (0, 0), "{outcome}");
}

#[test]
fn the_session_keyring_is_the_containers_own() {
    let bundle = busybox!().args(["cat", "/proc/keys"]).set("/linux/maskedPaths", json!([]));
    let keys = bundle.run().success().stdout;
    assert!(keys.lines().any(|line| line.contains("keyring") && line.contains(bundle.id())), "{keys}");
}

#[test]
fn arguments_are_passed_as_they_are() {
    busybox!()
        .args(["printf", "[%s]", "", "a b", "*", "$HOME", "ä\n"])
        .run()
        .prints("[][a b][*][$HOME][ä\n]");
}
