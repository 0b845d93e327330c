//! Images that are wrong in themselves: one clear line, and nothing of them is stored.

use serde_json::{Value, json};

use crate::fixtures::{Built, Fault, Image, Layer, Packing, Scene, artifact, header, noise, sha256};
use crate::support::{Outcome, require};

/// Pulls an image that must be refused, with all these words.
fn refuse(built: &Built, words: &[&str]) -> Result<(), String> {
    let scene = Scene::with(built)?;
    scene.pull().refused(words);
    scene.node.holds_nothing();
    Ok(())
}

fn small() -> Layer {
    Layer::new().file("a", "b")
}

#[test]
fn a_wrong_diff_id_is_refused() {
    let other = sha256(b"something else");
    let config = |config: &mut Value| {
        config["rootfs"] = json!({"type": "layers", "diff_ids": [sha256(b"something else")]});
    };
    let built = Image::new().layer(small(), Packing::Gzip).config(config).build();
    require!(refuse(&built, &[&other[..19]]));
}

#[test]
fn layers_and_diff_ids_are_equal_in_number() {
    let config = |config: &mut Value| config["rootfs"] = json!({"type": "layers", "diff_ids": []});
    let built = Image::new().layer(small(), Packing::Gzip).config(config).build();
    require!(refuse(&built, &["diff_ids", "1", "0"]));
}

#[test]
fn a_layer_that_is_cut_short_is_refused() {
    for (packing, word) in [(Packing::Gzip, "gzip"), (Packing::Zstd, "zstd")] {
        let tar = Layer::new().file("noise", noise(9, 200_000)).tar();
        let whole = packing.pack(&tar);
        let layer = whole[..whole.len() - 1000].to_vec();
        let manifest = json!({"size": layer.len(), "digest": sha256(&layer)});
        let built = replace_layer(&tar, packing, &manifest).with_blob(layer);
        let scene = require!(Scene::with(&built));
        let refused = scene.pull().refused(&[&sha256(&whole[..whole.len() - 1000])[..19]]);
        assert!(names(&refused, &[word, "truncated", "cut", "end"]), "{refused}");
        scene.node.holds_nothing();
    }
}

/// An image of one layer, whose descriptor's fields are then those of `fields`.
fn replace_layer(tar: &[u8], packing: Packing, fields: &Value) -> Built {
    let built = Image::new().layer(Layer::new().raw(&tar[..tar.len() - 1024]), packing).build();
    let mut manifest = built.root().json();
    for (name, value) in fields.as_object().expect("an object") {
        manifest["layers"][0][name] = value.clone();
    }
    built.with_root(&manifest)
}

fn names(outcome: &Outcome, words: &[&str]) -> bool {
    let line = outcome.stderr.to_lowercase();
    words.iter().any(|word| line.contains(word))
}

#[test]
fn a_layer_that_is_no_archive_is_refused() {
    let rubbish = Layer::new().raw(&noise(4, 100_000));
    require!(refuse(&Image::new().layer(rubbish, Packing::Gzip).build(), &["tar"]));
}

#[test]
fn what_is_an_index_and_an_image_is_neither() {
    let built = Image::busybox().build();
    let scene = require!(Scene::with(&built));
    let mut both = built.root().json();
    both["manifests"] = json!([]);
    scene.proxy.always("/manifests/", Fault::Body(both.to_string().into_bytes()));
    scene.pull().refused(&["manifests", "layers"]);
    // What it says and what it was announced as differ.
    let mut other = built.root().json();
    other["mediaType"] = json!("application/vnd.oci.image.index.v1+json");
    scene.proxy.heal();
    scene.proxy.always("/manifests/", Fault::Body(other.to_string().into_bytes()));
    scene.pull().refused(&["manifest", "index"]);
    scene.node.holds_nothing();
}

#[test]
fn absurd_numbers_are_refused_with_the_limit_that_they_pass() {
    let built = Image::busybox().build();
    let scene = require!(Scene::with(&built));
    let layer = built.root().json()["layers"][0].clone();
    let manifest = |change: &dyn Fn(&mut Value)| {
        let mut manifest = built.root().json();
        change(&mut manifest);
        manifest.to_string().into_bytes()
    };
    let many = manifest(&|manifest| manifest["layers"] = json!(vec![layer.clone(); 10_000]));
    let config = manifest(&|manifest| manifest["config"]["size"] = json!(1_u64 << 40));
    let layer_size = manifest(&|manifest| manifest["layers"][0]["size"] = json!(1_u64 << 50));
    let mut artifact = artifact("a/b", &[("c/d", b"e")]).root().json();
    artifact["config"]["size"] = json!(1_u64 << 40);
    let negative = manifest(&|manifest| manifest["layers"][0]["size"] = json!(-1));
    let long = [b"{\"x\":\"", vec![b'x'; 5 << 20].as_slice(), b"\"}"].concat();
    for (body, word) in [
        (many, "RCRUN_IMAGE_MAX_LAYERS"),
        (config, "RCRUN_IMAGE_MAX_CONFIG_BYTES"),
        (artifact.to_string().into_bytes(), "RCRUN_IMAGE_MAX_CONFIG_BYTES"),
        (layer_size, "RCRUN_IMAGE_MAX_LAYER_BYTES"),
        (negative, "layers[0].size"),
        (long, "RCRUN_IMAGE_MAX_MANIFEST_BYTES"),
        (b"{".to_vec(), "JSON"),
        (b"[[[[[[".repeat(100_000), "JSON"),
    ] {
        scene.proxy.heal();
        scene.proxy.always("/manifests/", Fault::Body(body));
        scene.pull().refused(&[word]);
        scene.node.holds_nothing();
    }
}

