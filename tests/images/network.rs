//! A connection or a registry that does wrong on the way: what was fetched is used, the rest is fetched again, and
//! nothing that is wrong is believed.

use std::time::Instant;

use crate::fixtures::{Built, Fault, Image, Layer, Packing, Scene, noise};
use crate::support::require;

const MIB: u64 = 1 << 20;

/// An image with one layer of four MiB, not packed.
fn large() -> Built {
    Image::new().layer(Layer::new().file("noise", noise(7, 4 * MIB as usize)), Packing::Plain).build()
}

fn scene(built: &Built) -> Result<(Scene, String), String> {
    Ok((Scene::with(built)?, format!("GET /v2/a/blobs/{}", built.layers()[0])))
}

fn size(built: &Built) -> u64 {
    let manifest = built.root().json();
    manifest["layers"][0]["size"].as_u64().unwrap()
}

#[test]
fn a_cut_blob_is_resumed_where_it_was_cut() {
    let built = large();
    let (scene, blob) = require!(scene(&built));
    scene.proxy.times(1, &blob, Fault::Cut(MIB));
    scene.proxy.times(1, &blob, Fault::Cut(0));
    scene.proxy.times(1, &blob, Fault::Cut(MIB + 77));
    scene.pull().success();
    assert_eq!(scene.proxy.sent(&blob), size(&built), "each byte once");
    let ranges: Vec<String> = scene
        .proxy
        .seen(&blob)
        .iter()
        .map(|seen| seen.head.header("range").unwrap_or_default().to_owned())
        .collect();
    assert!(ranges[3].starts_with(&format!("bytes={}-", 2 * MIB + 77)), "{ranges:?}");
    scene.node.verifies();
}

#[test]
fn a_registry_without_ranges_is_read_from_the_start() {
    let built = large();
    let (scene, blob) = require!(scene(&built));
    scene.proxy.times(1, &blob, Fault::Cut(MIB));
    scene.proxy.times(1, &blob, Fault::NoRange);
    scene.pull().success();
    assert_eq!(scene.proxy.sent(&blob), size(&built) + MIB);
    scene.node.verifies();
}

#[test]
fn a_blob_that_is_always_cut_is_given_up() {
    let built = large();
    let (scene, blob) = require!(scene(&built));
    scene.proxy.times(1, &blob, Fault::Cut(MIB));
    scene.proxy.always(&blob, Fault::Cut(0));
    scene.pull().refused(&[&built.layers()[0][..19]]);
    assert!((2..20).contains(&scene.proxy.count(&blob)), "{}", scene.proxy.count(&blob));
    scene.node.holds_nothing();
    scene.proxy.heal();
    scene.pull().success();
}

#[test]
fn a_registry_that_falls_silent_is_asked_again() {
    let built = large();
    let (mut scene, blob) = require!(scene(&built));
    // Longer than a busy machine's registry needs for an answer, which counts as silence too.
    scene.node.set_env("RCRUN_REGISTRY_SILENCE_SECONDS", "10");
    scene.proxy.times(1, &blob, Fault::Stall(MIB));
    scene.pull().success();
    assert_eq!(scene.proxy.sent(&blob), size(&built));
}

#[test]
fn silence_and_trickles_end_with_an_error() {
    let built = large();
    let (mut scene, blob) = require!(scene(&built));
    scene.node.set_env("RCRUN_REGISTRY_SILENCE_SECONDS", "1");
    scene.node.set_env("RCRUN_REGISTRY_TRIES", "2");
    scene.node.set_env("RCRUN_REGISTRY_SLOW_SECONDS", "2");
    scene.node.set_env("RCRUN_REGISTRY_SLOW_BYTES", "4096");
    scene.proxy.always(&blob, Fault::Stall(0));
    scene.pull().refused(&["RCRUN_REGISTRY_SILENCE_SECONDS"]);
    scene.proxy.heal();
    scene.node.set_env("RCRUN_REGISTRY_SILENCE_SECONDS", "30");
    scene.proxy.always(&blob, Fault::Slow(100));
    scene.pull().refused(&["RCRUN_REGISTRY_SLOW_BYTES"]);
    scene.node.holds_nothing();
}

#[test]
fn a_busy_registry_is_given_the_time_that_it_asks_for() {
    let built = large();
    let (scene, blob) = require!(scene(&built));
    let later = |status| Fault::Answer(status, vec![("Retry-After", "1".into())], b"later".to_vec());
    scene.proxy.times(1, "/manifests/", later(429));
    scene.proxy.times(1, &blob, later(503));
    let start = Instant::now();
    scene.pull().success();
    assert!(start.elapsed().as_millis() >= 2000, "{:?}", start.elapsed());
}

#[test]
fn errors_of_a_registry_are_told_in_its_words() {
    let (scene, blob) = require!(scene(&large()));
    let error = br#"{"errors":[{"code":"DENIED","message":"the cellar is full","detail":null}]}"#;
    scene.proxy.always("/manifests/", Fault::Answer(403, vec![], error.to_vec()));
    scene.pull().refused(&["403", "the cellar is full"]);
    scene.proxy.heal();
    scene.proxy.always(&blob, Fault::Answer(500, vec![], b"".to_vec()));
    scene.pull().refused(&["500"]);
    scene.node.holds_nothing();
}

#[test]
fn a_web_page_is_no_manifest() {
    let (scene, _) = require!(scene(&large()));
    let page = b"<!DOCTYPE html><html><head><title>Sign in to Hotel</title></head></html>".to_vec();
    scene.proxy.always("/manifests/", Fault::Content("text/html; charset=utf-8", page.clone()));
    scene.pull().refused(&["web page", "Sign in to Hotel"]);
    scene.proxy.heal();
    scene.proxy.always("/v2/", Fault::Content("text/html", page));
    scene.pull().refused(&["web page"]);
    scene.node.holds_nothing();
}

#[test]
fn bytes_that_are_wrong_are_not_believed() {
    let built = large();
    let (scene, blob) = require!(scene(&built));
    let config = format!("GET /v2/a/blobs/{}", built.id());
    // First, because it is kept once it has come whole.
    scene.proxy.always(&config, Fault::Flip(10));
    scene.pull().refused(&[&built.id()[..19]]);
    scene.proxy.heal();
    scene.proxy.always(&blob, Fault::Flip(2 * MIB));
    scene.pull().refused(&[&built.layers()[0][..19]]);
    scene.proxy.heal();
    // More than the manifest says; and a manifest that is not the one of the digest.
    scene.proxy.always(&blob, Fault::Append(vec![0; 512]));
    scene.pull().refused(&[&built.layers()[0][..19]]);
    scene.proxy.heal();
    scene.proxy.always("/manifests/", Fault::Flip(1));
    let name = scene.name(&format!("a@{}", built.digest()));
    scene.node.pull(&name).refused(&[&built.digest()[..19]]);
    scene.node.holds_nothing();
    scene.proxy.heal();
    scene.pull().success();
    scene.node.verifies();
}

#[test]
fn a_registry_that_is_not_there_is_named() {
    let scene = require!(Scene::new());
    let gone = "127.0.0.1:9/a:1";
    scene.node.insecure(&["127.0.0.1:9"]);
    scene.node.pull(gone).refused(&["127.0.0.1:9"]);
    scene.node.pull("host.invalid/a:1").refused(&["host.invalid"]);
    scene.node.holds_nothing();
}

#[test]
fn a_registry_that_hangs_up_is_asked_again() {
    let (scene, _) = require!(scene(&large()));
    scene.proxy.times(1, "/manifests/", Fault::Hang);
    scene.pull().success();
}
