//! A tree, copied as it is: owners, modes, times, extended attributes, hard links, holes, devices.
//!
//! In: descriptors of two directories, the one as the image has it, the other empty and nobody else's yet. Paths are
//! used below the two alone, never through a link. Depth costs no descriptors: directories wait in a list.

use std::collections::HashMap;
use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, Dir, FileType, Gid, Mode, OFlags, ResolveFlags, SeekFrom, Stat, Timespec, Timestamps, Uid,
    XattrFlags, chmodat, chownat, copy_file_range, fchmod, fchown, fgetxattr, flistxattr, flistxattr_query,
    fsetxattr, fstat, ftruncate, futimens, ioctl_ficlone, linkat, mkdirat, mknodat, openat, openat2,
    readlinkat, seek, statat, symlinkat, utimensat,
};
use rustix::io::Errno;

use super::ContainerError;

/// XATTR_LIST_MAX and XATTR_SIZE_MAX of linux/limits.h.
const XATTR_MOST: usize = 65536;
/// Bytes of a file that are copied at once.
const PIECE: usize = 1 << 20;

/// A failed operation.
struct Failed(&'static str, Errno);

trait During<T> {
    fn during(self, operation: &'static str) -> Result<T, Failed>;
}

impl<T> During<T> for Result<T, Errno> {
    fn during(self, operation: &'static str) -> Result<T, Failed> {
        self.map_err(|errno| Failed(operation, errno))
    }
}

/// Copies what is in the directory `from` into `to`, and `from`'s own attributes. A file's data may be shared with
/// its original where one of `layers`, from the highest to the lowest, has that in the same file system as `to`.
pub(super) fn tree(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    layers: &[OwnedFd],
) -> Result<(), ContainerError> {
    let mut copy = Copy {
        from,
        to,
        layers,
        links: HashMap::new(),
        waiting: vec![PathBuf::new()],
        shares: !layers.is_empty(),
    };
    while let Some(path) = copy.waiting.pop() {
        let shown = if path.as_os_str().is_empty() { Path::new(".") } else { &path };
        copy.directory(shown, &path).map_err(|(name, Failed(operation, errno))| {
            let path =
                name.map_or_else(|| path.clone(), |name| path.join(OsStr::from_bytes(name.to_bytes())));
            ContainerError::Copy { path: Path::new("/").join(path), operation, error: errno.into() }
        })?;
    }
    Ok(())
}

struct Copy<'a> {
    from: BorrowedFd<'a>,
    to: BorrowedFd<'a>,
    layers: &'a [OwnedFd],
    /// The first name of each file that has several.
    links: HashMap<(u64, u64), PathBuf>,
    /// Directories that are made, not filled.
    waiting: Vec<PathBuf>,
    /// Can data be shared?
    shares: bool,
}

impl Copy<'_> {
    /// Fills a directory and finishes it: what is made below its entries later does not change it any more.
    fn directory(&mut self, shown: &Path, path: &Path) -> Result<(), (Option<CString>, Failed)> {
        let here = |failed| (None, failed);
        let from = beneath(self.from, shown, directory_flags()).during("open").map_err(here)?;
        let to = beneath(self.to, shown, directory_flags()).during("open").map_err(here)?;
        for entry in Dir::read_from(&from).during("read").map_err(here)? {
            let entry = entry.during("read").map_err(here)?;
            let name = entry.file_name();
            if name != c"." && name != c".." {
                self.entry(from.as_fd(), to.as_fd(), name, path)
                    .map_err(|failed| (Some(name.into()), failed))?;
            }
        }
        let stat = fstat(&from).during("stat").map_err(here)?;
        dress(from.as_fd(), to.as_fd(), &stat).map_err(here)
    }

    fn entry(
        &mut self,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
        name: &CStr,
        parent: &Path,
    ) -> Result<(), Failed> {
        let stat = statat(from, name, AtFlags::SYMLINK_NOFOLLOW).during("stat")?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        let path = parent.join(OsStr::from_bytes(name.to_bytes()));
        if kind == FileType::Directory {
            mkdirat(to, name, Mode::RWXU).during("make directory")?;
            self.waiting.push(path);
            return Ok(());
        }
        if stat.st_nlink > 1 {
            let file = (stat.st_dev as u64, stat.st_ino as u64);
            if let Some(first) = self.links.get(&file) {
                return linkat(self.to, first, to, name, AtFlags::empty()).during("link");
            }
            self.links.insert(file, path.clone());
        }
        match kind {
            FileType::RegularFile => self.file((from, to), name, &stat, &path),
            FileType::Symlink => {
                let target = readlinkat(from, name, Vec::new()).during("read link")?;
                symlinkat(target.as_c_str(), to, name).during("make link")?;
                self.dress_name(to, name, &stat)
            }
            kind => {
                mknodat(to, name, kind, Mode::from_raw_mode(stat.st_mode), stat.st_rdev)
                    .during("make node")?;
                self.dress_name(to, name, &stat)?;
                // Nobody else sees this directory yet: the name is still the node that was just made.
                chmodat(to, name, Mode::from_raw_mode(stat.st_mode), AtFlags::empty()).during("change mode")
            }
        }
    }

    fn dress_name(&self, to: BorrowedFd<'_>, name: &CStr, stat: &Stat) -> Result<(), Failed> {
        let (uid, gid) = owner(stat);
        chownat(to, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW).during("change owner")?;
        utimensat(to, name, &times(stat), AtFlags::SYMLINK_NOFOLLOW).during("set times")
    }

    fn file(
        &mut self,
        (from, to): (BorrowedFd<'_>, BorrowedFd<'_>),
        name: &CStr,
        stat: &Stat,
        path: &Path,
    ) -> Result<(), Failed> {
        let flags = OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let source = openat(from, name, flags | OFlags::NONBLOCK, Mode::empty()).during("open")?;
        let create = flags | OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        let made = openat(to, name, create, Mode::RUSR | Mode::WUSR).during("make")?;
        if stat.st_size > 0 && !self.share(path, stat, &made) {
            data(&source, &made, stat)?;
        }
        dress(source.as_fd(), made.as_fd(), stat)
    }

    /// Shares the data of the highest layer's file of this name: that is what the overlay shows.
    fn share(&mut self, path: &Path, stat: &Stat, made: &OwnedFd) -> bool {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let highest = self
            .layers
            .iter()
            .filter(|_| self.shares)
            .find_map(|layer| beneath(layer.as_fd(), path, flags).ok());
        let Some(original) = highest else { return false };
        let same = fstat(&original).is_ok_and(|found| {
            FileType::from_raw_mode(found.st_mode) == FileType::RegularFile && found.st_size == stat.st_size
        });
        match same.then(|| ioctl_ficlone(made, &original)) {
            Some(Ok(())) => true,
            // Another file system, or one that cannot.
            Some(Err(Errno::OPNOTSUPP | Errno::XDEV | Errno::INVAL | Errno::NOTTY | Errno::NOSYS)) => {
                self.shares = false;
                false
            }
            _ => false,
        }
    }
}

