//! The systemd cgroup driver, where systemd is the first process.

use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::support::{Bundle, busybox, cgroup_of, cgroup_text, require, wait_for};

/// A bundle for the systemd driver, or a reason to skip.
fn bundle() -> Result<Bundle, String> {
    if !Path::new("/run/systemd/system").exists() || !Path::new("/run/dbus/system_bus_socket").exists() {
        return Err("systemd is not the first process here, or has no bus".into());
    }
    Ok(Bundle::busybox()?.global("--systemd-cgroup"))
}

/// A property of a unit as systemctl prints it.
fn property(unit: &str, name: &str) -> String {
    let output = Command::new("systemctl").args(["show", "--value", "-p", name, unit]).output();
    String::from_utf8(output.expect("systemctl").stdout).expect("UTF-8").trim().to_owned()
}

#[test]
fn a_container_is_a_scope_with_its_limits() {
    let bundle = require!(bundle());
    let unit = format!("test-{}.scope", bundle.id());
    let path = format!("system.slice:test:{}", bundle.id());
    let bundle = bundle
        .script("sleep 100")
        .set("/linux/cgroupsPath", json!(path))
        .set("/annotations", json!({"org.systemd.property.CollectMode": "'inactive-or-failed'"}))
        .set(
            "/linux/resources",
            json!({"memory": {"limit": 67_108_864}, "pids": {"limit": 20}, "cpu": {"shares": 1024, "quota": 50000, "period": 100_000}}),
        );
    let pid = bundle.run_detached();
    let cgroup = cgroup_of(pid);
    assert!(cgroup.ends_with(format!("system.slice/{unit}")), "{}", cgroup.display());
    for (name, value) in [
        ("MemoryMax", "67108864"),
        ("TasksMax", "20"),
        ("CPUWeight", "100"),
        ("CPUQuotaPerSecUSec", "500ms"),
        ("Delegate", "yes"),
        ("CollectMode", "inactive-or-failed"),
    ] {
        assert_eq!(property(&unit, name), value, "{name}");
    }
    assert_eq!(cgroup_text(&cgroup, "memory.max"), "67108864");
    assert_eq!(cgroup_text(&cgroup, "cpu.max"), "50000 100000");
    bundle.rcrun(&["update", "--pids-limit", "30", bundle.id()]).success();
    assert_eq!(property(&unit, "TasksMax"), "30");
    assert!(Command::new("systemctl").arg("daemon-reload").status().expect("systemctl").success());
    assert_eq!(cgroup_text(&cgroup, "pids.max"), "30", "systemd writes again what it knows");
    bundle.exec(&["cat", "/proc/self/cgroup"]).prints("0::/");
    bundle.rcrun(&["pause", bundle.id()]).success();
    assert_eq!(bundle.status(), "paused");
    bundle.rcrun(&["resume", bundle.id()]).success();
    bundle.delete_forced().success();
    wait_for("the end of the scope", 20, || (property(&unit, "LoadState") == "not-found").then_some(()));
    assert!(!cgroup.exists());
}

#[test]
fn a_foreground_run_and_a_failed_one_leave_no_unit() {
    let bundle = require!(bundle()).script("exit 7");
    let unit = format!("rcrun-{}.scope", bundle.id());
    bundle.run().exits_with(7);
    assert_eq!(property(&unit, "LoadState"), "not-found");
    let bundle = bundle.args(["/nope"]);
    bundle.run().refused(&["/nope"]);
    wait_for("the end of the scope", 20, || (property(&unit, "LoadState") == "not-found").then_some(()));
}

#[test]
fn a_path_is_no_unit() {
    let bundle = busybox!().global("--systemd-cgroup").set("/linux/cgroupsPath", json!("/a/b"));
    bundle.run().refused(&["linux.cgroupsPath", "slice:prefix:name"]);
}
