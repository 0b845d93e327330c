//! cgroups v2 as far as a host without controllers shows them; the rest runs in the VM.

use std::fs;

use serde_json::json;

use crate::support::{
    busybox, cgroup_mount, cgroup_of, cgroup_text, controller, controllers, own_cgroup, require,
};

#[test]
fn a_container_gets_a_cgroup_named_by_its_id_and_gives_it_back() {
    let bundle = busybox!().script("sleep 100");
    let pid = bundle.run_detached();
    let cgroup = cgroup_of(pid);
    let name = cgroup.file_name().expect("a name").to_string_lossy().into_owned();
    assert_eq!(name, format!("rcrun-{}", bundle.id()));
    assert_eq!(cgroup_text(&cgroup, "cgroup.procs"), pid.to_string());
    bundle.delete_forced().success();
    assert!(!cgroup.exists());
}

#[test]
fn the_process_was_never_anywhere_else() {
    // The shell's children are born in the same cgroup; rcrun itself is not in it.
    let bundle = busybox!().script("echo ready; sleep 100");
    let mut running = bundle.run_invocation(&[]).spawn();
    running.wait_for_output("ready");
    assert_ne!(cgroup_of(running.pid()), cgroup_of(bundle.pid()));
    bundle.kill("KILL").success();
    running.wait().exits_with(137);
}

#[test]
fn an_absolute_cgroups_path_is_below_the_mount() {
    let bundle = busybox!().script("sleep 100");
    let path = format!("/{}-parent/inner/deep", bundle.marker());
    let bundle = bundle.set("/linux/cgroupsPath", json!(path));
    let pid = bundle.run_detached();
    let mount = cgroup_mount().expect("cgroup2");
    assert_eq!(cgroup_of(pid), mount.join(&path[1..]));
    bundle.delete_forced().success();
    assert!(!mount.join(&path[1..]).exists());
    // Parents may be shared: removed here where rcrun leaves them.
    for parent in [format!("{}-parent/inner", bundle.marker()), format!("{}-parent", bundle.marker())] {
        let _ = fs::remove_dir(mount.join(parent));
    }
}

#[test]
fn a_relative_cgroups_path_is_below_the_parent_of_our_own_cgroup() {
    let bundle = busybox!().script("sleep 100");
    let path = format!("{}-relative", bundle.marker());
    let bundle = bundle.set("/linux/cgroupsPath", json!(path));
    let pid = bundle.run_detached();
    let own = own_cgroup();
    let parent = own.rsplit_once('/').map_or("", |(parent, _)| parent).trim_start_matches('/');
    assert_eq!(cgroup_of(pid), cgroup_mount().expect("cgroup2").join(parent).join(path));
    bundle.delete_forced().success();
}

#[test]
fn a_cgroups_path_cannot_climb_out() {
    let bundle = busybox!().script("sleep 100");
    let path = format!("/a/../../../../{}-climbing", bundle.marker());
    let bundle = bundle.set("/linux/cgroupsPath", json!(path));
    let outcome = bundle.run_with(&["--detach"]);
    if outcome.status.success() {
        assert!(cgroup_of(bundle.pid()).starts_with(cgroup_mount().expect("cgroup2")));
        bundle.delete_forced().success();
    } else {
        outcome.refused(&["cgroup", &path]);
    }
}

#[test]
fn a_cgroup_in_use_is_not_taken_over() {
    let first = busybox!().script("sleep 100");
    let path = format!("/{}-shared", first.marker());
    let first = first.set("/linux/cgroupsPath", json!(path));
    first.run_detached();
    let second = busybox!().set("/linux/cgroupsPath", json!(path));
    second.run().refused(&["cgroup", &path]);
    assert_eq!(first.status(), "running");
    first.delete_forced().success();
}

#[test]
fn a_limit_without_its_controller_names_controller_and_cgroup() {
    if controller("memory").is_ok() {
        return crate::support::skip("this host has the memory controller");
    }
    let bundle = busybox!().set("/linux/resources/memory", json!({"limit": 100 << 20}));
    let cgroup = format!("rcrun-{}", bundle.id());
    bundle.run().refused(&["memory", "controller", &cgroup, "--missing-controllers skip"]);
    bundle.leaves_nothing();
    let bundle = busybox!().set("/linux/resources/pids", json!({"limit": 100}));
    bundle.create().refused(&["pids", "controller"]);
    bundle.leaves_nothing();
    let bundle = busybox!().set("/linux/resources/cpu", json!({"shares": 512}));
    bundle.create().refused(&["cpu", "controller"]);
    bundle.leaves_nothing();
    if controller("rdma").is_err() {
        let bundle = busybox!().set("/linux/resources/rdma", json!({"mlx5_1": {"hcaHandles": 3}}));
        bundle.create().refused(&["linux.resources.rdma[\"mlx5_1\"]", "controller \"rdma\" is missing"]);
        bundle.leaves_nothing();
    }
}

#[test]
fn missing_controllers_are_skipped_on_request() {
    let limits = json!({"memory": {"limit": 100 << 20}, "cpu": {"shares": 512}, "pids": {"limit": 1000}});
    let bundle = busybox!().args(["echo", "hello"]).edit(|config| {
        for (name, limit) in limits.as_object().expect("limits") {
            config["linux"]["resources"][name] = limit.clone();
        }
    });
    bundle.run_invocation(&[]).env("RCRUN_MISSING_CONTROLLERS", "skip").wait().prints("hello");
    let bundle = bundle.global("--missing-controllers").global("skip");
    bundle.run().prints("hello");
}

