//! E: what the runtime writes to procfs, and the protection of procfs, led elsewhere
//! (CVE-2019-16884, CVE-2023-27561, CVE-2025-52881).

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::json;

use super::{Tries, process_file, text};
use crate::support::{Bundle, Outcome, busybox};

/// Tries what masks and read-only paths are there to prevent, wherever a procfs is.
const PROBE: &str = "for n in 1 2 3 4 5 6 7 8 9 10 11 12; do for p in /proc /decoy; do \
     if read v 2>/dev/null <$p/sys/kernel/panic && echo $v 2>/dev/null >$p/sys/kernel/panic; \
     then echo escaped: $p/sys is writable; fi; \
     if test \"$(head -c 1 $p/timer_list 2>/dev/null | wc -c)\" = 1; \
     then echo escaped: $p/timer_list is not masked; fi; done; done; true";

/// Another container with the same root file system exchanges /proc with a directory of its own, so
/// that the masks end up there, or nowhere.
#[test]
fn masks_of_proc_hold_where_proc_changes_its_name() {
    let victim = busybox!().script(PROBE);
    fs::create_dir_all(victim.rootfs().join("decoy/sys/kernel")).expect("mkdir");
    let attacker = busybox!().almighty().bind(victim.rootfs(), "/prey", &["bind"]);
    let attacker = attacker.attacker("swap=/prey/proc,/prey/decoy");
    attacker.run_detached();
    let mut tries = Tries::of(&attacker);
    while tries.go_on(&attacker, 10_000, 40, Some(400)) {
        let outcome = victim.run_or_refused();
        assert!(!outcome.stdout.contains("escaped"), "start {}: {outcome}", tries.made);
    }
    attacker.delete_forced().success();
}

#[test]
fn proc_as_a_link_is_masked_all_the_same() {
    let bundle = busybox!().script(PROBE);
    fs::remove_dir(bundle.rootfs().join("proc")).expect("rmdir");
    fs::create_dir(bundle.rootfs().join("decoy")).expect("mkdir");
    symlink("decoy", bundle.rootfs().join("proc")).expect("symlink");
    let outcome = bundle.run_or_refused();
    assert!(!outcome.stdout.contains("escaped"), "{outcome}");
}

/// A volume or a tmpfs over /proc, prepared with files of the names that a runtime writes.
fn fake(bundle: &Bundle) -> Vec<std::path::PathBuf> {
    let fake = bundle.file("fake");
    let files = [
        "sys/net/ipv4/ping_group_range",
        "sys/kernel/domainname",
        "self/attr/exec",
        "self/attr/apparmor/exec",
        "self/attr/keycreate",
        "thread-self/attr/exec",
        "thread-self/attr/apparmor/exec",
        "self/oom_score_adj",
        "self/setgroups",
        "self/uid_map",
        "self/timens_offsets",
        "1/oom_score_adj",
        "1/attr/exec",
    ];
    let files: Vec<_> = files.iter().map(|name| fake.join(name)).collect();
    for file in &files {
        fs::create_dir_all(file.parent().expect("a parent")).expect("mkdir");
        fs::write(file, "").expect("write");
    }
    files
}

#[track_caller]
fn assert_nothing_written(files: &[std::path::PathBuf]) {
    for file in files {
        assert_eq!(fs::read_to_string(file).expect("read"), "", "{} was written", file.display());
    }
}

#[test]
fn a_sysctl_is_written_to_the_kernel_whatever_lies_over_proc() {
    for over in ["/proc", "/proc/sys"] {
        let bundle = busybox!();
        let files = fake(&bundle);
        let source = bundle.file(over.replacen("/proc", "fake", 1).as_str());
        let sysctl = json!({"net.ipv4.ping_group_range": "7 9", "kernel.domainname": "real"});
        let bundle = bundle
            .mount("/tmp", "proc", "proc", &[])
            .bind(source, over, &["bind"])
            .script("cat /tmp/sys/net/ipv4/ping_group_range /tmp/sys/kernel/domainname")
            .set("/linux/sysctl", sysctl)
            .set("/linux/maskedPaths", json!([]))
            .set("/linux/readonlyPaths", json!([]))
            .set("/process/oomScoreAdj", json!(500));
        let outcome = bundle.run_or_refused();
        assert_nothing_written(&files);
        assert!(!outcome.status.success() || outcome.stdout == "7\t9\nreal\n", "{over}: {outcome}");
    }
}

