//! Archives of skopeo's and umoci's, theirs of rcrun's, and the store as they read it.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::fixtures::{Built, Image, Layer, Node, Packing, noise, program};
use crate::support::{Outcome, require};

const NAME: &str = "r.example/team/app:1";

/// skopeo with these arguments, in the node's environment.
fn skopeo(node: &Node, args: &[&str]) -> Outcome {
    let mut skopeo = program("skopeo").expect("it was looked for");
    skopeo.arg("--insecure-policy").args(args);
    node.invocation(skopeo).wait().success()
}

fn umoci(node: &Node, args: &[&str]) -> Outcome {
    let mut umoci = program("umoci").expect("it was looked for");
    umoci.args(args);
    node.invocation(umoci).wait().success()
}

/// A node and an image in an OCI layout of its, `files/layout:1`. Err is a reason to skip.
fn node_and_image() -> Result<(Node, Built, String), String> {
    program("skopeo").and_then(|_| program("umoci"))?;
    let node = Node::new();
    let layer = Layer::new().file("word", "hello\n").file("noise", noise(1, 100_000));
    let built = Image::busybox().layer(layer, Packing::Gzip).build();
    built.write_layout(&node.file("layout"), "1");
    let layout = format!("oci:{}:1", node.file("layout").display());
    Ok((node, built, layout))
}

fn path(node: &Node, name: &str) -> String {
    node.file(name).display().to_string()
}

fn load(node: &Node, name: &str) -> Outcome {
    node.rcrun(&["load", "--input", &path(node, name)]).wait()
}

#[track_caller]
fn is_unpacked(node: &Node, built: &Built) {
    let word = node.layer(&built.diff_ids()[1]).join("word");
    assert_eq!(fs::read_to_string(word).unwrap(), "hello\n");
    node.rcrun(&["image", "inspect", NAME]).wait().success();
}

/// A manifest as skopeo reads it from `source`.
fn digest(node: &Node, source: &str) -> String {
    let outcome = skopeo(node, &["inspect", source]);
    let value: Value = serde_json::from_str(&outcome.stdout).expect("JSON");
    value["Digest"].as_str().expect("a digest").to_owned()
}

#[test]
fn archives_of_skopeos_are_loaded() {
    let (node, built, layout) = require!(node_and_image());
    skopeo(&node, &["copy", &layout, &format!("docker-archive:{}:{NAME}", path(&node, "docker.tar"))]);
    skopeo(&node, &["copy", &layout, &format!("oci-archive:{}:{NAME}", path(&node, "oci.tar"))]);
    skopeo(&node, &["copy", &layout, &format!("oci:{}:{NAME}", path(&node, "oci"))]);
    for (name, expected) in [("docker.tar", None), ("oci.tar", Some(&built)), ("oci", Some(&built))] {
        let other = Node::new();
        let loaded = other.rcrun(&["load", "-i", &path(&node, name)]).wait();
        loaded.prints(&format!("Loaded image: {NAME}"));
        is_unpacked(&other, &built);
        let index = fs::read_to_string(other.storage().join("index.json")).unwrap();
        if let Some(built) = expected {
            assert!(index.contains(&built.digest()), "{name}: {index}");
        }
        assert!(index.contains(&built.id()), "{name}: {index}");
    }
}

#[test]
fn skopeo_and_umoci_read_what_is_saved() {
    let (node, built, layout) = require!(node_and_image());
    skopeo(&node, &["copy", &layout, &format!("oci-archive:{}:{NAME}", path(&node, "in.tar"))]);
    load(&node, "in.tar").success();
    let save = |name: &str, format: &str| {
        node.rcrun(&["save", "--format", format, "-o", &path(&node, name), NAME]).wait().success();
    };
    save("both.tar", "docker-archive");
    save("oci.tar", "oci-archive");
    save("oci", "oci-dir");
    for source in ["oci-archive:both.tar", "oci-archive:oci.tar", "oci:oci"] {
        let (transport, name) = source.split_once(':').unwrap();
        let named = format!("{transport}:{}:{NAME}", path(&node, name));
        assert_eq!(digest(&node, &named), built.digest(), "{source}");
    }
    // docker's archives have no manifests: the configuration comes through, and the layers do.
    let target = format!("oci:{}:1", path(&node, "again"));
    skopeo(&node, &["copy", &format!("docker-archive:{}:{NAME}", path(&node, "both.tar")), &target]);
    let config = skopeo(&node, &["inspect", "--config", &target]).stdout;
    let config: Value = serde_json::from_str(&config).unwrap();
    assert_eq!(config["rootfs"]["diff_ids"], serde_json::json!(built.diff_ids()));
    umoci_unpacks(&node, &path(&node, "again"), "1");
}

