//! Pulling what registries have: every kind of image, by tag, digest and platform.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

use serde_json::{Value, json};

use crate::fixtures::{Image, Layer, MTIME, Packing, Scene, artifact, header, index, noise, put_manifest};
use crate::support::require;

/// One of everything that layers have.
fn everything() -> Layer {
    let mut gone = header(tar::EntryType::Regular, 0o644);
    gone.set_mtime(1);
    Layer::new()
        .directory("d")
        .file_with("d/program", noise(1, 300_000), |header| {
            header.set_mode(0o4755);
            header.set_uid(1000);
            header.set_gid(50);
        })
        .hard_link("d/same", "d/program")
        .symlink("d/link", "../d/program")
        .device("d/null", 1, 3)
        .pax(&[("SCHILY.xattr.user.word", b"hello")])
        .file("d/marked", "x")
        .entry(gone, b"d/old", b"", b"")
        .file(&format!("d/{}", "n".repeat(200)), "a long name")
}

#[test]
fn layers_of_every_packing_and_both_schemas_are_unpacked() {
    let scene = require!(Scene::new());
    for packing in [Packing::Plain, Packing::Gzip, Packing::Zstd, Packing::ZstdChunked] {
        for docker in [false, true] {
            // Different contents, so that nothing of the image before serves this one.
            let own = Layer::new().file("own", format!("{packing:?} {docker}"));
            let mut image = Image::new().layer(everything(), packing).layer(own, packing);
            if docker {
                image = image.docker();
            }
            let built = image.build();
            let tag = format!("{packing:?}-{docker}").to_lowercase();
            scene.registry.push("a", &tag, &built);
            scene.node.pull(&scene.name(&format!("a:{tag}"))).success();
            let layer = scene.node.layer(&built.diff_ids()[1]);
            assert_eq!(fs::read_to_string(layer.join("own")).unwrap(), format!("{packing:?} {docker}"));
        }
    }
    let built = Image::new().layer(everything(), Packing::Plain).build();
    let layer = scene.node.layer(&built.diff_ids()[0]);
    let metadata = |name: &str| fs::symlink_metadata(layer.join("d").join(name)).unwrap();
    let program = metadata("program");
    assert_eq!((program.mode(), program.uid(), program.gid()), (0o104_755, 1000, 50));
    assert_eq!((program.mtime(), metadata("old").mtime()), (MTIME as i64, 1));
    assert_eq!((program.nlink(), program.ino()), (2, metadata("same").ino()));
    assert_eq!(fs::read(layer.join("d/program")).unwrap(), noise(1, 300_000));
    assert_eq!(fs::read_link(layer.join("d/link")).unwrap().to_str(), Some("../d/program"));
    assert!(metadata("null").file_type().is_char_device() && metadata("null").rdev() == 0x103);
    assert_eq!(metadata(&"n".repeat(200)).len(), 11);
    let mut value = [0; 16];
    let length = rustix::fs::getxattr(layer.join("d/marked"), "user.word", &mut value).unwrap();
    assert_eq!(&value[..length], b"hello");
    scene.node.verifies();
}

#[test]
fn whiteouts_become_those_of_overlayfs() {
    let lower = Layer::new().directory("d").file("d/a", "a").file("d/b", "b").file("c", "c");
    let upper = Layer::new().whiteout("c").directory("d").opaque("d").file("d/new", "n");
    let built = Image::new().layer(lower, Packing::Gzip).layer(upper, Packing::Gzip).build();
    let scene = require!(Scene::with(&built));
    scene.pull().success();
    let layer = scene.node.layer(&built.diff_ids()[1]);
    let whiteout = fs::symlink_metadata(layer.join("c")).unwrap();
    assert!(whiteout.file_type().is_char_device() && whiteout.rdev() == 0);
    let mut value = [0; 4];
    assert_eq!(rustix::fs::getxattr(layer.join("d"), "trusted.overlay.opaque", &mut value), Ok(1));
    assert_eq!(value[0], b'y');
    assert!(!layer.join("d/.wh..wh..opq").exists() && layer.join("d/new").exists());
}

#[test]
fn what_is_there_is_not_fetched_again() {
    let base = Layer::new().file("base", noise(3, 100_000));
    let first = Image::new().layer(base, Packing::Gzip).build();
    let base = Layer::new().file("base", noise(3, 100_000));
    let second =
        Image::new().layer(base, Packing::Gzip).layer(Layer::new().file("x", "y"), Packing::Gzip).build();
    let scene = require!(Scene::with(&first));
    scene.registry.push("b", "1", &second);
    scene.pull().success();
    scene.node.pull(&scene.name("b:1")).success();
    let shared = &first.layers()[0];
    assert_eq!(scene.proxy.count(&format!("/blobs/{shared}")), 1);
    assert_eq!(scene.node.stored("layers/sha256").len(), 2);
    // A pull of the same asks for the manifest and nothing else.
    let blobs = scene.proxy.count("/blobs/");
    scene.pull().success();
    assert_eq!(scene.proxy.count("/blobs/"), blobs);
    // A layer blob is not kept beside what was unpacked of it.
    assert!(!scene.node.stored("blobs/sha256").contains(&shared["sha256:".len()..].to_owned()));
}

#[test]
fn blobs_are_kept_when_that_is_asked_for() {
    let built = Image::busybox().build();
    let scene = require!(Scene::with(&built));
    scene.node.rcrun(&["pull", "--quiet", "--keep-blobs", &scene.name("a:1")]).wait().success();
    let stored = scene.node.stored("blobs/sha256");
    assert!(built.layers().iter().all(|layer| stored.contains(&layer["sha256:".len()..].to_owned())));
    scene.node.verifies();
}

