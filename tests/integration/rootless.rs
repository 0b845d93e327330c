//! Containers of an unprivileged user: `rcrun spec --rootless; rcrun run`, and what goes without root.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::PathBuf;

use serde_json::json;

use crate::support::{
    Bundle, Pty, USER, busybox, cgroup_mount, cgroup_of, process_exists, process_status_field, require,
    wait_for,
};

/// A bundle of an unprivileged user, or a return from the test with a SKIP line.
macro_rules! rootless {
    () => {
        require!(busybox!().rootless())
    };
}

/// The host's processes, too: a new procfs needs a new PID namespace.
fn with_pids_of_the_host(bundle: Bundle) -> Bundle {
    bundle.without_namespace("pid").edit(|config| {
        config["mounts"][0] =
            json!({"destination": "/proc", "type": "none", "source": "/proc", "options": ["rbind"]});
        config["linux"]["maskedPaths"] = json!([]);
        config["linux"]["readonlyPaths"] = json!([]);
    })
}

#[test]
fn a_user_runs_a_container_and_is_its_root() {
    let script = "id -u; id -g; cat /proc/self/uid_map /proc/self/gid_map /proc/self/setgroups";
    let outcome = rootless!().script(script).run().success();
    let words: Vec<&str> = outcome.stdout.split_whitespace().collect();
    assert_eq!(words, ["0", "0", "0", "1000", "1", "0", "1000", "1", "deny"], "{outcome}");
    assert_eq!(outcome.stderr, "");
}

#[test]
fn the_exit_status_is_that_of_the_process() {
    rootless!().script("exit 7").run().exits_with(7);
    with_pids_of_the_host(rootless!()).script("kill -KILL $$").run().exits_with(137);
}

#[test]
fn the_process_has_the_capabilities_of_the_configuration_and_the_users_ids() {
    let bundle = rootless!().script("sleep 100");
    let pid = bundle.run_detached();
    assert!(process_status_field(pid, "Uid").starts_with("1000\t1000\t1000\t1000"));
    assert_eq!(process_status_field(pid, "CapEff"), "0000000020000420");
    assert_eq!(process_status_field(pid, "NoNewPrivs"), "1");
    bundle.delete_forced().success();
}

#[test]
fn mounts_devices_and_masks_are_those_of_the_configuration() {
    let places = "/proc|/dev|/dev/pts|/dev/shm|/dev/mqueue|/sys|/sys/fs/cgroup";
    let script = format!(
        "cut -d' ' -f2 /proc/mounts | grep -x -E '{places}' | sort -u | wc -l; echo word >/dev/null && \
         head -c 4 /dev/zero | wc -c; touch /file || echo read-only; ls /sys/firmware | wc -l; \
         test -c /dev/tty && hostname"
    );
    let outcome = rootless!().script(&script).run();
    assert_eq!(outcome.stdout.trim_end(), "7\n4\nread-only\n0\nrcrun", "{outcome}");
}

#[test]
fn files_made_in_the_container_are_the_users() {
    let bundle = rootless!().writable().script("touch /tmp/file && stat -c %u:%g /tmp/file");
    chown(bundle.rootfs().join("tmp"), Some(USER), Some(USER)).expect("chown");
    bundle.run().prints("0:0");
    let file = fs::metadata(bundle.rootfs().join("tmp/file")).expect("the file");
    assert_eq!((file.uid(), file.gid()), (USER, USER));
}

#[test]
fn binds_show_the_host_as_it_was_and_may_be_read_only() {
    let bundle = rootless!().script("cat /mnt/word /data/word; touch /mnt/other || echo read-only");
    let (one, two) = (bundle.file("one"), bundle.file("two"));
    for directory in [&one, &two] {
        fs::create_dir(directory).expect("mkdir");
        fs::write(directory.join("word"), directory.file_name().expect("a name").as_encoded_bytes())
            .expect("write");
    }
    fs::create_dir(bundle.rootfs().join("mnt")).expect("mkdir");
    fs::create_dir(bundle.rootfs().join("data")).expect("mkdir");
    // The second source lies below the root file system, where the first is mounted by then.
    fs::write(bundle.rootfs().join("mnt/word"), "below").expect("write");
    let below = bundle.rootfs().join("mnt");
    let bundle = bundle.bind(&one, "/mnt", &["rbind", "ro"]).bind(below, "/data", &["bind"]);
    let outcome = bundle.run();
    assert_eq!(outcome.stdout, "onebelowread-only\n", "{outcome}");
}

#[test]
fn mounts_below_a_bind_source_cannot_be_left_out() {
    let bundle = rootless!().bind("/dev", "/tmp", &["bind"]);
    bundle.run().refused(&["clone mount /dev", "rbind"]);
    bundle.leaves_nothing();
}