#[test]
fn an_unknown_way_with_missing_controllers_is_refused() {
    let bundle = busybox!();
    bundle.run_invocation(&[]).env("RCRUN_MISSING_CONTROLLERS", "maybe").wait().refused(&["maybe", "skip"]);
}

#[test]
fn hugetlb_limits_are_set() {
    require!(controller("hugetlb"));
    let bundle = busybox!().script("sleep 100");
    let bundle =
        bundle.set("/linux/resources/hugepageLimits", json!([{"pageSize": "2MB", "limit": 4 << 20}]));
    let pid = bundle.run_detached();
    assert_eq!(cgroup_text(&cgroup_of(pid), "hugetlb.2MB.max"), (4 << 20).to_string());
    bundle.delete_forced().success();
}

#[test]
fn an_unknown_huge_page_size_is_named() {
    require!(controller("hugetlb"));
    let bundle =
        busybox!().set("/linux/resources/hugepageLimits", json!([{"pageSize": "3MB", "limit": 4096}]));
    bundle.run().refused(&["3MB"]);
    bundle.leaves_nothing();
}

#[test]
fn unified_settings_are_written() {
    let bundle = busybox!().script("sleep 100");
    let bundle = bundle.set("/linux/resources/unified", json!({"cgroup.max.depth": "7"}));
    let pid = bundle.run_detached();
    assert_eq!(cgroup_text(&cgroup_of(pid), "cgroup.max.depth"), "7");
    bundle.delete_forced().success();
}

#[test]
fn a_unified_setting_that_leaves_the_cgroup_is_refused() {
    for name in ["../cgroup.max.depth", "a/b", ""] {
        let bundle = busybox!().set("/linux/resources/unified", json!({name: "7"}));
        bundle.run().refused(&["unified"]);
        bundle.leaves_nothing();
    }
}

#[test]
fn update_changes_a_limit_of_a_running_container() {
    require!(controller("hugetlb"));
    let bundle = busybox!().script("sleep 100");
    let pid = bundle.run_detached();
    let resources = json!({"hugepageLimits": [{"pageSize": "2MB", "limit": 6 << 20}]}).to_string();
    bundle.invocation(&["update", "--resources", "-", bundle.id()]).stdin(&resources).wait().success();
    assert_eq!(cgroup_text(&cgroup_of(pid), "hugetlb.2MB.max"), (6 << 20).to_string());
    let file = bundle.file("resources.json");
    fs::write(&file, resources.replace("6291456", "2097152")).expect("write");
    bundle.rcrun(&["update", "-r", file.to_str().expect("UTF-8"), bundle.id()]).success();
    assert_eq!(cgroup_text(&cgroup_of(pid), "hugetlb.2MB.max"), (2 << 20).to_string());
    bundle.delete_forced().success();
}

#[test]
fn update_of_a_limit_without_its_controller_is_refused() {
    if controllers().iter().any(|c| c == "memory") {
        return crate::support::skip("this host has the memory controller");
    }
    let bundle = busybox!().script("sleep 100");
    bundle.run_detached();
    bundle.rcrun(&["update", "--memory", "100m", bundle.id()]).refused(&["memory", "controller"]);
    bundle.rcrun(&["--missing-controllers", "skip", "update", "--memory", "100m", bundle.id()]).success();
    bundle.delete_forced().success();
}

#[test]
fn without_cgroup2_the_error_says_that_v1_is_not_supported() {
    let bundle = busybox!();
    bundle.write_config();
    // In a mount namespace of its own; the host's tree stays.
    let script = "exec unshare -m sh -c 'for m in $(grep -o \" /[^ ]* cgroup2 \" /proc/mounts | cut -d \" \" -f 2); \
        do umount $m; done; exec \"$@\"' sh \"$@\"";
    let outcome = bundle.invocation_in_shell(script, &bundle.bundle_command("run", &[])).wait();
    outcome.refused(&["cgroup2", "cgroup v1", "not supported"]);
}

#[test]
fn cgroups_below_the_containers_are_removed_with_it() {
    let bundle = busybox!().script("sleep 100");
    let cgroup = cgroup_of(bundle.run_detached());
    fs::create_dir_all(cgroup.join("inner/deep")).expect("mkdir");
    fs::create_dir(cgroup.join("other")).expect("mkdir");
    bundle.delete_forced().success();
    assert!(!cgroup.exists());
}

#[test]
fn exec_can_join_a_cgroup_below_the_containers() {
    let bundle = busybox!().script("sleep 100");
    let cgroup = cgroup_of(bundle.run_detached());
    fs::create_dir(cgroup.join("inner")).expect("mkdir");
    let file = bundle.file("pid");
    let options = ["--cgroup", "inner", "--detach", "--pid-file", file.to_str().expect("UTF-8")];
    bundle.exec_with(&options, &["sleep", "100"]).success();
    let pid = fs::read_to_string(&file).expect("the pid file").parse().expect("a pid");
    assert_eq!(cgroup_of(pid), cgroup.join("inner"));
    bundle
        .exec_with(&["--cgroup", "not-here"], &["true"])
        .exits_with(255)
        .explains(&["not-here", "no such file"]);
    bundle.exec_with(&["--cgroup", "../.."], &["true"]).exits_with(255).explains(&["../.."]);
    bundle.delete_forced().success();
}
