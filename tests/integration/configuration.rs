//! config.json that is wrong: one line with the place and the reason, exit 1, nothing left.

use std::fs;

use serde_json::{Value, json};

use crate::support::{Bundle, busybox, skip};

#[track_caller]
fn refused(bundle: &Bundle, fragments: &[&str]) {
    bundle.run().refused(fragments);
    bundle.leaves_nothing();
    bundle.create().refused(fragments);
    bundle.leaves_nothing();
}

#[test]
fn a_missing_config_json_is_named() {
    let bundle = busybox!();
    let path = bundle.path();
    let path = path.to_str().expect("UTF-8");
    let reason = "no config.json";
    bundle.rcrun(&["run", "--bundle", path, bundle.id()]).refused(&[path, reason, "rcrun spec"]);
    bundle.rcrun(&["create", "--bundle", path, bundle.id()]).refused(&[path, reason, "rcrun spec"]);
    bundle.rcrun(&["run", &format!("{path}/")]).refused(&[path, reason, "rcrun spec"]);
    bundle.leaves_nothing();
}

#[test]
fn a_missing_bundle_is_named() {
    let bundle = busybox!();
    bundle.rcrun(&["run", "--bundle", "/not/here", bundle.id()]).refused(&["/not/here", "no such file"]);
    bundle.rcrun(&["run", "/not/here/"]).refused(&["/not/here", "no such file"]);
    bundle.leaves_nothing();
}

#[test]
fn a_bundle_that_is_a_file_is_named() {
    let bundle = busybox!();
    let file = bundle.file("file");
    fs::write(&file, "").expect("write");
    let file = file.to_str().expect("UTF-8");
    bundle.rcrun(&["run", "--bundle", file, bundle.id()]).refused(&[file, "not a directory"]);
}

#[test]
fn text_that_is_no_json_is_named_with_line_and_column() {
    refused(
        &busybox!().with_raw_config("{\n  \"ociVersion\": oops\n}\n"),
        &["config.json", "line 2", "column 17"],
    );
    refused(&busybox!().with_raw_config(""), &["config.json", "line 1", "column 0"]);
    let bundle = busybox!();
    let text = bundle.config.to_string();
    let cut = text[..text.len() / 2].to_owned();
    refused(&bundle.with_raw_config(&cut), &["config.json", "line 1", "column"]);
}

#[test]
fn a_value_of_the_wrong_type_is_named_with_its_path() {
    let cases: [(&str, Value, &str); 6] = [
        ("/process/args", json!("true"), "process.args"),
        ("/process/user/uid", json!("root"), "process.user.uid"),
        ("/process/rlimits/0/hard", json!(-1), "process.rlimits[0].hard"),
        ("/mounts/1/options", json!("ro"), "mounts[1].options"),
        ("/linux/namespaces/0/type", json!(7), "linux.namespaces[0].type"),
        ("/root/readonly", json!("yes"), "root.readonly"),
    ];
    for (pointer, value, path) in cases {
        refused(&busybox!().set(pointer, value), &["config.json", path]);
    }
}

#[test]
fn an_unknown_major_version_is_named() {
    for version in ["2.0.0", "0.9.0"] {
        refused(&busybox!().set("/ociVersion", json!(version)), &["ociVersion", version]);
    }
}

#[test]
fn minor_versions_and_suffixes_are_taken() {
    for version in ["1.0.0", "1.0.2-dev", "1.9.9", "1.2.0-rc.1"] {
        busybox!().set("/ociVersion", json!(version)).run().success();
    }
}

#[test]
fn fields_that_nobody_knows_are_ignored() {
    busybox!().set("/org.example.extension", json!({"a": 1})).run().success();
}

#[test]
fn a_missing_rootfs_is_named() {
    let bundle = busybox!().set("/root/path", json!("nowhere"));
    let path = bundle.path().join("nowhere");
    refused(&bundle, &["root file system", path.to_str().expect("UTF-8"), "no such file"]);
    refused(&busybox!().set("/root/path", json!("/not/here")), &["/not/here", "no such file"]);
}

#[test]
fn a_rootfs_that_is_a_file_is_named() {
    let bundle = busybox!().set("/root/path", json!("rootfs/etc/passwd"));
    refused(&bundle, &["rootfs/etc/passwd", "not a directory"]);
}

#[test]
fn what_a_container_needs_is_missed_by_name() {
    for (field, path) in [("root", "root"), ("ociVersion", "ociVersion")] {
        let bundle = busybox!().edit(|config| drop(config.as_object_mut().expect("object").remove(field)));
        refused(&bundle, &["config.json", path]);
    }
    refused(&busybox!().set("/process/args", json!([])), &["process.args", "empty"]);
    refused(&busybox!().set("/process/cwd", json!("relative")), &["process.cwd", "relative", "absolute"]);
}

#[test]
fn a_process_is_missed_when_it_is_to_be_started_and_not_before() {
    let bundle = busybox!().edit(|config| drop(config.as_object_mut().expect("object").remove("process")));
    bundle.run().refused(&["process", "missing"]);
    bundle.create().success();
    for _ in 0..2 {
        bundle.rcrun(&["start", bundle.id()]).exits_with(1).explains(&["process", "missing", "start"]);
        assert_eq!(bundle.state()["status"], "created");
    }
    bundle.rcrun(&["delete", bundle.id()]).success();
    bundle.leaves_nothing();
}

#[test]
fn a_sysctl_that_does_not_exist_is_named() {
    let bundle = busybox!().set("/linux/sysctl", json!({"net.ipv4.nope": "1"}));
    refused(&bundle, &["sysctl", "nope", "no such file"]);
}