/// umoci looks for a tag, which cannot be a whole name.
fn umoci_unpacks(node: &Node, layout: &str, tag: &str) {
    let bundle = path(node, "bundle");
    umoci(node, &["unpack", "--image", &format!("{layout}:{tag}"), &bundle]);
    let word = fs::read_to_string(Path::new(&bundle).join("rootfs/word")).unwrap();
    assert_eq!(word, "hello\n");
    let program = Path::new(&bundle).join("rootfs/bin/busybox");
    assert_eq!(fs::read(program).unwrap(), fs::read("/bin/busybox").unwrap());
}

#[test]
fn skopeo_and_umoci_read_the_store_itself_where_blobs_are_kept() {
    let (node, built, layout) = require!(node_and_image());
    skopeo(&node, &["copy", &layout, &format!("oci-archive:{}:{NAME}", path(&node, "in.tar"))]);
    load(&node, "in.tar").success();
    let store = node.storage().display().to_string();
    assert_eq!(digest(&node, &format!("oci:{store}:{NAME}")), built.digest());
    let copied = format!("oci:{}:1", path(&node, "copied"));
    skopeo(&node, &["copy", &format!("oci:{store}:{NAME}"), &copied]);
    assert_eq!(digest(&node, &copied), built.digest());
    umoci_unpacks(&node, &path(&node, "copied"), "1");
    let listed = umoci(&node, &["list", "--layout", &store]);
    assert_eq!(listed.stdout.trim(), NAME);
}

#[test]
fn what_skopeo_puts_into_the_store_is_an_image_there_and_can_be_saved() {
    let (node, built, layout) = require!(node_and_image());
    node.rcrun(&["load", "-i", "/dev/null"]).wait().exits_with(1);
    let store = node.storage().display().to_string();
    skopeo(&node, &["copy", &layout, &format!("oci:{store}:{NAME}")]);
    node.rcrun(&["save", "-o", &path(&node, "saved.tar"), NAME]).wait().success();
    let other = Node::new();
    let loaded = other.rcrun(&["load", "-i", &path(&node, "saved.tar")]).wait();
    loaded.prints(&format!("Loaded image: {NAME}"));
    is_unpacked(&other, &built);
}

#[test]
fn what_umoci_makes_is_loaded() {
    let (node, built, _) = require!(node_and_image());
    let layout = path(&node, "layout");
    let bundle = path(&node, "bundle");
    umoci(&node, &["unpack", "--image", &format!("{layout}:1"), &bundle]);
    fs::write(Path::new(&bundle).join("rootfs/added"), "by umoci").unwrap();
    fs::remove_file(Path::new(&bundle).join("rootfs/word")).unwrap();
    umoci(&node, &["repack", "--image", &format!("{layout}:2"), &bundle]);
    umoci(&node, &["gc", "--layout", &layout]);
    let loaded = load(&node, "layout").success();
    // Tags are no names.
    assert_eq!(loaded.stdout.matches("Loaded image ID: sha256:").count(), 2, "{loaded}");
    assert!(loaded.stdout.contains(&built.id()), "{loaded}");
    let layers = node.stored("layers/sha256");
    let added = layers.iter().map(|layer| node.layer(&format!("sha256:{layer}")).join("added"));
    let found: Vec<String> = added.filter_map(|file| fs::read_to_string(file).ok()).collect();
    assert_eq!((layers.len(), &found[..]), (3, &["by umoci".to_owned()][..]));
}
