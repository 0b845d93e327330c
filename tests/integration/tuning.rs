//! How the kernel treats a process: scheduler, I/O priority, CPUs, memory policy, personality, clocks.

use std::fs;

use serde_json::{Value, json};

use crate::support::{Bundle, busybox};

/// Fields of the process's stat by number, proc_pid_stat(5).
fn stat_fields<const N: usize>(stat: &str, numbers: [usize; N]) -> [String; N] {
    let (_, rest) = stat.rsplit_once(") ").expect("a stat line");
    let fields: Vec<&str> = rest.split_whitespace().collect();
    // The first after the name is field 3.
    numbers.map(|number| fields[number - 3].to_owned())
}

const NICE: usize = 19;
const RT_PRIORITY: usize = 40;
const POLICY: usize = 41;

fn scheduled(scheduler: Value) -> [String; 3] {
    let bundle = busybox_or_panic().set("/process/scheduler", scheduler);
    let outcome = bundle.args(["cat", "/proc/self/stat"]).run().success();
    stat_fields(&outcome.stdout, [POLICY, NICE, RT_PRIORITY])
}

fn busybox_or_panic() -> Bundle {
    Bundle::busybox().expect("checked by the test")
}

fn sleeping(bundle: Bundle) -> Bundle {
    let bundle = bundle.script("sleep 1000");
    bundle.run_detached();
    bundle
}

#[test]
fn the_scheduler_is_set() {
    let _bundle = busybox!();
    let set = |value| scheduled(value).join(" ");
    assert_eq!(set(json!({"policy": "SCHED_OTHER", "nice": 7})), "0 7 0");
    assert_eq!(set(json!({"policy": "SCHED_BATCH", "nice": 3})), "3 3 0");
    assert_eq!(set(json!({"policy": "SCHED_IDLE"})), "5 0 0");
}

#[test]
fn a_real_time_scheduler_is_set_or_refused_with_its_cure() {
    for (policy, number) in [("SCHED_FIFO", "1"), ("SCHED_RR", "2")] {
        let bundle = busybox!().set("/process/scheduler", json!({"policy": policy, "priority": 9}));
        let outcome = bundle.args(["cat", "/proc/self/stat"]).run();
        match outcome.status.success() {
            true => assert_eq!(stat_fields(&outcome.stdout, [POLICY, RT_PRIORITY]), [number, "9"]),
            false => drop(outcome.refused(&["set scheduler", policy, "sched_setattr"])),
        }
    }
}

#[test]
fn a_scheduler_that_is_reset_on_fork_is_not_inherited() {
    let scheduler = json!({"policy": "SCHED_BATCH", "nice": -5, "flags": ["SCHED_RESET_ON_FORK"]});
    let bundle =
        busybox!().set("/process/scheduler", scheduler).script("cat /proc/$$/stat; cat /proc/self/stat; :");
    let outcome = bundle.run().success();
    let stats: Vec<_> = outcome.stdout.lines().map(|line| stat_fields(line, [POLICY, NICE])).collect();
    assert_eq!(stats, [["3", "-5"], ["3", "0"]], "{outcome}");
}

#[test]
fn the_io_priority_is_set() {
    let set = |class: &str, priority: u32| {
        let bundle = busybox_or_panic().args(["busybox", "ionice", "-p", "1"]);
        bundle
            .set("/process/ioPriority", json!({"class": class, "priority": priority}))
            .run()
            .success()
            .stdout
    };
    let _bundle = busybox!();
    assert_eq!(set("IOPRIO_CLASS_BE", 6).trim(), "best-effort: prio 6");
    assert_eq!(set("IOPRIO_CLASS_IDLE", 0).trim(), "idle");
}

#[test]
fn a_personality_of_32_bits_shows_in_the_machines_name() {
    let bundle = busybox!().set("/linux/personality", json!({"domain": "LINUX32"}));
    bundle.args(["uname", "-m"]).run().prints("i686");
    let bundle = busybox!().set("/linux/personality", json!({"domain": "LINUX"}));
    bundle.args(["uname", "-m"]).run().prints("x86_64");
}

#[test]
fn the_memory_policy_is_set_and_a_further_process_has_it_too() {
    if !std::path::Path::new("/proc/self/numa_maps").exists() {
        return crate::support::skip("a kernel without NUMA");
    }
    let policy = json!({"mode": "MPOL_BIND", "nodes": "0"});
    let bundle = sleeping(busybox!().set("/linux/memoryPolicy", policy));
    let maps = fs::read_to_string(format!("/proc/{}/numa_maps", bundle.pid())).expect("numa_maps");
    assert!(maps.lines().any(|line| line.contains("bind:0")), "{maps}");
    let outcome = bundle.exec(&["cat", "/proc/self/numa_maps"]).success();
    assert!(outcome.stdout.contains("bind:0"), "{outcome}");
    bundle.delete_forced().success();
}

#[test]
fn a_memory_policy_for_nodes_that_are_not_there_is_refused() {
    let policy = json!({"mode": "MPOL_BIND", "nodes": "900"});
    busybox!().set("/linux/memoryPolicy", policy).run().refused(&[
        "memory policy MPOL_BIND",
        "900",
        "set_mempolicy",
    ]);
}

