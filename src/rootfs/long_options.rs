//! File systems with an option that is longer than fsconfig(2) takes it, which is 255 bytes: an overlay
//! of many layers.
//!
//! The kernel takes such an overlay's layers one by one since 6.5 (`lowerdir+`). Before that, and for what
//! has no parts, mount(2) takes a page of options. It attaches at once and by a path: the target's
//! descriptor becomes the working directory for it.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};
use rustix::process::fchdir;

use super::mount::{attach, change, new_file_system};
use super::{Place, release, resolve};
use crate::plan::step::{FsOption, MountStep};
use crate::sys::{During, Failure};

/// Bits of MOUNT_ATTR_* and what mount(2) calls them.
const FLAGS: [(u64, MountFlags); 8] = [
    (0x01, MountFlags::RDONLY),
    (0x02, MountFlags::NOSUID),
    (0x04, MountFlags::NODEV),
    (0x08, MountFlags::NOEXEC),
    (0x10, MountFlags::NOATIME),
    (0x20, MountFlags::STRICTATIME),
    (0x80, MountFlags::NODIRATIME),
    (0x20_0000, MountFlags::from_bits_retain(0x100)),
];

/// What is mounted.
pub(super) struct Long<'a> {
    pub fstype: &'a CStr,
    pub source: &'a CStr,
    pub options: &'a [FsOption],
    pub attributes: u64,
    pub data: &'a CStr,
}

/// Mounts it at the step's target.
pub(super) fn perform(at: Place<'_>, step: &MountStep, long: &Long<'_>) -> Result<(), Failure> {
    let target = resolve::open_or_make(at.0, at.1, step.kind)?;
    match new_file_system(long.fstype, Some(long.source), None, long.options, long.attributes) {
        Ok(mounted) => {
            change(mounted.as_fd(), &step.attributes, step.propagation)?;
            attach(mounted.as_fd(), target.as_fd())?;
            release(mounted);
        }
        Err(failure) if failure.errno == Errno::INVAL => {
            by_path(at, target.as_fd(), step, long).map_err(|second| match failure.note.as_str() {
                "" => second,
                _ => failure,
            })?;
        }
        Err(failure) => return Err(failure),
    }
    release(target);
    Ok(())
}

fn by_path(at: Place<'_>, target: BorrowedFd<'_>, step: &MountStep, long: &Long<'_>) -> Result<(), Failure> {
    let mut flags = MountFlags::empty();
    for (attribute, flag) in FLAGS {
        if long.attributes & attribute != 0 {
            flags |= flag;
        }
    }
    let here = resolve::open(CWD, c".")?;
    fchdir(target).during("fchdir")?;
    let mounted = mount(long.source, c".", long.fstype, flags, long.data).during("mount");
    fchdir(&here).during("fchdir")?;
    release(here);
    mounted?;
    let top = resolve::open(at.0, at.1)?;
    change(top.as_fd(), &step.attributes, step.propagation)?;
    release(top);
    Ok(())
}
