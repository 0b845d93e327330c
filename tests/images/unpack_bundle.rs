//! `rcrun unpack`: an image as a bundle.

use std::os::unix::fs::MetadataExt;

use super::fixtures::{Image, Layer, Node, Packing, header, node_with};
use super::support::{Outcome, require};

#[test]
fn an_unpacked_image_runs_and_keeps_owners_links_and_attributes() {
    let mut owned = header(tar::EntryType::Regular, 0o4755);
    owned.set_uid(7);
    owned.set_gid(8);
    let layer = Layer::new()
        .directory("d")
        .pax(&[("SCHILY.xattr.user.mine", b"value")])
        .entry(owned, b"d/owned", b"", b"content")
        .entry(
            {
                let mut link = header(tar::EntryType::Link, 0o644);
                link.set_size(0);
                link
            },
            b"d/link",
            b"d/owned",
            b"",
        )
        .file("d/gone", "x")
        .device("d/null", 1, 3)
        .symlink("d/out", "/etc/shadow");
    let image =
        Image::busybox().layer(layer, Packing::Gzip).layer(Layer::new().whiteout("d/gone"), Packing::Gzip);
    let node = require!(node_with(image));
    let bundle = node.file("bundle");
    let path = bundle.to_str().unwrap();
    node.rcrun(&["unpack", "app", path]).wait().success().prints("");
    let stat = |name: &str| std::fs::symlink_metadata(bundle.join("rootfs").join(name)).unwrap();
    assert_eq!((stat("d/owned").uid(), stat("d/owned").gid(), stat("d/owned").mode()), (7, 8, 0o104755));
    assert_eq!(stat("d/link").ino(), stat("d/owned").ino());
    assert_eq!(stat("d/owned").mtime(), super::fixtures::MTIME as i64);
    assert!(!bundle.join("rootfs/d/gone").exists());
    assert_eq!(stat("d/null").rdev(), rustix::fs::makedev(1, 3));
    let mut value = [0; 16];
    let length = rustix::fs::getxattr(bundle.join("rootfs/d/owned"), "user.mine", &mut value).unwrap();
    assert_eq!(&value[..length], b"value");
    node.rcrun(&["run", &format!("{path}/")])
        .stdin("cat /etc/passwd | head -n 1")
        .wait()
        .prints("root:x:0:0:root:/root:/bin/sh");
    assert_eq!(node.stored("containers"), [""; 0]);
}

#[test]
fn the_directory_must_be_new_or_empty() {
    let node = require!(node_with(Image::busybox()));
    let bundle = node.file("bundle");
    std::fs::create_dir(&bundle).unwrap();
    let path = bundle.to_str().unwrap();
    node.rcrun(&["unpack", "--rootfs-only", "app", path]).wait().success();
    assert!(bundle.join("rootfs/bin/sh").exists() && !bundle.join("config.json").exists());
    node.rcrun(&["unpack", "app", path]).wait().refused(&["not empty"]);
    node.rcrun(&["unpack", "app", "/nonesuch/deep"]).wait().refused(&["/nonesuch/deep", "no such file"]);
    node.rcrun(&["unpack", "--pull", "never", "other", node.file("new").to_str().unwrap()])
        .wait()
        .refused(&["other", "not in the store"]);
    assert!(!node.file("new").exists());
}

#[test]
fn a_failure_leaves_nothing() {
    let image = Image::busybox().config(|config| config["config"]["User"] = serde_json::json!("who"));
    let node = require!(node_with(image));
    let bundle = node.file("bundle");
    node.rcrun(&["unpack", "app", bundle.to_str().unwrap()]).wait().refused(&["who"]);
    assert!(!bundle.exists());
    assert_eq!(node.stored("containers"), [""; 0]);
}

#[test]
fn a_failure_leaves_nothing_of_a_tree_however_deep() {
    let deep = format!("{}f", "d/".repeat(2000));
    let image = Image::busybox()
        .layer(Layer::new().pax(&[("path", deep.as_bytes())]).file("f", "x"), Packing::Gzip)
        .config(|config| config["config"]["User"] = "who".into());
    let node = require!(node_with(image));
    let bundle = node.file("bundle");
    few_descriptors(&node, &["unpack", "app", bundle.to_str().unwrap()]).refused(&["who"]);
    assert!(!bundle.exists());
}

#[test]
fn a_tree_however_deep_gives_way_to_a_file() {
    let deep = format!("{}f", "d/".repeat(2000));
    let layer = Layer::new().pax(&[("path", deep.as_bytes())]).file("f", "x").file("d", "y");
    let node = require!(node_with(Image::busybox()));
    let layout = node.file("layout");
    Image::busybox().layer(layer, Packing::Plain).build().write_layout(&layout, "app:2");
    few_descriptors(&node, &["load", "-q", "-i", layout.to_str().unwrap()]).success();
    node.rcrun(&["run", "--rm", "app:2", "cat", "/d"]).wait().prints("y");
    node.verifies();
}

/// rcrun with room for 256 descriptors.
fn few_descriptors(node: &Node, words: &[&str]) -> Outcome {
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", "ulimit -n 256; exec \"$@\"", "sh"]).arg(super::support::binary());
    shell.arg("--storage").arg(node.storage()).arg("--root").arg(node.state()).args(words);
    node.invocation(shell).wait()
}
