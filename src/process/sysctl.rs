//! Sysctls of the container's namespaces, proc_sys(5).

use std::ffi::CStr;
use std::os::fd::BorrowedFd;

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::sys::{During, Failure};

/// Writes `value` to `path` below `proc_sys`.
///
/// `proc_sys` is the host's /proc/sys, opened before the clone: which namespace a name belongs to is
/// decided by who opens it, and the container's own /proc may be covered or not be there at all.
pub fn write(proc_sys: Option<BorrowedFd<'_>>, path: &CStr, value: &CStr) -> Result<(), Failure> {
    let proc_sys = proc_sys.ok_or(Errno::BADF).during("open /proc/sys")?;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    let file = rustix::fs::openat2(proc_sys, path, flags, Mode::empty(), resolve)
        .during("open (a sysctl that this kernel does not have?)")?;
    rustix::io::write(&file, value.to_bytes()).during("write")?;
    Ok(())
}
