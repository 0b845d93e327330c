//! The root's mount where the container has no mount namespace: in rcrun's own, at the path of the root
//! file system. All of the container's mounts are below it, and go away with it.
//!
//! Its id tells it from whatever else is mounted at that path; it is known before it is attached.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags, StatxFlags, open, statx};
use rustix::io::Errno;
use rustix::mount::{UnmountFlags, unmount};

use crate::sys::{During, Failure};

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

/// Takes the mount `id` at `path` away, with everything below it. One that is not there, or covered by
/// another one, is left.
pub(super) fn remove(path: &Path, id: u64) -> Result<(), Failure> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let top = match open(path, flags, Mode::empty()) {
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
        top => top.during("open")?,
    };
    if mount_id(top.as_fd()).during("statx")? != id {
        return Ok(());
    }
    unmount(format!("/proc/self/fd/{}", top.as_raw_fd()), UnmountFlags::DETACH).during("umount2")
}