#[test]
fn a_bomb_is_stopped_and_the_limit_can_be_raised() {
    let bomb = Layer::new().file("zeros", vec![0; 64 << 20]);
    let built = Image::new().layer(bomb, Packing::Zstd).build();
    let mut scene = require!(Scene::with(&built));
    scene.pull().refused(&["RCRUN_IMAGE_MAX_RATIO"]);
    scene.node.holds_nothing();
    scene.node.set_env("RCRUN_IMAGE_MAX_RATIO", "1000000");
    scene.node.set_env("RCRUN_IMAGE_MAX_LAYER_BYTES", "1000000");
    scene.pull().refused(&["RCRUN_IMAGE_MAX_LAYER_BYTES"]);
    scene.node.holds_nothing();
    scene.node.set_env("RCRUN_IMAGE_MAX_LAYER_BYTES", "100000000");
    scene.pull().success();
}

#[test]
fn too_many_files_are_stopped() {
    let many = (0..500).fold(Layer::new(), |layer, n| layer.file(&format!("f{n}"), ""));
    let mut scene = require!(Scene::with(&Image::new().layer(many, Packing::Gzip).build()));
    scene.node.set_env("RCRUN_IMAGE_MAX_LAYER_FILES", "499");
    scene.pull().refused(&["RCRUN_IMAGE_MAX_LAYER_FILES"]);
    scene.node.holds_nothing();
}

#[test]
fn a_header_that_promises_a_terabyte_is_refused() {
    let mut long_name = header(tar::EntryType::GNULongName, 0o644);
    long_name.set_size(1 << 40);
    let layer = Layer::new().entry(long_name, b"././@LongLink", b"", b"name");
    require!(refuse(&Image::new().layer(layer, Packing::Gzip).build(), &["RCRUN_IMAGE_MAX_HEADER_BYTES"]));
    let mut file = header(tar::EntryType::Regular, 0o644);
    file.set_size(1 << 40);
    let layer = Layer::new().entry(file, b"f", b"", b"content");
    require!(refuse(&Image::new().layer(layer, Packing::Gzip).build(), &["\"f\""]));
}

#[test]
fn a_layer_of_an_unknown_kind_is_named() {
    let kind = |manifest: &mut Value| manifest["layers"][0]["mediaType"] = json!("application/x.strange");
    let built = Image::new().layer(small(), Packing::Gzip).manifest(kind).build();
    require!(refuse(&built, &["application/x.strange"]));
}

#[test]
fn an_encrypted_layer_is_named() {
    let kind = |manifest: &mut Value| {
        manifest["layers"][0]["mediaType"] = json!("application/vnd.oci.image.layer.v1.tar+gzip+encrypted");
    };
    let built = Image::new().layer(small(), Packing::Gzip).manifest(kind).build();
    require!(refuse(&built, &["encrypted"]));
}

#[test]
fn a_configuration_that_is_none_is_refused() {
    for (bytes, word) in
        [(&b"null"[..], "configuration"), (b"{\"rootfs\": 7}", "rootfs"), (b"<html>", "configuration")]
    {
        let built = Image::busybox().build();
        let mut manifest = built.root().json();
        manifest["config"]["digest"] = json!(sha256(bytes));
        manifest["config"]["size"] = json!(bytes.len());
        let built = built.with_root(&manifest).with_blob(bytes.to_vec());
        require!(refuse(&built, &[word]));
    }
}

#[test]
fn a_platform_that_the_only_manifest_is_not_for_is_refused() {
    let built = Image::new().layer(small(), Packing::Gzip).architecture("s390x", "").build();
    let scene = require!(Scene::with(&built));
    let pull = |platform: &str| {
        scene.node.rcrun(&["pull", "--quiet", "--platform", platform, &scene.name("a:1")]).wait()
    };
    pull("linux/amd64").refused(&["linux/s390x", "linux/amd64", "--platform"]);
    scene.node.holds_nothing();
    pull("linux/s390x").success();
}

#[test]
fn an_artifact_is_not_run() {
    let built = artifact("application/x.test", &[("text/plain", b"hello")]);
    let scene = require!(Scene::with(&built));
    scene.pull().success();
    let outcome = scene.node.rcrun(&["run", "--rm", &scene.name("a:1"), "true"]).wait();
    assert!(!outcome.status.success(), "{outcome}");
    outcome.explains(&["artifact", &scene.name("a:1")]);
}
