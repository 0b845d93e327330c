//! CPU time and CPU sets.

use serde_json::json;

use crate::support::{cgroup_text, process_status_field, wait_for};
use crate::{Limited, bundle};

#[test]
fn shares_quota_and_burst_are_written() {
    let cpu = json!({"shares": 1024, "quota": 20000, "period": 50000, "burst": 5000});
    let mut bundle = bundle!().limit("cpu", cpu);
    let cgroup = bundle.sleeping();
    assert_eq!(cgroup_text(&cgroup, "cpu.weight"), "100");
    assert_eq!(cgroup_text(&cgroup, "cpu.max"), "20000 50000");
    assert_eq!(cgroup_text(&cgroup, "cpu.max.burst"), "5000");
    bundle.delete_forced().success();
}

#[test]
fn the_container_sees_its_own_limits() {
    let bundle = bundle!().limit("cpu", json!({"quota": 30000})).args(["cat", "/sys/fs/cgroup/cpu.max"]);
    bundle.run().prints("30000 100000");
}

#[test]
fn a_busy_container_is_throttled() {
    let bundle = bundle!().limit("cpu", json!({"quota": 5000})).script("while :; do :; done");
    let cgroup = crate::support::cgroup_of(bundle.run_detached());
    wait_for("throttling", 10, || {
        let stat = cgroup_text(&cgroup, "cpu.stat");
        let throttled = stat.lines().find_map(|line| line.strip_prefix("nr_throttled "));
        (throttled.expect("nr_throttled") != "0").then_some(())
    });
    bundle.delete_forced().success();
}

#[test]
fn cpu_time_can_be_updated() {
    let mut bundle = bundle!().limit("cpu", json!({"shares": 1024}));
    let cgroup = bundle.sleeping();
    bundle.update(&["--cpu-share", "2", "--cpu-quota", "10000", "--cpu-period", "20000"]);
    assert_eq!(cgroup_text(&cgroup, "cpu.weight"), "1");
    assert_eq!(cgroup_text(&cgroup, "cpu.max"), "10000 20000");
    bundle.update(&["--cpu-quota", "-1"]);
    assert!(cgroup_text(&cgroup, "cpu.max").starts_with("max "));
    bundle.update(&["--cpu-idle", "1"]);
    assert_eq!(cgroup_text(&cgroup, "cpu.idle"), "1");
    bundle.delete_forced().success();
}

#[test]
fn a_container_runs_on_its_cpus_alone() {
    let mut bundle = bundle!().limit("cpu", json!({"cpus": "1", "mems": "0"}));
    let cgroup = bundle.sleeping();
    assert_eq!(cgroup_text(&cgroup, "cpuset.cpus"), "1");
    assert_eq!(cgroup_text(&cgroup, "cpuset.mems"), "0");
    assert_eq!(process_status_field(bundle.pid(), "Cpus_allowed_list"), "1");
    bundle.update(&["--cpuset-cpus", "0"]);
    assert_eq!(process_status_field(bundle.pid(), "Cpus_allowed_list"), "0");
    bundle.update(&["--cpuset-cpus", "0-1", "--cpuset-mems", "0"]);
    assert_eq!(process_status_field(bundle.pid(), "Cpus_allowed_list"), "0-1");
    bundle.delete_forced().success();
}

#[test]
fn cpus_that_the_machine_lacks_are_refused() {
    let bundle = bundle!().limit("cpu", json!({"cpus": "1000000"}));
    bundle.run().refused(&["cpuset.cpus", "1000000", "linux.resources.cpu.cpus"]);
}

#[test]
fn a_period_out_of_the_kernels_range_is_refused() {
    let bundle = bundle!().limit("cpu", json!({"quota": 20000, "period": 1}));
    bundle.run().refused(&["cpu.max", "20000 1", "1000 to 1000000"]);
}

#[test]
fn a_period_keeps_its_quota_and_a_quota_its_period() {
    let mut bundle = bundle!().limit("cpu", json!({"quota": 20000, "period": 50000}));
    let cgroup = bundle.sleeping();
    bundle.update(&["--cpu-period", "40000"]);
    assert_eq!(cgroup_text(&cgroup, "cpu.max"), "20000 40000");
    bundle.update(&["--cpu-quota", "10000"]);
    assert_eq!(cgroup_text(&cgroup, "cpu.max"), "10000 40000");
    bundle.update_resources(&json!({"cpu": {"quota": -1}}));
    assert_eq!(cgroup_text(&cgroup, "cpu.max"), "max 40000");
    bundle.delete_forced().success();
}

#[test]
fn burst_and_idle_can_be_updated() {
    let mut bundle = bundle!().limit("cpu", json!({"quota": 20000, "burst": 1000, "shares": 512}));
    let cgroup = bundle.sleeping();
    // Not above the quota: with a smaller one the burst comes first, with a larger one the quota.
    bundle.update(&["--cpu-quota", "5000", "--cpu-burst", "500"]);
    assert_eq!(cgroup_text(&cgroup, "cpu.max"), "5000 100000");
    bundle.update(&["--cpu-quota", "30000", "--cpu-burst", "25000"]);
    assert_eq!(cgroup_text(&cgroup, "cpu.max.burst"), "25000");
    bundle.update(&["--cpu-burst", "0"]);
    assert_eq!(cgroup_text(&cgroup, "cpu.max.burst"), "0");
    assert_eq!(cgroup_text(&cgroup, "cpu.weight"), "59");
    bundle.update(&["--cpu-idle", "1"]);
    assert_eq!(cgroup_text(&cgroup, "cpu.idle"), "1");
    bundle.update(&["--cpu-idle", "0", "--cpu-share", "2048"]);
    assert_eq!(
        (cgroup_text(&cgroup, "cpu.idle"), cgroup_text(&cgroup, "cpu.weight")),
        ("0".into(), "174".into())
    );
    bundle.delete_forced().success();
}
