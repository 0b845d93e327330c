//! Block IO, on the VM's disk /dev/vda.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Bundle, cgroup_text, wait_for};
use crate::{Limited, bundle};

/// The disk's major and minor number.
fn disk() -> (u64, u64) {
    let text = fs::read_to_string("/sys/block/vda/dev").expect("the VM's disk");
    let (major, minor) = text.trim().split_once(':').expect("major:minor");
    (major.parse().expect("major"), minor.parse().expect("minor"))
}

fn rate(rate: u64) -> Value {
    let (major, minor) = disk();
    json!([{"major": major, "minor": minor, "rate": rate}])
}

#[test]
fn every_rate_of_a_device_is_written() {
    let mut bundle = bundle!().limit(
        "blockIO",
        json!({
            "throttleReadBpsDevice": rate(1_048_576), "throttleWriteBpsDevice": rate(2_097_152),
            "throttleReadIOPSDevice": rate(100), "throttleWriteIOPSDevice": rate(200),
        }),
    );
    let cgroup = bundle.sleeping();
    let (major, minor) = disk();
    let expected = format!("{major}:{minor} rbps=1048576 wbps=2097152 riops=100 wiops=200");
    assert_eq!(cgroup_text(&cgroup, "io.max"), expected);
    bundle.update_resources(&json!({"blockIO": {"throttleReadBpsDevice": rate(4096)}}));
    assert_eq!(cgroup_text(&cgroup, "io.max"), expected.replace("1048576", "4096"));
    bundle.delete_forced().success();
}

#[test]
fn a_weight_is_written_and_updated() {
    let mut bundle = bundle!().limit("blockIO", json!({"weight": 500}));
    let cgroup = bundle.sleeping();
    // io.cost has weights up to 10000, the specification up to 1000.
    assert_eq!(cgroup_text(&cgroup, "io.weight").lines().next(), Some("default 4950"));
    bundle.update(&["--blkio-weight", "1000"]);
    assert_eq!(cgroup_text(&cgroup, "io.weight").lines().next(), Some("default 10000"));
    bundle.delete_forced().success();
}

/// Reads 2 MiB of the disk past the page cache, in the container.
fn time_to_read(bundle: &Bundle) -> Duration {
    let start = Instant::now();
    bundle.exec(&["dd", "if=/dev/disk", "of=/dev/null", "bs=64k", "count=32", "iflag=direct"]).success();
    start.elapsed()
}

#[test]
fn reads_take_as_long_as_the_limit_says() {
    let (major, minor) = disk();
    let device = json!({"path": "/dev/disk", "type": "b", "major": major, "minor": minor});
    let rule = json!({"allow": true, "type": "b", "major": major, "minor": minor, "access": "rwm"});
    let mut bundle = bundle!()
        .set("/linux/devices", json!([device]))
        .edit(|config| config["linux"]["resources"]["devices"].as_array_mut().expect("devices").push(rule));
    bundle.sleeping();
    // Without a limit it is sooner or later quicker than it can be with one.
    wait_for("a quick reading", 60, || Some(()).filter(|()| time_to_read(&bundle) < Duration::from_secs(6)));
    bundle.update_resources(&json!({"blockIO": {"throttleReadBpsDevice": rate(262_144)}}));
    let limited = time_to_read(&bundle);
    // 2 MiB at 256 KiB a second; the first slice of time may be had at once.
    assert!(limited > Duration::from_secs(6), "{limited:?}");
    bundle.delete_forced().success();
}

#[test]
fn a_device_that_is_not_there_is_refused() {
    let limit = json!({"throttleReadBpsDevice": [{"major": 239, "minor": 7, "rate": 1}]});
    let bundle = bundle!().limit("blockIO", limit);
    bundle.run().refused(&["io.max", "239:7", "no such block device", "throttleReadBpsDevice[0]"]);
}

#[test]
fn the_weight_of_a_device_is_written_and_updated() {
    let (major, minor) = disk();
    let bundle = bundle!();
    // Weights of devices are io.cost's, which is off unless somebody wants it for the device.
    let root = crate::support::cgroup_mount().expect("cgroup2").join("io.cost.qos");
    fs::write(&root, format!("{major}:{minor} enable=1")).expect("io.cost.qos");
    let weight = |weight: u16| json!([{"major": major, "minor": minor, "weight": weight}]);
    let mut bundle = bundle.limit("blockIO", json!({"weight": 100, "weightDevice": weight(500)}));
    let cgroup = bundle.sleeping();
    let line = |number: u32| format!("{major}:{minor} {number}");
    assert!(cgroup_text(&cgroup, "io.weight").lines().any(|shown| shown == line(4950)));
    bundle.update_resources(&json!({"blockIO": {"weightDevice": weight(1000)}}));
    assert!(cgroup_text(&cgroup, "io.weight").lines().any(|shown| shown == line(10000)));
    bundle.delete_forced().success();
    fs::write(&root, format!("{major}:{minor} enable=0")).expect("io.cost.qos");
}