fn directory_flags() -> OFlags {
    OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC
}

fn beneath(root: BorrowedFd<'_>, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    openat2(root, path, flags, Mode::empty(), resolve)
}

/// The bytes, without what is a hole.
fn data(from: &OwnedFd, to: &OwnedFd, stat: &Stat) -> Result<(), Failed> {
    let size = stat.st_size as u64;
    if (stat.st_blocks as u64).saturating_mul(512) >= size {
        return range(from, to, 0, size);
    }
    ftruncate(to, size).during("set size")?;
    let mut at = 0;
    while at < size {
        let start = match seek(from, SeekFrom::Data(at)) {
            Ok(start) => start,
            Err(Errno::NXIO) => break,
            Err(errno) => return Err(Failed("seek", errno)),
        };
        let end = seek(from, SeekFrom::Hole(start)).during("seek")?;
        range(from, to, start, end.min(size))?;
        at = end;
    }
    Ok(())
}

fn range(from: &OwnedFd, to: &OwnedFd, start: u64, end: u64) -> Result<(), Failed> {
    let (mut source, mut target) = (start, start);
    while source < end {
        let left = usize::try_from(end - source).unwrap_or(usize::MAX).min(1 << 30);
        match copy_file_range(from, Some(&mut source), to, Some(&mut target), left) {
            Ok(0) => return Ok(()),
            Ok(_) | Err(Errno::INTR) => {}
            Err(Errno::XDEV | Errno::OPNOTSUPP | Errno::INVAL | Errno::NOSYS | Errno::PERM) => {
                return by_hand(from, to, source, end);
            }
            Err(errno) => return Err(Failed("copy", errno)),
        }
    }
    Ok(())
}

fn by_hand(from: &OwnedFd, to: &OwnedFd, mut at: u64, end: u64) -> Result<(), Failed> {
    let mut buffer = vec![0; PIECE.min(usize::try_from(end - at).unwrap_or(PIECE))];
    while at < end {
        let want = buffer.len().min(usize::try_from(end - at).unwrap_or(usize::MAX));
        let read = rustix::io::pread(from, &mut buffer[..want], at).during("read")?;
        if read == 0 {
            return Ok(());
        }
        let mut rest = &buffer[..read];
        while !rest.is_empty() {
            let written = rustix::io::pwrite(to, rest, at).during("write")?;
            rest = &rest[written..];
            at += written as u64;
        }
    }
    Ok(())
}

/// Owner first: a change of it clears the set-user-ID bit and capabilities. Times last: writing changes them.
fn dress(from: BorrowedFd<'_>, to: BorrowedFd<'_>, stat: &Stat) -> Result<(), Failed> {
    let (uid, gid) = owner(stat);
    fchown(to, uid, gid).during("change owner")?;
    attributes(from, to)?;
    fchmod(to, Mode::from_raw_mode(stat.st_mode & 0o7777)).during("change mode")?;
    futimens(to, &times(stat)).during("set times")
}

fn owner(stat: &Stat) -> (Option<Uid>, Option<Gid>) {
    (Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))
}