#[test]
fn the_platform_chooses_the_manifest() {
    let of = |architecture: &str, variant: &str| {
        let layer = Layer::new().file("which", format!("{architecture}{variant}"));
        Image::new().layer(layer, Packing::Gzip).architecture(architecture, variant).build()
    };
    let images = [of("arm", "v6"), of("amd64", ""), of("arm64", "v8"), of("arm", "v7"), of("amd64", "v3")];
    let all: Vec<_> = images.iter().collect();
    for docker in [false, true] {
        let scene = require!(Scene::with(&index(&all, docker)));
        let pull = |platform: &str| {
            scene.node.rcrun(&["pull", "--quiet", "--platform", platform, &scene.name("a:1")]).wait()
        };
        for (platform, expected) in [("linux/arm/v7", 3), ("linux/arm64", 2), ("linux/arm/v6", 0)] {
            pull(platform).success();
            assert!(scene.node.layer(&images[expected].diff_ids()[0]).exists(), "{platform}");
        }
        pull("linux/riscv64").refused(&["linux/riscv64", "linux/amd64", "linux/arm/v6", "--platform"]);
        scene.pull().success();
        let host = if cfg!(target_arch = "aarch64") { 2 } else { 1 };
        assert!(scene.node.layer(&images[host].diff_ids()[0]).exists());
    }
}

#[test]
fn a_digest_names_a_manifest_or_an_index() {
    let built = Image::busybox().build();
    let both = index(&[&built], false);
    let scene = require!(Scene::with(&both));
    scene.node.pull(&scene.name(&format!("a@{}", both.digest()))).success();
    scene.node.pull(&scene.name(&format!("a@{}", built.digest()))).success();
    // The tag beside a digest counts for nothing.
    scene.node.pull(&scene.name(&format!("a:none@{}", built.digest()))).success();
    assert_eq!(scene.proxy.count("/manifests/none"), 0);
    let absent = format!("sha256:{}", "0".repeat(64));
    scene.node.pull(&scene.name(&format!("a@{absent}"))).refused(&[&absent, "no such"]);
}

#[test]
fn an_image_without_layers_is_one_too() {
    let scene = require!(Scene::with(&Image::new().build()));
    scene.pull().success();
    assert_eq!(scene.node.stored("layers/sha256"), [""; 0]);
}

#[test]
fn an_artifact_is_pulled_with_its_blobs() {
    let built = artifact("application/vnd.example.model", &[("text/plain", b"hello"), ("x/y", b"world")]);
    let scene = require!(Scene::with(&built));
    scene.pull().success();
    let stored = scene.node.stored("blobs/sha256");
    assert!(built.layers().iter().all(|blob| stored.contains(&blob["sha256:".len()..].to_owned())));
    assert_eq!(scene.node.stored("layers/sha256"), [""; 0]);
}

#[test]
fn a_moved_tag_is_followed() {
    let of = |word: &str| Image::new().layer(Layer::new().file("word", word), Packing::Gzip).build();
    let scene = require!(Scene::with(&of("old")));
    scene.pull().success();
    scene.registry.push("a", "1", &of("new"));
    scene.pull().success();
    let index: Value =
        serde_json::from_slice(&fs::read(scene.node.storage().join("index.json")).unwrap()).unwrap();
    let name = json!(scene.name("a:1"));
    let named: Vec<&Value> = index["manifests"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|entry| entry["annotations"]["org.opencontainers.image.ref.name"] == name)
        .collect();
    assert_eq!(named.len(), 1, "{index}");
    assert_eq!(named[0]["digest"], json!(of("new").digest()));
}

#[test]
fn unknown_names_and_tags_are_told_apart_from_bad_ones() {
    let scene = require!(Scene::with(&Image::busybox().build()));
    scene.node.pull(&scene.name("a:2")).refused(&["a:2", "no such"]);
    scene.node.pull(&scene.name("nothing:1")).refused(&["nothing", "no such"]);
    scene.node.pull("Nothing").refused(&["Nothing", "lower case"]);
    scene.node.pull("127.0.0.1:1/a").refused(&["127.0.0.1:1"]);
    scene.node.holds_nothing();
}

#[test]
fn a_manifest_of_an_old_schema_says_so() {
    let scene = require!(Scene::with(&Image::busybox().build()));
    let v1 = json!({"schemaVersion": 1, "name": "a", "tag": "1", "fsLayers": [], "history": []});
    let kind = "application/vnd.docker.distribution.manifest.v1+json";
    scene.proxy.always("/manifests/", crate::fixtures::Fault::Content(kind, v1.to_string().into_bytes()));
    scene.pull().refused(&["schema version 1"]);
    scene.node.holds_nothing();
}

#[test]
fn an_index_of_indexes_is_followed_or_refused_in_one_line() {
    let built = Image::busybox().build();
    let inner = index(&[&built], false);
    let scene = require!(Scene::with(&inner));
    let outer = json!({"schemaVersion": 2, "mediaType": inner.root().media_type, "manifests": [{
        "mediaType": inner.root().media_type, "digest": inner.digest(), "size": inner.root().bytes.len(),
    }]});
    let bytes = outer.to_string().into_bytes();
    put_manifest(scene.registry.address(), "a", "outer", &inner.root().media_type, &bytes);
    let outcome = scene.node.pull(&scene.name("a:outer"));
    if !outcome.status.success() {
        outcome.refused(&["index"]);
    }
}
