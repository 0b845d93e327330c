//! The overlay of an image's layers, and a security module's profile for what runs on it.

use std::path::Path;

use serde_json::json;

use super::{SHOW, image_of_layers, in_vm, node_with, shown};
use crate::fixtures::{
    Image, Layer, Node, Packing, header, node_with as node_on_tmpfs, nothing_is_left, run, script, store,
};
use crate::labels;
use crate::support::{kernel_version, require};

/// The overlays in this process's mount table: the VM's own root is one.
fn overlays() -> Vec<String> {
    let table = std::fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
    table.lines().filter(|line| line.contains(" - overlay ")).map(str::to_owned).collect()
}

#[test]
fn layers_few_and_many_are_merged_and_mounted_nowhere() {
    for count in [3, 200] {
        let node = require!(node_with(image_of_layers(count)));
        let before = overlays();
        for options in [&[][..], &["--userns", "auto"]] {
            script(&node, options, SHOW).prints(&shown(count));
            let wait = format!("{SHOW}; echo ready; read x; touch /d/mine /o/mine && rm /d/kept && ls /d");
            let words = [&["run", "--rm", "-i"], options, &["app", "sh", "-c", &wait]].concat();
            let (input, output) = std::io::pipe().expect("pipe");
            let mut running = node.rcrun(&words).stdin_from(input).spawn();
            running.wait_for_output("ready\n");
            assert_eq!(overlays(), before);
            drop(output);
            running.wait().success().prints(&format!("{}\nready\nmine", shown(count)));
        }
        assert_eq!(overlays(), before);
        nothing_is_left(&node);
    }
}

#[test]
fn a_mapped_container_has_volumes_and_a_read_only_root() {
    let mut file = header(tar::EntryType::Regular, 0o644);
    file.set_uid(1000);
    let image = image_of_layers(5)
        .layer(Layer::new().directory("data").entry(file, b"data/file", b"", b"content"), Packing::Plain)
        .config(|config| config["config"]["Volumes"] = json!({"/data": {}, "/new/one": {}}));
    let node = require!(node_with(image));
    for options in [&["--read-only"][..], &["--read-only", "--userns", "auto"]] {
        let show = "stat -c '%u %g' /data/file /d/kept /etc/hosts; touch /data/x /new/one/y && ls /data; \
                    touch /x 2>/dev/null || echo read-only";
        script(&node, options, show).prints("1000 0\n0 0\n0 0\nfile\nx\nread-only");
    }
    script(&node, &["--userns", "auto"], "touch /x; chown 1000:50 /x; stat -c '%u %g' /x; cat /data/file")
        .prints("1000 50\ncontent");
    nothing_is_left(&node);
}

#[test]
fn a_container_that_stays_is_entered_and_deleted() {
    let node = require!(node_with(image_of_layers(4)));
    let id = node.marker();
    let words = [
        "run",
        "--userns",
        "auto",
        "--name",
        id,
        "app",
        "sh",
        "-c",
        "mkdir -m 0 /mine; echo ready; sleep 1000",
    ];
    let mut running = node.rcrun(&words).spawn();
    running.wait_for_output("ready\n");
    node.rcrun(&["exec", id, "sh", "-c", SHOW]).wait().prints(&shown(4));
    node.rcrun(&["kill", id, "KILL"]).wait().success();
    running.wait().exits_with(137);
    assert_eq!(node.stored("containers"), [id]);
    node.rcrun(&["delete", id]).wait().success();
    nothing_is_left(&node);
}

#[test]
fn layers_are_unpacked_to_a_bundle() {
    let node = require!(node_with(image_of_layers(200)));
    let bundle = node.file("bundle");
    let path = format!("{}/", bundle.display());
    node.rcrun(&["unpack", "app", &path]).wait().success().prints("");
    node.rcrun(&["run", &path]).stdin(SHOW).wait().prints(&shown(200));
    nothing_is_left(&node);
}

#[test]
fn a_store_that_cannot_be_id_mapped_is_named() {
    require!(in_vm());
    if kernel_version() >= (6, 3) {
        return crate::support::skip("this kernel maps the ids of a tmpfs");
    }
    let node: Node = require!(node_on_tmpfs(Image::busybox()));
    script(&node, &[], "echo as usual").prints("as usual");
    run(&node, &["--userns", "auto"], &["true"]).exits_with(125).explains(&[
        "--userns auto",
        "--storage",
        "ext4",
    ]);
    nothing_is_left(&node);
}

/// As where rcrun is in a container itself.
#[test]
fn a_store_on_an_overlay_is_refused() {
    require!(in_vm());
    // The VM's root is one.
    let node = Node::below(Path::new("/var/lib"));
    store(&node.storage(), "app", &Image::busybox().build());
    for options in [&[][..], &["--userns", "auto"]] {
        run(&node, options, &["true"]).exits_with(125).explains(&["--storage"]);
    }
    let bundle = node.file("bundle");
    node.rcrun(&["unpack", "app", bundle.to_str().expect("UTF-8")])
        .wait()
        .refused(&["upper layer", "overlayfs"]);
    assert!(!bundle.exists());
    nothing_is_left(&node);
}

#[test]
fn apparmor_confines_an_images_process() {
    let node = require!(node_with(Image::busybox()));
    require!(labels::profiles_in(&node.file(""), ["rcrun-three", "rcrun-four"]));
    let confined = |options: &[&str]| {
        let options = [&["--security-opt", "apparmor=rcrun-three"], options].concat();
        script(&node, &options, "cat /proc/self/attr/apparmor/current; cat /etc/group 2>&1; :")
    };
    for options in [&[][..], &["--userns", "auto"], &["--security-opt", "no-new-privileges"]] {
        confined(options).prints("rcrun-three (enforce)\ncat: can't open '/etc/group': Permission denied");
    }
    script(&node, &["--security-opt", "apparmor=unconfined"], "cat /proc/self/attr/apparmor/current")
        .prints("unconfined");
    run(&node, &["--security-opt", "apparmor=rcrun-none"], &["true"])
        .exits_with(125)
        .explains(&["rcrun-none", "no such profile"]);
    nothing_is_left(&node);
}
