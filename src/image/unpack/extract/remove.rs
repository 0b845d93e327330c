//! A directory that a later entry replaces, with all that is in it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, openat, unlinkat};
use rustix::io::Errno;

/// Removes `parent`'s directory `name`. Holds a descriptor for each level: some hundred levels are an error.
pub fn directory(parent: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open = |parent: BorrowedFd<'_>, name: &[u8]| openat(parent, name, flags, Mode::empty());
    let mut open_directories: Vec<(OwnedFd, Vec<u8>)> = vec![(open(parent, name)?, name.to_vec())];
    while let Some((here, _)) = open_directories.last() {
        match empty(here.as_fd())? {
            Some(deeper) => {
                let next = open(here.as_fd(), &deeper)?;
                open_directories.push((next, deeper));
            }
            None => {
                let name = open_directories.pop().map(|(_, name)| name).unwrap_or_default();
                let above = open_directories.last().map_or(parent, |(above, _)| above.as_fd());
                unlinkat(above, &name[..], AtFlags::REMOVEDIR)?;
            }
        }
    }
    Ok(())
}

/// Removes all but directories; the name of one that is there.
fn empty(here: BorrowedFd<'_>) -> Result<Option<Vec<u8>>, Errno> {
    let mut deeper = None;
    for entry in Dir::read_from(here)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let kind = match entry.file_type() {
            FileType::Unknown => {
                FileType::from_raw_mode(rustix::fs::statat(here, name, AtFlags::SYMLINK_NOFOLLOW)?.st_mode)
            }
            kind => kind,
        };
        match kind {
            FileType::Directory => deeper = Some(name.to_bytes().to_vec()),
            _ => unlinkat(here, name, AtFlags::empty())?,
        }
    }
    Ok(deeper)
}
