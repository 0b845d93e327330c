//! A directory that a later entry replaces, with all that is in it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, openat, statat, unlinkat};
use rustix::io::Errno;

/// One that is being emptied.
struct Open {
    fd: OwnedFd,
    name: Vec<u8>,
    /// Directories in it that are still there.
    left: Vec<Vec<u8>>,
}

/// Removes `parent`'s directory `name`. Holds a descriptor for each level: a thousand levels are an error.
pub fn directory(parent: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
    let mut levels = vec![enter(parent, name.to_vec())?];
    while let Some(level) = levels.last_mut() {
        if let Some(deeper) = level.left.pop() {
            let next = enter(level.fd.as_fd(), deeper)?;
            levels.push(next);
            continue;
        }
        let name = std::mem::take(&mut level.name);
        levels.pop();
        let above = levels.last().map_or(parent, |above| above.fd.as_fd());
        unlinkat(above, &name[..], AtFlags::REMOVEDIR)?;
    }
    Ok(())
}

/// Opens a directory and removes all that are none from it.
fn enter(parent: BorrowedFd<'_>, name: Vec<u8>) -> Result<Open, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = openat(parent, &name[..], flags, Mode::empty())?;
    let mut left = Vec::new();
    for entry in Dir::read_from(&fd)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let kind = match entry.file_type() {
            FileType::Unknown => {
                FileType::from_raw_mode(statat(&fd, name, AtFlags::SYMLINK_NOFOLLOW)?.st_mode)
            }
            kind => kind,
        };
        match kind {
            FileType::Directory => left.push(name.to_bytes().to_vec()),
            _ => unlinkat(&fd, name, AtFlags::empty())?,
        }
    }
    Ok(Open { fd, name, left })
}
