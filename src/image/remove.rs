//! Removes trees that images have made: any depth, any names, any number of files; never through a link, never
//! into another mount.
//!
//! A directory that is not empty is moved up to the top before it is emptied in its turn, so that the depth of the
//! tree costs neither descriptors nor stack. What is left after an error, or a kill, is an ordinary tree.

use std::ffi::{CStr, CString, OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// Opens a directory itself, not what a link of its name points to.
pub(super) fn open_directory(at: impl AsFd, path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    rustix::fs::openat(at, path, flags, Mode::empty())
}

/// What could not be removed, and why.
#[derive(Debug)]
pub(super) struct Unremoved {
    pub operation: &'static str,
    pub path: PathBuf,
    pub error: Errno,
}

/// Removes the directory `path`, as seen from `at`, with all that is in it.
pub(super) fn tree(at: BorrowedFd<'_>, path: &Path) -> Result<(), Unremoved> {
    let failed = |operation| move |error| Unremoved { operation, path: path.to_owned(), error };
    let top = open_directory(at, path).map_err(failed("open"))?;
    empty(top.as_fd(), path)?;
    rustix::fs::unlinkat(at, path, AtFlags::REMOVEDIR).map_err(failed("remove"))
}

/// Removes all that is in the directory `top`; errors call it `path`. The first error is returned when what else can
/// be removed is.
pub(super) fn empty(top: BorrowedFd<'_>, path: &Path) -> Result<(), Unremoved> {
    let mut removal = Removal { top, path, moved: Vec::new(), prefix: prefix(), failures: 0, error: None };
    let failed = |error| Unremoved { operation: "read", path: path.to_owned(), error };
    for name in names(top).map_err(failed)? {
        removal.entry(top, &name, None, None);
    }
    let mut next = 0;
    while next < removal.moved.len() {
        removal.directory(next);
        next += 1;
    }
    removal.error.map_or(Ok(()), Err)
}

/// A directory that waits in the top to be emptied.
struct Moved {
    name: CString,
    /// What it was called, and in which of the moved directories it was.
    was: OsString,
    parent: Option<usize>,
}

struct Removal<'a> {
    top: BorrowedFd<'a>,
    path: &'a Path,
    moved: Vec<Moved>,
    prefix: u32,
    failures: usize,
    error: Option<Unremoved>,
}

impl Removal<'_> {
    /// Removes one entry of the directory `at`, or queues it. `parent` is that directory's number; None is the top.
    fn entry(&mut self, at: BorrowedFd<'_>, name: &CStr, kind: Option<FileType>, parent: Option<usize>) {
        let removed = match kind {
            Some(FileType::Directory) => Err(Errno::ISDIR),
            _ => rustix::fs::unlinkat(at, name, AtFlags::empty()),
        };
        let removed = match removed {
            // POSIX has EPERM for directories, and so may a file system.
            Err(Errno::ISDIR | Errno::PERM) => match rustix::fs::unlinkat(at, name, AtFlags::REMOVEDIR) {
                Err(Errno::NOTEMPTY | Errno::EXIST) => return self.queue(at, name, parent),
                Err(Errno::NOTDIR) => removed,
                removed => removed,
            },
            removed => removed,
        };
        match removed {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => self.failed("remove", name, parent, error),
        }
    }

    fn queue(&mut self, at: BorrowedFd<'_>, name: &CStr, parent: Option<usize>) {
        let was = OsStr::from_bytes(name.to_bytes()).to_owned();
        let moved = match parent {
            None => name.to_owned(),
            Some(_) => {
                let unused = format!("{:08x}.{}", self.prefix, self.moved.len());
                let unused = CString::new(unused).expect("no NUL in a number");
                if let Err(error) = self.move_up(at, name, &unused) {
                    return self.failed("move", name, parent, error);
                }
                unused
            }
        };
        self.moved.push(Moved { name: moved, was, parent });
    }

    /// Who moves a directory writes its `..`, which one that is not root must be permitted to.
    fn move_up(&self, at: BorrowedFd<'_>, name: &CStr, unused: &CStr) -> Result<(), Errno> {
        match rustix::fs::renameat(at, name, self.top, unused) {
            Err(Errno::ACCESS) => {
                make_accessible(at, name)?;
                rustix::fs::renameat(at, name, self.top, unused)
            }
            result => result,
        }
    }

    /// Empties a directory that was queued, then removes it.
    fn directory(&mut self, number: usize) {
        let name = self.moved[number].name.clone();
        let at = match self.open(&name) {
            Ok(at) => at,
            Err(Errno::NOENT) => return,
            Err(error) => return self.failed("open", c"", Some(number), error),
        };
        loop {
            let before = self.failures;
            let seen = match self.pass(at.as_fd(), number) {
                Ok(seen) => seen,
                Err(error) => return self.failed("read", c"", Some(number), error),
            };
            match rustix::fs::unlinkat(self.top, &name, AtFlags::REMOVEDIR) {
                Ok(()) | Err(Errno::NOENT) => return,
                _ if self.failures > before => return,
                // Entries may hide while others go: once more, until there are none.
                Err(Errno::NOTEMPTY | Errno::EXIST) if seen > 0 => {}
                Err(error) => return self.failed("remove", c"", Some(number), error),
            }
        }
    }

    fn open(&self, name: &CStr) -> Result<OwnedFd, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let resolve = ResolveFlags::NO_XDEV | ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let open = || rustix::fs::openat2(self.top, name, flags, Mode::empty(), resolve);
        match open() {
            Err(Errno::ACCESS) => {
                make_accessible(self.top, name)?;
                open()
            }
            opened => opened,
        }
    }

    /// Goes over the entries of a directory once; how many there were.
    fn pass(&mut self, at: BorrowedFd<'_>, number: usize) -> Result<usize, Errno> {
        let mut count = 0;
        for entry in Dir::read_from(at)? {
            let entry = entry?;
            if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
                self.entry(at, entry.file_name(), Some(entry.file_type()), Some(number));
                count += 1;
            }
        }
        Ok(count)
    }

    fn failed(&mut self, operation: &'static str, name: &CStr, parent: Option<usize>, error: Errno) {
        self.failures += 1;
        if self.error.is_none() {
            let mut path = path_of(self.path, &self.moved, parent);
            if !name.is_empty() {
                path.push(OsStr::from_bytes(name.to_bytes()));
            }
            self.error = Some(Unremoved { operation, path, error });
        }
    }
}

/// Where a moved directory was.
fn path_of(top: &Path, moved: &[Moved], mut number: Option<usize>) -> PathBuf {
    let mut names = Vec::new();
    while let Some(moved) = number.map(|number| &moved[number]) {
        names.push(&moved.was);
        number = moved.parent;
    }
    let mut path = top.to_owned();
    path.extend(names.into_iter().rev());
    path
}

/// The owner may always do that; anyone else gets the error of what he wanted.
fn make_accessible(at: impl AsFd, name: &CStr) -> Result<(), Errno> {
    rustix::fs::chmodat(at, name, Mode::RWXU, AtFlags::empty()).map_err(|_| Errno::ACCESS)
}

fn names(directory: BorrowedFd<'_>) -> Result<Vec<CString>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let name = entry?.file_name().to_owned();
        if !matches!(name.to_bytes(), b"." | b"..") {
            names.push(name);
        }
    }
    Ok(names)
}

fn prefix() -> u32 {
    let mut random = [0; 4];
    crate::sys::random(&mut random);
    u32::from_ne_bytes(random)
}
