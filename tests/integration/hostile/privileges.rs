//! F: privileges that come along: capabilities, groups, id mappings that overflow, writable cgroups.

use std::fs;
use std::os::unix::fs::chown;

use serde_json::{Value, json};

use crate::support::{Bundle, Outcome, USER, busybox, cgroup_mount, program, require};

/// Runs below a caller who has inheritable and ambient capabilities and groups.
fn below_a_privileged_caller(bundle: &Bundle, command: &[std::ffi::OsString]) -> Outcome {
    let script = "exec setpriv --groups 4,20,27 --inh-caps=+net_raw,+setuid,+chown \
         --ambient-caps=+net_raw,+setuid,+chown \"$@\"";
    bundle.invocation_in_shell(script, command).wait()
}

const SHOW: &str = "grep -E '^(Cap(Inh|Prm|Eff|Bnd|Amb)|Groups)' /proc/self/status";

#[track_caller]
fn assert_nothing_came_along(outcome: &Outcome, bounding: &str) {
    let zero = "0000000000000000";
    for (field, value) in
        [("CapInh", zero), ("CapPrm", zero), ("CapEff", zero), ("CapBnd", bounding), ("CapAmb", zero)]
    {
        assert!(outcome.stdout.contains(&format!("{field}:\t{value}\n")), "{field}: {outcome}");
    }
    let groups = outcome.stdout.lines().find_map(|line| line.strip_prefix("Groups:")).expect("Groups");
    // runc has the process's own group among the others.
    assert!(matches!(groups.trim(), "" | "1000"), "{outcome}");
}

#[test]
fn nothing_of_the_callers_capabilities_and_groups_comes_along() {
    require!(program("setpriv"));
    let sets = json!({"bounding": ["CAP_KILL"], "permitted": ["CAP_KILL"], "effective": ["CAP_KILL"]});
    let bundle = busybox!()
        .script(SHOW)
        .set("/process/user", json!({"uid": 1000, "gid": 1000}))
        .set("/process/capabilities", sets);
    bundle.write_config();
    let outcome = below_a_privileged_caller(&bundle, &bundle.bundle_command("run", &[])).success();
    assert_nothing_came_along(&outcome, "0000000000000020");
    let bundle = bundle.script("sleep 100");
    bundle.run_detached();
    let command = ["exec", bundle.id(), "sh", "-c", SHOW].map(Into::into);
    assert_nothing_came_along(&below_a_privileged_caller(&bundle, &command).success(), "0000000000000020");
    bundle.delete_forced().success();
}

#[test]
fn a_configuration_without_capabilities_gives_none() {
    require!(program("setpriv"));
    let bundle = busybox!().script(SHOW).edit(|config| {
        let process = config["process"].as_object_mut().expect("process");
        process.remove("capabilities");
        process["user"] = json!({"uid": 1000, "gid": 1000});
    });
    bundle.write_config();
    let outcome = below_a_privileged_caller(&bundle, &bundle.bundle_command("run", &[])).success();
    assert_nothing_came_along(&outcome, "0000000000000000");
}

/// The inheritable set lets a file's capabilities through (CVE-2022-29162, CVE-2022-24769).
#[test]
fn exec_makes_nothing_inheritable_that_was_not_asked_for() {
    let bundle = busybox!().script("sleep 100");
    bundle.run_detached();
    let outcome = bundle.exec_with(&["--cap", "CAP_NET_RAW"], &["grep", "^CapInh", "/proc/self/status"]);
    assert!(outcome.stdout.contains("0000000000000000"), "{outcome}");
    bundle.delete_forced().success();
}

fn mapped(bundle: Bundle, mappings: Vec<Value>) -> Bundle {
    let mappings = Value::Array(mappings);
    bundle
        .namespace("user", None)
        .set("/linux/uidMappings", mappings.clone())
        .set("/linux/gidMappings", mappings)
}

fn one(container: u64, host: u64, size: u64) -> Value {
    json!({"containerID": container, "hostID": host, "size": size})
}