#[test]
fn clocks_are_off_in_a_time_namespace() {
    let offsets =
        json!({"monotonic": {"secs": 100_000_000}, "boottime": {"secs": 200_000_000, "nanosecs": 5}});
    let bundle = busybox!().namespace("time", None).set("/linux/timeOffsets", offsets);
    let outcome = bundle.script("cat /proc/uptime; cat /proc/self/timens_offsets").run().success();
    let uptime: f64 = outcome.stdout.split('.').next().and_then(|s| s.parse().ok()).expect("seconds");
    assert!((200_000_000.0..300_000_000.0).contains(&uptime), "{outcome}");
    let words: Vec<&str> = outcome.stdout.split_whitespace().skip(2).collect();
    assert_eq!(words, ["monotonic", "100000000", "0", "boottime", "200000000", "5"], "{outcome}");
}

#[test]
fn clocks_are_off_for_a_further_process_and_in_a_user_namespace() {
    let offsets = json!({"boottime": {"secs": 300_000_000}});
    let bundle = busybox!().user_namespace().namespace("time", None).set("/linux/timeOffsets", offsets);
    let bundle = sleeping(bundle);
    let outcome = bundle.exec(&["cat", "/proc/uptime"]).success();
    assert!(outcome.stdout.starts_with('3') && outcome.stdout.find('.') == Some(9), "{outcome}");
    bundle.delete_forced().success();
}

#[test]
fn an_offset_that_no_clock_can_have_is_refused() {
    let offsets = json!({"boottime": {"secs": -9_000_000_000_i64}});
    let bundle = busybox!().namespace("time", None).set("/linux/timeOffsets", offsets);
    bundle.run().refused(&["time namespace with offsets", "write"]);
    bundle.leaves_nothing();
    let bundle = busybox!().set("/linux/timeOffsets", json!({"boottime": {"secs": 1}}));
    bundle.run().refused(&["linux.timeOffsets", "time namespace"]);
}

#[test]
fn a_further_process_is_tuned_by_its_own_object() {
    let bundle = sleeping(busybox!());
    let file = bundle.file("process.json");
    let process = json!({
        "args": ["sh", "-c", "cat /proc/$$/stat; busybox ionice -p $$; grep Cpus_allowed_list /proc/self/status"],
        "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0},
        "scheduler": {"policy": "SCHED_BATCH", "nice": 4},
        "ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 5},
        "execCPUAffinity": {"initial": "0", "final": "0"},
    });
    fs::write(&file, process.to_string()).expect("write");
    let outcome = bundle.rcrun(&["exec", "--process", file.to_str().expect("UTF-8"), bundle.id()]).success();
    let lines: Vec<&str> = outcome.stdout.lines().collect();
    assert_eq!(stat_fields(lines[0], [POLICY, NICE]), ["3", "4"], "{outcome}");
    assert_eq!(lines[1..], ["best-effort: prio 5", "Cpus_allowed_list:\t0"], "{outcome}");
    bundle.delete_forced().success();
}

#[test]
fn cpus_of_the_configuration_are_for_further_processes_alone() {
    let all = fs::read_to_string("/proc/self/status").expect("status");
    let all = all.lines().find(|line| line.starts_with("Cpus_allowed_list")).expect("the list");
    if all.ends_with("\t0") {
        return crate::support::skip("a machine with one CPU");
    }
    let cpus = |bundle: &Bundle| bundle.exec(&["grep", "Cpus_allowed_list", "/proc/self/status"]).success();
    // Without a final list the process gets what its cgroup allows, not what it came with.
    for (affinity, expected) in
        [(json!({"initial": "0"}), all), (json!({"initial": "1", "final": "0"}), "Cpus_allowed_list:\t0")]
    {
        let bundle = busybox!().set("/process/execCPUAffinity", affinity);
        let bundle = sleeping(bundle);
        let status = fs::read_to_string(format!("/proc/{}/status", bundle.pid())).expect("status");
        assert!(status.contains(all), "{status}");
        assert_eq!(cpus(&bundle).stdout.trim(), expected);
        bundle.delete_forced().success();
    }
}

#[test]
fn cpus_that_are_not_there_are_refused() {
    let bundle = sleeping(busybox!().set("/process/execCPUAffinity", json!({"initial": "8000"})));
    bundle.exec(&["true"]).exits_with(255).explains(&[
        "execCPUAffinity.initial",
        "8000",
        "sched_setaffinity",
    ]);
    bundle.delete_forced().success();
    let bundle = sleeping(busybox!().set("/process/execCPUAffinity", json!({"final": "8000"})));
    bundle.exec(&["true"]).exits_with(255).explains(&["set CPUs 8000", "sched_setaffinity"]);
    bundle.delete_forced().success();
}

#[test]
fn a_further_process_is_in_the_containers_keyring() {
    let bundle = sleeping(busybox!().set("/linux/maskedPaths", json!([])));
    let keyring = |text: &str| {
        let line = text.lines().find(|line| line.contains("keyring") && line.contains(bundle.id()));
        let mut words = line.unwrap_or_else(|| panic!("no keyring in {text}")).split_whitespace();
        (words.next().map(str::to_owned), words.nth(3).map(str::to_owned))
    };
    let first = keyring(&bundle.exec(&["cat", "/proc/keys"]).success().stdout);
    // Search for the user, without which the keyring could not be found again.
    assert_eq!(first.1.as_deref(), Some("3f1b0000"));
    assert_eq!(keyring(&bundle.exec(&["cat", "/proc/keys"]).success().stdout), first);
    bundle.delete_forced().success();
}
