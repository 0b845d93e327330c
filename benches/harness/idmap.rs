//! An idmapped root file system, as podman and containerd prepare one, and a network namespace with a name.

use std::fs::{self, File};
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use rcrun::sys::mount::{MountAttr, mount_setattr};
use rustix::fs::CWD;
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};

use crate::bundles::{FIRST_ID, IDS};

/// MOUNT_ATTR_IDMAP of linux/mount.h.
const ID_MAPPED: u64 = 0x10_0000;

/// Mounts `from` on `to` with the ids of the benchmark's user namespace.
pub fn mount(from: &Path, to: &Path) -> anyhow::Result<()> {
    let namespace = user_namespace()?;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree = open_tree(CWD, from, flags).with_context(|| format!("open_tree {}", from.display()))?;
    let attr = MountAttr { set: ID_MAPPED, userns_fd: namespace.as_raw_fd() as u64, ..MountAttr::default() };
    mount_setattr(tree.as_fd(), false, &attr)
        .with_context(|| format!("map the ids of {}", from.display()))?;
    move_mount(&tree, "", CWD, to, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .with_context(|| format!("move_mount to {}", to.display()))
}

/// A user namespace that nobody is in once this returns.
fn user_namespace() -> anyhow::Result<File> {
    let mut command = Command::new("unshare");
    command.args(["--user", "sh", "-c", "echo; exec cat"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().context("start unshare(1)")?;
    let made = (|| {
        let mut line = [0; 1];
        let stdout = child.stdout.as_mut().context("a pipe")?;
        std::io::Read::read_exact(stdout, &mut line).context("wait for unshare(1)")?;
        let process = Path::new("/proc").join(child.id().to_string());
        for map in ["uid_map", "gid_map"] {
            fs::write(process.join(map), format!("0 {FIRST_ID} {IDS}"))
                .with_context(|| format!("write {map}"))?;
        }
        File::open(process.join("ns/user")).context("open the user namespace")
    })();
    drop(child.stdin.take());
    let _ = child.wait();
    made
}

/// A new network namespace, kept by the file `path`.
pub fn make_network(path: &str) -> anyhow::Result<()> {
    fs::write(path, "").with_context(|| format!("make {path}"))?;
    let status = Command::new("unshare").arg(format!("--net={path}")).arg("true").status();
    match status.context("start unshare(1)")?.success() {
        true => Ok(()),
        false => bail!("unshare --net={path} failed"),
    }
}