/// A length of 16 bits wraps around and lets the rest of the text be read as something else
/// (CVE-2021-43784): whoever may choose mappings and must not map the host's root, does.
#[test]
fn a_list_of_mappings_too_long_for_the_kernel_maps_nothing() {
    for count in [341, 1000, 3000, 20_000] {
        let bundle = busybox!().args(["cat", "/proc/self/uid_map"]);
        let mappings = (0..count).map(|n| one(n, 100_000 + n * 2, 1)).collect();
        let bundle = mapped(bundle, mappings);
        let outcome = bundle.run_or_refused();
        assert!(!outcome.status.success(), "{count} mappings: {outcome}");
        assert_eq!(outcome.stdout, "");
        bundle.leaves_nothing();
    }
}

#[test]
fn mappings_that_overflow_or_overlap_map_nothing() {
    let max = u64::from(u32::MAX);
    for mappings in [
        vec![one(0, 100_000, max), one(1, 0, 1)],
        vec![one(0, max, 1)],
        vec![one(0, 100_000, 10), one(5, 200_000, 10)],
        vec![one(max - 1, 100_000, 10)],
        vec![one(0, max - 1, 10)],
        vec![one(0, 4_294_967_296, 1)],
        vec![one(4_294_967_296, 0, 1)],
        vec![one(0, 100_000, 4_294_967_297)],
    ] {
        let bundle = mapped(busybox!().args(["cat", "/proc/self/uid_map"]), mappings.clone());
        let outcome = bundle.run_or_refused();
        assert!(!outcome.status.success(), "{mappings:?}: {outcome}");
        bundle.leaves_nothing();
    }
}

#[test]
fn a_list_of_groups_is_whole_or_refused() {
    for count in [65_537_u32, 131_072, 1_000_000] {
        let gids: Vec<u32> = (0..count).map(|n| n % 1000 + 2000).collect();
        let bundle = busybox!().args(["id", "-G"]);
        let bundle = bundle.set("/process/user", json!({"uid": 1000, "gid": 1000, "additionalGids": gids}));
        let outcome = bundle.run_or_refused();
        assert!(!outcome.status.success(), "{count} groups: {}", outcome.stderr);
        bundle.leaves_nothing();
    }
}

/// A user whose cgroup is delegated to it must not be able to reach it from its container
/// (CVE-2023-25809).
#[test]
fn a_rootless_container_cannot_write_its_users_cgroup() {
    let bundle = require!(busybox!().rootless());
    let delegated = require!(cgroup_mount()).join(bundle.marker());
    fs::create_dir(&delegated).expect("mkdir");
    let remove = Delegated(delegated.clone());
    for name in ["", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"] {
        chown(delegated.join(name), Some(USER), Some(USER)).expect("chown");
    }
    let attack = "for d in $(find /sys/fs/cgroup -type d -name \"*$RCRUN_TEST*\" 2>/dev/null) /sys/fs/cgroup \
         /sys/fs/cgroup/unified; do if mkdir $d/evil 2>/dev/null; then \
         if test -e $d/evil/cgroup.procs; then echo escaped $d; fi; rmdir $d/evil; fi; done";
    let bundle = bundle.script(attack).without_namespace("cgroup");
    let applet = bundle.rootfs().join("bin/find");
    fs::hard_link(bundle.rootfs().join("bin/busybox"), applet).expect("link");
    let outcome = bundle.run_or_refused();
    assert!(!outcome.stdout.contains("escaped"), "{outcome}");
    // Without the mount of the cgroup file system only the host's /sys is there.
    let bundle = bundle.edit(|config| {
        let mounts = config["mounts"].as_array_mut().expect("mounts");
        mounts.retain(|mount| mount["destination"] != "/sys/fs/cgroup");
    });
    let outcome = bundle.run_or_refused();
    assert!(!outcome.stdout.contains("escaped"), "{outcome}");
    drop(remove);
}

/// A cgroup that is removed at the end.
struct Delegated(std::path::PathBuf);

impl Drop for Delegated {
    fn drop(&mut self) {
        // Gone already where the test failed: its bundle has swept.
        let removed = fs::remove_dir(&self.0);
        assert!(removed.is_ok() || std::thread::panicking(), "{removed:?}");
    }
}
