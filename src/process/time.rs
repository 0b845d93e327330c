//! A time namespace with offsets, time_namespaces(7).
//!
//! Offsets can be set only before the first process is in the namespace. A namespace of clone3(2) has
//! one from its start; that of unshare(2) waits for the next fork, execve(2) (on newer kernels) or
//! setns(2), so that it is made, set and then joined.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::{join, proc};
use crate::namespaces::Kind;
use crate::sys::{During, Failure};

/// Makes a time namespace whose clocks are off by `offsets`, and enters it. `host` is the host's /proc.
pub fn enter_with_offsets(host: Option<BorrowedFd<'_>>, offsets: &CStr) -> Result<(), Failure> {
    join::unshare(Kind::Time)?;
    let file = proc::open_own(host, c"timens_offsets", OFlags::WRONLY)?;
    match rustix::io::write(&file, offsets.to_bytes()) {
        Err(Errno::RANGE) => {
            Err(Errno::RANGE).during("write (no clock may be negative, or beyond 146 years)")?
        }
        result => result.during("write")?,
    };
    // setns(2) refuses what is no time namespace.
    let own = proc::open_own_link(host, c"self/ns/time_for_children")?;
    join::namespace(own.as_fd(), Kind::Time)
}
