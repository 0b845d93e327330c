//! RLIMIT_NOFILE so low that rcrun's own child could not open anything below it.

use serde_json::json;

use crate::support::{Bundle, busybox};

/// No file at all beside the three streams; the shell's own copies of them would be files.
fn limited(bundle: Bundle, hard: u64) -> Bundle {
    let bundle = bundle.args(["cat", "/proc/self/limits"]);
    bundle.set("/process/rlimits", json!([{"type": "RLIMIT_NOFILE", "soft": 4, "hard": hard}]))
}

fn shows(text: &str, soft: &str, hard: &str) {
    let line = text.lines().find(|line| line.starts_with("Max open files")).expect("a line");
    assert_eq!(line.split_whitespace().skip(3).take(2).collect::<Vec<_>>(), [soft, hard], "{line}");
}

#[test]
fn run_and_exec_set_it() {
    let bundle = limited(busybox!(), 4);
    shows(&bundle.run().success().stdout, "4", "4");
    let bundle = limited(bundle, 100).args(["sleep", "1000"]);
    bundle.run_detached();
    shows(&bundle.exec(&["cat", "/proc/self/limits"]).success().stdout, "4", "100");
    bundle.delete_forced().success();
}

#[test]
fn a_created_container_starts_with_it() {
    for hard in [3, 100] {
        let bundle = busybox!().args(["sleep", "1000"]);
        let limit = json!([{"type": "RLIMIT_NOFILE", "soft": 3, "hard": hard}]);
        let bundle = bundle.set("/process/rlimits", limit);
        bundle.create().success();
        bundle.start().success();
        let limits = std::fs::read_to_string(format!("/proc/{}/limits", bundle.pid())).expect("limits");
        shows(&limits, "3", &hard.to_string());
        bundle.delete_forced().success();
    }
}

#[test]
fn a_container_in_a_user_namespace_starts_with_it() {
    let bundle = limited(busybox!().user_namespace(), 4);
    bundle.create().success();
    bundle.start().success();
    bundle.wait_for_status("stopped");
    bundle.delete().success();
    shows(&bundle.run().success().stdout, "4", "4");
}
