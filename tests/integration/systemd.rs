//! The systemd cgroup driver where there is no systemd to be reached; with one: tests/vm/systemd/.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;

use serde_json::json;

use crate::support::{Bundle, Outcome, busybox, require};

#[test]
fn a_path_is_no_unit() {
    let bundle = busybox!().global("--systemd-cgroup").set("/linux/cgroupsPath", json!("/a/b"));
    bundle.run().refused(&["linux.cgroupsPath", "slice:prefix:name"]);
}

#[test]
fn an_annotation_that_is_no_property_is_named() {
    let bundle = busybox!().global("--systemd-cgroup");
    let bundle = bundle.set("/annotations", json!({"org.systemd.property.TimeoutStopSec": "['x']"}));
    bundle.run().refused(&["annotation org.systemd.property.TimeoutStopSec", "['x']", "seconds"]);
}

#[test]
fn without_a_bus_one_line_says_so() {
    let bundle = busybox!().global("--systemd-cgroup");
    let bundle = bundle.env("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent/bus");
    bundle.run().refused(&["systemd cannot be reached", "/nonexistent/bus", "leave --systemd-cgroup out"]);
    bundle.leaves_nothing();
}

#[test]
fn without_a_bus_of_their_own_users_are_told_so() {
    let bundle = require!(busybox!().rootless()).global("--systemd-cgroup");
    let bundle = bundle.env("XDG_RUNTIME_DIR", "/nonexistent");
    let bundle = bundle.env("DBUS_SESSION_BUS_ADDRESS", "");
    bundle.run().refused(&["the user's systemd cannot be reached", "/nonexistent/bus"]);
    let bundle = bundle.env("XDG_RUNTIME_DIR", "");
    bundle.run().refused(&["the user's systemd cannot be reached", "XDG_RUNTIME_DIR is set"]);
}

/// `rcrun run` with a bus that says this, and hangs up.
fn run_with_bus_saying(bundle: Bundle, words: &'static [u8]) -> Outcome {
    let path = bundle.file("bus");
    let listener = UnixListener::bind(&path).expect("bind");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o666)).expect("chmod");
    let bus = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("accept");
        // What it is told is nothing to it; a reset would hide what it says.
        let _ = stream.read(&mut [0; 512]);
        let _ = stream.write_all(words);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let address = format!("unix:path={}", path.display());
    let outcome = bundle.global("--systemd-cgroup").env("DBUS_SYSTEM_BUS_ADDRESS", &address).run();
    bus.join().expect("the bus");
    outcome
}

#[test]
fn a_bus_that_makes_no_sense_is_an_error_and_no_wait() {
    for (words, complaint) in [
        (&b""[..], "hung up"),
        (b"REJECTED KERBEROS\r\n", "REJECTED"),
        (b"OK 1234\r\n\x01\x02", "hung up"),
        (b"OK 1234\r\nnonsense that is no message", "broken"),
        (
            b"OK 1234\r\nl\x02\x01\x01\xff\xff\xff\xff\x01\x00\x00\x00\xff\xff\xff\xff",
            "longer than D-Bus allows",
        ),
    ] {
        run_with_bus_saying(busybox!(), words).refused(&["systemd cannot be reached", complaint]);
    }
}
