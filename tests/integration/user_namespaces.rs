//! User namespaces: mappings, owners, and what root in there may do.

use std::fs;
use std::os::unix::fs::MetadataExt;

use serde_json::json;

use crate::support::{busybox, process_status_field};

#[test]
fn ids_are_mapped_as_configured() {
    let mapping = json!([
        {"containerID": 0, "hostID": 100000, "size": 1000},
        {"containerID": 1000, "hostID": 300000, "size": 10},
    ]);
    let bundle = busybox!()
        .user_namespace()
        .set("/linux/uidMappings", mapping.clone())
        .set("/linux/gidMappings", mapping);
    let outcome = bundle.args(["cat", "/proc/self/uid_map", "/proc/self/gid_map"]).run().success();
    let lines: Vec<Vec<&str>> =
        outcome.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    let expected = [["0", "100000", "1000"], ["1000", "300000", "10"]];
    assert_eq!(lines, [expected, expected].concat(), "{outcome}");
}

#[test]
fn root_in_the_container_is_a_mapped_user_on_the_host() {
    let bundle = busybox!().user_namespace().script("id -u; id -g; sleep 100");
    let pid = bundle.run_detached();
    assert!(process_status_field(pid, "Uid").starts_with("100000\t100000"));
    assert!(process_status_field(pid, "Gid").starts_with("100000\t100000"));
    bundle.delete_forced().success();
}

#[test]
fn another_user_is_another_mapped_user_on_the_host() {
    let bundle = busybox!()
        .user_namespace()
        .set("/process/user", json!({"uid": 1000, "gid": 1001, "additionalGids": [5]}));
    let bundle = bundle.script("sleep 100");
    let pid = bundle.run_detached();
    assert!(process_status_field(pid, "Uid").starts_with("101000\t"));
    assert!(process_status_field(pid, "Gid").starts_with("101001\t"));
    assert_eq!(process_status_field(pid, "Groups"), "100005");
    bundle.delete_forced().success();
}

#[test]
fn files_made_in_the_container_belong_to_the_mapped_user() {
    let bundle =
        busybox!().user_namespace().writable().script("touch /tmp/file; stat -c %u:%g /tmp/file /bin/sh");
    bundle.run().prints("0:0\n0:0");
    let file = fs::metadata(bundle.rootfs().join("tmp/file")).expect("the file");
    assert_eq!((file.uid(), file.gid()), (100000, 100000));
}

#[test]
fn the_default_mounts_work_in_a_user_namespace() {
    let script = "grep -c -E ' (/proc|/dev|/dev/pts|/dev/shm|/dev/mqueue|/sys|/sys/fs/cgroup) ' /proc/mounts; \
        stat -c %u:%g /dev/shm /dev";
    busybox!().user_namespace().script(script).run().prints("7\n0:0\n0:0");
}

#[test]
fn a_tmpfs_belongs_to_the_containers_root() {
    let bundle = busybox!().user_namespace().mount("/mnt", "tmpfs", "tmpfs", &["mode=700"]);
    bundle.script("touch /mnt/file; stat -c %u /mnt /mnt/file").run().prints("0\n0");
}

#[test]
fn a_bind_of_a_directory_that_only_the_hosts_root_may_enter_works() {
    let bundle = busybox!().user_namespace().args(["cat", "/mnt/word"]);
    let closed = bundle.file("closed");
    let open = closed.join("open");
    fs::create_dir_all(&open).expect("mkdir");
    fs::write(open.join("word"), "hello\n").expect("write");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    fs::set_permissions(&closed, mode).expect("chmod");
    bundle.bind(open, "/mnt", &["bind", "ro"]).run().prints("hello");
}

#[test]
fn capabilities_hold_inside_alone() {
    let bundle = busybox!()
        .user_namespace()
        .script("hostname other && hostname; chown 5 /tmp/file && stat -c %u /tmp/file");
    let names = json!(["CAP_SYS_ADMIN", "CAP_CHOWN"]);
    let bundle = bundle.writable().edit(|config| {
        for set in ["bounding", "effective", "permitted"] {
            config["process"]["capabilities"][set] = names.clone();
        }
    });
    let file = bundle.rootfs().join("tmp/file");
    fs::write(&file, "").expect("write");
    std::os::unix::fs::chown(&file, Some(100000), Some(100000)).expect("chown");
    bundle.run().prints("other\n5");
    assert_eq!(fs::metadata(&file).expect("the file").uid(), 100005);
}

