//! `image verify`: what is not as it was stored is told, a line each.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use rcrun::image::manifest::Compression;
use rcrun::image::store::{LayerClaim, LayerRecord, Store};
use rcrun::image::unpack::{UnpackOptions, unpack_layer};
use rcrun::image::{Descriptor, Digest};

use super::put;
use crate::fixtures::{Built, Image, Layer, Node, Packing};

struct Scene {
    node: Node,
    built: Built,
}

impl Scene {
    /// An image of two layers, unpacked as they are, its blobs kept.
    fn new() -> Self {
        let first = Layer::new().directory("etc").file("etc/motd", "hello").file("etc/hosts", "x");
        let second = Layer::new().symlink("motd", "etc/motd").whiteout("etc/hosts");
        let built = Image::new().layer(first, Packing::Gzip).layer(second, Packing::Plain).build();
        let node = Node::new();
        let store = Store::open(&node.storage()).unwrap();
        for (blob, diff_id) in built.layers().iter().zip(built.diff_ids()) {
            let bytes = built.blobs().find(|(digest, _)| digest == blob).unwrap().1;
            let diff_id: Digest = diff_id.parse().unwrap();
            let LayerClaim::Missing(writer) = store.claim_layer(&diff_id).unwrap() else { panic!() };
            let mut digests = writer.digests().unwrap();
            let options = UnpackOptions::default();
            let unpacked =
                unpack_layer(bytes, Compression::Gzip, writer.diff().as_fd(), &mut digests, options).unwrap();
            assert_eq!(unpacked.diff_id, diff_id);
            let blob = Descriptor::of("layer", bytes);
            writer.commit(&LayerRecord::new(diff_id, blob, unpacked.bytes, unpacked.files)).unwrap();
        }
        put(&store, "web:1", &built, true);
        Self { node, built }
    }

    fn layer(&self, number: usize) -> PathBuf {
        self.node.layer(&self.built.diff_ids()[number])
    }

    fn blob(&self, digest: &str) -> PathBuf {
        self.node.storage().join("blobs").join(digest.replace(':', "/"))
    }

    /// The lines of a verification that finds something.
    fn differences(&self, count: usize) -> Vec<String> {
        let outcome = self.node.rcrun(&["image", "verify", "web:1"]).wait();
        assert_eq!(outcome.code(), 1, "{outcome}");
        let lines: Vec<String> = outcome.stdout.lines().map(str::to_owned).collect();
        assert_eq!(lines.len(), count, "{outcome}");
        assert!(outcome.stderr.contains(&format!("{count} difference")), "{outcome}");
        let all = self.node.rcrun(&["image", "verify", "--all"]).wait();
        assert!(all.code() == 1 && lines.iter().all(|line| all.stdout.contains(line)), "{all}");
        lines
    }
}

#[test]
fn an_image_that_nobody_has_changed_is_as_it_must_be() {
    let scene = Scene::new();
    let outcome = scene.node.rcrun(&["image", "verify", "web:1"]).wait().success();
    assert_eq!(outcome.stdout, "1 image, 2 layers, 4 blobs are as they must be\n");
    scene.node.verifies();
    assert_eq!(scene.node.rcrun(&["image", "verify", "nope"]).wait().code(), 1);
    assert_eq!(scene.node.rcrun(&["image", "verify"]).wait().success().stdout, outcome.stdout);
}

#[test]
fn files_of_layers_are_compared() {
    let scene = Scene::new();
    let etc = scene.layer(0).join("etc");
    fs::write(etc.join("hosts"), "y").unwrap();
    fs::set_permissions(etc.join("motd"), fs::Permissions::from_mode(0o777)).unwrap();
    fs::write(etc.join("more"), "").unwrap();
    fs::remove_file(scene.layer(1).join("motd")).unwrap();
    let lines = scene.differences(5);
    let (first, second) = (&scene.built.diff_ids()[0], &scene.built.diff_ids()[1]);
    let expected = [
        (first, "\"etc\" has another time"),
        (first, "\"etc/hosts\" has another time, content"),
        (first, "\"etc/more\" was not in the layer"),
        (first, "\"etc/motd\" has another mode"),
        (second, "\"motd\" is missing"),
    ];
    assert_eq!(lines, expected.map(|(layer, what)| format!("layer {layer}: {what}")));
}

#[test]
fn documents_and_kept_blobs_are_compared() {
    let scene = Scene::new();
    let blob = &scene.built.layers()[0];
    fs::write(scene.blob(blob), "changed").unwrap();
    assert!(scene.differences(1)[0].starts_with(&format!("blob {blob}: its content is sha256:")));
    fs::remove_file(scene.blob(blob)).unwrap();
    scene.node.verifies();
    fs::write(scene.blob(&scene.built.id()), "changed").unwrap();
    assert!(scene.differences(1)[0].starts_with("image web:1: blob "));
}

#[test]
fn a_layer_that_is_not_there_is_told_unless_its_blob_is() {
    let scene = Scene::new();
    fs::remove_dir_all(scene.layer(0).parent().unwrap()).unwrap();
    scene.node.verifies();
    fs::remove_file(scene.blob(&scene.built.layers()[0])).unwrap();
    let missing = format!("image web:1: layer {} is not there", scene.built.diff_ids()[0]);
    assert!(scene.differences(1)[0].starts_with(&missing));
    let record = scene.layer(1).parent().unwrap().join("layer.json");
    fs::write(&record, "{").unwrap();
    assert!(scene.differences(2)[1].contains("layer.json is damaged"));
}
