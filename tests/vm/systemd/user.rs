//! Containers of a user, as scopes of that user's own systemd.

use serde_json::json;

use super::{of_user, unit, user_systemctl, with_writable_cgroups};
use crate::Limited;
use crate::support::{USER, cgroup_of, cgroup_text, process_exists};

#[test]
fn a_users_container_is_a_scope_of_the_users_manager() {
    let bundle = of_user!().script("sleep 1000");
    let resources = json!({"memory": {"limit": 67_108_864}, "pids": {"limit": 20}, "cpu": {"shares": 2}});
    let bundle = bundle.set("/linux/resources", resources);
    let pid = bundle.run_detached();
    let (cgroup, unit) = (cgroup_of(pid), unit(&bundle));
    let below = format!("user.slice/user-{USER}.slice/user@{USER}.service/user.slice/{unit}");
    assert!(cgroup.ends_with(&below), "{}", cgroup.display());
    let property = |name: &str| user_systemctl(&["show", "--value", "-p", name, &unit]);
    for (name, value) in
        [("MemoryMax", "67108864"), ("TasksMax", "20"), ("CPUWeight", "1"), ("Delegate", "yes")]
    {
        assert_eq!(property(name), value, "{name}");
    }
    assert_eq!(cgroup_text(&cgroup, "memory.max"), "67108864");
    bundle.update(&["--pids-limit", "30"]);
    user_systemctl(&["daemon-reload"]);
    assert_eq!((property("TasksMax").as_str(), cgroup_text(&cgroup, "pids.max").as_str()), ("30", "30"));
    // A further process is moved there by systemd: the user may not.
    let before = cgroup_text(&cgroup, "cgroup.procs");
    bundle.exec_with(&["--detach"], &["sleep", "1000"]).success();
    let after = cgroup_text(&cgroup, "cgroup.procs");
    assert_eq!((before.lines().count(), after.lines().count()), (1, 2), "{after}");
    bundle.exec(&["sh", "-c", "exit 9"]).exits_with(9);
    bundle.rcrun(&["pause", bundle.id()]).success();
    assert_eq!(bundle.status(), "paused");
    bundle.delete_forced().success();
    assert_eq!(property("LoadState"), "not-found");
    assert!(!cgroup.exists() && !process_exists(pid));
}

#[test]
fn a_users_foreground_run_leaves_no_unit() {
    let bundle = of_user!().script("exit 7");
    let state = |unit: &str| user_systemctl(&["show", "--value", "-p", "LoadState", unit]);
    bundle.run().exits_with(7);
    assert_eq!(state(&unit(&bundle)), "not-found");
    let bundle = bundle.args(["/nope"]);
    bundle.run().refused(&["/nope"]);
    assert_eq!(state(&unit(&bundle)), "not-found");
}

#[test]
fn a_users_container_manages_its_cgroup_and_takes_further_processes_there() {
    let bundle = with_writable_cgroups(of_user!()).limit("pids", json!({"limit": 50}));
    let mut running = bundle.run_invocation(&[]).spawn();
    running.wait_for_output("ready\n");
    assert_eq!(running.stdout(), "5\n0::/init\nready\n");
    bundle.exec(&["cat", "/proc/self/cgroup"]).prints("0::/init");
    bundle.exec_with(&["--cgroup", "/inner"], &["cat", "/proc/self/cgroup"]).prints("0::/inner");
    bundle.kill("KILL").success();
    running.wait().exits_with(128 + 9);
}

/// Runs rcrun, whose words follow setpriv's `--`, as the root of a user namespace.
const AS_NAMESPACED_ROOT: &str = "for word do shift; case $word in \
    --) set -- \"$@\" -- unshare --user --map-root-user --mount ;; *) set -- \"$@\" \"$word\" ;; esac; done; exec \"$@\"";

#[test]
fn the_root_of_a_user_namespace_uses_the_manager_of_its_user() {
    let bundle = of_user!().script("sleep 1000").edit(|config| {
        for list in ["uidMappings", "gidMappings"] {
            config["linux"][list][0]["hostID"] = json!(0);
        }
    });
    bundle.write_config();
    let run = bundle.bundle_command("run", &["--detach"]);
    bundle.invocation_in_shell(AS_NAMESPACED_ROOT, &run).wait().success();
    assert_eq!(user_systemctl(&["show", "--value", "-p", "ActiveState", &unit(&bundle)]), "active");
    bundle.exec(&["true"]).success();
    bundle.delete_forced().success();
    assert_eq!(user_systemctl(&["show", "--value", "-p", "LoadState", &unit(&bundle)]), "not-found");
}

#[test]
fn a_controller_that_is_not_delegated_to_the_user_is_named() {
    let bundle = of_user!();
    let refused = &["linux.resources.blockIO.weight", "\"io\"", "cpu, memory, pids"];
    let weight = json!({"weight": 100});
    let mut bundle = bundle.limit("blockIO", weight.clone());
    bundle.run().refused(refused);
    bundle = bundle.limit("blockIO", json!({}));
    bundle.sleeping();
    let update = ["update", "--resources", "-", bundle.id()];
    bundle.invocation(&update).stdin(&json!({"blockIO": weight}).to_string()).wait().refused(refused);
    bundle.delete_forced().success();
}
