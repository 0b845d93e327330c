//! copy-symlink: a bind source that is a symbolic link becomes a link of the container.

use std::ffi::CStr;
use std::os::fd::BorrowedFd;

use rustix::fs::{readlinkat_raw, symlinkat};
use rustix::io::Errno;

use super::path::{PATH_MAX, last_name};
use super::{release, resolve};
use crate::sys::{During, Failure};

/// Makes the link `path` to `target`; the same one may be there already, nothing else.
pub fn copy(root: BorrowedFd<'_>, target: &CStr, path: &CStr) -> Result<(), Failure> {
    let name = last_name(path).ok_or(Errno::INVAL);
    let name = name.during("resolve (the path does not end in a name)")?;
    let parent = resolve::parent(root, path)?;
    match symlinkat(target, &parent, name) {
        Err(Errno::EXIST) => {
            let mut found = [0; PATH_MAX];
            let length = readlinkat_raw(&parent, name, &mut found);
            let same = length.is_ok_and(|length| found.get(..length) == Some(target.to_bytes()));
            if !same {
                return Err(Errno::EXIST).during("symlinkat (something else is there)");
            }
        }
        made => made.during("symlinkat")?,
    }
    release(parent);
    Ok(())
}
