//! The root file system and the file systems made in it.

use serde_json::json;

use crate::support::{Bundle, busybox, kernel_version, skip};

/// The line of /proc/mounts for each mount point, as `TYPE OPTIONS`.
fn mounts(bundle: &Bundle) -> Vec<(String, String)> {
    let outcome = bundle.run().success();
    let fields = |line: &str| {
        let fields: Vec<&str> = line.split(' ').collect();
        (fields[1].to_owned(), format!("{} {}", fields[2], fields[3]))
    };
    outcome.stdout.lines().map(fields).collect()
}

/// The topmost mount at `point`.
#[track_caller]
fn at<'a>(mounts: &'a [(String, String)], point: &str) -> &'a str {
    let found = mounts.iter().rev().find(|(p, _)| p == point);
    &found.unwrap_or_else(|| panic!("no mount at {point}: {mounts:#?}")).1
}

#[track_caller]
fn has(mount: &str, options: &[&str]) {
    let words: Vec<&str> = mount.split([' ', ',']).collect();
    for option in options {
        assert!(words.contains(option), "no {option}: {mount}");
    }
}

#[test]
fn the_default_mounts_are_there_with_their_options() {
    let mounts = mounts(&busybox!().args(["cat", "/proc/mounts"]));
    has(at(&mounts, "/"), &["ro"]);
    has(at(&mounts, "/proc"), &["proc", "rw"]);
    has(at(&mounts, "/dev"), &["tmpfs", "nosuid", "mode=755", "size=65536k"]);
    has(at(&mounts, "/dev/pts"), &["devpts", "nosuid", "noexec", "gid=5", "mode=620", "ptmxmode=666"]);
    has(at(&mounts, "/dev/shm"), &["tmpfs", "nosuid", "noexec", "nodev", "size=65536k"]);
    has(at(&mounts, "/dev/mqueue"), &["mqueue", "nosuid", "noexec", "nodev"]);
    has(at(&mounts, "/sys"), &["sysfs", "ro", "nosuid", "noexec", "nodev"]);
    has(at(&mounts, "/sys/fs/cgroup"), &["cgroup2", "ro", "nosuid", "noexec", "nodev", "relatime"]);
}

#[test]
fn nothing_of_the_hosts_mounts_is_seen() {
    let outcome = busybox!().script("cat /proc/self/mountinfo; ls /").run().success();
    assert!(!outcome.stdout.contains("pivot") && !outcome.stdout.contains("put_old"), "{outcome}");
    let roots = outcome.stdout.lines().filter(|line| line.split(' ').nth(4) == Some("/")).count();
    assert_eq!(roots, 1, "{outcome}");
    let points =
        outcome.stdout.lines().filter_map(|line| line.split(' ').nth(4)).filter(|p| p.starts_with('/'));
    let strange: Vec<&str> =
        points.filter(|p| !["/proc", "/dev", "/sys"].iter().any(|d| p.starts_with(d)) && *p != "/").collect();
    assert!(strange.is_empty(), "{strange:?}");
}

#[test]
fn the_hosts_mount_table_does_not_grow() {
    let bundle = busybox!().script("sleep 100");
    bundle.run_detached();
    assert_eq!(bundle.traces().mounts(), Vec::<std::path::PathBuf>::new());
    bundle.delete_forced().success();
}

#[test]
fn a_readonly_root_cannot_be_written() {
    let outcome = busybox!().script("touch /tmp/file").run().exits_with(1);
    assert!(outcome.stderr.contains("Read-only file system"), "{outcome}");
}

#[test]
fn a_writable_root_is_the_bundles_directory() {
    let bundle = busybox!().writable().script("echo text >/tmp/file");
    bundle.run().success();
    let text = std::fs::read_to_string(bundle.rootfs().join("tmp/file")).expect("the file");
    assert_eq!(text, "text\n");
}

#[test]
fn a_readonly_root_leaves_the_hosts_directory_writable() {
    let bundle = busybox!().script("sleep 100");
    bundle.run_detached();
    std::fs::write(bundle.rootfs().join("tmp/file"), "").expect("write on the host");
    bundle.exec(&["ls", "/tmp"]).prints("file");
    bundle.delete_forced().success();
}

