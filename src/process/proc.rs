//! This process's own files below /proc, through the host's procfs.
//!
//! The parent opens the host's /proc before the clone and proves that it is procfs
//! ([`crate::launch`]); the container's own may be covered, be another file system or not be there.

use std::ffi::CStr;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::Errno;

use crate::sys::{During, Failure};

/// Opens `path` below /proc/self. Nothing that is mounted below /proc is entered, no magic link followed.
pub fn open_own(host: Option<BorrowedFd<'_>>, path: &CStr, flags: OFlags) -> Result<OwnedFd, Failure> {
    let host = host.ok_or(Errno::BADF).during("open /proc")?;
    let directory = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    // `self` is a plain link of procfs's own, to this process as that procfs numbers it.
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
    let own = openat2(host, c"self", directory, Mode::empty(), resolve).during("open /proc/self")?;
    let resolve = resolve | ResolveFlags::NO_SYMLINKS;
    openat2(&own, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve).during("open")
}

/// Opens a magic link below /proc/self, a namespace's file.
pub fn open_own_link(host: Option<BorrowedFd<'_>>, path: &CStr) -> Result<OwnedFd, Failure> {
    let host = host.ok_or(Errno::BADF).during("open /proc")?;
    openat(host, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).during("open")
}