#[test]
fn a_bind_source_that_the_user_may_not_reach_is_refused() {
    let bundle = rootless!();
    let closed = bundle.file("closed");
    fs::create_dir_all(closed.join("open")).expect("mkdir");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).expect("chmod");
    let bundle = bundle.bind(closed.join("open"), "/mnt", &["rbind"]);
    bundle.run().refused(&["mounts[7]", "closed/open", "permission denied"]);
    bundle.leaves_nothing();
}

#[test]
fn create_start_kill_and_delete_work() {
    let bundle = rootless!().script("echo ready; sleep 100");
    bundle.create().success();
    assert_eq!(bundle.status(), "created");
    let pid = bundle.pid();
    bundle.start().success();
    bundle.wait_for_status("running");
    assert!(bundle.rcrun(&["list", "--quiet"]).success().stdout.contains(bundle.id()));
    bundle.kill("KILL").success();
    bundle.wait_for_status("stopped");
    bundle.delete().success();
    assert!(!process_exists(pid));
    bundle.leaves_nothing();
}

#[test]
fn exec_joins_every_namespace_of_the_container() {
    let bundle = rootless!().script("sleep 100");
    let pid = bundle.run_detached();
    let kinds = ["user", "pid", "ipc", "uts", "mnt", "cgroup", "net"];
    let script = kinds.map(|kind| format!("readlink /proc/self/ns/{kind}")).join("; ");
    let outcome = bundle.exec(&["sh", "-c", &script]).success();
    let links = kinds.map(|kind| fs::read_link(format!("/proc/{pid}/ns/{kind}")).expect("a namespace"));
    let links = links.map(|link| link.to_str().expect("UTF-8").to_owned());
    assert_eq!(outcome.stdout.lines().collect::<Vec<_>>(), links, "{outcome}");
    bundle.exec(&["sh", "-c", "id -u; exit 9"]).exits_with(9);
    bundle.delete_forced().success();
}

#[test]
fn exec_works_without_a_pid_namespace_and_with_oom_score_adj() {
    let bundle = with_pids_of_the_host(rootless!()).set("/process/oomScoreAdj", json!(500));
    let bundle = bundle.script("sleep 100");
    let pid = bundle.run_detached();
    assert_eq!(fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).expect("a score").trim(), "500");
    bundle.exec(&["cat", "/proc/self/oom_score_adj"]).prints("500");
    bundle.delete_forced().success();
}

#[test]
fn exec_sets_oom_score_adj_in_a_pid_namespace_too() {
    let bundle = rootless!().set("/process/oomScoreAdj", json!(500)).script("sleep 100");
    bundle.run_detached();
    bundle.exec(&["cat", "/proc/self/oom_score_adj"]).prints("500");
    bundle.delete_forced().success();
}

#[test]
fn a_terminal_works_in_the_foreground_and_for_exec() {
    let bundle = rootless!().script("tty; read x; echo got $x").set("/process/terminal", json!(true));
    let (mut pty, slave) = Pty::open();
    let running = bundle.run_invocation(&[]).on_terminal(&slave).spawn();
    pty.wait_for("/dev/pts/0");
    let exec = bundle.invocation(&["exec", "--tty", bundle.id(), "tty"]).on_terminal(&slave).spawn();
    pty.wait_for("/dev/pts/1");
    exec.wait().success();
    pty.write("word\n");
    pty.wait_for("got word");
    running.wait().success();
}

#[test]
fn kill_all_and_a_forced_delete_need_no_cgroup() {
    let bundle = rootless!().script("sleep 100 & sleep 100");
    bundle.run_detached();
    bundle.rcrun(&["kill", "--all", bundle.id(), "KILL"]).success();
    bundle.wait_for_status("stopped");
    bundle.delete().success();
    let pid = bundle.run_detached();
    bundle.delete_forced().success();
    assert!(!process_exists(pid));
}

#[test]
fn what_needs_a_cgroup_says_that_there_is_none() {
    let bundle = rootless!().script("sleep 100");
    bundle.run_detached();
    let id = bundle.id();
    for command in [
        vec!["pause", id],
        vec!["ps", id],
        vec!["events", "--stats", id],
        vec!["update", "--pids-limit", "5", id],
    ] {
        bundle.rcrun(&command).refused(&[id, "has no cgroup"]);
    }
    let outcome = bundle.exec_with(&["--cgroup", "below"], &["true"]);
    outcome.exits_with(255).explains(&["has no cgroup"]);
    bundle.delete_forced().success();
}