fn times(stat: &Stat) -> Timestamps {
    let at = |seconds, nanoseconds| Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
    Timestamps {
        last_access: at(stat.st_atime, stat.st_atime_nsec as i64),
        last_modification: at(stat.st_mtime, stat.st_mtime_nsec as i64),
    }
}

/// All that `to`'s file system has a place for and this process may set, but overlayfs' own.
fn attributes(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<(), Failed> {
    let length = match flistxattr_query(from) {
        Ok(0) | Err(Errno::OPNOTSUPP) => return Ok(()),
        length => length.during("list extended attributes")?,
    };
    let mut names = vec![0u8; length.max(1024)];
    let length = flistxattr(from, &mut names).during("list extended attributes")?;
    let mut value = vec![0u8; XATTR_MOST];
    for name in names[..length].split_inclusive(|&byte| byte == 0) {
        let Ok(name) = CStr::from_bytes_with_nul(name) else { continue };
        if name.to_bytes().starts_with(b"trusted.overlay.") || name.to_bytes().starts_with(b"user.overlay.") {
            continue;
        }
        let length = match fgetxattr(from, name, &mut value) {
            Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::PERM) => continue,
            length => length.during("read an extended attribute")?,
        };
        match fsetxattr(to, name, &value[..length], XattrFlags::empty()) {
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::PERM) => {}
            Err(errno) => return Err(Failed("set an extended attribute", errno)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use super::*;

    fn copied(from: &Path, to: &Path) {
        let open = |path: &Path| fs::File::open(path).unwrap();
        tree(open(from).as_fd(), open(to).as_fd(), &[]).unwrap();
    }

    #[test]
    fn a_tree_is_copied_with_links_holes_modes_and_times() {
        let top = tempfile::tempdir().unwrap();
        let (from, to) = (top.path().join("a"), top.path().join("b"));
        fs::create_dir_all(from.join("deep/er")).unwrap();
        fs::create_dir(&to).unwrap();
        fs::write(from.join("deep/er/file"), vec![7; 3 << 20]).unwrap();
        fs::set_permissions(from.join("deep/er/file"), fs::Permissions::from_mode(0o4711)).unwrap();
        fs::hard_link(from.join("deep/er/file"), from.join("link")).unwrap();
        symlink("/etc/shadow", from.join("symlink")).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, from.join("fifo"), Mode::from_raw_mode(0o620)).unwrap();
        let sparse = fs::File::create(from.join("sparse")).unwrap();
        sparse.set_len(10 << 20).unwrap();
        std::os::unix::fs::FileExt::write_at(&sparse, b"end", (10 << 20) - 3).unwrap();
        fs::set_permissions(from.join("deep"), fs::Permissions::from_mode(0o2750)).unwrap();
        for path in ["deep", "deep/er/file"] {
            rustix::fs::setxattr(from.join(path), "user.mine", b"value", XattrFlags::empty()).unwrap();
        }
        copied(&from, &to);

        let stat = |path: &Path| fs::symlink_metadata(path).unwrap();
        for path in ["deep/er/file", "deep/er", "deep", "symlink", "fifo", "sparse", ""] {
            let (before, after) = (stat(&from.join(path)), stat(&to.join(path)));
            assert_eq!(before.mode(), after.mode(), "{path}");
            assert_eq!((before.mtime(), before.mtime_nsec()), (after.mtime(), after.mtime_nsec()), "{path}");
        }
        for path in ["deep", "deep/er/file"] {
            let mut value = [0; 16];
            assert_eq!(rustix::fs::getxattr(to.join(path), "user.mine", &mut value).unwrap(), 5);
        }
        assert_eq!(stat(&to.join("link")).ino(), stat(&to.join("deep/er/file")).ino());
        assert_eq!(fs::read(to.join("link")).unwrap(), vec![7; 3 << 20]);
        assert_eq!(fs::read_link(to.join("symlink")).unwrap(), Path::new("/etc/shadow"));
        assert!(stat(&to.join("sparse")).blocks() < 1000);
        assert!(fs::read(to.join("sparse")).unwrap().ends_with(b"\0end"));
    }

    #[test]
    fn depth_needs_no_descriptors() {
        let top = tempfile::tempdir().unwrap();
        let (from, to) = (top.path().join("a"), top.path().join("b"));
        let deep = "d/".repeat(1500);
        fs::create_dir_all(from.join(&deep)).unwrap();
        fs::create_dir(&to).unwrap();
        copied(&from, &to);
        assert!(to.join(&deep).is_dir());
    }

    #[test]
    fn a_failure_names_the_file() {
        let top = tempfile::tempdir().unwrap();
        let (from, to) = (top.path().join("a"), top.path().join("b"));
        fs::create_dir_all(from.join("x")).unwrap();
        fs::write(from.join("x/there"), "").unwrap();
        fs::create_dir_all(&to).unwrap();
        fs::write(to.join("x"), "").unwrap();
        let open = |path: &Path| fs::File::open(path).unwrap();
        let error = tree(open(&from).as_fd(), open(&to).as_fd(), &[]).unwrap_err().to_string();
        assert!(error.contains("\"/x\": make directory"), "{error}");
    }
}
