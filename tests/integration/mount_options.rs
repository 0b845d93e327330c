//! Options of mounts beyond the plain ones: of whole trees, of links, of long overlays, tmpcopyup.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};

use serde_json::json;

use crate::support::{NamespaceHolder, busybox, require};

/// Is `word` among the per-mount options (the sixth field of mountinfo)?
fn has(line: &str, word: &str) -> bool {
    line.split(' ').nth(5).is_some_and(|options| options.split(',').any(|option| option == word))
}

#[test]
fn recursive_options_reach_everything_mounted_below() {
    for (options, set, before) in [
        (&["rro"][..], "ro", "rw"),
        (&["rnosuid"], "nosuid", "rw"),
        (&["rnodev"], "nodev", "rw"),
        (&["rnoexec"], "noexec", "rw"),
        (&["rnodiratime"], "nodiratime", "rw"),
        (&["rnosymfollow"], "nosymfollow", "rw"),
        (&["rnoatime"], "noatime", "rw"),
        (&["rrelatime"], "relatime", "noatime"),
        (&["ratime"], "relatime", "noatime"),
        (&["rro", "rrw"], "rw", "ro"),
        (&["rrw"], "rw", "ro"),
    ] {
        let bundle = busybox!().args(["grep", " /mnt", "/proc/self/mountinfo"]);
        let data = bundle.data();
        fs::create_dir(data.join("below")).expect("mkdir");
        let bundle = bundle.bind(&data, "/mnt", &[&["rbind"], options].concat());
        bundle.write_config();
        let inside = format!("mount -t tmpfs -o {before} tmpfs \"$0\" && exec \"$@\"");
        let script = format!("exec unshare -m sh -c '{inside}' '{}' \"$@\"", data.join("below").display());
        let outcome = bundle.invocation_in_shell(&script, &bundle.bundle_command("run", &[])).wait();
        let outcome = outcome.success();
        assert_eq!(outcome.stdout.lines().count(), 2, "{outcome}");
        assert!(outcome.stdout.lines().all(|line| has(line, set)), "{options:?}: {outcome}");
    }
}

#[test]
fn recursive_negatives_take_options_away() {
    let before = "nosuid,nodev,noexec,noatime,nodiratime,nosymfollow";
    let negatives = ["rsuid", "rdev", "rexec", "rnorelatime", "rdiratime", "rsymfollow"];
    let bundle = busybox!().args(["grep", " /mnt/below", "/proc/self/mountinfo"]);
    let data = bundle.data();
    fs::create_dir(data.join("below")).expect("mkdir");
    let bundle = bundle.bind(&data, "/mnt", &[&["rbind"], &negatives[..]].concat());
    bundle.write_config();
    let inside =
        format!("mount -t tmpfs tmpfs \"$0\" && mount -o remount,bind,{before} \"$0\" && exec \"$@\"");
    let script = format!("exec unshare -m sh -c '{inside}' '{}' \"$@\"", data.join("below").display());
    let outcome = bundle.invocation_in_shell(&script, &bundle.bundle_command("run", &[])).wait().success();
    let line = outcome.stdout.lines().next().expect("a line");
    assert!(before.split(',').all(|option| !has(line, option)) && has(line, "relatime"), "{outcome}");
}

#[test]
fn strictatime_of_a_tree_leaves_no_other_access_time() {
    let bundle = busybox!().args(["grep", " /mnt ", "/proc/self/mountinfo"]);
    let data = bundle.data();
    let bundle = bundle.bind(&data, "/mnt", &["rbind", "rstrictatime"]);
    let outcome = bundle.run().success();
    assert!(!has(&outcome.stdout, "relatime") && !has(&outcome.stdout, "noatime"), "{outcome}");
}

#[test]
fn copy_symlink_makes_the_link_instead_of_a_mount() {
    let bundle = busybox!().script("readlink /etc/link; grep -c /etc/link /proc/self/mountinfo");
    let link = bundle.file("link");
    symlink("where/it leads", &link).expect("symlink");
    let bundle = bundle.bind(&link, "/etc/link", &["bind", "copy-symlink"]);
    assert_eq!(bundle.run().exits_with(1).stdout, "where/it leads\n0\n");
    // The same link may be there already.
    assert_eq!(bundle.run().exits_with(1).stdout, "where/it leads\n0\n");
    fs::remove_file(bundle.rootfs().join("etc/link")).expect("rm");
    symlink("elsewhere", bundle.rootfs().join("etc/link")).expect("symlink");
    bundle.run().refused(&["/etc/link", "something else is there"]);
    bundle.leaves_nothing();
}

