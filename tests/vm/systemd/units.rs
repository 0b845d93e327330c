//! Scopes that come and go: nothing is left of them, whatever happens; delegation, slices, restore.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use serde_json::json;

use super::{has_properties, is_unknown, of_root, property, systemctl, unit, with_writable_cgroups};
use crate::Limited;
use crate::support::{cgroup_of, cgroup_text, program, require, wait_for};

#[test]
fn a_foreground_run_and_a_failed_one_leave_no_unit() {
    let bundle = of_root!().script("exit 7");
    let unit = unit(&bundle);
    bundle.run().exits_with(7);
    is_unknown(&unit);
    bundle.args(["/nope"]).run().refused(&["/nope"]);
    is_unknown(&unit);
}

#[test]
fn a_container_that_a_hook_ends_half_made_leaves_no_unit() {
    let bundle = of_root!().hook("createRuntime", "exit 3");
    let unit = unit(&bundle);
    bundle.create().explains(&["exit"]);
    is_unknown(&unit);
    // The runtime itself dies; what it had made so far is delete's.
    let bundle = of_root!().hook("createRuntime", "kill -KILL $PPID");
    let unit = super::unit(&bundle);
    assert_eq!(bundle.create().status.signal(), Some(9));
    bundle.delete_forced().success();
    is_unknown(&unit);
}

#[test]
fn a_unit_that_failed_makes_place_for_a_new_one() {
    let bundle = of_root!();
    let unit = unit(&bundle);
    let mut failing = Command::new("systemd-run");
    failing.args(["--scope", "--unit", &unit, "-p", "RuntimeMaxSec=200ms", "sleep", "100"]);
    assert!(!failing.output().expect("systemd-run").status.success());
    wait_for("a unit that failed", 20, || (property(&unit, "ActiveState") == "failed").then_some(()));
    bundle.run().success();
    is_unknown(&unit);
}

#[test]
fn a_unit_that_runs_is_not_taken() {
    let bundle = of_root!();
    let unit = unit(&bundle);
    let mut other = Command::new("systemd-run");
    let mut other = other
        .args(["--scope", "--unit", &unit, "sleep", "100"])
        .stderr(Stdio::null())
        .spawn()
        .expect("systemd-run");
    wait_for("a unit that runs", 20, || (property(&unit, "ActiveState") == "active").then_some(()));
    bundle.run().refused(&["StartTransientUnit", &unit, "UnitExists"]);
    assert_eq!(property(&unit, "ActiveState"), "active");
    systemctl(&["stop", &unit]);
    other.wait().expect("wait");
}

#[test]
fn a_slice_that_is_not_there_is_made_with_those_above_it() {
    let bundle = of_root!();
    let path = format!("some-thing-new.slice:p:{}", bundle.id());
    let mut bundle = bundle.set("/linux/cgroupsPath", json!(path)).limit("pids", json!({"limit": 20}));
    let cgroup = bundle.sleeping();
    let expected = format!("some.slice/some-thing.slice/some-thing-new.slice/p-{}.scope", bundle.id());
    assert!(cgroup.ends_with(expected), "{}", cgroup.display());
    assert_eq!(cgroup_text(&cgroup, "pids.max"), "20");
    bundle.exec(&["true"]).success();
    bundle.kill("KILL").success();
    bundle.wait_for_status("stopped");
    bundle.delete().success();
    is_unknown(&format!("p-{}.scope", bundle.id()));
    systemctl(&["stop", "some.slice"]);
}

#[test]
fn a_container_manages_the_cgroup_that_is_delegated_to_it() {
    let bundle = with_writable_cgroups(of_root!().user_namespace()).limit("pids", json!({"limit": 50}));
    let mut running = bundle.run_invocation(&[]).spawn();
    running.wait_for_output("ready\n");
    assert_eq!(running.stdout(), "5\n0::/init\nready\n");
    systemctl(&["daemon-reload"]);
    let look = "cat /sys/fs/cgroup/inner/pids.max; cat /proc/self/cgroup";
    bundle.exec(&["sh", "-c", look]).prints("5\n0::/init");
    bundle.kill("KILL").success();
    running.wait().exits_with(128 + 9);
    is_unknown(&unit(&bundle));
}

#[test]
fn a_restored_container_is_a_scope_again() {
    let mut bundle = of_root!().limit("pids", json!({"limit": 20}));
    require!(program("criu"));
    let first = bundle.sleeping();
    let images = bundle.file("images");
    let images = images.to_str().expect("UTF-8");
    let checkpoint = ["checkpoint", "--image-path", images, bundle.id()];
    bundle.invocation(&checkpoint).limit(60).wait().success();
    let unit = unit(&bundle);
    is_unknown(&unit);
    let restore = bundle.bundle_command("restore", &["--image-path", images, "--detach"]);
    bundle.invocation(&restore).limit(60).wait().success();
    assert_eq!(cgroup_of(bundle.pid()), first);
    has_properties(&unit, &[("ActiveState", "active"), ("TasksMax", "20")]);
    assert_eq!(cgroup_text(&first, "pids.max"), "20");
    bundle.exec(&["true"]).success();
    bundle.delete_forced().success();
    is_unknown(&unit);
}
