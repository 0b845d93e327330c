//! Huge pages, RDMA, `unified`, and where the controllers come from.

use std::fs;

use serde_json::json;

use crate::support::{cgroup_mount, cgroup_text};
use crate::{Limited, bundle};

#[test]
fn huge_pages_are_limited_and_updated() {
    let mut bundle = bundle!().limit("hugepageLimits", json!([{"pageSize": "2MB", "limit": 4_194_304}]));
    let cgroup = bundle.sleeping();
    assert_eq!(cgroup_text(&cgroup, "hugetlb.2MB.max"), "4194304");
    bundle.update_resources(&json!({"hugepageLimits": [{"pageSize": "2MB", "limit": 2_097_152}]}));
    assert_eq!(cgroup_text(&cgroup, "hugetlb.2MB.max"), "2097152");
    assert_eq!(cgroup_text(&cgroup, "hugetlb.2MB.rsvd.max"), "2097152");
    bundle.delete_forced().success();
}

#[test]
fn huge_pages_of_a_size_that_is_not_there_are_refused() {
    let bundle = bundle!().limit("hugepageLimits", json!([{"pageSize": "3MB", "limit": 0}]));
    bundle.run().refused(&["hugetlb.3MB.max", "hugepageLimits[0]", "no huge pages of that size"]);
}

#[test]
fn an_rdma_device_that_is_not_there_is_refused() {
    // The VM has the controller, and no device.
    let bundle = bundle!().limit("rdma", json!({"mlx5_9": {"hcaHandles": 3, "hcaObjects": 100}}));
    bundle.run().refused(&["rdma.max", "mlx5_9", "no such RDMA device"]);
}

#[test]
fn unified_writes_the_kernels_own_files_and_wins() {
    let mut bundle = bundle!()
        .limit("pids", json!({"limit": 10}))
        .limit("unified", json!({"pids.max": "77", "memory.high": "50331648", "cgroup.max.depth": "3"}));
    let cgroup = bundle.sleeping();
    assert_eq!(cgroup_text(&cgroup, "pids.max"), "77");
    assert_eq!(cgroup_text(&cgroup, "memory.high"), "50331648");
    assert_eq!(cgroup_text(&cgroup, "cgroup.max.depth"), "3");
    bundle.update_resources(&json!({"unified": {"memory.high": "max"}}));
    assert_eq!(cgroup_text(&cgroup, "memory.high"), "max");
    bundle.delete_forced().success();
}

#[test]
fn unified_refuses_a_file_that_the_kernel_lacks() {
    let bundle = bundle!().limit("unified", json!({"memory.nonsense": "1"}));
    bundle.run().refused(&["memory.nonsense", "unified"]);
}

#[test]
fn unified_refuses_a_path() {
    let bundle = bundle!().limit("unified", json!({"../pids.max": "1"}));
    bundle.run().refused(&["../pids.max", "unified"]);
}

#[test]
fn a_controller_that_the_kernel_lacks_is_refused_or_skipped() {
    // dmem came with Linux 6.14, after the VM's kernel.
    let bundle = bundle!().limit("unified", json!({"dmem.max": "drm/card0/vram 1"}));
    bundle.run().refused(&["dmem", &format!("/rcrun-{}", bundle.id()), "--missing-controllers skip"]);
    bundle.run_with(&["--missing-controllers", "skip"]).success();
    let invocation = bundle.run_invocation(&[]).env("RCRUN_MISSING_CONTROLLERS", "skip");
    invocation.wait().success();
}

#[test]
fn controllers_are_enabled_all_along_the_path() {
    let bundle = bundle!();
    let parent = cgroup_mount().expect("cgroup2").join(bundle.marker());
    fs::create_dir(&parent).expect("make a cgroup");
    let path = format!("/{}/inner", bundle.marker());
    let mut bundle = bundle.limit("pids", json!({"limit": 10})).set("/linux/cgroupsPath", json!(path));
    let cgroup = bundle.sleeping();
    assert_eq!(cgroup, parent.join("inner"));
    assert_eq!(cgroup_text(&cgroup, "pids.max"), "10");
    bundle.delete_forced().success();
    assert!(!cgroup.exists());
    fs::remove_dir(&parent).expect("remove the cgroup");
}

#[test]
fn a_miscellaneous_resource_that_the_machine_lacks_is_refused() {
    // The VM has the controller, and none of its resources.
    let bundle = bundle!().limit("unified", json!({"misc.max": "sev 1"}));
    bundle.run().refused(&["misc.max", "sev 1", "unified"]);
}
