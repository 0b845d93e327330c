//! A file system without room, and things that cannot be removed.

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::Path;
use std::process::Command;

use rcrun::image::Digest;
use rcrun::image::store::{BlobClaim, LayerClaim, Store};

use super::put;
use crate::fixtures::{Image, Layer, Node, Packing};
use crate::support::{program, require};

/// Says to a process of this program that it has a small file system, and where.
const ROLE: &str = "RCRUN_TEST_STORE_ROOM";

#[test]
fn without_room_the_error_says_so_and_nothing_is_half_there() {
    let Some(root) = std::env::var_os(ROLE) else {
        let node = Node::new();
        let directory = node.file("small");
        fs::create_dir(&directory).unwrap();
        let mut command = Command::new(require!(program("unshare")));
        let script = "mount -t tmpfs -o size=1m tmpfs \"$1\" || exit 77; shift; exec \"$@\"";
        command.args(["-m", "sh", "-c", script, "sh"]).arg(&directory);
        command.arg(std::env::current_exe().unwrap()).arg("--exact");
        let name = "store::room::without_room_the_error_says_so_and_nothing_is_half_there";
        command.args([name, "--nocapture"]).env(ROLE, &directory);
        let outcome = node.invocation(command).wait();
        if outcome.code() == 77 {
            return crate::support::skip("this user may not mount a tmpfs");
        }
        outcome.success();
        return;
    };
    let root = Path::new(&root).join("store");
    let store = Store::open(&root).unwrap();
    let large = vec![7; 3 << 20];
    let BlobClaim::Missing(mut writer) = store.claim_blob(&Digest::of(&large)).unwrap() else { panic!() };
    let error = writer.write_all(&large).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StorageFull);
    assert!(error.to_string().contains("no space left") && error.to_string().contains(" MB free"), "{error}");
    drop(writer);
    let error = store.put_blob(&Digest::of(&large), &large).unwrap_err();
    assert!(error.is_full() && error.to_string().contains("rcrun image prune"), "{error}");
    let LayerClaim::Missing(layer) = store.claim_layer(&Digest::of(b"a")).unwrap() else { panic!() };
    assert!(layer.digests().unwrap().write_all(&large).is_err());
    drop(layer);
    assert_eq!(fs::read_dir(root.join("ingest")).unwrap().count(), 0);
    let built = Image::new().layer(Layer::new().file("a", "b"), Packing::Gzip).build();
    put(&store, "web", &built, false);
    fill(&root);
    let image = &store.images().unwrap()[0];
    for number in 0.. {
        match store.tag(image, &format!("web{number}:1").parse().unwrap()) {
            Ok(_) => assert!(number < 10_000),
            Err(error) => {
                assert!(error.is_full(), "{error}");
                break;
            }
        }
    }
    assert!(!store.images().unwrap().is_empty());
    fs::remove_file(root.parent().unwrap().join("filler")).unwrap();
    assert_eq!(store.remove_image(image.id.hex(), &[], true).unwrap().deleted.len(), 1);
}

fn fill(root: &Path) {
    let mut filler = fs::File::create(root.parent().unwrap().join("filler")).unwrap();
    while filler.write_all(&[7; 4096]).is_ok() {}
}

#[test]
fn what_cannot_be_removed_is_named_and_left_for_the_next_time() {
    let node = Node::new();
    let store = Store::open(&node.storage()).unwrap();
    let built = Image::new().layer(Layer::new().file("a", "b"), Packing::Gzip).build();
    put(&store, "web", &built, false);
    let directory = node.layer(&built.diff_ids()[0]).join("usr/share");
    fs::create_dir_all(&directory).unwrap();
    let (file, beside) = (directory.join("stuck"), directory.join("beside"));
    fs::write(&file, "x").unwrap();
    fs::write(&beside, "x").unwrap();
    let chattr = require!(program("chattr"));
    let flag = |flag: &str, file: &Path| {
        let outcome = Command::new(&chattr).arg(flag).arg(file).output().unwrap();
        outcome.status.success()
    };
    if !flag("+i", &file) {
        return crate::support::skip("this file system has no immutable flag, or this user may not set it");
    }
    let outcome = node.rcrun(&["rmi", "web"]).wait();
    assert_eq!(outcome.code(), 1, "{outcome}");
    assert!(outcome.stderr.contains("usr/share/stuck") && outcome.stderr.contains("chattr"), "{outcome}");
    // Found where it is now: the tree has become flat.
    let mut find = Command::new("find");
    find.arg(node.storage().join("ingest")).args(["-name", "stuck"]);
    let stuck = node.invocation(find).wait().success().stdout;
    let found = Path::new(stuck.trim());
    assert!(found.parent().is_some_and(|at| !at.join("beside").exists()), "{stuck}");
    assert!(flag("-i", found));
    node.rcrun(&["image", "prune", "--force"]).wait().success();
    node.holds_nothing();
}

#[test]
fn nothing_is_removed_through_a_mount() {
    let node = Node::new();
    let store = Store::open(&node.storage()).unwrap();
    let built = Image::new().layer(Layer::new().file("a", "b"), Packing::Gzip).build();
    put(&store, "web", &built, false);
    let precious = node.file("precious");
    fs::create_dir(&precious).unwrap();
    fs::write(precious.join("file"), "x").unwrap();
    let point = node.layer(&built.diff_ids()[0]).join("mnt/point");
    fs::create_dir_all(&point).unwrap();
    let mut command = Command::new(require!(program("unshare")));
    let script = "mount --bind \"$1\" \"$2\" || exit 77; shift 2; exec \"$@\"";
    command.args(["-m", "sh", "-c", script, "sh"]).arg(&precious).arg(&point);
    command.arg(crate::support::binary()).arg("--storage").arg(node.storage()).args(["rmi", "web"]);
    let outcome = node.invocation(command).wait();
    if outcome.code() == 77 {
        return crate::support::skip("this user may not mount");
    }
    assert_eq!(outcome.code(), 1, "{outcome}");
    assert!(outcome.stderr.contains("is a mount point"), "{outcome}");
    assert_eq!(fs::read_to_string(precious.join("file")).unwrap(), "x");
    node.rcrun(&["image", "prune", "--force"]).wait().success();
    node.holds_nothing();
}
