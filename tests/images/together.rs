//! Many processes at once, processes that are killed, disks that are full: the store stays whole.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;

use crate::fixtures::{Built, Fault, Image, Layer, Node, Packing, Scene, noise};
use crate::support::{Outcome, require};

/// An image of eight layers of half a MiB.
fn eight(seed: u64) -> Built {
    let layer = |n| Layer::new().directory("d").file(&format!("d/{n}"), noise(seed + n, 512 << 10));
    (0..8).fold(Image::new(), |image, n| image.layer(layer(n), Packing::Gzip)).build()
}

#[test]
fn two_pulls_of_one_image_fetch_each_blob_once() {
    let built = eight(100);
    let scene = require!(Scene::with(&built));
    scene.proxy.always("/blobs/", Fault::Slow(1 << 20));
    let name = scene.name("a:1");
    let pulls: Vec<_> = (0..4).map(|_| scene.node.rcrun(&["pull", "--quiet", &name]).spawn()).collect();
    for pull in pulls {
        pull.wait().success();
    }
    for layer in built.layers() {
        assert_eq!(scene.proxy.count(&format!("/blobs/{layer}")), 1, "{layer}");
    }
    scene.node.verifies();
}

#[test]
fn images_that_share_layers_fetch_them_once() {
    let of = |n: u64| {
        let own = Layer::new().file("own", noise(n, 1000));
        Image::new()
            .layer(Layer::new().file("shared", noise(5, 2 << 20)), Packing::Gzip)
            .layer(own, Packing::Gzip)
            .build()
    };
    let scene = require!(Scene::new());
    scene.proxy.always("/blobs/", Fault::Slow(2 << 20));
    let images: Vec<Built> = (200..204).map(of).collect();
    for (n, built) in images.iter().enumerate() {
        scene.registry.push(&format!("image{n}"), "1", built);
    }
    let pull = |n: usize| scene.node.rcrun(&["pull", "--quiet", &scene.name(&format!("image{n}:1"))]).spawn();
    let pulls: Vec<_> = (0..images.len()).map(pull).collect();
    for pull in pulls {
        pull.wait().success();
    }
    assert_eq!(scene.proxy.count(&format!("/blobs/{}", images[0].layers()[0])), 1);
    assert_eq!(scene.node.stored("layers/sha256").len(), 5);
}

#[test]
fn who_waited_goes_on_where_the_first_was_killed() {
    let built = eight(300);
    let scene = require!(Scene::with(&built));
    scene.proxy.always("/blobs/", Fault::Slow(1 << 20));
    let name = scene.name("a:1");
    let first = scene.node.rcrun(&["pull", "--quiet", &name]).spawn();
    crate::support::wait_for("the first blob", 10, || (scene.proxy.sent("/blobs/") > 100_000).then_some(()));
    let second = scene.node.rcrun(&["pull", "--quiet", &name]).spawn();
    std::thread::sleep(Duration::from_millis(200));
    first.signal(Signal::KILL);
    drop(first);
    second.wait().success();
    scene.node.verifies();
}

#[test]
fn a_pull_that_is_killed_leaves_nothing_half_done() {
    let built = eight(400);
    let scene = require!(Scene::with(&built));
    scene.proxy.always("/blobs/", Fault::Slow(8 << 20));
    let name = scene.name("a:1");
    // From the first system calls to the last.
    for milliseconds in (0..24).map(|n| 3 + 17 * n) {
        let pull = scene.node.rcrun(&["pull", "--quiet", &name]).spawn();
        std::thread::sleep(Duration::from_millis(milliseconds));
        if pull.stderr().is_empty() {
            pull.signal(Signal::KILL);
        }
        drop(pull);
        scene.node.verifies();
        let visible = scene.node.rcrun(&["images", "--quiet"]).wait().success();
        if !visible.stdout.trim().is_empty() {
            // It was done: from the start again, with another kill.
            scene.node.rcrun(&["rmi", &name]).wait().success();
        }
    }
    scene.pull().success();
    scene.node.verifies();
    for (n, diff_id) in built.diff_ids().iter().enumerate() {
        let file = scene.node.layer(diff_id).join(format!("d/{n}"));
        assert_eq!(fs::read(file).unwrap(), noise(400 + n as u64, 512 << 10));
    }
    assert_eq!(scene.node.stored("layers/sha256").len(), 8);
}

