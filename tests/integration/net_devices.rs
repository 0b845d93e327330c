//! `linux.netDevices`: network devices that move into the container.

use std::process::Command;

use serde_json::{Value, json};

use crate::support::{Bundle, Invocation, NamespaceHolder, busybox, program, require, wait_for};

/// A network namespace in the place of the host's, with a pair of devices: `one`, which has a fixed
/// address of each family and another MTU, and `other`.
struct Host(NamespaceHolder);

impl Host {
    fn new() -> Result<Self, String> {
        program("ip")?;
        program("nsenter")?;
        let host = Self(NamespaceHolder::new(&["--net"], "net")?);
        for line in [
            "link add one type veth peer name other",
            "link set one mtu 1400 address 02:00:00:00:00:07 up",
            "link set other up",
            "addr add 10.9.0.1/24 broadcast 10.9.0.255 dev one",
            "addr add fd00:9::1/64 dev one nodad",
        ] {
            let (ok, output) = host.ip(line);
            if !ok {
                return Err(format!("ip {line}: {output}"));
            }
        }
        Ok(host)
    }

    fn ip(&self, line: &str) -> (bool, String) {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.0.path("net"))).arg("ip").args(line.split(' '));
        let output = command.output().expect("start nsenter");
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&text).into_owned())
    }

    fn run(&self, bundle: &Bundle) -> Invocation {
        bundle.write_config();
        let script = format!("exec nsenter --net={} \"$@\"", self.0.path("net"));
        bundle.invocation_in_shell(&script, &["run".into(), format!("{}/", bundle.path().display())])
    }

    /// What `ip` says of a device once it is up: the kernel notices its peer a moment later.
    fn up(&self, device: &str) -> String {
        wait_for(&format!("{device} to be up"), 10, || {
            let (ok, text) = self.ip(&format!("addr show dev {device}"));
            assert!(ok, "{text}");
            text.contains("state UP").then_some(text)
        })
    }

    #[track_caller]
    fn assert_unchanged(&self) {
        let text = self.up("one");
        for part in ["10.9.0.1/24", "fd00:9::1/64", "mtu 1400"] {
            assert!(text.contains(part), "no {part}: {text}");
        }
    }
}

fn moving(bundle: Bundle, devices: Value) -> Bundle {
    bundle.set("/linux/netDevices", devices)
}

#[test]
fn a_device_moves_with_its_addresses_under_its_new_name() {
    let host = require!(Host::new());
    let bundle = moving(busybox!(), json!({"one": {"name": "eth0"}}));
    let outcome = host.run(&bundle.script("busybox ip addr show dev eth0; busybox ip link show one")).wait();
    assert_ne!(outcome.status.code(), Some(0), "the old name is gone: {outcome}");
    for part in ["10.9.0.1/24 brd 10.9.0.255", "fd00:9::1/64", "mtu 1400", "02:00:00:00:00:07", ",UP"] {
        assert!(outcome.stdout.contains(part), "no {part}: {outcome}");
    }
    // A virtual device ends with the container's network namespace.
    assert!(!host.ip("link show dev one").0);
}

#[test]
fn devices_keep_their_names_where_none_is_given() {
    let host = require!(Host::new());
    let bundle = moving(busybox!(), json!({"one": {}, "other": {"name": ""}}));
    let outcome = host.run(&bundle.args(["busybox", "ip", "link"])).wait().success();
    assert!(outcome.stdout.contains(" one@") && outcome.stdout.contains(" other@"), "{outcome}");
}

#[test]
fn a_device_moves_into_a_user_namespace() {
    let host = require!(Host::new());
    let bundle = moving(busybox!().user_namespace(), json!({"one": {"name": "eth0"}}));
    let outcome = host.run(&bundle.args(["busybox", "ip", "addr", "show", "dev", "eth0"])).wait().success();
    assert!(outcome.stdout.contains("10.9.0.1/24"), "{outcome}");
}

#[test]
fn a_device_moves_into_a_network_namespace_that_is_joined() {
    let host = require!(Host::new());
    let joined = require!(NamespaceHolder::new(&["--net"], "net"));
    let bundle = moving(busybox!(), json!({"one": {"name": "eth0"}}));
    let bundle = bundle.namespace("network", Some(&joined.path("net")));
    let outcome = host.run(&bundle.args(["busybox", "ip", "addr", "show", "dev", "eth0"])).wait().success();
    assert!(outcome.stdout.contains("10.9.0.1/24"), "{outcome}");
}

#[test]
fn a_device_is_back_after_a_launch_that_fails() {
    let host = require!(Host::new());
    let bundle = moving(busybox!().args(["no-such-program"]), json!({"one": {"name": "eth0"}}));
    host.run(&bundle).wait().refused(&["no-such-program"]);
    host.assert_unchanged();
    bundle.leaves_nothing();
}

#[test]
fn a_device_is_back_if_another_cannot_move() {
    let host = require!(Host::new());
    // The container has a lo of its own.
    let bundle = moving(busybox!(), json!({"one": {"name": "eth0"}, "other": {"name": "lo"}}));
    host.run(&bundle).wait().refused(&["linux.netDevices", "other", "exists"]);
    host.assert_unchanged();
    host.up("other");
}

#[test]
fn a_device_that_is_not_there_is_named() {
    let host = require!(Host::new());
    let bundle = moving(busybox!(), json!({"one": {}, "two": {}}));
    host.run(&bundle).wait().refused(&["linux.netDevices", "two", "no such"]);
    host.assert_unchanged();
    let bundle = moving(busybox!(), json!({"one": {"name": "a/b"}}));
    host.run(&bundle).wait().refused(&["linux.netDevices", "one", "a/b"]);
    let bundle = moving(busybox!().without_namespace("network"), json!({"one": {}}));
    host.run(&bundle).wait().refused(&["linux.netDevices", "network namespace"]);
}