#[test]
fn limits_that_cannot_be_set_are_not_left_out() {
    let limits = json!({"unified": {"cgroup.max.descendants": "5"}});
    let bundle = rootless!().set("/linux/resources", limits);
    bundle.run().refused(&["cannot make cgroup", "permission denied", "delegated", "linux.resources"]);
    bundle.leaves_nothing();
}

#[test]
fn rootless_false_insists_on_a_cgroup() {
    let bundle = rootless!().global("--rootless").global("false");
    bundle.run().refused(&["cannot make cgroup", "permission denied"]);
    bundle.leaves_nothing();
    rootless!().global("--rootless").global("true").args(["echo", "hello"]).run().prints("hello");
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
fn a_delegated_cgroup_is_used() {
    let limits = json!({"unified": {"cgroup.max.descendants": "5"}});
    let bundle = rootless!().set("/linux/resources", limits).script("sleep 100");
    let delegated = Delegated::for_bundle(&bundle);
    let cgroup = format!("/delegated-{}/container", bundle.marker());
    let bundle = bundle.set("/linux/cgroupsPath", json!(cgroup));
    bundle.write_config();
    let script = format!("echo 0 >{}/cgroup.procs; exec \"$@\"", delegated.path.join("caller").display());
    let run = bundle.bundle_command("run", &["--detach"]);
    bundle.invocation_in_shell(&script, &run).wait().success();
    let pid = bundle.pid();
    let own = cgroup_of(pid);
    assert_eq!(own, delegated.path.join("container"));
    assert_eq!(fs::read_to_string(own.join("cgroup.max.descendants")).expect("the limit"), "5\n");
    let pids = bundle.rcrun(&["ps", "--format", "json", bundle.id()]).success().json();
    assert_eq!(pids, json!([pid]));
    bundle.rcrun(&["pause", bundle.id()]).success();
    assert_eq!(bundle.status(), "paused");
    bundle.rcrun(&["resume", bundle.id()]).success();
    bundle.delete_forced().success();
    assert!(!own.exists());
    // The bundle, declared later, would miss it at its check.
    drop(delegated);
}

#[test]
fn without_a_user_namespace_the_error_says_what_to_add() {
    let bundle = rootless!().without_namespace("user").edit(|config| {
        let linux = config["linux"].as_object_mut().expect("linux");
        linux.remove("uidMappings");
        linux.remove("gidMappings");
    });
    bundle.run().refused(&["linux.namespaces", "user namespace", "rcrun spec --rootless"]);
    bundle.leaves_nothing();
}

#[test]
fn a_cgroup_mount_needs_a_cgroup_namespace() {
    let bundle = rootless!().without_namespace("cgroup");
    bundle.run().refused(&["linux.namespaces", "cgroup", "missing"]);
    bundle.leaves_nothing();
}

#[test]
fn a_mapping_of_others_is_refused() {
    let mapping = json!([{"containerID": 0, "hostID": 100000, "size": 65536}]);
    let bundle = rootless!().set("/linux/uidMappings", mapping);
    // Nobody gives this user ids; one is its own to map, but not any one.
    bundle.run().refused(&["newuidmap"]);
    let mapping = json!([{"containerID": 0, "hostID": 100000, "size": 1}]);
    let bundle = bundle.set("/linux/uidMappings", mapping);
    bundle.run().refused(&["uid_map", "not permitted"]);
    bundle.leaves_nothing();
}

#[test]
fn the_state_lies_below_the_users_runtime_directory() {
    let bundle = rootless!().args(["echo", "hello"]);
    bundle.write_config();
    let run = bundle.bundle_command("run", &[]);
    let runtime = bundle.file("run");
    fs::create_dir(&runtime).expect("mkdir");
    chown(&runtime, Some(USER), Some(USER)).expect("chown");
    let invocation = bundle.invocation_with_default_root(&run).env("XDG_RUNTIME_DIR", &runtime);
    invocation.wait().prints("hello");
    assert_eq!(fs::read_dir(runtime.join("rcrun")).expect("the state directory").count(), 0);
    let invocation = bundle.invocation_with_default_root(&run).env("XDG_RUNTIME_DIR", "");
    invocation.wait().refused(&["/run/rcrun", "permission denied", "XDG_RUNTIME_DIR", "--root"]);
}

#[test]
fn the_plan_says_what_is_up_to_the_child() {
    let bundle = rootless!();
    let plan = bundle.run_with(&["--dry-run"]).success().stdout;
    for line in [
        "parent  create cgroup /rcrun-",
        ", or do without if that is not permitted\n",
        "child   clone mount tree of the root file system\n",
        "child   clone mount tree /sys\n",
        "child   clone mount /dev/null\n",
    ] {
        assert!(plan.contains(line), "no {line:?} in {plan}");
    }
    assert!(!plan.contains("parent  clone mount"), "{plan}");
}
