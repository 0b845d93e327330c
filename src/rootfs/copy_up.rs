//! tmpcopyup: what the image has in a directory, copied into the tmpfs that will cover it.
//!
//! Descriptors all the way: neither side can lead the copy elsewhere through a link. The source is
//! the image's, the copy nobody else's yet.

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, RawDir, Stat, Timespec, Timestamps, Uid, chmodat, chownat, fchmod,
    fchown, futimens, linkat, mkdirat, mknodat, openat, readlinkat_raw, sendfile, statat, symlinkat,
    utimensat,
};
use rustix::io::Errno;

use super::path::PATH_MAX;
use super::xattr;
use crate::sys::{During, Failure};

/// Directories below each other; each holds two descriptors and a buffer on the stack.
const DEPTH_MAX: u32 = 64;
/// Bytes for getdents64(2).
const ENTRIES: usize = 2048;

/// The owner in `stat`, as chown(2) takes it.
pub(super) fn owner(stat: &Stat) -> (Option<Uid>, Option<Gid>) {
    (Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))
}

/// Both sides of the copy, at their tops.
#[derive(Clone, Copy)]
struct Tops<'fd> {
    from: BorrowedFd<'fd>,
    to: BorrowedFd<'fd>,
}

/// Copies what is in the directory `from` into the empty directory `to`, and `from`'s own attributes.
pub(super) fn contents(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<(), Failure> {
    directory(Tops { from, to }, from, to, 0)?;
    xattr::copy(from, to)
}

fn directory(tops: Tops<'_>, from: BorrowedFd<'_>, to: BorrowedFd<'_>, depth: u32) -> Result<(), Failure> {
    if depth > DEPTH_MAX {
        return Err(Errno::NAMETOOLONG).during("tmpcopyup (directories too deep)");
    }
    let mut buffer = [MaybeUninit::uninit(); ENTRIES];
    let mut entries = RawDir::new(from, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry.during("getdents64")?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            copy(tops, from, to, name, depth)?;
        }
    }
    Ok(())
}

fn copy(
    tops: Tops<'_>,
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    name: &CStr,
    depth: u32,
) -> Result<(), Failure> {
    let stat = statat(from, name, AtFlags::SYMLINK_NOFOLLOW).during("fstatat")?;
    let kind = FileType::from_raw_mode(stat.st_mode);
    if stat.st_nlink > 1 && !kind.is_dir() && link_to_copy(tops.from, tops.to, &stat, (to, name), 0)? {
        return Ok(());
    }
    let (uid, gid) = owner(&stat);
    let mode = Mode::from_raw_mode(stat.st_mode);
    match kind {
        FileType::Directory => {
            mkdirat(to, name, Mode::RWXU).during("mkdirat")?;
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let below = openat(from, name, flags, Mode::empty()).during("openat")?;
            let made = openat(to, name, flags, Mode::empty()).during("openat")?;
            directory(tops, below.as_fd(), made.as_fd(), depth + 1)?;
            dress(&below, &made, &stat)
        }
        FileType::RegularFile => {
            let flags = OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let source = openat(from, name, flags | OFlags::NONBLOCK, Mode::empty()).during("openat")?;
            let create = flags | OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
            let made = openat(to, name, create, Mode::RUSR | Mode::WUSR).during("openat")?;
            // The kernel copies up to 2 GiB at a time; 0 is the end.
            while sendfile(&made, &source, None, 0x7fff_f000).during("sendfile")? > 0 {}
            dress(&source, &made, &stat)
        }
        FileType::Symlink => {
            let mut buffer = [0; PATH_MAX];
            let length = readlinkat_raw(from, name, &mut buffer).during("readlinkat")?;
            if let Some(end) = buffer.get_mut(length) {
                *end = 0;
            }
            let target = CStr::from_bytes_until_nul(&buffer).map_err(|_| Errno::NAMETOOLONG);
            symlinkat(target.during("readlinkat")?, to, name).during("symlinkat")?;
            chownat(to, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW).during("fchownat")?;
            utimensat(to, name, &times(&stat), AtFlags::SYMLINK_NOFOLLOW).during("utimensat")
        }
        kind => {
            mknodat(to, name, kind, mode, stat.st_rdev).during("mknodat")?;
            chownat(to, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW).during("fchownat")?;
            // Nobody else sees this directory yet: the name is still the node just made.
            chmodat(to, name, mode, AtFlags::empty()).during("fchmodat")?;
            utimensat(to, name, &times(&stat), AtFlags::SYMLINK_NOFOLLOW).during("utimensat")
        }
    }
}

/// A further name of a file that has been copied becomes a further name of the copy: looks through what
/// has been copied so far, in the same order, for another name of the file `stat`. This process has no
/// memory to note names in; the search reads directories alone.
fn link_to_copy(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    stat: &Stat,
    link: (BorrowedFd<'_>, &CStr),
    depth: u32,
) -> Result<bool, Failure> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    // Descriptors of their own: the caller is reading these directories.
    let from = openat(from, c".", flags, Mode::empty()).during("openat")?;
    let mut buffer = [MaybeUninit::uninit(); ENTRIES];
    let mut entries = RawDir::new(&from, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry.during("getdents64")?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let kind = entry.file_type();
        if entry.ino() == stat.st_ino && !kind.is_dir() {
            let same = statat(&from, name, AtFlags::SYMLINK_NOFOLLOW).during("fstatat")?;
            if same.st_dev == stat.st_dev && same.st_ino == stat.st_ino {
                match linkat(to, name, link.0, link.1, AtFlags::empty()) {
                    Ok(()) => return Ok(true),
                    // The one that is being copied, or one that comes later.
                    Err(Errno::NOENT | Errno::EXIST) => {}
                    Err(error) => return Err(error).during("linkat"),
                }
            }
        }
        if (kind.is_dir() || kind == FileType::Unknown) && depth < DEPTH_MAX {
            let copied = openat(to, name, flags, Mode::empty());
            let below = openat(&from, name, flags, Mode::empty());
            if let (Ok(copied), Ok(below)) = (copied, below)
                && link_to_copy(below.as_fd(), copied.as_fd(), stat, link, depth + 1)?
            {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Owner first: a change of it clears the set-user-ID bit. Times last: writing changes them.
fn dress(from: &OwnedFd, made: &OwnedFd, stat: &Stat) -> Result<(), Failure> {
    let (uid, gid) = owner(stat);
    fchown(made, uid, gid).during("fchown")?;
    fchmod(made, Mode::from_raw_mode(stat.st_mode)).during("fchmod")?;
    xattr::copy(from.as_fd(), made.as_fd())?;
    futimens(made, &times(stat)).during("futimens")
}

fn times(stat: &Stat) -> Timestamps {
    let at = |seconds, nanoseconds| Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
    Timestamps {
        last_access: at(stat.st_atime, stat.st_atime_nsec as i64),
        last_modification: at(stat.st_mtime, stat.st_mtime_nsec as i64),
    }
}
