//! What needs cgroup controllers, and a kernel that Debian's criu can work with: run in the VM.

use super::*;
use crate::support::{controller, program};

#[test]
fn a_limit_is_applied_and_metrics_are_counted() {
    require!(controller("memory"));
    let containerd = require!(Containerd::new());
    let options = ["--detach", "--memory-limit", "33554432", "--cpu-shares", "512"];
    let script = "head -c 8000000 /dev/zero >/dev/shm/data; touch /ready; sleep 1000";
    containerd.run_command(&options, "one", &["sh", "-c", script]).wait().success();
    let view = &containerd.daemon.view;
    assert_eq!(view.read("/sys/fs/cgroup/default/one/memory.max"), "33554432\n");
    containerd.wait_for_file("one", "/ready");
    let metrics = containerd.ctr(&["task", "metrics", "one"]).success();
    let value = |name: &str| -> u64 {
        let words = metrics.stdout.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let value =
            words.filter(|words| words.first() == Some(&name)).find_map(|words| words.get(1)?.parse().ok());
        value.unwrap_or_else(|| panic!("no {name}: {metrics}"))
    };
    assert_eq!(value("memory.usage_limit"), 33_554_432);
    assert!(value("memory.usage") > 8_000_000 && value("memory.usage") < 33_554_432, "{metrics}");
    assert!(value("pids.current") >= 1 && value("cpu.usage_usec") > 0, "{metrics}");
    containerd.end("one");
}

#[test]
fn a_task_is_checkpointed_and_restored() {
    require!(controller("memory"));
    require!(program("criu"));
    let containerd = require!(Containerd::new());
    containerd.run_detached("one", &format!("echo start >>/starts; {COUNTING}"));
    containerd.wait_for_counting("one");
    containerd.ctr(&["container", "checkpoint", "--task", "--rw", "one", "saved"]).success();
    containerd.wait_for_counting("one");
    containerd.end("one");
    containerd.ctr(&["container", "restore", "--live", "--rw", "two", "saved"]).success();
    containerd.wait_for_status("two", "RUNNING");
    containerd.wait_for_counting("two");
    containerd.exec(&[], "two", &["cat", "/starts"]).prints("start");
    // With --exit it does not go on.
    let paths = ["--image-path", "/run/images", "--work-path", "/run/images"];
    containerd.ctr(&[&["task", "checkpoint", "--exit"], &paths[..], &["two"]].concat()).success();
    containerd.wait_for_status("two", "STOPPED");
    assert!(containerd.daemon.view.path("/run/images/inventory.img").exists());
    containerd.delete("two");
}