#[test]
fn copy_symlink_binds_what_is_no_link() {
    let bundle = busybox!().args(["cat", "/mnt/word"]);
    let data = bundle.data();
    bundle.bind(data, "/mnt", &["bind", "copy-symlink"]).run().prints("hello");
}

#[test]
fn src_nofollow_mounts_the_link_itself() {
    let bundle = busybox!().script("readlink /mnt");
    let link = bundle.file("link");
    symlink("nowhere", &link).expect("symlink");
    let bundle = bundle.bind(&link, "/mnt", &["bind", "src-nofollow", "dest-nofollow"]);
    symlink("below", bundle.rootfs().join("mnt")).expect("symlink");
    bundle.run().prints("nowhere");
    assert_eq!(fs::read_link(bundle.rootfs().join("mnt")).expect("the link").to_str(), Some("below"));
}

#[test]
fn dest_nofollow_covers_the_link_and_not_where_it_leads() {
    let bundle = busybox!().script("cat /etc/link; cat /etc/target");
    let data = bundle.data();
    fs::write(bundle.rootfs().join("etc/target"), "target\n").expect("write");
    symlink("target", bundle.rootfs().join("etc/link")).expect("symlink");
    let bundle = bundle.bind(data.join("word"), "/etc/link", &["bind", "dest-nofollow"]);
    bundle.run().prints("hello\ntarget");
}

#[test]
fn link_options_are_for_binds_and_exclude_each_other() {
    for (typ, options, word) in [
        ("tmpfs", &["src-nofollow"][..], "bind mount"),
        ("bind", &["bind", "copy-symlink", "src-nofollow"], "excludes"),
        ("bind", &["bind", "tmpcopyup"], "tmpcopyup"),
    ] {
        let bundle = busybox!().mount("/mnt", typ, "/etc", options);
        bundle.run().refused(&["options", word]);
        bundle.leaves_nothing();
    }
}

#[test]
fn tmpcopyup_keeps_hard_links_and_extended_attributes() {
    let bundle = busybox!().script(
        "stat -c '%h' /data/one /data/deep/two; echo more >>/data/one; cat /data/deep/two; sleep 100",
    );
    let data = bundle.rootfs().join("data");
    fs::create_dir_all(data.join("deep/er")).expect("mkdir");
    fs::write(data.join("one"), "text\n").expect("write");
    fs::hard_link(data.join("one"), data.join("deep/two")).expect("link");
    fs::hard_link(data.join("one"), data.join("deep/er/three")).expect("link");
    let flags = rustix::fs::XattrFlags::empty();
    for path in [data.clone(), data.join("deep"), data.join("one")] {
        rustix::fs::setxattr(&path, "trusted.rcrun", b"value", flags).expect("setxattr");
    }
    let bundle = bundle.mount("/data", "tmpfs", "tmpfs", &["tmpcopyup"]);
    let pid = bundle.run_detached();
    let inside = std::path::PathBuf::from(format!("/proc/{pid}/root/data"));
    crate::support::wait_for("the container's script", 5, || {
        (fs::read(inside.join("one")).ok()? == b"text\nmore\n").then_some(())
    });
    let inode = |name: &str| fs::metadata(inside.join(name)).expect("metadata").ino();
    assert!(inode("one") == inode("deep/two") && inode("one") == inode("deep/er/three"));
    assert_eq!(fs::metadata(inside.join("one")).expect("metadata").nlink(), 3);
    for name in ["", "deep", "deep/er/three"] {
        let mut value = [0; 16];
        let length = rustix::fs::getxattr(inside.join(name), "trusted.rcrun", &mut value[..]);
        assert_eq!(&value[..length.expect("getxattr")], b"value", "{name:?}");
    }
    assert_eq!(fs::read(data.join("one")).expect("the image's"), b"text\n");
    bundle.delete_forced().success();
}

#[test]
fn an_overlay_may_have_more_layers_than_an_option_is_long() {
    let bundle = busybox!().script("cat /mnt/name-*; grep ' /mnt ' /proc/self/mountinfo");
    // A tmpfs below: the test's own files may lie on an overlay, which cannot be an upper one.
    let base = bundle.file("layers");
    fs::create_dir(&base).expect("mkdir");
    let layers: Vec<String> =
        (0..20).map(|n| format!("{}/a-layer-with-a-long-name-{n}", base.display())).collect();
    let list = layers.join(":");
    let option = format!("lowerdir={list}");
    let (upper, work) =
        (format!("upperdir={}/upper", base.display()), format!("workdir={}/work", base.display()));
    let bundle = bundle.mount("/mnt", "overlay", "overlay", &[&option, &upper, &work, "nosuid", "noatime"]);
    bundle.write_config();
    let inside = "mount -t tmpfs tmpfs \"$0\" && cd \"$0\" && mkdir upper work && for n in $(seq 0 19); do \
        mkdir a-layer-with-a-long-name-$n && echo $n >a-layer-with-a-long-name-$n/name-$n; done && exec \"$@\"";
    let script = format!("exec unshare -m sh -c '{inside}' '{}' \"$@\"", base.display());
    let outcome = bundle.invocation_in_shell(&script, &bundle.bundle_command("run", &[])).wait().success();
    let lines: Vec<&str> = outcome.stdout.lines().collect();
    assert_eq!(lines.len(), 21, "{outcome}");
    assert!(has(lines[20], "nosuid") && has(lines[20], "noatime"), "{outcome}");
}

