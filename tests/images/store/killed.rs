//! Writers that are killed at any point: what has a name is whole, and the rest is found and removed.

use std::collections::HashSet;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rcrun::image::store::Store;
use rcrun::image::{Digest, Reference};

use super::{contents, put, unpack, write_blob};
use crate::fixtures::{Built, Image, Layer, Node, Packing, noise};

/// Says to a process of this program that it is a writer, and where.
const ROLE: &str = "RCRUN_TEST_STORE_WRITER";
const FILES: u64 = 20;

fn image(number: usize) -> Built {
    let layer = |number: usize| Layer::new().file("number", number.to_string());
    let image = Image::new().layer(layer(number), Packing::Gzip).layer(layer(number + 1), Packing::Gzip);
    image.layer(layer(99), Packing::Gzip).build()
}

/// Puts images and removes them, for as long as it lives. A test of its own does nothing.
#[test]
fn writer() {
    let Some(root) = std::env::var_os(ROLE) else { return };
    let store = Store::open(Path::new(&root)).unwrap();
    let mut round = std::process::id() as usize;
    loop {
        round = round.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let (number, name) = ((round >> 33) % 5, format!("web{}", (round >> 40) % 3));
        if (round >> 50).is_multiple_of(3) {
            let candidates = [name.parse::<Reference>().unwrap()];
            // Another one may have been faster.
            let _ = store.remove_image(&name, &candidates, true);
            continue;
        }
        let _use = store.use_shared().unwrap();
        let built = image(number);
        for diff_id in built.diff_ids() {
            let diff_id: Digest = diff_id.parse().unwrap();
            let blob = rcrun::image::Descriptor::new("layer", diff_id.clone(), 1);
            unpack(&store, &diff_id, &blob, FILES);
        }
        write_blob(&store, &noise(number as u64, 100_000));
        put(&store, &name, &built, number == 0);
    }
}

fn start(node: &Node) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "store::killed::writer", "--nocapture"]).env(ROLE, node.storage());
    command.stdout(Stdio::null()).stderr(Stdio::inherit()).spawn().unwrap()
}

#[test]
fn killed_writers_leave_a_store_whose_names_are_all_whole() {
    let node = Node::new();
    let mut writers: Vec<Child> = (0..3).map(|_| start(&node)).collect();
    let end = Instant::now() + Duration::from_secs(4);
    let mut kills = 0_u64;
    while Instant::now() < end || kills <= 20 {
        let at = kills as usize % writers.len();
        std::thread::sleep(Duration::from_millis(7 + kills * 13 % 40));
        writers[at].kill().unwrap();
        assert!(writers[at].wait().unwrap().code().is_none(), "a writer has failed");
        writers[at] = start(&node);
        kills += 1;
    }
    for mut writer in writers {
        writer.kill().unwrap();
        writer.wait().unwrap();
    }
    let store = Store::open(&node.storage()).unwrap();
    check_images(&store);
    let collected = store.collect_garbage().unwrap();
    assert!(!collected.deferred && collected.errors.is_empty(), "{collected:?}");
    let layers = check_images(&store);
    let found: HashSet<String> = node.stored("layers/sha256").into_iter().collect();
    assert_eq!(found, layers.iter().map(|diff_id| diff_id.hex().to_owned()).collect());
    assert!(node.stored("ingest").is_empty());
    for built in 0..5 {
        put(&store, "last", &image(built), false);
    }
    node.rcrun(&["image", "prune", "--all", "--force"]).wait().success();
    node.holds_nothing();
}

/// Every image has its documents and whole layers; the layers of all.
fn check_images(store: &Store) -> HashSet<Digest> {
    let mut layers = HashSet::new();
    for image in store.images().unwrap() {
        let documents = store.contents(&image).unwrap();
        for diff_id in documents.diff_ids() {
            let layer = store.layer(diff_id).unwrap_or_else(|| panic!("{image:?} lacks {diff_id}"));
            let files = contents(&layer.diff());
            assert_eq!(files.len() as u64, layer.record().unwrap().files);
            assert!(files.iter().all(|file| file == diff_id.hex().as_bytes()), "{diff_id}");
            layers.insert(diff_id.clone());
        }
        if image.keep_blobs {
            assert!(documents.manifest.layers.iter().all(|l| store.blob(&l.digest).unwrap().is_some()));
        }
    }
    layers
}
