//! Archives that attack: what they name lies outside of the layer, or is not what it seems. Nothing outside changes,
//! whether the image is refused or taken.

use std::fs;

use tar::EntryType;

use crate::fixtures::{Image, Layer, Packing, Scene, header};
use crate::support::require;

/// What must not change: a file beside the store, with a name and a content of its own.
const SECRET: &str = "the host's own";

/// Pulls an image of this layer. `refused`: words of the error; None where it is to be taken. `victim` is the file's path.
fn attack(name: &str, refused: Option<&[&str]>, layer: impl FnOnce(&str) -> Layer) -> Result<(), String> {
    let scene = Scene::new()?;
    let victim = scene.node.file("victim");
    fs::write(&victim, SECRET).expect("write");
    let path = victim.to_str().expect("UTF-8").to_owned();
    let built = Image::new().layer(layer(&path), Packing::Gzip).build();
    scene.registry.push("a", "1", &built);
    let outcome = scene.pull();
    match refused {
        Some(words) => {
            outcome.refused(words);
            scene.node.holds_nothing();
        }
        None => {
            outcome.success();
            scene.node.verifies();
        }
    }
    assert_eq!(fs::read_to_string(&victim).expect("the victim"), SECRET, "{name}");
    let beside = fs::read_dir(scene.node.file("")).expect("readdir").count();
    assert_eq!(beside, 1, "{name}: a file outside");
    Ok(())
}

fn entry(layer: Layer, kind: EntryType, name: &str, link: &str, content: &str) -> Layer {
    layer.entry(header(kind, 0o644), name.as_bytes(), link.as_bytes(), content.as_bytes())
}

#[test]
fn names_that_lead_up_are_refused() {
    for name in ["../victim", "a/../../victim", "..", "a/.."] {
        let layer = |_: &str| entry(Layer::new(), EntryType::Regular, name, "", "attack");
        require!(attack(name, Some(&[".."]), layer));
    }
}

#[test]
fn absolute_names_stay_inside() {
    require!(attack("absolute", None, |victim| entry(
        Layer::new(),
        EntryType::Regular,
        victim,
        "",
        "attack"
    )));
}

#[test]
fn links_that_lead_out_are_not_followed() {
    // Through a symbolic link to a directory outside.
    let through = |victim: &str| {
        let (directory, name) = victim.rsplit_once('/').expect("a path");
        Layer::new().symlink("out", directory).file(&format!("out/{name}"), "attack")
    };
    require!(attack("through a link", None, through));
    let up = |_: &str| Layer::new().symlink("up", "../../../../../../../..").file("up/tmp/victim", "attack");
    require!(attack("up through a link", None, up));
    // Over a symbolic link to a file outside.
    require!(attack("over a link", None, |victim| Layer::new().symlink("f", victim).file("f", "attack")));
    let chain = |victim: &str| {
        let (directory, name) = victim.rsplit_once('/').expect("a path");
        Layer::new().symlink("a", "b").symlink("b", directory).file(&format!("a/{name}"), "attack")
    };
    require!(attack("a chain of links", None, chain));
}

#[test]
fn hard_links_reach_nothing_outside() {
    let outside = |victim: &str| entry(Layer::new(), EntryType::Link, "f", victim, "");
    require!(attack("absolute", Some(&["f"]), outside));
    let up = |_: &str| entry(Layer::new(), EntryType::Link, "f", "../../../../victim", "");
    require!(attack("up", Some(&[".."]), up));
    // To a link that leads out, and then over it.
    let over = |victim: &str| {
        let layer = Layer::new().symlink("link", victim);
        entry(layer, EntryType::Link, "hard", "link", "").file("hard", "attack")
    };
    require!(attack("to a link", None, over));
    let through = |victim: &str| {
        let (directory, name) = victim.rsplit_once('/').expect("a path");
        entry(Layer::new().symlink("out", directory), EntryType::Link, "f", &format!("out/{name}"), "")
    };
    require!(attack("through a link", Some(&["f"]), through));
}

#[test]
fn whiteouts_take_nothing_away_outside() {
    for name in [".wh...", "a/.wh...", "../.wh.victim", ".wh..", ".wh."] {
        let layer = |_: &str| entry(Layer::new(), EntryType::Regular, name, "", "");
        let scene = require!(Scene::new());
        fs::write(scene.node.file("victim"), SECRET).unwrap();
        let built = Image::new().layer(layer(""), Packing::Gzip).build();
        scene.registry.push("a", "1", &built);
        let outcome = scene.pull();
        assert!(outcome.status.success() || outcome.stderr.matches('\n').count() == 1, "{name}: {outcome}");
        assert_eq!(fs::read_to_string(scene.node.file("victim")).unwrap(), SECRET);
    }
    let through = |victim: &str| {
        let (directory, name) = victim.rsplit_once('/').expect("a path");
        Layer::new().symlink("out", directory).file(&format!("out/.wh.{name}"), "")
    };
    require!(attack("a whiteout through a link", None, through));
}

#[test]
fn overlay_attributes_of_an_archive_are_not_believed() {
    let redirect: &[(&str, &[u8])] =
        &[("SCHILY.xattr.trusted.overlay.redirect", b"/etc"), ("SCHILY.xattr.trusted.overlay.opaque", b"y")];
    let built = Image::new().layer(Layer::new().pax(redirect).directory("d"), Packing::Gzip).build();
    let scene = require!(Scene::with(&built));
    scene.pull().success();
    let directory = scene.node.layer(&built.diff_ids()[0]).join("d");
    for name in ["trusted.overlay.redirect", "trusted.overlay.opaque"] {
        let value = rustix::fs::getxattr(&directory, name, &mut [0; 16]);
        assert_eq!(value, Err(rustix::io::Errno::NODATA), "{name}");
    }
}

#[test]
fn names_of_any_bytes_are_kept() {
    let long = vec!["d".repeat(200); 19].join("/");
    let layer =
        Layer::new().entry(header(EntryType::Regular, 0o644), b"n\xff\xfe", b"", b"x").file(&long, "deep");
    let built = Image::new().layer(layer, Packing::Gzip).build();
    let scene = require!(Scene::with(&built));
    scene.pull().success();
    use std::os::unix::ffi::OsStrExt;
    let layer = scene.node.layer(&built.diff_ids()[0]);
    assert!(layer.join(std::ffi::OsStr::from_bytes(b"n\xff\xfe")).exists());
    scene.node.verifies();
    let longest = Layer::new().file(&"n".repeat(256), "x");
    let built = Image::new().layer(longest, Packing::Gzip).build();
    scene.registry.push("b", "1", &built);
    scene.node.pull(&scene.name("b:1")).refused(&["nnn", "255"]);
}

#[test]
fn the_last_of_several_entries_counts() {
    let layer = Layer::new()
        .file("f", "first")
        .file("f", "second")
        .symlink("l", "f")
        .file("l", "no link")
        .file("d", "a file")
        .directory("d")
        .file("d/in", "in");
    let built = Image::new().layer(layer, Packing::Gzip).build();
    let scene = require!(Scene::with(&built));
    scene.pull().success();
    let read = |name: &str| fs::read_to_string(scene.node.layer(&built.diff_ids()[0]).join(name)).unwrap();
    assert_eq!((read("f").as_str(), read("l").as_str(), read("d/in").as_str()), ("second", "no link", "in"));
    scene.node.verifies();
}
