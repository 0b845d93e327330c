//! exec and the cgroups below a container's own.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::support::{Bundle, busybox, cgroup_of, controller, require};

/// A running container with a cgroup below its own, and both.
fn with_one_below(bundle: Bundle) -> (Bundle, PathBuf, PathBuf) {
    let bundle = bundle.args(["sleep", "1000"]);
    let own = cgroup_of(bundle.run_detached());
    let below = own.join("below");
    fs::create_dir(&below).expect("mkdir");
    (bundle, own, below)
}

/// Where a process of exec is, by what it says itself.
fn cgroup_of_exec(bundle: &Bundle, options: &[&str]) -> PathBuf {
    let file = bundle.file("pid");
    let options = [&["--detach", "--pid-file", file.to_str().expect("UTF-8")], options].concat();
    bundle.exec_with(&options, &["sleep", "1000"]).success();
    cgroup_of(fs::read_to_string(&file).expect("the pid file").parse().expect("a pid"))
}

#[test]
fn exec_runs_in_a_cgroup_below_the_containers() {
    let (bundle, own, below) = with_one_below(busybox!());
    assert_eq!(cgroup_of_exec(&bundle, &[]), own);
    assert_eq!(cgroup_of_exec(&bundle, &["--cgroup", "below"]), below);
    assert_eq!(cgroup_of_exec(&bundle, &["--cgroup", "/below/"]), below);
    for (path, part) in [("nowhere", "nowhere"), ("../..", "may not contain .."), ("cpu:a", "a")] {
        let outcome = bundle.exec_with(&["--cgroup", path], &["true"]);
        outcome.exits_with(255).explains(&[part]);
    }
    bundle.delete_forced().success();
}

#[test]
fn exec_follows_an_init_that_has_moved_below_its_cgroup() {
    require!(controller("hugetlb"));
    let limits = json!([{"pageSize": "2MB", "limit": 0}]);
    let (bundle, own, below) = with_one_below(busybox!().set("/linux/resources/hugepageLimits", limits));
    let write = |cgroup: &Path, file: &str, text: &str| {
        fs::write(cgroup.join(file), text).unwrap_or_else(|error| panic!("{file}: {error}"));
    };
    write(&below, "cgroup.procs", &bundle.pid().to_string());
    // From now on the kernel takes no process in the container's cgroup itself.
    write(&own, "cgroup.subtree_control", "+hugetlb");
    assert_eq!(cgroup_of_exec(&bundle, &[]), below);
    assert_eq!(cgroup_of_exec(&bundle, &["--cgroup", "hugetlb:below"]), below);
    let outcome = bundle.exec_with(&["--cgroup", "hugetlb,nonsense:below"], &["true"]);
    outcome.exits_with(255).explains(&["no controller \"nonsense\"", "cgroup.subtree_control"]);
    bundle.delete_forced().success();
}