#[test]
fn a_tmpfs_has_its_options_and_its_own_files() {
    let bundle = busybox!()
        .script("echo text >/mnt/file && cat /mnt/file; stat -c '%a %u %g' /mnt; grep ' /mnt ' /proc/mounts");
    let bundle = bundle.mount(
        "/mnt",
        "tmpfs",
        "tmpfs",
        &["nosuid", "nodev", "noexec", "noatime", "size=1m", "mode=757", "uid=3", "gid=4"],
    );
    let outcome = bundle.run().success();
    let lines: Vec<&str> = outcome.stdout.lines().collect();
    assert_eq!(lines[..2], ["text", "757 3 4"], "{outcome}");
    has(lines[2], &["rw", "nosuid", "nodev", "noexec", "noatime", "size=1024k", "mode=757"]);
    assert!(!bundle.rootfs().join("mnt/file").exists());
}

#[test]
fn a_readonly_tmpfs_cannot_be_written() {
    let bundle = busybox!().script("touch /mnt/file").mount("/mnt", "tmpfs", "tmpfs", &["ro"]);
    let outcome = bundle.run().exits_with(1);
    assert!(outcome.stderr.contains("Read-only file system"), "{outcome}");
}

#[test]
fn a_tmpfs_can_start_with_a_copy_of_what_it_covers() {
    let bundle = busybox!().script("ls /data; cat /data/word; touch /data/more").mount(
        "/data",
        "tmpfs",
        "tmpfs",
        &["tmpcopyup"],
    );
    std::fs::create_dir(bundle.rootfs().join("data")).expect("mkdir");
    std::fs::write(bundle.rootfs().join("data/word"), "hello\n").expect("write");
    bundle.run().prints("word\nhello");
    assert!(!bundle.rootfs().join("data/more").exists());
}

#[test]
fn a_later_mount_covers_an_earlier_one() {
    let bundle = busybox!().script("ls /mnt");
    let bundle =
        bundle.mount("/mnt", "tmpfs", "tmpfs", &[]).mount("/mnt/inner", "tmpfs", "tmpfs", &["mode=700"]);
    bundle.run().prints("inner");
}

#[test]
fn a_mount_can_be_changed_by_remount() {
    let bundle = busybox!().script("touch /mnt/file").mount("/mnt", "tmpfs", "tmpfs", &[]);
    let bundle = bundle.mount("/mnt", "", "none", &["remount", "ro", "nosuid"]);
    let outcome = bundle.run().exits_with(1);
    assert!(outcome.stderr.contains("Read-only file system"), "{outcome}");
}

#[test]
fn masked_files_are_empty_and_masked_directories_too() {
    let bundle = busybox!()
        .script("wc -c </secret; ls -A /hidden; touch /hidden/x 2>&1 | grep -o 'Read-only file system'");
    std::fs::write(bundle.rootfs().join("secret"), "text").expect("write");
    std::fs::create_dir(bundle.rootfs().join("hidden")).expect("mkdir");
    std::fs::write(bundle.rootfs().join("hidden/file"), "text").expect("write");
    let paths = json!(["/secret", "/hidden", "/does/not/exist"]);
    bundle.set("/linux/maskedPaths", paths).run().prints("0\nRead-only file system");
}

#[test]
fn the_default_masked_paths_show_nothing() {
    let script = "cat /proc/kcore | head -c 1 | wc -c; cat /proc/keys /proc/timer_list 2>/dev/null | wc -c; ls -A /sys/firmware | wc -l";
    busybox!().script(script).run().prints("0\n0\n0");
}

#[test]
fn readonly_paths_cannot_be_written() {
    let bundle =
        busybox!().writable().script("touch /tmp/file; echo x >/etc/passwd; touch /var/ok && ls /var/ok");
    let outcome =
        bundle.set("/linux/readonlyPaths", json!(["/tmp", "/etc/passwd", "/does/not/exist"])).run().success();
    assert_eq!(outcome.stderr.matches("Read-only file system").count(), 2, "{outcome}");
}

