//! What systemd is told of a container, and what holds after it has read its units again.

use std::fs;

use serde_json::{Value, json};

use super::{has_properties, is_unknown, of_root, property, systemctl, unit};
use crate::Limited;
use crate::support::{cgroup_of, cgroup_text};

const LIMITS: &str = r#"{"memory": {"limit": 67108864, "reservation": 33554432}, "pids": {"limit": 20},
    "cpu": {"shares": 1024, "quota": 33333, "period": 100000, "cpus": "0"}}"#;

fn limits() -> Value {
    serde_json::from_str(LIMITS).expect("JSON")
}

#[test]
fn a_container_is_a_scope_with_its_limits() {
    let bundle = of_root!();
    let scope = format!("test-{}.scope", bundle.id());
    let path = format!("system.slice:test:{}", bundle.id());
    let bundle = bundle.script("sleep 1000").set("/linux/cgroupsPath", json!(path));
    let bundle = bundle.set("/linux/resources", limits());
    let cgroup = cgroup_of(bundle.run_detached());
    assert!(cgroup.ends_with(format!("system.slice/{scope}")), "{}", cgroup.display());
    has_properties(
        &scope,
        &[
            ("MemoryMax", "67108864"),
            ("MemoryLow", "33554432"),
            ("TasksMax", "20"),
            ("CPUWeight", "100"),
            ("CPUQuotaPerSecUSec", "340ms"),
            ("CPUQuotaPeriodUSec", "100ms"),
            ("AllowedCPUs", "0"),
            ("Delegate", "yes"),
            ("DevicePolicy", "strict"),
        ],
    );
    let limits_hold = |pids: &str| {
        for (file, value) in [
            ("memory.max", "67108864"),
            ("memory.low", "33554432"),
            ("pids.max", pids),
            ("cpu.weight", "100"),
            ("cpu.max", "34000 100000"),
            ("cpuset.cpus", "0"),
        ] {
            assert_eq!(cgroup_text(&cgroup, file), value, "{file}");
        }
    };
    limits_hold("20");
    bundle.update(&["--pids-limit", "30"]);
    assert_eq!(property(&scope, "TasksMax"), "30");
    systemctl(&["daemon-reload"]);
    limits_hold("30");
    bundle.exec(&["cat", "/proc/self/cgroup"]).prints("0::/");
    bundle.rcrun(&["pause", bundle.id()]).success();
    assert_eq!(bundle.status(), "paused");
    bundle.rcrun(&["resume", bundle.id()]).success();
    bundle.delete_forced().success();
    is_unknown(&scope);
    assert!(!cgroup.exists());
}

#[test]
fn device_rules_hold_before_and_after_a_reload() {
    let rules = json!([{"allow": false, "access": "rwm"},
        {"allow": true, "type": "c", "major": 1, "minor": 11, "access": "r"}]);
    let bundle = of_root!().writable().limit("devices", rules);
    let bundle = bundle.set("/process/capabilities/bounding", json!(["CAP_MKNOD", "CAP_SYSLOG"]));
    let bundle = bundle.set("/process/capabilities/effective", json!(["CAP_MKNOD", "CAP_SYSLOG"]));
    let mut bundle = bundle.set("/process/capabilities/permitted", json!(["CAP_MKNOD", "CAP_SYSLOG"]));
    bundle.sleeping();
    let script = "rm -f /tmp/kmsg /tmp/port; mknod /tmp/kmsg c 1 11; mknod /tmp/port c 1 4; \
                  (exec 3</tmp/kmsg) 2>/dev/null && echo reads; (exec 3>/tmp/kmsg) 2>/dev/null || echo writes not; \
                  (exec 3</tmp/port) 2>/dev/null || echo no port; echo word >/dev/null && echo null";
    let seen = "reads\nwrites not\nno port\nnull";
    bundle.exec(&["sh", "-c", script]).prints(seen);
    let allowed = property(&unit(&bundle), "DeviceAllow");
    for entry in ["char-* m", "/dev/char/1:11 r", "/dev/char/1:3 rwm"] {
        assert!(allowed.contains(entry), "{entry}: {allowed}");
    }
    systemctl(&["daemon-reload"]);
    bundle.exec(&["sh", "-c", script]).prints(seen);
    bundle.delete_forced().success();
}

