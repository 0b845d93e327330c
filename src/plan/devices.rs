//! Device nodes and links below /dev: config-linux.md, "Default Devices", and `linux.devices`.

use std::path::{Path, PathBuf};

use oci_spec::runtime::{LinuxDevice, LinuxDeviceType};

use super::mounts::container_path;
use super::step::{DeviceStep, Step};
use super::{Builder, PlanError, mounts};

/// The devices that every container has: path, major, minor.
const DEFAULT_DEVICES: [(&str, u32, u32); 6] = [
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
];

/// The links that every container has: path, target.
const LINKS: [(&std::ffi::CStr, &std::ffi::CStr); 6] = [
    (c"/dev/ptmx", c"pts/ptmx"),
    (c"/dev/fd", c"/proc/self/fd"),
    (c"/dev/stdin", c"/proc/self/fd/0"),
    (c"/dev/stdout", c"/proc/self/fd/1"),
    (c"/dev/stderr", c"/proc/self/fd/2"),
    (c"/dev/core", c"/proc/kcore"),
];

/// Plans the nodes and links, unless /dev is a directory of the host.
pub(super) fn plan(b: &mut Builder<'_>) -> Result<(), PlanError> {
    if mounts::dev_is_bound(b.spec.mounts().as_deref().unwrap_or_default()) {
        return Ok(());
    }
    let listed = b.linux().and_then(|l| l.devices().as_deref()).unwrap_or_default();
    for (path, major, minor) in DEFAULT_DEVICES {
        if !listed.iter().any(|device| device.path() == Path::new(path)) {
            let device = rustix::fs::makedev(major, minor);
            push(b, Path::new(path), libc::S_IFCHR | 0o666, device, 0, 0);
        }
    }
    for (index, device) in listed.iter().enumerate() {
        let (mode, number) = node(index, device)?;
        let (uid, gid) = (device.uid().unwrap_or(0), device.gid().unwrap_or(0));
        push(b, device.path(), mode, number, uid, gid);
    }
    b.steps.extend(LINKS.map(|(path, target)| Step::Symlink(target.into(), path.into())));
    Ok(())
}

fn push(b: &mut Builder<'_>, path: &Path, mode: u32, device: u64, uid: u32, gid: u32) {
    // mknod(2) needs CAP_MKNOD in the initial user namespace; a FIFO does not.
    let unprivileged = b.user_namespace() || b.facts.in_user_namespace;
    let bind =
        (unprivileged && mode & libc::S_IFMT != libc::S_IFIFO).then(|| b.tree(PathBuf::from(path), false));
    b.steps.push(Step::Device(DeviceStep { path: container_path(path), mode, device, uid, gid, bind }));
}

fn node(index: usize, device: &LinuxDevice) -> Result<(u32, u64), PlanError> {
    let invalid =
        |reason: &str| PlanError::Device { index, path: device.path().clone(), reason: reason.into() };
    let kind = match device.typ() {
        LinuxDeviceType::C | LinuxDeviceType::U => libc::S_IFCHR,
        LinuxDeviceType::B => libc::S_IFBLK,
        LinuxDeviceType::P => libc::S_IFIFO,
        LinuxDeviceType::A => return Err(invalid("type \"a\" is no type of a node: use b, c, u or p")),
    };
    if device.path().file_name().is_none() {
        return Err(invalid("the path has no file name"));
    }
    let mode = kind | (device.file_mode().unwrap_or(0o666) & 0o7777);
    if kind == libc::S_IFIFO {
        return Ok((mode, 0));
    }
    match (u32::try_from(device.major()), u32::try_from(device.minor())) {
        (Ok(major), Ok(minor)) => Ok((mode, rustix::fs::makedev(major, minor))),
        _ => Err(invalid("major and minor must be numbers of 32 bits, not negative")),
    }
}