#[test]
fn the_default_readonly_paths_are_so() {
    let bundle = busybox!().script("cat /proc/mounts");
    let outcome = bundle.run().success();
    for path in ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"] {
        if !std::path::Path::new(path).exists() {
            continue; // This kernel has none.
        }
        let line = outcome.stdout.lines().find(|line| line.split(' ').nth(1) == Some(path));
        has(line.unwrap_or_else(|| panic!("no mount at {path}: {outcome}")), &["ro", "proc"]);
    }
}

#[test]
fn no_pivot_changes_the_root_as_well() {
    let bundle = busybox!().script("ls /; cat /proc/mounts | grep -c .");
    let plain = bundle.run().success().stdout;
    assert_eq!(bundle.run_with(&["--no-pivot"]).success().stdout.lines().next(), plain.lines().next());
}

/// A createRuntime hook is to find the root on the host: with one the host's tree goes away last, by
/// pivot_root(2), without one first.
#[test]
fn whether_the_hosts_tree_goes_first_or_last_the_container_is_the_same() {
    let look = "awk '{$1 = $2 = $3 = \"\"; sub(/ master:[0-9]+/, \"\"); print}' /proc/self/mountinfo; \
        ls -a /; unshare -U true; echo $?; umount -l / 2>&1; cd ..; pwd; ls -a ../..";
    let bundle = busybox!().script(look);
    let first = bundle.run().success().stdout;
    assert!(first.contains("\n0\n") && first.lines().count() > 20, "{first}");
    let bundle = bundle.hook("createRuntime", "cat >/dev/null");
    assert_eq!(bundle.run().success().stdout, first);
}

#[test]
fn the_roots_propagation_does_not_reach_the_host() {
    for propagation in ["private", "rprivate", "slave", "rslave"] {
        let bundle = busybox!().args(["true"]).set("/linux/rootfsPropagation", json!(propagation));
        bundle.mount("/mnt", "tmpfs", "tmpfs", &[]).run().success();
    }
}

#[test]
fn the_roots_file_system_may_be_a_mount_of_its_own() {
    let bundle = busybox!().args(["echo", "hello"]);
    bundle.write_config();
    // In a mount namespace of its own, where the rootfs is a bind mount on itself.
    let script = format!(
        "exec unshare -m sh -c 'mount --bind \"$0\" \"$0\" && exec \"$@\"' '{}' \"$@\"",
        bundle.rootfs().display()
    );
    bundle.invocation_in_shell(&script, &bundle.bundle_command("run", &[])).wait().prints("hello");
}

/// Since Linux 6.8 mountinfo has the order of the mounts' ids, which a bind mount's tree gets when it is
/// opened; that a tree can be cloned again takes Linux 6.15.
#[test]
fn mountinfo_has_the_order_of_the_configuration() {
    if ((6, 8)..(6, 15)).contains(&kernel_version()) {
        return skip("the order of the mounts' ids can be chosen since Linux 6.15");
    }
    for user_namespace in [false, true] {
        let bundle = busybox!().args(["cut", "-d", " ", "-f", "5", "/proc/self/mountinfo"]);
        let data = bundle.data();
        let file = data.join("word");
        let bundle = bundle
            .mount("/tmp/1", "tmpfs", "tmpfs", &[])
            .bind(&data, "/tmp/1/2", &["rbind", "rshared"])
            .bind(&file, "/tmp/1/3", &["bind"])
            .mount("/tmp/4", "tmpfs", "tmpfs", &[])
            .bind(&data, "/tmp/4/5", &["bind", "ro"]);
        let bundle = if user_namespace { bundle.user_namespace() } else { bundle };
        let stdout = bundle.run().success().stdout;
        let found: Vec<&str> = stdout.lines().filter(|line| line.starts_with("/tmp/")).collect();
        assert_eq!(found, ["/tmp/1", "/tmp/1/2", "/tmp/1/3", "/tmp/4", "/tmp/4/5"]);
    }
}