#[test]
fn an_unmapped_user_is_refused() {
    let bundle = busybox!().user_namespace().set("/process/user", json!({"uid": 70000, "gid": 0}));
    bundle.run().refused(&["70000"]);
    bundle.leaves_nothing();
}

#[test]
fn a_new_user_namespace_without_mappings_is_refused() {
    let bundle = busybox!().namespace("user", None);
    bundle.run().refused(&["linux.uidMappings", "user namespace"]);
}

#[test]
fn mappings_without_a_user_namespace_are_refused() {
    let bundle = busybox!().set("/linux/uidMappings", json!([{"containerID": 0, "hostID": 1, "size": 1}]));
    bundle.run().refused(&["linux.uidMappings", "user namespace"]);
}

#[test]
fn a_terminal_works_in_a_user_namespace() {
    let bundle = busybox!().user_namespace().script("tty; stat -c %u $(tty); echo end; sleep 100");
    let bundle = bundle.set("/process/terminal", json!(true));
    let path = bundle.file("console");
    let socket = crate::support::ConsoleSocket::bind(&path);
    bundle.run_with(&["--detach", "--console-socket", path.to_str().expect("UTF-8")]).success();
    let (mut pty, _) = socket.receive();
    let text = pty.wait_for("end");
    assert!(text.starts_with("/dev/pts/0\r\n0\r\nend"), "{text:?}");
    bundle.delete_forced().success();
}

/// As under podman without root, whose own user namespace has the host's network.
#[test]
fn a_read_only_sysfs_is_the_hosts_where_rcrun_does_not_own_the_network() {
    let bundle = busybox!().without_namespace("network").without_namespace("user").edit(|config| {
        let mounts = config["mounts"].as_array_mut().expect("mounts");
        mounts.retain(|mount| mount["destination"] == "/sys" || mount["destination"] == "/proc");
    });
    let bundle = bundle.global("--cgroup-manager").global("disabled");
    let bundle = bundle.script("grep -c ' /sys ro,' /proc/self/mountinfo; ls /sys/class/net | wc -l");
    bundle.write_config();
    let devices = std::fs::read_dir("/sys/class/net").expect("sysfs").count();
    let script = "exec unshare --user --map-root-user --mount \"$@\"";
    let command = bundle.bundle_command("run", &[]);
    bundle.invocation_in_shell(script, &command).wait().prints(&format!("1\n{devices}"));
}

/// A new sysfs takes privileges in the network namespace.
#[test]
fn a_read_only_sysfs_on_the_hosts_network_is_the_hosts() {
    let bundle = busybox!().user_namespace().without_namespace("network").edit(|config| {
        let mounts = config["mounts"].as_array_mut().expect("mounts");
        mounts.retain(|mount| mount["destination"] != "/sys/fs/cgroup");
    });
    let devices = std::fs::read_dir("/sys/class/net").expect("sysfs").count();
    let write = "for d in $(cut -d' ' -f5 /proc/self/mountinfo | grep ^/sys); do \
         mkdir $d/rcrun 2>&1 | grep -v 'Read-only file system\\|Permission denied\\|Operation not permitted'; done";
    let script = format!(
        "ls /sys/class/net | wc -l; grep -c ' /sys ro,' /proc/self/mountinfo; {write}; \
         cut -d' ' -f5,6 /proc/self/mountinfo | grep '^/sys' | grep -v ' ro' ; true"
    );
    let bundle = bundle.script(&script);
    bundle.run().prints(&format!("{devices}\n1"));
    let refused = bundle.edit(|config| {
        let mounts = config["mounts"].as_array_mut().expect("mounts");
        for mount in mounts.iter_mut().filter(|mount| mount["destination"] == "/sys") {
            mount["options"] = serde_json::json!([]);
        }
    });
    refused.run().refused(&["mount sysfs on /sys", "not permitted"]);
}
