//! Images of real files (tests/bin/images), unpacked by rcrun and by umoci: the same trees.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::fixtures::{Node, Registry, program};
use crate::support::require;

/// The layout of an image. Err is a reason to skip.
fn layout(name: &str) -> Result<PathBuf, String> {
    let tmp = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let found = tmp.ancestors().map(|a| a.join("images").join(name)).find(|d| d.join("index.json").exists());
    found.ok_or_else(|| format!("the image {name} was not made: make test-images does it"))
}

/// Every file with what it is, one a line, in the order of names.
fn listing(node: &Node, tree: &Path) -> String {
    // GNU tar knows all that a layer has, and that the same inode has several names.
    let mut command = Command::new("sh");
    let script = "tar --sort=name --numeric-owner --xattrs --xattrs-include='*' --format=gnu --mtime=@0 -C \"$0\" -cf - . |
        tar -tvf - && cd \"$0\" && find . -type f -print0 | sort -z | xargs -0r sha256sum";
    command.args(["-c", script]).arg(tree);
    node.invocation(command).limit(300).wait().success().stdout
}

/// Pulls an image by way of a registry, and compares its merged layers with umoci's.
fn same_as_umoci(name: &str, packing: &str) -> Result<(), String> {
    let (layout, registry, node) = (layout(name)?, Registry::start()?, Node::new());
    node.insecure(&[registry.address()]);
    let source = format!("oci:{}:{packing}", layout.display());
    let image = registry.name(&format!("{name}:{packing}"));
    let mut skopeo = program("skopeo")?;
    skopeo.args(["--insecure-policy", "copy", "--dest-tls-verify=false", &source]);
    node.invocation(skopeo_to(skopeo, &image)).limit(300).wait().success();
    node.rcrun(&["pull", "--quiet", &image]).limit(300).wait().success();
    node.rcrun(&["image", "verify", "--all"]).limit(300).wait().success();
    let ours = node.file("ours");
    node.rcrun(&["unpack", &image, ours.to_str().expect("UTF-8")]).limit(300).wait().success();
    let theirs = node.file("theirs");
    let mut umoci = program("umoci")?;
    umoci.args(["unpack", "--image"]).arg(format!("{}:gzip", layout.display())).arg(&theirs);
    node.invocation(umoci).limit(600).wait().success();
    let [ours, theirs] = [ours, theirs].map(|bundle| listing(&node, &bundle.join("rootfs")));
    for (ours, theirs) in ours.lines().zip(theirs.lines()) {
        assert_eq!(ours, theirs);
    }
    assert_eq!(ours.lines().count(), theirs.lines().count());
    Ok(())
}

fn skopeo_to(mut skopeo: Command, image: &str) -> Command {
    skopeo.arg(format!("docker://{image}"));
    skopeo
}

#[test]
fn a_debian_is_what_umoci_unpacks() {
    require!(same_as_umoci("debian", "gzip"));
}

#[test]
fn a_python_is_what_umoci_unpacks() {
    require!(same_as_umoci("python", "zstd"));
}

#[test]
fn sixty_layers_are_what_umoci_unpacks() {
    require!(same_as_umoci("layers", "gzip"));
}
