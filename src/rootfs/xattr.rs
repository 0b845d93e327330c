//! Extended attributes of a file, xattr(7), copied to another one.

use std::ffi::CStr;
use std::os::fd::BorrowedFd;

use rustix::fs::{XattrFlags, fgetxattr, flistxattr, fsetxattr};
use rustix::io::Errno;

use crate::sys::{During, Failure};

/// XATTR_LIST_MAX and XATTR_SIZE_MAX of linux/limits.h.
const MOST: usize = 65536;

/// Copies all that `to`'s file system has a place for and this process may set.
#[inline(never)]
pub(super) fn copy(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<(), Failure> {
    let (mut names, mut value) = ([0u8; MOST], [0u8; MOST]);
    let length = match flistxattr(from, &mut names) {
        Err(Errno::OPNOTSUPP) => return Ok(()),
        length => length.during("flistxattr")?,
    };
    for name in names.get(..length).unwrap_or_default().split_inclusive(|&byte| byte == 0) {
        let Ok(name) = CStr::from_bytes_with_nul(name) else { continue };
        let length = match fgetxattr(from, name, &mut value) {
            Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::PERM) => continue,
            length => length.during("fgetxattr")?,
        };
        match fsetxattr(to, name, value.get(..length).unwrap_or_default(), XattrFlags::empty()) {
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::PERM) => {}
            Err(error) => return Err(error).during("fsetxattr"),
        }
    }
    Ok(())
}
