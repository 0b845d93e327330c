//! `floor ROOTFS ID`: runs /bin/true in a container as `rcrun spec` describes it, and does nothing else.
//!
//! These are the kernel's operations alone, with every value written down here: a cgroup with its device
//! program, one clone3 into it with the same namespaces, the same mounts, devices, masks and read-only
//! paths, pivot_root, limits, ids and capabilities, execve, the wait, rmdir. Nothing is read, decided,
//! checked, recorded or reported, and no path is protected from the container. What a runtime takes longer
//! than this is its own.
//!
//! The cgroup is /sys/fs/cgroup/ID. Exit status: 0, or the errno of what failed.

mod child;
mod device_program;

use std::ffi::CString;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;
use std::process::ExitCode;

use rcrun::sys::bpf::{attach_device_program, load_device_program};
use rcrun::sys::clone::{CloneArguments, spawn};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, mkdirat, open, openat, unlinkat};
use rustix::io::Errno;
use rustix::mount::{OpenTreeFlags, open_tree};

fn main() -> ExitCode {
    match run() {
        Ok(status) => ExitCode::from(status),
        Err(errno) => ExitCode::from(errno.raw_os_error() as u8),
    }
}

fn run() -> Result<u8, Errno> {
    let mut words = std::env::args_os().skip(1).map(OsStringExt::into_vec);
    let (Some(root), Some(id)) = (words.next(), words.next()) else { return Err(Errno::INVAL) };
    let (root, id) = (CString::new(root), CString::new(id));
    let (root, id) = (root.map_err(|_| Errno::INVAL)?, id.map_err(|_| Errno::INVAL)?);
    let program = child::Program::new();

    let directory = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let cgroups = open("/sys/fs/cgroup", directory, Mode::empty())?;
    mkdirat(&cgroups, &id, Mode::from_raw_mode(0o755))?;
    let cgroup = openat(&cgroups, &id, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let devices = load_device_program(&device_program::INSTRUCTIONS)?;
    attach_device_program(cgroup.as_fd(), devices.as_fd())?;
    let clone =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    let tree = open_tree(CWD, &root, clone)?;

    let arguments = CloneArguments { flags: child::NAMESPACES, cgroup: Some(cgroup.as_fd()) };
    let child = spawn(arguments, || match child::run(tree.as_fd(), &root, &id, &program) {
        Ok(never) => match never {},
        Err(errno) => errno.raw_os_error(),
    })?;
    let status = child.wait()?.exit_status().unwrap_or(libc::EINTR);
    unlinkat(&cgroups, &id, AtFlags::REMOVEDIR)?;
    Ok(status as u8)
}
