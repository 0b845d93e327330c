//! What a container and an unprivileged user are handed: cgroups to manage, ranges of ids to map.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown, symlink};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::{
    Bundle, Outcome, USER, busybox, cgroup_mount, cgroup_of, process_status_field, program, require, wait_for,
};

/// Makes the configuration's mount of /sys/fs/cgroup writable.
fn with_writable_cgroups(bundle: Bundle) -> Bundle {
    bundle.edit(|config| {
        for mount in config["mounts"].as_array_mut().expect("mounts") {
            if mount["destination"] == "/sys/fs/cgroup" {
                mount["options"] = json!(["nosuid", "noexec", "nodev", "relatime"]);
            }
        }
    })
}

#[test]
fn the_root_of_a_user_namespace_manages_its_own_cgroup() {
    let script = "mkdir /sys/fs/cgroup/below && echo 0 >/sys/fs/cgroup/below/cgroup.procs && \
                  cat /proc/self/cgroup | grep 0:: && sleep 100";
    let bundle = with_writable_cgroups(busybox!().user_namespace()).script(script);
    let pid = bundle.run_detached();
    let cgroup = cgroup_mount().expect("cgroup2").join(format!("rcrun-{}", bundle.id()));
    wait_for("a cgroup below the container's", 10, || cgroup_of(pid).ends_with("below").then_some(()));
    for (file, owner) in [(".", 100000), ("cgroup.procs", 100000), ("cgroup.max.depth", 0)] {
        assert_eq!(fs::metadata(cgroup.join(file)).expect("a file of the cgroup").uid(), owner, "{file}");
    }
    bundle.delete_forced().success();
    assert!(!cgroup.exists());
}

#[test]
fn a_read_only_cgroup_stays_the_hosts() {
    let bundle = busybox!().user_namespace().script("sleep 100");
    let pid = bundle.run_detached();
    assert_eq!(fs::metadata(cgroup_of(pid)).expect("the cgroup").uid(), 0);
    bundle.delete_forced().success();
}

/// A cgroup that belongs to the user, with one below it for the user's own commands; removed on drop.
struct Delegated {
    path: PathBuf,
}

impl Delegated {
    fn for_bundle(bundle: &Bundle) -> Self {
        let path = cgroup_mount().expect("cgroup2").join(format!("delegated-{}", bundle.marker()));
        for directory in [&path, &path.join("caller")] {
            fs::create_dir(directory).expect("mkdir");
            chown(directory, Some(USER), Some(USER)).expect("chown");
            chown(directory.join("cgroup.procs"), Some(USER), Some(USER)).expect("chown");
        }
        Self { path }
    }

    /// A shell that runs a command in the cgroup `name`.
    fn script(&self, name: &str) -> String {
        format!("echo 0 >{}/cgroup.procs; exec \"$@\"", self.path.join(name).display())
    }
}

impl Drop for Delegated {
    fn drop(&mut self) {
        let _ = fs::write(self.path.join("cgroup.kill"), "1");
        for directory in [&self.path.join("caller"), &self.path] {
            wait_for("an empty cgroup", 5, || match fs::remove_dir(directory) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => None,
                _ => Some(()),
            });
        }
    }
}

#[test]
fn a_users_container_gets_a_cgroup_beside_the_users_own() {
    let bundle = require!(busybox!().rootless()).script("sleep 100");
    let delegated = Delegated::for_bundle(&bundle);
    bundle.write_config();
    for (from, place) in [("caller", delegated.path.clone()), (".", delegated.path.clone())] {
        let run = bundle.bundle_command("run", &["--detach"]);
        bundle.invocation_in_shell(&delegated.script(from), &run).wait().success();
        assert_eq!(cgroup_of(bundle.pid()), place.join(format!("rcrun-{}", bundle.id())), "from {from}");
        bundle.delete_forced().success();
    }
    drop(delegated);
}

