//! Pulls that share a store with each other, with removals, and with kill -9.

use std::time::Duration;

use rustix::process::Signal;

use crate::fixtures::{Built, Fault, Image, Layer, Node, Packing, Proxy, Registry, noise};
use crate::support::{require, wait_for};

struct Scene {
    _registry: Registry,
    proxy: Proxy,
    node: Node,
    built: Built,
}

impl Scene {
    fn new(seed: u64) -> Result<Self, String> {
        let registry = Registry::start()?;
        let layer = |number: u64| Layer::new().file(&format!("file{number}"), noise(seed + number, 300_000));
        let image = Image::busybox().layer(layer(1), Packing::Gzip).layer(layer(2), Packing::Zstd);
        let built = image.layer(layer(3), Packing::Plain).build();
        registry.push("web", "1", &built);
        let proxy = Proxy::before(registry.address());
        let node = Node::new();
        node.insecure(&[&proxy.address()]);
        Ok(Self { _registry: registry, proxy, node, built })
    }

    fn name(&self) -> String {
        self.proxy.name("web:1")
    }
}

#[test]
fn pulls_of_one_image_at_once_fetch_each_blob_once() {
    let scene = require!(Scene::new(10));
    let (node, name) = (&scene.node, scene.name());
    // Without a wait the first could be done before the others begin.
    scene.proxy.always("GET /v2/web/blobs/", Fault::Slow(400_000));
    let pulls: Vec<_> =
        (0..4).map(|_| node.rcrun(&["pull", "--quiet", "--keep-blobs", &name]).spawn()).collect();
    for pull in pulls {
        pull.wait().success();
    }
    for blob in scene.built.layers().iter().chain([&scene.built.id()]) {
        assert_eq!(scene.proxy.count(&format!("GET /v2/web/blobs/{blob}")), 1, "{blob}");
    }
    node.verifies();
    assert_eq!(node.stored("layers/sha256").len(), scene.built.diff_ids().len());
}

#[test]
fn a_removal_during_a_pull_leaves_what_the_pull_needs() {
    let scene = require!(Scene::new(20));
    let (node, name) = (&scene.node, scene.name());
    node.pull(&name).success();
    node.rcrun(&["rmi", &name]).wait().success();
    node.holds_nothing();
    // Ten seconds, in which the rest is to happen.
    scene.proxy.always(&scene.built.layers()[3], Fault::Slow(30_000));
    let pull = node.rcrun(&["pull", "--quiet", &name]).spawn();
    wait_for("the first layers", 30, || (node.stored("layers/sha256").len() == 3).then_some(()));
    let pruned = node.rcrun(&["image", "prune", "--all", "--force"]).wait().success();
    assert!(pruned.stderr.contains("in use"), "{pruned}");
    assert_eq!(node.stored("layers/sha256").len(), 3);
    pull.wait().success();
    node.verifies();
    node.rcrun(&["rmi", &name]).wait().success();
    node.holds_nothing();
}

#[test]
fn a_pull_that_is_killed_leaves_garbage_alone_and_the_next_one_succeeds() {
    let scene = require!(Scene::new(30));
    let (node, name) = (&scene.node, scene.name());
    scene.proxy.always("GET /v2/web/blobs/", Fault::Slow(1_500_000));
    for round in 0..12 {
        let pull = node.rcrun(&["pull", "--quiet", "--keep-blobs", &name]).spawn();
        std::thread::sleep(Duration::from_millis(20 + 50 * round));
        pull.signal(Signal::KILL);
        drop(pull);
        node.verifies();
        if round % 3 == 0 {
            node.rcrun(&["image", "prune", "--all", "--force"]).wait().success();
            node.holds_nothing();
        }
    }
    node.pull(&name).success();
    node.verifies();
    node.rcrun(&["rmi", &name]).wait().success();
    node.holds_nothing();
    assert!(node.stored("blobs/sha256").is_empty());
}
