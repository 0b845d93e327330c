//! The store as an OCI image layout that other programs read and write.

use std::fs;

use rcrun::image::store::Store;
use serde_json::Value;

use super::put;
use crate::fixtures::{Image, Layer, Node, Packing, program};
use crate::support::require;

#[test]
fn skopeo_and_umoci_read_a_store_that_keeps_its_blobs() {
    let node = Node::new();
    let mut skopeo = require!(program("skopeo"));
    let mut umoci = require!(program("umoci"));
    let built = Image::busybox().layer(Layer::new().file("a", "b"), Packing::Gzip).build();
    put(&Store::open(&node.storage()).unwrap(), "busybox:1", &built, true);
    let image = format!("{}:docker.io/library/busybox:1", node.storage().display());
    skopeo.args(["--insecure-policy", "inspect", &format!("oci:{image}")]);
    let outcome = node.invocation(skopeo).wait().success();
    let seen: Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(seen["Digest"], built.digest());
    assert_eq!(seen["Layers"].as_array().unwrap().len(), built.layers().len());
    umoci.args(["unpack", "--image", &image]).arg(node.file("bundle"));
    node.invocation(umoci).wait().success();
    assert_eq!(fs::read_to_string(node.file("bundle").join("rootfs/a")).unwrap(), "b");
    // It has changed nothing.
    node.rcrun(&["image", "prune", "--force"]).wait().success();
    let listed = node.rcrun(&["images", "-q", "--no-trunc"]).wait().success();
    assert_eq!(listed.stdout.trim(), built.id());
}

#[test]
fn what_skopeo_copies_into_the_store_is_an_image_of_it() {
    let node = Node::new();
    let store = Store::open(&node.storage()).unwrap();
    let mine = Image::new().layer(Layer::new().file("mine", "1"), Packing::Gzip).build();
    let foreign = Image::new().layer(Layer::new().file("foreign", "1"), Packing::Gzip).build();
    put(&store, "mine:1", &mine, false);
    foreign.write_layout(&node.file("layout"), "x");
    let mut skopeo = require!(program("skopeo"));
    skopeo.args(["--insecure-policy", "copy"]);
    skopeo.arg(format!("oci:{}:x", node.file("layout").display()));
    skopeo.arg(format!("oci:{}:docker.io/library/foreign:1", node.storage().display()));
    node.invocation(skopeo).wait().success();
    let listed = node.rcrun(&["images"]).wait().success().stdout;
    assert!(listed.contains("mine ") && listed.contains("foreign "), "{listed}");
    node.rcrun(&["tag", "foreign:1", "also:2"]).wait().success();
    node.rcrun(&["rmi", "mine:1"]).wait().success();
    node.rcrun(&["image", "prune", "--all", "--force"]).wait().success();
    let left = node.rcrun(&["images", "-q", "--no-trunc"]).wait().success().stdout;
    assert_eq!(left.lines().collect::<Vec<_>>(), [foreign.id(), foreign.id()]);
    let removed = node.rcrun(&["rmi", "--force", &foreign.id()]).wait().success().stdout;
    assert!(removed.contains(&format!("Deleted: {}", foreign.id())), "{removed}");
    node.holds_nothing();
    assert!(node.stored("blobs/sha256").is_empty());
}
