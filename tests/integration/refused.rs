//! Mounts and devices that cannot be made: named in one line, nothing left.

use std::fs;

use serde_json::json;

use crate::support::busybox;

#[test]
fn a_missing_bind_source_is_named_in_one_line() {
    let bundle = busybox!().bind("/not/here", "/mnt", &["bind"]);
    bundle.run().refused(&["/not/here", "/mnt", "no such file"]);
    bundle.leaves_nothing();
    bundle.create().refused(&["/not/here", "/mnt", "no such file"]);
    bundle.leaves_nothing();
}

#[test]
fn a_bind_source_below_a_file_is_named() {
    let bundle = busybox!().bind("/etc/passwd/below", "/mnt", &["bind"]);
    bundle.run().refused(&["/etc/passwd/below", "not a directory"]);
    bundle.leaves_nothing();
}

#[test]
fn a_relative_mount_target_is_taken_from_the_root_or_refused() {
    let bundle = busybox!().script("ls -d /mnt/here").mount("mnt/here", "tmpfs", "tmpfs", &[]);
    let outcome = bundle.run();
    match outcome.status.success() {
        true => drop(outcome.prints("/mnt/here")),
        false => drop(outcome.refused(&["mnt/here", "absolute"])),
    }
}

#[test]
fn a_device_in_a_place_that_is_taken_is_named() {
    let devices = json!([{"path": "/etc/passwd", "type": "c", "major": 1, "minor": 5}]);
    let bundle = busybox!().set("/linux/devices", devices);
    bundle.run().refused(&["/etc/passwd", "exists"]);
    bundle.leaves_nothing();
}

#[test]
fn a_device_of_an_unknown_type_is_named() {
    let devices = json!([{"path": "/dev/mine", "type": "x", "major": 1, "minor": 5}]);
    let bundle = busybox!().set("/linux/devices", devices);
    bundle.run().refused(&["linux.devices[0].type"]);
    bundle.leaves_nothing();
}

#[test]
fn a_pid_file_that_cannot_be_written_is_named_and_nothing_is_left() {
    let bundle = busybox!();
    bundle.create_with(&["--pid-file", "/not/here/pid"]).refused(&["/not/here/pid", "no such file"]);
    bundle.leaves_nothing();
}

#[test]
fn a_state_directory_that_cannot_be_made_is_named() {
    let bundle = busybox!();
    fs::write(bundle.file("file"), "").expect("write");
    let bundle = bundle.with_state_directory("files/file/state");
    bundle.create().refused(&["files/file/state", "not a directory"]);
    bundle.leaves_nothing();
}

#[test]
fn an_unknown_command_or_option_is_one_line() {
    let bundle = busybox!();
    bundle.rcrun(&["run", "--nope", bundle.id()]).refused(&["--nope"]);
    let outcome = bundle.rcrun(&["nope"]);
    assert!(!outcome.status.success(), "{outcome}");
    outcome.explains(&["nope"]);
    bundle.rcrun(&["state"]).refused(&["id"]);
    bundle.rcrun(&["kill", bundle.id(), "SIGNOPE"]).refused(&["SIGNOPE"]);
}

#[test]
fn errors_go_to_the_log_file_too() {
    let bundle = busybox!();
    let log = bundle.file("log.json");
    let bundle = bundle.global("--log").global(&log).global("--log-format").global("json");
    bundle.rcrun(&["state", bundle.id()]).refused(&[bundle.id()]);
    let text = fs::read_to_string(&log).expect("the log");
    let entry: serde_json::Value = serde_json::from_str(text.lines().last().expect("a line")).expect("JSON");
    assert_eq!(entry["level"], "error");
    assert!(entry["msg"].as_str().is_some_and(|m| m.contains("does not exist")), "{entry}");
    assert!(entry["time"].is_string(), "{entry}");
}

#[test]
fn the_log_may_be_text() {
    let bundle = busybox!();
    let log = bundle.file("log");
    let bundle = bundle.global("--log").global(&log).global("--debug");
    bundle.run().success();
    bundle.rcrun(&["state", bundle.id()]).refused(&[]);
    let text = fs::read_to_string(&log).expect("the log");
    assert!(text.contains("level=debug") && text.contains("level=error"), "{text}");
}