#[test]
fn updates_are_properties_too() {
    let mut bundle = of_root!();
    let cgroup = bundle.sleeping();
    let unit = unit(&bundle);
    let disk = fs::read_to_string("/sys/block/vda/dev").expect("the disk");
    let (major, minor) = disk.trim().split_once(':').expect("a device number");
    let number = |text: &str| text.parse::<u32>().expect("a number");
    bundle.update_resources(&json!({
        "cpu": {"quota": 50000, "period": 50000, "idle": 1, "cpus": "0-1", "mems": "0"},
        "memory": {"limit": 50_331_648, "swap": 100_663_296},
        "blockIO": {"throttleReadBpsDevice": [{"major": number(major), "minor": number(minor), "rate": 1_048_576}]},
        "unified": {"memory.high": "41943040", "memory.min": "4096", "pids.max": "40"},
    }));
    let has = |idle: &str, weight: &str| {
        has_properties(
            &unit,
            &[
                ("CPUQuotaPerSecUSec", "1s"),
                ("CPUQuotaPeriodUSec", "50ms"),
                ("CPUWeight", weight),
                ("AllowedCPUs", "0-1"),
                ("AllowedMemoryNodes", "0"),
                ("MemoryMax", "50331648"),
                ("MemorySwapMax", "50331648"),
                ("MemoryHigh", "41943040"),
                ("MemoryMin", "4096"),
                ("TasksMax", "40"),
            ],
        );
        assert!(property(&unit, "IOReadBandwidthMax").ends_with(" 1048576"));
        assert_eq!(cgroup_text(&cgroup, "cpu.idle"), idle);
        assert!(cgroup_text(&cgroup, "io.max").contains("rbps=1048576"));
    };
    has("1", "idle");
    systemctl(&["daemon-reload"]);
    has("1", "idle");
    bundle.update_resources(&json!({"cpu": {"idle": 0}}));
    systemctl(&["daemon-reload"]);
    has("0", "100");
    bundle.delete_forced().success();
}

#[test]
fn a_limit_below_the_usage_is_refused_before_systemd_hears_of_it() {
    let mut bundle = of_root!().limit("memory", json!({"limit": 67_108_864}));
    bundle.sleeping();
    let small = json!({"memory": {"limit": 4096, "checkBeforeUpdate": true}}).to_string();
    let args = ["update", "--resources", "-", bundle.id()];
    bundle.invocation(&args).stdin(&small).wait().refused(&["linux.resources.memory.limit"]);
    assert_eq!(property(&unit(&bundle), "MemoryMax"), "67108864");
    assert_eq!(bundle.status(), "running");
    bundle.delete_forced().success();
}

#[test]
fn annotations_are_properties() {
    let mut bundle = of_root!().set(
        "/annotations",
        json!({
            "org.systemd.property.CollectMode": "'inactive-or-failed'",
            "org.systemd.property.TimeoutStopSec": "7",
            "org.systemd.property.RuntimeMaxUSec": "uint64 9000000000",
            "org.systemd.property.After": "['sysinit.target', 'dbus.socket']",
        }),
    );
    bundle.sleeping();
    let unit = unit(&bundle);
    has_properties(
        &unit,
        &[("CollectMode", "inactive-or-failed"), ("TimeoutStopUSec", "7s"), ("RuntimeMaxUSec", "2h 30min")],
    );
    assert!(property(&unit, "After").contains("sysinit.target"));
    bundle.delete_forced().success();
    let bundle = bundle.set("/annotations", json!({"org.systemd.property.NoSuchThing": "true"}));
    bundle.run().refused(&["systemd", "StartTransientUnit", "NoSuchThing"]);
    is_unknown(&unit);
}