/// Runs a script in a mount namespace of its own where the store is a tmpfs of `size`. `$RCRUN` is rcrun with its options.
fn on_small_disk(node: &Node, size: &str, script: &str) -> Outcome {
    fs::create_dir_all(node.storage()).expect("mkdir");
    let mut command = Command::new("unshare");
    let whole = format!(
        "set -e; mount -t tmpfs -o size={size} tmpfs {0}; rcrun() {{ '{1}' --storage {0} \"$@\"; }}; {script}",
        node.storage().display(),
        crate::support::binary().display()
    );
    command.args(["--mount", "sh", "-c", &whole]);
    node.invocation(command).wait()
}

fn script(scene: &Scene, then: &str) -> String {
    let name = scene.name("a:1");
    format!("code=0; rcrun pull --quiet {name} >/dev/null || code=$?; echo code $code; {then}")
}

#[test]
fn a_full_disk_is_said_and_nothing_half_done_is_there() {
    let scene = require!(Scene::with(&eight(500)));
    let small = Image::new().layer(Layer::new().file("small", "x"), Packing::Gzip).build();
    scene.registry.push("small", "1", &small);
    let then = format!(
        "rcrun images --quiet | wc -l; ls layers/sha256 2>/dev/null | wc -l; ls ingest 2>/dev/null | wc -l; \
         rcrun image verify --all >/dev/null; rcrun pull --quiet {} >/dev/null; rcrun images --quiet | wc -l",
        scene.name("small:1")
    );
    let text = format!("cd {}; {}", scene.node.storage().display(), script(&scene, &then));
    let outcome = on_small_disk(&scene.node, "1500k", &text).success();
    let lines: Vec<&str> = outcome.stdout.lines().map(str::trim).collect();
    assert_eq!((lines[0], lines[1], lines[4]), ("code 1", "0", "1"), "{outcome}");
    // What was whole may stay for the next pull; what was not is gone.
    assert_eq!(lines[3], "0", "unfinished: {outcome}");
    outcome.explains(&["space"]);
}

#[test]
fn a_store_without_inodes_is_a_full_disk_too() {
    let many = (0..300).fold(Layer::new(), |layer, n| layer.file(&format!("f{n}"), "x"));
    let scene = require!(Scene::with(&Image::new().layer(many, Packing::Gzip).build()));
    let text =
        format!("cd {}; {}", scene.node.storage().display(), script(&scene, "rcrun images --quiet | wc -l"));
    let outcome = on_small_disk(&scene.node, "4m,nr_inodes=100", &text).success();
    assert_eq!(outcome.stdout.split_whitespace().collect::<Vec<_>>(), ["code", "1", "0"], "{outcome}");
    outcome.explains(&["space"]);
}

#[test]
fn a_store_that_cannot_be_written_is_named() {
    let scene = require!(Scene::with(&Image::busybox().build()));
    let mut command = Command::new("unshare");
    fs::create_dir_all(scene.node.storage()).unwrap();
    let whole = format!(
        "mount -t tmpfs -o ro tmpfs {0} && exec '{1}' --storage {0} pull --quiet {2}",
        scene.node.storage().display(),
        crate::support::binary().display(),
        scene.name("a:1")
    );
    command.args(["--mount", "sh", "-c", &whole]);
    let path = scene.node.storage();
    scene.node.invocation(command).wait().refused(&[path.to_str().unwrap(), "read-only"]);
}

#[test]
fn an_index_that_is_broken_is_not_overwritten() {
    let scene = require!(Scene::with(&Image::busybox().build()));
    scene.pull().success();
    let file = scene.node.storage().join("index.json");
    for text in ["", "{", "[]", &json!({"schemaVersion": 9}).to_string()] {
        fs::write(&file, text).unwrap();
        scene.pull().refused(&["index.json"]);
        assert_eq!(fs::read_to_string(&file).unwrap(), text);
    }
    fs::remove_file(&file).unwrap();
    assert!(Path::new(&scene.node.storage()).exists());
}