#[test]
fn a_remount_changes_options_of_the_file_system() {
    let bundle = busybox!().args(["grep", " /mnt ", "/proc/self/mountinfo"]);
    let bundle = bundle.mount("/mnt", "tmpfs", "tmpfs", &["size=1m"]);
    let outcome = bundle.mount("/mnt", "", "none", &["remount", "size=2m", "ro"]).run().success();
    assert!(outcome.stdout.contains("size=2048k") && has(&outcome.stdout, "ro"), "{outcome}");
    let bundle = busybox!().mount("/mnt", "tmpfs", "tmpfs", &[]);
    let bundle = bundle.mount("/mnt", "", "none", &["remount", "size=much"]);
    bundle.run().refused(&["/mnt", "size"]);
    bundle.leaves_nothing();
}

#[test]
fn sysfs_shows_the_network_namespace_that_was_joined() {
    let holder = require!(NamespaceHolder::new(&["--net"], "net"));
    let bundle = busybox!().args(["ls", "/sys/class/net"]).namespace("network", Some(&holder.path("net")));
    let outcome = bundle.run().success();
    let own = std::process::Command::new("nsenter")
        .args([format!("--net={}", holder.path("net"))])
        .args(["sh", "-c", "sed -n 's/^ *\\([^ :|]*\\):.*/\\1/p' /proc/net/dev"])
        .output()
        .expect("nsenter");
    let own = String::from_utf8(own.stdout).expect("UTF-8");
    let (mut seen, mut there) = (outcome.stdout.lines().collect::<Vec<_>>(), own.lines().collect::<Vec<_>>());
    seen.retain(|name| *name != "bonding_masters");
    seen.sort_unstable();
    there.sort_unstable();
    assert_eq!(seen, there);
}

#[test]
fn a_message_queue_file_system_is_the_ipc_namespaces() {
    let bundle = busybox!().script("ls -A /dev/mqueue; touch /dev/mqueue/mine && ls /dev/mqueue");
    bundle.run().prints("mine");
}

#[test]
fn the_cgroup_mount_shows_the_container_or_the_whole_tree() {
    let script = "echo $(($(ls -d /sys/fs/cgroup/cgroup.controllers | wc -l))); \
        mkdir /sys/fs/cgroup/x 2>&1 | grep -o 'Read-only file system'; \
        grep -c . /sys/fs/cgroup/cgroup.procs";
    let outcome = busybox!().namespace("cgroup", None).script(script).run().success();
    assert!(outcome.stdout.starts_with("1\nRead-only file system\n"), "{outcome}");
    let bundle = busybox!().without_namespace("cgroup").script(
        "own=$(sed -n 's/^0:://p' /proc/self/cgroup); grep -c . /sys/fs/cgroup$own/cgroup.procs >/dev/null && \
         grep -q '^1$' /sys/fs/cgroup$own/cgroup.procs && echo found",
    );
    bundle.run().prints("found");
}

#[test]
fn no_pivot_drops_the_hosts_procfs_and_sysfs_first() {
    let bundle = busybox!().args(["cat", "/proc/self/mountinfo"]);
    let outcome = bundle.run_with(&["--no-pivot", "--dry-run"]).success();
    let lines: Vec<&str> = outcome.stdout.lines().collect();
    let at = |text: &str| lines.iter().position(|line| line.ends_with(text));
    assert!(
        at("drop the host's /proc").is_some() && at("drop the host's /proc") < at("change root"),
        "{outcome}"
    );
    assert!(at("drop the host's /sys").is_some(), "{outcome}");
    bundle.run_with(&["--no-pivot"]).success();
    assert!(fs::exists("/proc/self/status").expect("the host's own /proc"));
    assert!(fs::exists("/sys/kernel").expect("the host's own /sys"));
    let bundle = busybox!().args(["true"]).set("/linux/sysctl", json!({"net.ipv4.ip_default_ttl": "77"}));
    bundle.run_with(&["--no-pivot"]).success();
}