#[test]
fn a_sysctl_that_belongs_to_no_namespace_is_named() {
    refused(
        &busybox!().set("/linux/sysctl", json!({"kernel.panic": "1"})),
        &["sysctl", "kernel.panic", "namespace"],
    );
    refused(&busybox!().set("/linux/sysctl", json!({"vm.swappiness": "1"})), &["sysctl", "vm.swappiness"]);
}

#[test]
fn a_sysctl_of_a_namespace_that_is_not_the_containers_is_named() {
    let bundle =
        busybox!().without_namespace("network").set("/linux/sysctl", json!({"net.ipv4.ip_forward": "1"}));
    refused(&bundle, &["sysctl", "net.ipv4.ip_forward", "network namespace"]);
}

#[test]
fn a_sysctl_with_a_bad_value_is_named() {
    let bundle = busybox!().set("/linux/sysctl", json!({"net.ipv4.ip_unprivileged_port_start": "words"}));
    refused(&bundle, &["sysctl", "ip_unprivileged_port_start", "invalid argument"]);
}

#[test]
fn a_sysctl_that_climbs_out_is_refused() {
    for name in ["net.ipv4/../../kernel/panic", "net/../kernel/panic", "net...kernel.panic"] {
        refused(&busybox!().set("/linux/sysctl", json!({name: "1"})), &["sysctl"]);
    }
}

#[test]
fn an_unknown_capability_is_named() {
    let bundle = busybox!().set("/process/capabilities/bounding/0", json!("CAP_NOPE"));
    refused(&bundle, &["CAP_NOPE", "process.capabilities.bounding"]);
}

#[test]
fn a_resource_limit_with_a_bad_name_or_order_is_named() {
    let bundle = busybox!().set("/process/rlimits/0/type", json!("RLIMIT_NOPE"));
    refused(&bundle, &["RLIMIT_NOPE", "process.rlimits[0]"]);
    let limit = json!([{"type": "RLIMIT_NOFILE", "soft": 200, "hard": 100}]);
    refused(&busybox!().set("/process/rlimits", limit), &["RLIMIT_NOFILE", "200", "100"]);
}

#[test]
fn a_hostname_without_a_namespace_of_its_own_is_refused() {
    refused(&busybox!().without_namespace("uts"), &["hostname", "uts namespace"]);
}

#[test]
fn a_namespace_that_is_listed_twice_is_refused() {
    let bundle = busybox!().edit(|config| {
        config["linux"]["namespaces"].as_array_mut().expect("list").push(json!({"type": "ipc"}));
    });
    refused(&bundle, &["linux.namespaces", "ipc"]);
}

#[test]
fn without_resctrl_the_error_says_what_it_takes() {
    if std::fs::read_to_string("/proc/self/mountinfo").is_ok_and(|all| all.contains(" - resctrl ")) {
        skip("this host has resctrl");
        return;
    }
    let cure = ["linux.intelRdt", "mount -t resctrl resctrl /sys/fs/resctrl"];
    for rdt in [json!({}), json!({"closID": "/"}), json!({"schemata": ["L3:0=f"], "enableMonitoring": true})]
    {
        refused(&busybox!().set("/linux/intelRdt", rdt), &cure);
    }
    let bundle = busybox!().script("sleep 1000");
    bundle.run_detached();
    for flag in ["--l3-cache-schema=L3:0=f", "--mem-bw-schema=MB:0=20"] {
        bundle.rcrun(&["update", flag, bundle.id()]).refused(&["linux.intelRdt", "--l3-cache-schema"]);
    }
    bundle.rcrun(&["update", "--l3-cache-schema=", bundle.id()]).success();
    bundle.delete_forced().success();
}

#[test]
fn intel_rdt_that_is_wrong_everywhere_is_named() {
    for (rdt, field) in [
        (json!({"closID": "a/b"}), "linux.intelRdt.closID"),
        (json!({"closID": ".."}), "linux.intelRdt.closID"),
        (json!({"memBwSchema": "L3:0=f"}), "linux.intelRdt.memBwSchema"),
        (json!({"schemata": ["L3:0=f\nMB:0=20"]}), "linux.intelRdt.schemata[0]"),
    ] {
        refused(&busybox!().set("/linux/intelRdt", rdt), &[field]);
    }
}

#[test]
fn a_label_that_no_module_of_this_host_knows_is_named_with_its_cure() {
    let on = |file: &str, text: &str| std::fs::read_to_string(file).is_ok_and(|all| all.contains(text));
    let mut cases = Vec::new();
    if !on("/sys/module/apparmor/parameters/enabled", "Y") {
        cases.push(("/process/apparmorProfile", "AppArmor"));
    }
    if !on("/proc/filesystems", "\tselinuxfs") {
        cases.extend([("/process/selinuxLabel", "SELinux"), ("/linux/mountLabel", "SELinux")]);
    }
    for (pointer, module) in cases {
        let path = pointer[1..].replace('/', ".");
        refused(&busybox!().set(pointer, json!("label")), &[&path, module, "remove it"]);
    }
    // A process that nothing confines needs no module for it.
    busybox!().set("/process/apparmorProfile", json!("unconfined")).run().success();
}

#[test]
fn an_unknown_mount_option_or_file_system_is_named() {
    let bundle = busybox!().mount("/mnt", "nopefs", "none", &[]);
    refused(&bundle, &["/mnt", "nopefs"]);
    let bundle = busybox!().mount("/mnt", "tmpfs", "tmpfs", &["nope=1"]);
    refused(&bundle, &["/mnt", "nope"]);
}
