//! Memory and swap.

use serde_json::json;

use crate::support::{cgroup_text, wait_for};
use crate::{Limited, bundle};

const MIB: u64 = 1 << 20;
/// Fills a buffer of 100 MiB.
const HUNGRY: [&str; 5] = ["dd", "if=/dev/zero", "of=/dev/null", "bs=100M", "count=1"];

#[test]
fn a_process_above_the_memory_limit_is_killed_and_run_exits_137() {
    let bundle = bundle!().limit("memory", json!({"limit": 32 * MIB, "swap": 32 * MIB})).args(HUNGRY);
    bundle.run().exits_with(137);
}

#[test]
fn the_same_process_ends_well_below_a_higher_limit() {
    let bundle = bundle!().limit("memory", json!({"limit": 200 * MIB})).args(HUNGRY);
    bundle.run().success();
}

#[test]
fn stats_show_the_limit_and_what_was_killed() {
    let mut bundle = bundle!().limit("memory", json!({"limit": 32 * MIB, "swap": 32 * MIB}));
    let cgroup = bundle.sleeping();
    bundle.exec(&HUNGRY).exits_with(137);
    let stats = bundle.rcrun(&["events", "--stats", bundle.id()]).success().json();
    assert_eq!(stats["type"], "stats", "{stats}");
    let memory = &stats["data"]["memory"];
    assert_eq!(memory["usage"]["limit"], json!(32 * MIB), "{stats}");
    assert!(memory["usage"]["usage"].as_u64().is_some_and(|bytes| bytes > 0), "{stats}");
    assert!(memory["usage"]["failcnt"].as_u64().is_some_and(|times| times > 0), "{stats}");
    assert!(cgroup_text(&cgroup, "memory.events").contains("oom_kill 1"));
    bundle.delete_forced().success();
}

#[test]
fn events_report_an_out_of_memory_kill_when_it_happens() {
    let mut bundle = bundle!().limit("memory", json!({"limit": 32 * MIB, "swap": 32 * MIB}));
    bundle.sleeping();
    let mut events = bundle.invocation(&["events", "--interval", "1s", bundle.id()]).limit(60).spawn();
    events.wait_for_output("\"stats\"");
    bundle.exec(&HUNGRY).exits_with(137);
    events.wait_for_output("\"oom\"");
    bundle.delete_forced().success();
    events.wait().success();
}

#[test]
fn swap_is_what_exceeds_memory() {
    let limits = json!({"limit": 64 * MIB, "swap": 96 * MIB, "reservation": 16 * MIB});
    let mut bundle = bundle!().limit("memory", limits);
    let cgroup = bundle.sleeping();
    assert_eq!(cgroup_text(&cgroup, "memory.max"), (64 * MIB).to_string());
    assert_eq!(cgroup_text(&cgroup, "memory.swap.max"), (32 * MIB).to_string());
    assert_eq!(cgroup_text(&cgroup, "memory.low"), (16 * MIB).to_string());
    bundle.delete_forced().success();
}

#[test]
fn memory_and_swap_can_be_updated() {
    let mut bundle = bundle!().limit("memory", json!({"limit": 64 * MIB, "swap": 64 * MIB}));
    let cgroup = bundle.sleeping();
    assert_eq!(cgroup_text(&cgroup, "memory.swap.max"), "0");
    bundle.update(&["--memory", "48m", "--memory-swap", "64m", "--memory-reservation", "8m"]);
    assert_eq!(cgroup_text(&cgroup, "memory.max"), (48 * MIB).to_string());
    assert_eq!(cgroup_text(&cgroup, "memory.swap.max"), (16 * MIB).to_string());
    assert_eq!(cgroup_text(&cgroup, "memory.low"), (8 * MIB).to_string());
    bundle.update(&["--memory", "-1", "--memory-swap", "-1"]);
    assert_eq!(cgroup_text(&cgroup, "memory.max"), "max");
    assert_eq!(cgroup_text(&cgroup, "memory.swap.max"), "max");
    bundle.delete_forced().success();
}

#[test]
fn an_update_below_what_is_in_use_is_refused_if_so_asked() {
    let mut bundle = bundle!().limit("memory", json!({"limit": 64 * MIB}));
    let cgroup = bundle.sleeping();
    wait_for("memory in use", 10, || (cgroup_text(&cgroup, "memory.current") != "0").then_some(()));
    let args = ["update", "--resources", "-", bundle.id()];
    let resources = json!({"memory": {"limit": 4096, "checkBeforeUpdate": true}});
    let outcome = bundle.invocation(&args).stdin(&resources.to_string()).wait();
    outcome.refused(&["memory.limit", "4096", "in use"]);
    assert_eq!(cgroup_text(&cgroup, "memory.max"), (64 * MIB).to_string());
    bundle.delete_forced().success();
}

#[test]
fn swap_alone_is_counted_from_the_present_memory_limit() {
    let mut bundle = bundle!().limit("memory", json!({"limit": 64 * MIB, "swap": 64 * MIB}));
    let cgroup = bundle.sleeping();
    bundle.update(&["--memory-swap", "100m"]);
    assert_eq!(cgroup_text(&cgroup, "memory.max"), (64 * MIB).to_string());
    assert_eq!(cgroup_text(&cgroup, "memory.swap.max"), (36 * MIB).to_string());
    bundle
        .rcrun(&["update", "--memory-swap", "32m", bundle.id()])
        .refused(&["memory.swap", "below memory.limit"]);
    bundle.update(&["--memory-swap", "-1"]);
    assert_eq!(cgroup_text(&cgroup, "memory.swap.max"), "max");
    bundle.delete_forced().success();
}

#[test]
fn an_out_of_memory_kill_is_named() {
    let limits = json!({"limit": 32 * MIB, "swap": 32 * MIB});
    let bundle = bundle!().limit("memory", limits).args(HUNGRY);
    bundle.run().exits_with(137).explains(&["out of memory", &(32 * MIB).to_string(), bundle.id()]);
    let limit = json!({"limit": 16 * 1024, "swap": 16 * 1024});
    let bundle = bundle.limit("memory", limit);
    bundle.run().refused(&["out of memory", "16384 bytes", "linux.resources.memory.limit", "too small"]);
    bundle.create().refused(&["out of memory", "16384 bytes"]);
    bundle.leaves_nothing();
}
