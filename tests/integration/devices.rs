//! Devices: the default ones, those of the configuration, and the rules on using others.

use std::os::unix::fs::FileTypeExt;

use serde_json::json;

use crate::support::{Bundle, busybox};

/// A container that may make devices, and read the kernel's log where that is allowed to few.
fn with_capabilities(bundle: Bundle) -> Bundle {
    bundle.writable().edit(|config| {
        for set in ["bounding", "effective", "permitted"] {
            let list = config["process"]["capabilities"][set].as_array_mut().expect("a list");
            list.extend([json!("CAP_MKNOD"), json!("CAP_SYSLOG")]);
        }
    })
}

#[test]
fn the_default_devices_are_there() {
    let script = "for d in null zero full random urandom tty; do stat -c '%n %t:%T %a %u:%g' /dev/$d; done";
    let expected = "/dev/null 1:3 666 0:0\n/dev/zero 1:5 666 0:0\n/dev/full 1:7 666 0:0\n\
        /dev/random 1:8 666 0:0\n/dev/urandom 1:9 666 0:0\n/dev/tty 5:0 666 0:0";
    busybox!().script(script).run().prints(expected);
}

#[test]
fn the_default_devices_work() {
    let script = "echo x >/dev/null && head -c 3 /dev/zero | wc -c && head -c 5 /dev/urandom | wc -c; echo x 2>&1 >/dev/full";
    let outcome = busybox!().script(script).run();
    assert!(outcome.stdout.starts_with("3\n5\n"), "{outcome}");
}

#[test]
fn the_default_links_are_there() {
    let script = "for l in fd stdin stdout stderr ptmx; do readlink /dev/$l; done";
    let expected = "/proc/self/fd\n/proc/self/fd/0\n/proc/self/fd/1\n/proc/self/fd/2\npts/ptmx";
    busybox!().script(script).run().prints(expected);
}

#[test]
fn configured_devices_have_their_numbers_modes_and_owners() {
    let bundle = busybox!().script("stat -c '%n %F %t:%T %a %u:%g' /dev/mine /dev/deep/disk /dev/pipe");
    let devices = json!([
        {"path": "/dev/mine", "type": "c", "major": 1, "minor": 5, "fileMode": 0o640, "uid": 3, "gid": 4},
        {"path": "/dev/deep/disk", "type": "b", "major": 7, "minor": 11, "fileMode": 0o600},
        {"path": "/dev/pipe", "type": "p", "fileMode": 0o622},
    ]);
    let expected = "/dev/mine character special file 1:5 640 3:4\n/dev/deep/disk block special file 7:b 600 0:0\n\
        /dev/pipe fifo 0:0 622 0:0";
    bundle.set("/linux/devices", devices).run().prints(expected);
}

#[test]
fn the_umask_of_the_caller_does_not_matter_to_devices() {
    let bundle = busybox!().script("stat -c %a /dev/null /dev/mine");
    let devices = json!([{"path": "/dev/mine", "type": "c", "major": 1, "minor": 5, "fileMode": 0o666}]);
    let bundle = bundle.set("/linux/devices", devices);
    bundle.write_config();
    let command = bundle.bundle_command("run", &[]);
    bundle.invocation_in_shell("umask 077; exec \"$@\"", &command).wait().prints("666\n666");
}

#[test]
fn a_device_outside_of_the_rules_cannot_be_opened() {
    let bundle = with_capabilities(busybox!());
    // 1:11 is /dev/kmsg; the default rules allow to make any device, and to use few.
    let script = "mknod /tmp/kmsg c 1 11 && head -c 1 /tmp/kmsg";
    let outcome = bundle.script(script).run().exits_with(1);
    assert!(outcome.stderr.contains("Operation not permitted"), "{outcome}");
}

#[test]
fn a_device_that_the_rules_allow_can_be_used() {
    let rules = json!([
        {"allow": false, "access": "rwm"},
        {"allow": true, "type": "c", "major": 1, "minor": 11, "access": "r"},
    ]);
    let devices = json!([{"path": "/dev/kmsg", "type": "c", "major": 1, "minor": 11, "fileMode": 0o666}]);
    let bundle =
        with_capabilities(busybox!()).set("/linux/resources/devices", rules).set("/linux/devices", devices);
    let outcome = bundle.script("exec 3</dev/kmsg && echo open; (exec 4>/dev/kmsg) 2>&1").run();
    assert!(
        outcome.stdout.starts_with("open\n") && outcome.stdout.contains("Operation not permitted"),
        "{outcome}"
    );
}

#[test]
fn later_device_rules_win() {
    let rules = |last: bool| {
        json!([
            {"allow": false, "access": "rwm"},
            {"allow": !last, "type": "c", "major": 1, "minor": 11, "access": "rwm"},
            {"allow": last, "type": "c", "major": 1, "minor": 11, "access": "rwm"},
        ])
    };
    for last in [true, false] {
        let bundle = with_capabilities(busybox!()).set("/linux/resources/devices", rules(last));
        let outcome = bundle.script("mknod /tmp/kmsg c 1 11 && exec 3</tmp/kmsg && echo open").run();
        assert_eq!(outcome.stdout == "open\n", last, "{outcome}");
    }
}

#[test]
fn the_default_devices_are_allowed_whatever_the_rules() {
    let bundle = busybox!().set("/linux/resources/devices", json!([{"allow": false, "access": "rwm"}]));
    bundle.script("echo x >/dev/null && head -c 3 /dev/zero | wc -c").run().prints("3");
}

#[test]
fn in_a_user_namespace_devices_are_those_of_the_host() {
    let bundle = busybox!().user_namespace();
    bundle
        .script("echo x >/dev/null && head -c 3 /dev/zero | wc -c; stat -c %t:%T /dev/null")
        .run()
        .prints("3\n1:3");
}

#[test]
fn dev_is_not_the_hosts() {
    let bundle = busybox!().script("sleep 100");
    let pid = bundle.run_detached();
    let null = std::fs::metadata(format!("/proc/{pid}/root/dev/null")).expect("/dev/null");
    assert!(null.file_type().is_char_device());
    assert!(!std::path::Path::new(&format!("/proc/{pid}/root/dev/kmsg")).exists());
    bundle.delete_forced().success();
}