/// Inside of a running container its root has put a volume over /proc: exec must not take that for
/// the kernel's.
#[test]
fn exec_writes_nothing_to_a_proc_of_the_containers_making() {
    let bundle = busybox!().almighty();
    let files = fake(&bundle);
    let fake = bundle.file("fake");
    let bundle = bundle.bind(fake, "/fake", &["bind"]);
    let bundle =
        bundle.script("mount --bind /fake /proc && echo ready && sleep 100").without_namespace("cgroup");
    bundle.run_detached();
    for _ in 0..3 {
        bundle.exec(&["true"]);
    }
    let file = process_file(&bundle, "process.json", |process| {
        process["args"] = json!(["cat", "/fake/self/oom_score_adj"]);
        process["oomScoreAdj"] = json!(500);
        process["user"] = json!({"uid": 1000, "gid": 1000});
    });
    bundle.rcrun(&["exec", "--process", &file, bundle.id()]);
    assert_nothing_written(&files);
    bundle.delete_forced().success();
}

/// A container whose root covers its /proc with `/fake` and lays it open again, all the time; `/real` is
/// a procfs too. And the files of the fake one.
fn covering() -> (Bundle, Vec<std::path::PathBuf>) {
    let bundle = Bundle::busybox().expect("a bundle").almighty();
    let files = fake(&bundle);
    let fake = bundle.file("fake");
    let bundle = bundle.bind(fake, "/fake", &["bind"]).mount("/real", "proc", "proc", &[]);
    let bundle = bundle.attacker("cover=/fake,/proc").without_namespace("cgroup");
    bundle.run_detached();
    (bundle, files)
}

/// Again and again, until the attacker has covered /proc often enough.
#[track_caller]
fn while_covering(attacker: &Bundle, mut victim: impl FnMut() -> Outcome, mut check: impl FnMut(&Outcome)) {
    let mut tries = Tries::of(attacker);
    while tries.go_on(attacker, 10_000, 40, Some(300)) {
        check(&victim());
    }
}

/// The container's mounts are exec's, too: what exec writes about its process must not depend on
/// which /proc is on top in that moment.
#[test]
fn exec_writes_to_the_kernels_proc_while_the_container_covers_its_own() {
    drop(busybox!());
    let (attacker, files) = covering();
    let file = process_file(&attacker, "process.json", |process| {
        process["args"] = json!(["cat", "/real/self/oom_score_adj"]);
        process["oomScoreAdj"] = json!(500);
    });
    // runc and crun leave the score as it was.
    let own = text("/proc/self/oom_score_adj");
    let exec = || attacker.rcrun(&["exec", "--process", &file, attacker.id()]);
    while_covering(&attacker, exec, |outcome| {
        assert_nothing_written(&files);
        let score = outcome.stdout.trim();
        assert!(!outcome.status.success() || score == "500" || score == own, "{outcome}");
    });
    attacker.delete_forced().success();
}

/// Another container starts in the mount namespace of one that covers /proc all the time, with a sysctl
/// and, in a time namespace of its own, a clock to set.
#[test]
fn a_container_of_the_same_mounts_writes_to_the_kernels_proc() {
    drop(busybox!());
    let (attacker, files) = covering();
    let mounts = format!("/proc/{}/ns/mnt", attacker.state()["pid"]);
    // It enters the attacker's root, by a path that leads there in both mount namespaces.
    let victim = Bundle::busybox().expect("a bundle").without_namespace("mount");
    let victim = victim.namespace("mount", Some(&mounts)).namespace("time", None);
    let victim = victim
        .script("cat /real/sys/kernel/domainname; cut -d. -f1 /real/uptime")
        .set("/mounts", json!([]))
        .set("/root/path", json!("/"))
        .set("/root/readonly", json!(false))
        .set("/linux/maskedPaths", json!([]))
        .set("/linux/readonlyPaths", json!([]))
        .set("/linux/sysctl", json!({"kernel.domainname": "real"}))
        .set("/linux/timeOffsets", json!({"boottime": {"secs": 400_000_000}}));
    while_covering(
        &attacker,
        || victim.run_or_refused(),
        |outcome| {
            assert_nothing_written(&files);
            let mut lines = outcome.stdout.lines();
            let as_asked = lines.next() == Some("real")
                && lines
                    .next()
                    .is_some_and(|uptime| uptime.parse().is_ok_and(|uptime: u64| uptime > 400_000_000));
            assert!(!outcome.status.success() || as_asked, "{outcome}");
        },
    );
    attacker.delete_forced().success();
}