#[test]
fn a_user_outside_of_the_delegated_cgroup_does_without() {
    let bundle = require!(busybox!().rootless()).args(["echo", "hello"]);
    let delegated = Delegated::for_bundle(&bundle);
    let cgroup = format!("/delegated-{}/container", bundle.marker());
    let bundle = bundle.set("/linux/cgroupsPath", json!(cgroup));
    let outcome = bundle.run().success();
    assert_eq!(outcome.stdout, "hello\n");
    for part in ["stays in the caller's cgroup", &cgroup, "cgroup.procs"] {
        assert!(outcome.stderr.contains(part), "no {part:?} in {outcome}");
    }
    assert!(!delegated.path.join("container").exists());
    let bundle = bundle.set("/linux/resources", json!({"unified": {"cgroup.max.descendants": "5"}}));
    bundle.run().refused(&["clone3", "permission denied", "cgroup.procs"]);
    assert!(!delegated.path.join("container").exists());
    drop(delegated);
}

/// The user's own ids and 1,000 subordinate ones.
fn several_mappings() -> Value {
    json!([
        {"containerID": 0, "hostID": USER, "size": 1},
        {"containerID": 1, "hostID": 300000, "size": 1000},
    ])
}

/// Runs a command of the user's where /etc/subuid and /etc/subgid give it `range`.
fn with_subordinate_ids(bundle: &Bundle, range: &str, options: &[&str]) -> Outcome {
    bundle.write_config();
    let file = |name: &str, text: &str| {
        let path = bundle.file(name);
        fs::write(&path, text).expect("write");
        path.display().to_string()
    };
    let passwd = file("passwd", &format!("root:x:0:0::/:/bin/sh\nsomebody:x:{USER}:{USER}::/:/bin/sh\n"));
    let ranges = file("ranges", &format!("somebody:{range}\n"));
    // Without its bounding set the user's helpers would gain no capabilities.
    let script = format!(
        "set -e; touch /etc/subuid /etc/subgid; mount --bind {ranges} /etc/subuid\n\
         mount --bind {ranges} /etc/subgid; mount --bind {passwd} /etc/passwd\n\
         for word; do shift; [ \"$word\" = --bounding-set=-all ] || set -- \"$@\" \"$word\"; done\n\
         exec \"$@\"\n"
    );
    let script = file("script", &script);
    let run = bundle.bundle_command("run", options);
    bundle.invocation_in_shell(&format!("exec unshare --mount sh {script} \"$@\""), &run).wait()
}

fn with_several_mappings(bundle: Bundle) -> Bundle {
    bundle.set("/linux/uidMappings", several_mappings()).set("/linux/gidMappings", several_mappings())
}

#[test]
fn a_user_maps_its_subordinate_ids() {
    require!(program("newuidmap"));
    let bundle = with_several_mappings(require!(busybox!().rootless()));
    let bundle = bundle.set("/process/user", json!({"uid": 5, "gid": 6, "additionalGids": [7]}));
    let bundle = bundle.script("id -u; id -g; cat /proc/self/setgroups; sleep 100");
    with_subordinate_ids(&bundle, "300000:65536", &["--detach"]).success();
    let pid = bundle.pid();
    assert!(process_status_field(pid, "Uid").starts_with("300004\t"));
    assert!(process_status_field(pid, "Gid").starts_with("300005\t"));
    assert_eq!(process_status_field(pid, "Groups"), "300006");
    bundle.exec(&["sh", "-c", "id -u; id -g; cat /proc/self/setgroups"]).prints("5\n6\nallow");
    bundle.delete_forced().success();
}

#[test]
fn ids_that_are_not_the_users_are_refused() {
    require!(program("newuidmap"));
    let bundle = with_several_mappings(require!(busybox!().rootless()));
    with_subordinate_ids(&bundle, "400000:65536", &[]).refused(&["uid_map", "newuidmap", "/etc/subuid"]);
    bundle.leaves_nothing();
}

#[test]
fn without_newuidmap_the_error_says_what_to_install() {
    let bundle = with_several_mappings(require!(busybox!().rootless()));
    bundle.write_config();
    let directory = bundle.file("bin");
    fs::create_dir(&directory).expect("mkdir");
    let setpriv: &Path = &require!(program("setpriv"));
    symlink(setpriv, directory.join("setpriv")).expect("link");
    let run = bundle.bundle_command("run", &[]);
    let script = format!("PATH={}; export PATH; exec \"$@\"", directory.display());
    let outcome = bundle.invocation_in_shell(&script, &run).wait();
    outcome.refused(&["linux.uidMappings", "newuidmap", "uidmap"]);
    bundle.leaves_nothing();
}
