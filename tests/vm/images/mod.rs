//! Images where every controller is there and the kernel is an older one: Debian's 6.1 has no `lowerdir+`, and its overlays
//! take no layer on a detached mount.

mod layers;
mod limits;
mod user;

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use crate::fixtures::{Image, Layer, Node, Packing, can_run, store};
use crate::support::program;

/// A node on the VM's disk with `image` as `app`. Err is a reason to skip.
fn node_with(image: Image) -> Result<Node, String> {
    let node = empty_node()?;
    store(&node.storage(), "app", &image.build());
    Ok(node)
}

fn empty_node() -> Result<Node, String> {
    in_vm()?;
    can_run()?;
    Ok(Node::below(disk()?))
}

fn in_vm() -> Result<(), String> {
    std::env::var_os("RCRUN_IN_VM").map(|_| ()).ok_or_else(|| "it runs in the VM: make test-vm".into())
}

/// An ext4 on the VM's disk. The guest's tmpfs can be id-mapped from Linux 6.3 on, and has users' extended attributes from
/// 6.6 on.
fn disk() -> Result<&'static Path, String> {
    const DISK: &str = "/run/vm/disk";
    static MADE: OnceLock<()> = OnceLock::new();
    program("mkfs.ext4")?;
    MADE.get_or_init(|| {
        std::fs::create_dir(DISK).expect("mkdir");
        // Its tables are not written in the background: tests measure the disk.
        for words in
            [&["mkfs.ext4", "-q", "/dev/vda"][..], &["mount", "-o", "noinit_itable", "/dev/vda", DISK]]
        {
            let status = Command::new(words[0]).args(&words[1..]).status();
            assert!(status.is_ok_and(|status| status.success()), "{words:?}");
        }
    });
    Ok(Path::new(DISK))
}

/// busybox and so many layers more, the upper two of which hide something of the lowest.
fn image_of_layers(count: usize) -> Image {
    let low =
        Layer::new().directory("d").file("d/gone", "1").file("d/kept", "1").directory("o").file("o/old", "1");
    let mut image = Image::busybox().layer(low, Packing::Plain);
    for number in 3..count {
        image = image.layer(Layer::new().file(&format!("l/{number}"), "x"), Packing::Plain);
    }
    let whiteouts = Layer::new().directory("d").whiteout("d/gone").whiteout("bin/tty");
    let opaque = Layer::new().directory("o").opaque("o").file("o/new", "2");
    image.layer(whiteouts, Packing::Plain).layer(opaque, Packing::Gzip)
}

/// What shows that the layers of such an image are one upon another, and what it prints.
const SHOW: &str = "ls /d /o; ls /bin/tty 2>&1; ls /l 2>/dev/null | wc -l";

fn shown(count: usize) -> String {
    format!("/d:\nkept\n\n/o:\nnew\nls: /bin/tty: No such file or directory\n{}", count.saturating_sub(3))
}
