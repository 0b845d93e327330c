//! copy-symlink: a bind source that is a symbolic link becomes a link of the container.

use std::ffi::CStr;
use std::os::fd::BorrowedFd;

use rustix::fs::{readlinkat_raw, symlinkat};
use rustix::io::Errno;

use super::path::{Names, PATH_MAX, is_entry, split, trimmed};
use super::{release, resolve};
use crate::sys::{During, Failure};

/// Makes the link `path` to `target`; the same one may be there already, nothing else.
pub fn copy(root: BorrowedFd<'_>, target: &CStr, path: &CStr) -> Result<(), Failure> {
    let path = trimmed(path);
    let name = split(path).1;
    if !is_entry(name) {
        return Err(Errno::INVAL).during("resolve (the path does not end in a name)");
    }
    let name = Names::from(name).during("resolve")?;
    let parent = resolve::parent(root, path)?;
    match symlinkat(target, &parent, name.as_c_str()) {
        Err(Errno::EXIST) => {
            let mut found = [0; PATH_MAX];
            let length = readlinkat_raw(&parent, name.as_c_str(), &mut found);
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
