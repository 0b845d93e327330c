//! list, ps, events: looking at containers.

use serde_json::{Value, json};

use crate::support::{Bundle, busybox, wait_for};

fn sleeping(bundle: Bundle) -> Bundle {
    let bundle = bundle.script("sleep 1000");
    bundle.run_detached();
    bundle
}

#[test]
fn list_prints_a_table() {
    let bundle = sleeping(busybox!());
    let outcome = bundle.rcrun(&["list"]).success();
    let lines: Vec<Vec<&str>> =
        outcome.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"], "{outcome}");
    let path = bundle.path();
    let pid = bundle.pid().to_string();
    assert_eq!(lines[1][..4], [bundle.id(), &pid, "running", path.to_str().expect("UTF-8")], "{outcome}");
    assert_eq!(lines[1].last(), Some(&"root"), "{outcome}");
    assert_eq!(lines.len(), 2);
    bundle.delete_forced().success();
}

#[test]
fn list_prints_json() {
    let bundle = sleeping(busybox!());
    let list = bundle.rcrun(&["list", "--format", "json"]).success().json();
    let mut state = bundle.state();
    // What only one of the two has is no difference.
    let container = &list.as_array().expect("a list")[0];
    for (key, value) in state.as_object_mut().expect("an object") {
        assert_eq!(&container[key.as_str()], value, "{key}");
    }
    assert_eq!(list.as_array().map(Vec::len), Some(1));
    bundle.delete_forced().success();
}

#[test]
fn list_prints_names_alone() {
    let bundle = sleeping(busybox!());
    for option in ["-q", "--quiet"] {
        bundle.rcrun(&["list", option]).prints(bundle.id());
    }
    bundle.delete_forced().success();
}

#[test]
fn list_of_a_missing_root_fails_and_does_not_make_it() {
    let bundle = busybox!();
    bundle.rcrun(&["list"]).refused(&["no such file", bundle.state_directory().to_str().expect("UTF-8")]);
    assert!(!bundle.state_directory().exists());
}

#[test]
fn list_of_an_empty_root_is_empty() {
    let bundle = busybox!();
    std::fs::create_dir(bundle.state_directory()).expect("mkdir");
    let list = bundle.rcrun(&["list", "--format", "json"]).success().json();
    assert!(list.is_null() || list == json!([]), "{list}");
    bundle.rcrun(&["list", "-q"]).prints("");
}

#[test]
fn list_goes_on_past_a_broken_state() {
    let bundle = sleeping(busybox!());
    let broken = bundle.state_directory().join("broken");
    std::fs::create_dir(&broken).expect("mkdir");
    std::fs::write(broken.join("state.json"), "{").expect("write");
    let outcome = bundle.rcrun(&["list", "-q"]);
    assert!(outcome.stdout.lines().any(|line| line == bundle.id()), "{outcome}");
    bundle.rcrun(&["delete", "--force", "broken"]).success();
    bundle.delete_forced().success();
}

#[test]
fn ps_lists_the_containers_processes() {
    let bundle = busybox!().script("sleep 1000 & sleep 1000 & wait");
    let pid = bundle.run_detached();
    let pids = wait_for("three processes", 5, || {
        let list = bundle.rcrun(&["ps", "--format", "json", bundle.id()]).success().json();
        (list.as_array()?.len() == 3).then_some(list)
    });
    assert!(pids.as_array().expect("a list").contains(&json!(pid)), "{pids}");
    let table = bundle.rcrun(&["ps", bundle.id()]).success();
    assert_eq!(table.stdout.lines().count(), 4, "{table}");
    assert!(table.stdout.lines().next().is_some_and(|line| line.contains("PID")), "{table}");
    let chosen = bundle.rcrun(&["ps", bundle.id(), "-o", "pid,comm"]).success();
    assert_eq!(
        chosen.stdout.lines().next().map(|l| l.split_whitespace().collect()),
        Some(vec!["PID", "COMMAND"])
    );
    bundle.delete_forced().success();
}

#[test]
fn ps_of_a_stopped_container_lists_nothing() {
    let bundle = sleeping(busybox!());
    bundle.kill("KILL").success();
    bundle.wait_for_status("stopped");
    let outcome = bundle.rcrun(&["ps", "--format", "json", bundle.id()]);
    assert!(!outcome.status.success() || outcome.json().as_array().is_none_or(Vec::is_empty), "{outcome}");
    bundle.delete().success();
}

#[test]
fn events_prints_statistics_once() {
    let bundle = sleeping(busybox!());
    let event = bundle.rcrun(&["events", "--stats", bundle.id()]).success().json();
    assert_eq!((&event["type"], &event["id"]), (&json!("stats"), &json!(bundle.id())));
    let cpu = &event["data"]["cpu"]["usage"]["total"];
    assert!(cpu.as_u64().is_some_and(|n| n > 0), "{event}");
    bundle.delete_forced().success();
}

#[test]
fn events_goes_on_until_the_container_ends() {
    let bundle = sleeping(busybox!());
    let mut running = bundle.invocation(&["events", "--interval", "1s", bundle.id()]).spawn();
    running.wait_for_output("\"stats\"");
    bundle.kill("KILL").success();
    let outcome = running.wait().success();
    for line in outcome.stdout.lines() {
        let event: Value = serde_json::from_str(line).expect("a JSON object in each line");
        assert_eq!(event["id"], bundle.id());
    }
    // Its last process leaves the cgroup, which ends the events, before it has quite ended.
    bundle.wait_for_status("stopped");
    bundle.delete().success();
}

#[test]
fn state_has_what_callers_read() {
    let bundle = sleeping(busybox!());
    let state = bundle.state();
    assert_eq!(state["id"], bundle.id());
    assert_eq!(state["rootfs"], bundle.rootfs().to_str().expect("UTF-8"));
    assert_eq!(state["owner"], "root");
    let created = state["created"].as_str().expect("a time");
    assert!(created.len() >= 20 && created.ends_with('Z') && created.as_bytes()[10] == b'T', "{created}");
    bundle.delete_forced().success();
}
