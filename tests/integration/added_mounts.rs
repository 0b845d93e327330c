//! `mounts add` and `mounts remove`: file systems of a container that runs.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::{Value, json};

use crate::support::{Bundle, Outcome, busybox, require};

fn mounts(bundle: &Bundle, action: &str, list: Value) -> Outcome {
    let text = list.to_string();
    bundle.invocation(&["mounts", action, bundle.id(), "-"]).stdin(&text).wait()
}

fn bind(source: impl AsRef<std::path::Path>, destination: &str, options: &[&str]) -> Value {
    json!({"destination": destination, "type": "bind", "source": source.as_ref(), "options": options})
}

#[test]
fn mounts_are_added_to_a_running_container_and_removed() {
    for user in [false, true] {
        let bundle = busybox!().script("sleep 100").writable();
        let bundle = if user { bundle.user_namespace() } else { bundle };
        let data = bundle.data();
        bundle.run_detached();
        let list = json!([
            bind(&data, "/mnt", &["bind", "ro"]),
            bind(data.join("word"), "/etc/word", &["bind"]),
            {"destination": "/new/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["size=1m", "ro", "nosuid"]},
        ]);
        mounts(&bundle, "add", list.clone()).prints("");
        bundle.exec(&["cat", "/mnt/word", "/etc/word"]).prints("hello\nhello");
        bundle.exec(&["touch", "/mnt/file"]).explains(&["read-only"]);
        let outcome = bundle.exec(&["grep", " /new/tmp ", "/proc/self/mountinfo"]).success();
        assert!(outcome.stdout.contains("ro,nosuid") && outcome.stdout.contains("size=1024k"), "{outcome}");
        bundle.exec(&["stat", "-c", "%u", "/new/tmp"]).prints("0");
        assert_eq!(bundle.traces().mounts(), Vec::<std::path::PathBuf>::new());

        let file = bundle.file("mounts.json");
        fs::write(&file, json!({"mounts": list}).to_string()).expect("write");
        bundle.rcrun(&["mounts", "remove", bundle.id(), file.to_str().expect("UTF-8")]).prints("");
        bundle.exec(&["ls", "/mnt", "/new/tmp"]).prints("/mnt:\n\n/new/tmp:");
        mounts(&bundle, "remove", list).refused(&["/new/tmp", "nothing is mounted there"]);
        bundle.delete_forced().success();
    }
}

#[test]
fn an_id_mapped_mount_can_be_added() {
    let bundle = busybox!().user_namespace().writable().script("sleep 100");
    require!(super::id_mapped_mounts::mappable(&bundle));
    let data = bundle.data();
    bundle.run_detached();
    mounts(&bundle, "add", json!([bind(&data, "/mnt", &["bind"])])).prints("");
    mounts(&bundle, "add", json!([bind(&data, "/tmp", &["bind", "idmap"])])).prints("");
    bundle.exec(&["stat", "-c", "%u", "/mnt/word", "/tmp/word"]).prints("65534\n0");
    bundle.delete_forced().success();
}

#[test]
fn an_id_mapped_tmpfs_can_be_added() {
    let bundle = busybox!().user_namespace().writable().script("sleep 100");
    require!(super::id_mapped_mounts::mappable_tmpfs());
    bundle.run_detached();
    let mount = json!({"destination": "/mnt", "type": "tmpfs", "source": "shm", "options": ["idmap", "mode=710", "ro"]});
    mounts(&bundle, "add", json!([mount])).prints("");
    let show = "stat -c %u:%a /mnt; grep -c ' /mnt ro,.*idmapped' /proc/self/mountinfo";
    bundle.exec(&["sh", "-c", show]).prints("0:710\n1");
    bundle.delete_forced().success();
}

#[test]
fn a_container_that_does_not_pivot_gets_mounts_too() {
    let bundle = busybox!().script("sleep 100");
    let data = bundle.data();
    bundle.run_with(&["--detach", "--no-pivot"]).success();
    mounts(&bundle, "add", json!([bind(&data, "/tmp", &["bind"])])).prints("");
    bundle.exec(&["cat", "/tmp/word"]).prints("hello");
    mounts(&bundle, "remove", json!([{"destination": "/tmp"}])).prints("");
    bundle.exec(&["ls", "/tmp"]).prints("");
    bundle.delete_forced().success();
}

#[test]
fn of_mounts_that_cannot_all_be_added_none_is() {
    let bundle = busybox!().script("sleep 100").writable();
    let data = bundle.data();
    bundle.run_detached();
    let list = json!([
        bind(&data, "/tmp", &["bind"]),
        {"destination": "/mnt", "type": "tmpfs", "source": "tmpfs", "options": ["size=much"]},
    ]);
    mounts(&bundle, "add", list).refused(&["/mnt", "size"]);
    bundle.exec(&["ls", "/tmp"]).prints("");
    let missing = json!([bind("/not/here", "/mnt", &["bind"])]);
    mounts(&bundle, "add", missing).refused(&["/not/here", "no such file"]);
    bundle.delete_forced().success();
}

#[test]
fn a_link_that_a_container_makes_leads_no_mount_out_of_it() {
    let bundle =
        busybox!().writable().script("ln -s ../../../../outside /tmp/out; touch /tmp/done; sleep 100");
    let data = bundle.data();
    bundle.run_detached();
    crate::support::wait_for("the links", 5, || {
        fs::exists(bundle.rootfs().join("tmp/done")).ok()?.then_some(())
    });
    mounts(&bundle, "add", json!([bind(&data, "/tmp/out/x", &["bind"])])).refused(&["leaves the root"]);
    mounts(&bundle, "add", json!([bind(&data, "/proc/1/root/tmp", &["bind"])]))
        .refused(&["/proc/1/root/tmp"]);
    mounts(&bundle, "remove", json!([{"destination": "/tmp/out"}])).refused(&["leaves the root"]);
    symlink("/etc", bundle.rootfs().join("tmp/inside")).expect("symlink");
    mounts(&bundle, "add", json!([bind(&data, "/tmp/inside/x", &["bind"])])).prints("");
    bundle.exec(&["cat", "/etc/x/word"]).prints("hello");
    bundle.delete_forced().success();
}

#[test]
fn what_cannot_be_added_is_refused_by_name() {
    let bundle = busybox!().script("sleep 100");
    bundle.run_detached();
    let add = |mount: Value| mounts(&bundle, "add", json!([mount]));
    add(json!({"destination": "/", "type": "tmpfs"})).refused(&["mounts[0].destination", "root"]);
    add(json!({"destination": "/mnt", "type": "proc"})).refused(&["mounts[0].type", "procfs"]);
    add(bind("/etc", "/tmp", &["bind", "noexecc"])).refused(&["mounts[0]", "noexecc"]);
    mounts(&bundle, "add", json!("text")).refused(&["mounts"]);
    bundle.kill("KILL").success();
    bundle.wait_for_status("stopped");
    add(bind("/etc", "/tmp", &["bind"])).refused(&["stopped"]);
    bundle.delete().success();
}
