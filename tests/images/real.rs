//! Images of real files (tests/bin/images), unpacked by rcrun and by umoci: the same trees.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::fixtures::{Node, Registry, program};
use crate::support::require;

/// Lists what is in the working directory, each file with what it is and its content's digest. Of directories neither
/// the size nor the number of links: overlayfs has its own.
const LISTING: &str = r"find . -type d -printf 'd %m %U:%G %p\n' | sort
    find . ! -type d -printf '%y %m %U:%G %n %s %T@ %p %l\n' | sort
    find . -type f -print0 | sort -z | xargs -0r sha256sum";

/// How long anything of these may take, in seconds.
const LONG: u64 = 300;

/// The layout of an image. Err is a reason to skip.
fn layout(name: &str) -> Result<PathBuf, String> {
    let tmp = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let found = tmp.ancestors().map(|a| a.join("images").join(name)).find(|d| d.join("index.json").exists());
    found.ok_or_else(|| format!("the image {name} was not made: make test-images does it"))
}

/// A node that has pulled the image by way of a registry, and the image's name. Err is a reason to skip.
fn pulled(name: &str, packing: &str) -> Result<(Node, Registry, String), String> {
    let (layout, registry, node) = (layout(name)?, Registry::start()?, Node::new());
    node.insecure(&[registry.address()]);
    let image = registry.name(&format!("{name}:{packing}"));
    let mut skopeo = program("skopeo")?;
    skopeo.args(["--insecure-policy", "copy", "--dest-tls-verify=false"]);
    skopeo.arg(format!("oci:{}:{packing}", layout.display())).arg(format!("docker://{image}"));
    node.invocation(skopeo).limit(LONG).wait().success();
    node.rcrun(&["pull", "--quiet", &image]).limit(LONG).wait().success();
    node.rcrun(&["image", "verify", "--all"]).limit(LONG).wait().success();
    Ok((node, registry, image))
}

fn run(node: &Node, script: &str, arguments: &[&str]) -> String {
    let mut command = Command::new("unshare");
    command.args(["--mount", "bash", "-euc", script, "bash"]).args(arguments);
    node.invocation(command).limit(LONG).wait().success().stdout
}

/// What umoci makes of the image.
fn theirs(node: &Node, name: &str) -> Result<String, String> {
    let bundle = node.file("theirs");
    let mut umoci = program("umoci")?;
    umoci.args(["unpack", "--image"]).arg(format!("{}:gzip", layout(name)?.display())).arg(&bundle);
    node.invocation(umoci).limit(LONG).wait().success();
    Ok(run(node, &format!("cd \"$1/rootfs\"; {LISTING}"), &[bundle.to_str().expect("UTF-8")]))
}

/// The layers in the store, as an overlay.
fn ours(node: &Node, image: &str) -> String {
    let inspected = node.rcrun(&["image", "inspect", image]).wait().success().json();
    let ids = inspected[0]["RootFS"]["Layers"].as_array().expect("layers");
    let layers: Vec<PathBuf> =
        ids.iter().map(|id| node.layer(Value::as_str(id).expect("a digest"))).collect();
    let layers: Vec<&str> = layers.iter().map(|layer| layer.to_str().expect("UTF-8")).collect();
    // mount(2) takes a page of options: names of one digit or two.
    let script = r#"mkdir "$1"; cd "$1"; shift; lower=; n=0
        for layer; do ln -s "$layer" $n; lower=$n${lower:+:$lower}; n=$((n + 1)); done
        if [ $n = 1 ]; then mount --bind 0 /mnt; else mount -t overlay -o "ro,lowerdir=$lower" overlay /mnt; fi
        cd /mnt; "#;
    let links = node.file("layers");
    run(node, &format!("{script}{LISTING}"), &[&[links.to_str().expect("UTF-8")], layers.as_slice()].concat())
}

#[track_caller]
fn same(ours: &str, theirs: &str) {
    for (ours, theirs) in ours.lines().zip(theirs.lines()) {
        assert_eq!(ours, theirs);
    }
    assert_eq!(ours.lines().count(), theirs.lines().count());
    assert!(ours.lines().count() > 1000);
}

#[test]
fn a_debian_is_what_umoci_unpacks() {
    let (node, _registry, image) = require!(pulled("debian", "gzip"));
    same(&ours(&node, &image), &require!(theirs(&node, "debian")));
}

#[test]
fn a_python_is_what_umoci_unpacks() {
    let (node, _registry, image) = require!(pulled("python", "zstd"));
    same(&ours(&node, &image), &require!(theirs(&node, "python")));
}

#[test]
fn sixty_layers_are_what_umoci_unpacks() {
    let (node, _registry, image) = require!(pulled("layers", "gzip"));
    same(&ours(&node, &image), &require!(theirs(&node, "layers")));
}

#[test]
fn a_bundle_of_a_python_is_what_umoci_unpacks() {
    let (node, _registry, image) = require!(pulled("python", "gzip"));
    let bundle = node.file("ours");
    let bundle = bundle.to_str().expect("UTF-8");
    node.rcrun(&["unpack", &image, bundle]).limit(LONG).wait().success();
    let ours = run(&node, &format!("cd \"$1/rootfs\"; {LISTING}"), &[bundle]);
    same(&ours, &require!(theirs(&node, "python")));
}

#[test]
fn a_python_runs_by_its_name() {
    let (node, _registry, image) = require!(pulled("python", "gzip"));
    let program = "import numpy; print(numpy.arange(10).sum())";
    node.rcrun(&["run", "--rm", &image, "python3", "-c", program]).wait().prints("45");
}
