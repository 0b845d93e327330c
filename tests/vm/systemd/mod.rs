//! The systemd cgroup driver, in a boot of its own where systemd is the first process (see
//! tests/bin/suites). As root with the system's manager, as a user with that user's.

mod limits;
mod units;
mod user;

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::{Bundle, USER, wait_for};

/// A bundle of root's for the systemd driver, or a reason to skip.
fn bundle_of_root(bundle: Bundle) -> Result<Bundle, String> {
    if !Path::new("/run/systemd/system").exists() {
        return Err("systemd is not the first process here: tests/vm/boot --systemd".into());
    }
    Ok(bundle.global("--systemd-cgroup"))
}

/// A bundle of a user with a manager of its own.
fn bundle_of_user(bundle: Bundle) -> Result<Bundle, String> {
    let bundle = bundle_of_root(bundle)?;
    systemctl(&["start", &format!("user@{USER}.service")]);
    let directory = format!("/run/user/{USER}");
    wait_for("the user's bus", 20, || Path::new(&directory).join("bus").exists().then_some(()));
    Ok(bundle.rootless()?.env("XDG_RUNTIME_DIR", &directory).env("DBUS_SESSION_BUS_ADDRESS", ""))
}

macro_rules! of_root {
    () => {
        $crate::support::require!($crate::systemd::bundle_of_root($crate::bundle!()))
    };
}
use of_root;

macro_rules! of_user {
    () => {
        $crate::support::require!($crate::systemd::bundle_of_user($crate::bundle!()))
    };
}
use of_user;

#[track_caller]
fn said(mut command: Command) -> String {
    let output = command.output().expect("systemctl");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8").trim().to_owned()
}

#[track_caller]
fn systemctl(args: &[&str]) -> String {
    let mut command = Command::new("systemctl");
    command.args(args);
    said(command)
}

/// systemctl of the user's manager.
#[track_caller]
fn user_systemctl(args: &[&str]) -> String {
    let mut command = Command::new("setpriv");
    command.args([&format!("--reuid={USER}"), "--clear-groups", "systemctl", "--user"]).args(args);
    command.env("XDG_RUNTIME_DIR", format!("/run/user/{USER}")).env_remove("DBUS_SESSION_BUS_ADDRESS");
    said(command)
}

/// A property of a unit as systemctl prints it.
#[track_caller]
fn property(unit: &str, name: &str) -> String {
    systemctl(&["show", "--value", "-p", name, unit])
}

#[track_caller]
fn has_properties(unit: &str, expected: &[(&str, &str)]) {
    for (name, value) in expected {
        assert_eq!(property(unit, name), *value, "{name}");
    }
}

fn unit(bundle: &Bundle) -> String {
    format!("rcrun-{}.scope", bundle.id())
}

#[track_caller]
fn is_unknown(unit: &str) {
    assert_eq!(property(unit, "LoadState"), "not-found", "{unit}");
}

const MANAGES: &str = "cd /sys/fs/cgroup && mkdir init && echo 1 >init/cgroup.procs && \
    echo '+pids +memory' >cgroup.subtree_control && mkdir inner && echo 5 >inner/pids.max && \
    cat inner/pids.max && cat /proc/self/cgroup && echo ready && exec sleep 1000";

fn with_writable_cgroups(bundle: Bundle) -> Bundle {
    fs::create_dir_all(bundle.rootfs().join("sys/fs/cgroup")).expect("mkdir");
    let bundle = bundle.namespace("cgroup", None).edit(|config| {
        let mounts = config["mounts"].as_array_mut().expect("mounts");
        mounts.retain(|mount| !mount["destination"].as_str().expect("a path").starts_with("/sys"));
    });
    bundle.mount("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev"]).script(MANAGES)
}
