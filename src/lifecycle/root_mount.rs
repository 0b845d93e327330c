//! The root's mount where the container has no mount namespace: in rcrun's own, at the path of the root
//! file system. All of the container's mounts are below it, and go away with it.
//!
//! Its id tells it from whatever else is mounted at that path; it is known before it is attached.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags, StatxFlags, open, statx};
use rustix::io::Errno;
use rustix::mount::{UnmountFlags, unmount};

use crate::sys::mount::statmount;
use crate::sys::{During, Failure};
use crate::text::mounts_in;

/// The id of the mount that a descriptor is on: one that is never used again where the kernel has such
/// (STATX_MNT_ID_UNIQUE, Linux 6.8), else that of mountinfo.
pub(super) fn mount_id(fd: BorrowedFd<'_>) -> Result<u64, Errno> {
    const UNIQUE: StatxFlags = StatxFlags::from_bits_retain(0x4000);
    let ask = |flags| statx(fd, c"", AtFlags::EMPTY_PATH, flags);
    let mut stat = ask(UNIQUE)?;
    if stat.stx_mask & UNIQUE.bits() == 0 {
        stat = ask(StatxFlags::MNT_ID)?;
    }
    Ok(stat.stx_mnt_id)
}

/// Takes the mount `id` away, with everything on it and below it: from `path`, or from where that has
/// been renamed to. One that is not there any more is fine.
pub(super) fn remove(path: &Path, id: u64) -> Result<(), Failure> {
    let now = if is_unique(id) { statmount(id).ok() } else { None };
    let path = now.as_ref().map_or(path, |mount| &mount.point);
    while let Some(top) = opened(path)? {
        let found = mount_id(top.as_fd()).during("statx")?;
        if found != id && !is_above(found, id) {
            break;
        }
        unmount(format!("/proc/self/fd/{}", top.as_raw_fd()), UnmountFlags::DETACH).during("umount2")?;
        if found == id {
            return Ok(());
        }
    }
    match now {
        Some(_) => {
            Err(Errno::BUSY).during("umount2 (a mount that is not its own covers it: unmount that first)")
        }
        None => Ok(()),
    }
}

/// What is mounted last at `path`.
fn opened(path: &Path) -> Result<Option<OwnedFd>, Failure> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    match open(path, flags, Mode::empty()) {
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        top => top.during("open").map(Some),
    }
}

/// Is `mount` on `id`, or on one that is? A link of the image leads such a mount to the root itself.
fn is_above(mut mount: u64, id: u64) -> bool {
    while let Some(below) = parent(mount).filter(|below| *below != mount) {
        if below == id {
            return true;
        }
        mount = below;
    }
    false
}

fn parent(mount: u64) -> Option<u64> {
    if is_unique(mount) {
        return statmount(mount).ok().map(|status| status.parent);
    }
    let mountinfo = std::fs::read("/proc/self/mountinfo").ok()?;
    mounts_in(&mountinfo).find(|line| line.id == mount).map(|line| line.parent)
}

/// Unique ids begin above all those of mountinfo, which are positive ints.
fn is_unique(id: u64) -> bool {
    id > i32::MAX as u64
}
