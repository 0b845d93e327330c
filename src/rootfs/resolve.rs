//! Paths of the container resolved inside its root, hostile links included.
//!
//! Links behave as after chroot(2), with one difference: what climbs above the root with `..` is
//! refused instead of bent back to it. openat2(2) with RESOLVE_BENEATH answers all ordinary paths
//! in one call. It refuses absolute links too; then [`walk`] follows the links here, one name at a
//! time, until a path without links is left, which the kernel is told to accept only as such:
//! whoever swaps a directory for a link meanwhile gets an error, never another place.
//!
//! Functions with a path's buffer are not inlined: each page of stack that the child touches is copied
//! and charged to the container.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, mkdirat, openat, openat2, readlinkat_raw};
use rustix::io::Errno;

use super::path::{NAME_MAX, Names, PATH_MAX, Pending, SHORT, is_entry, last_name, relative, split, trimmed};
use super::release;
use crate::plan::step::TargetKind;
use crate::sys::{During, Failure};

/// As many links as the kernel follows in one path.
const LINKS_MAX: u32 = 40;

/// The operation that fails where a path climbs above the root.
pub const LEAVES_ROOT: &str = "resolve (the path leaves the root file system)";

/// An O_PATH descriptor of what is at `path` below `root`.
pub fn open(root: BorrowedFd<'_>, path: &CStr) -> Result<OwnedFd, Failure> {
    open_with(root, path, OFlags::PATH)
}

/// The same for a directory: anything else is ENOTDIR.
pub fn open_directory(root: BorrowedFd<'_>, path: &CStr) -> Result<OwnedFd, Failure> {
    open_with(root, path, OFlags::PATH | OFlags::DIRECTORY)
}

/// Like [`open`], for a mount's target: what is missing is made, directories with mode 0755, a
/// file empty and with mode 0644. A target of another kind than `kind` is refused.
pub fn open_or_make(root: BorrowedFd<'_>, path: &CStr, kind: TargetKind) -> Result<OwnedFd, Failure> {
    match relative(path).map(|names| beneath(root, names, flags_for(kind))) {
        Some(Ok(found)) => return of_kind(found, kind),
        Some(Err(Errno::NOENT)) => {
            if let Some(made) = make_last(root, path, kind)? {
                return Ok(made);
            }
        }
        Some(Err(error)) if !needs_walk(error) => return Err(error).during("openat2"),
        _ => {}
    }
    walk_and_make(root, path, kind)
}

/// An O_PATH descriptor of what has `path`'s last name, itself even if it is a symbolic link.
pub fn open_itself(root: BorrowedFd<'_>, path: &CStr) -> Result<OwnedFd, Failure> {
    let (directory, name) = split(trimmed(path));
    if !is_entry(name) {
        return open(root, path);
    }
    let parent = of_directory(directory, |names| open_directory(root, names))?;
    let name = Names::<NAME_MAX>::from(name).during("openat")?;
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let found = openat(&parent, name.as_c_str(), flags, Mode::empty()).during("openat")?;
    release(parent);
    Ok(found)
}

/// The directory that holds `path`'s last name, made where missing. The name itself is not looked at.
pub(super) fn parent(root: BorrowedFd<'_>, path: &CStr) -> Result<OwnedFd, Failure> {
    of_directory(split(trimmed(path)).0, |names| open_or_make(root, names, TargetKind::Directory))
}

/// Calls `with` the directory as a C string: in a small buffer if there is room.
fn of_directory<T>(directory: &[u8], with: impl FnOnce(&CStr) -> Result<T, Failure>) -> Result<T, Failure> {
    #[inline(never)]
    fn long<T>(directory: &[u8], with: impl FnOnce(&CStr) -> Result<T, Failure>) -> Result<T, Failure> {
        with(Names::<PATH_MAX>::from(directory).during("openat2")?.as_c_str())
    }
    match Names::<SHORT>::from(directory) {
        Ok(names) => with(names.as_c_str()),
        Err(_) => long(directory, with),
    }
}

fn open_with(root: BorrowedFd<'_>, path: &CStr, flags: OFlags) -> Result<OwnedFd, Failure> {
    match relative(path).map(|names| beneath(root, names, flags)) {
        Some(Ok(found)) => Ok(found),
        Some(Err(error)) if !needs_walk(error) => Err(error).during("openat2"),
        _ => walk_and_open(root, path, flags),
    }
}

#[inline(never)]
fn walk_and_open(root: BorrowedFd<'_>, path: &CStr, flags: OFlags) -> Result<OwnedFd, Failure> {
    let found = walk(root, trimmed(path))?;
    if !found.missing.is_empty() {
        return Err(Errno::NOENT).during("openat2");
    }
    linkless(root, &found.names, flags).during("openat2")
}

#[inline(never)]
fn walk_and_make(root: BorrowedFd<'_>, path: &CStr, kind: TargetKind) -> Result<OwnedFd, Failure> {
    let found = walk(root, trimmed(path))?;
    if found.missing.is_empty() {
        return of_kind(linkless(root, &found.names, flags_for(kind)).during("openat2")?, kind);
    }
    make_missing(root, &found, kind)
}

/// Makes `path`'s last name where its parent is there and nothing, no link either, has the name.
fn make_last(root: BorrowedFd<'_>, path: &CStr, kind: TargetKind) -> Result<Option<OwnedFd>, Failure> {
    let Some(name) = last_name(path) else {
        return Ok(None);
    };
    let open = |names: &CStr| Ok(beneath(root, names, flags_for(TargetKind::Directory)).ok());
    let Some(parent) = of_directory(split(trimmed(path)).0, open)? else {
        return Ok(None);
    };
    let made = match make_entry(parent.as_fd(), name, kind) {
        Err(Failure { errno: Errno::EXIST, .. }) => None,
        made => Some(made?),
    };
    release(parent);
    Ok(made)
}

/// Makes what [`walk`] found missing, one directory descriptor after the other.
fn make_missing(root: BorrowedFd<'_>, found: &Found, kind: TargetKind) -> Result<OwnedFd, Failure> {
    let mut here = linkless(root, &found.names, flags_for(TargetKind::Directory)).during("openat2")?;
    let mut rest = Pending::new(found.missing.as_bytes()).during("openat2")?;
    while let Some(name) = rest.next() {
        let name = <Names>::from(name).during("openat2")?;
        let kind = if rest.is_empty() { kind } else { TargetKind::Directory };
        here = match make_entry(here.as_fd(), name.as_c_str(), kind) {
            // Made by somebody else meanwhile: good, unless it is a link.
            Err(Failure { errno: Errno::EXIST, .. }) => {
                of_kind(linkless(here.as_fd(), &name, flags_for(kind)).during("openat2")?, kind)?
            }
            made => made?,
        };
    }
    Ok(here)
}

/// Makes one entry of a directory and opens it; what is there already is EEXIST.
fn make_entry(parent: BorrowedFd<'_>, name: &CStr, kind: TargetKind) -> Result<OwnedFd, Failure> {
    match kind {
        TargetKind::Directory => {
            mkdirat(parent, name, Mode::from_raw_mode(0o755)).during("mkdirat")?;
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            openat(parent, name, flags, Mode::empty()).during("openat")
        }
        TargetKind::File | TargetKind::Itself => create_file(parent, name).during("openat"),
    }
}

/// A new empty file to mount on. Open for reading: a writer would keep its mount from becoming
/// read-only.
pub(super) fn create_file(parent: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(parent, name, flags | OFlags::RDONLY, Mode::from_raw_mode(0o644))
}

fn flags_for(kind: TargetKind) -> OFlags {
    match kind {
        TargetKind::Directory => OFlags::PATH | OFlags::DIRECTORY,
        TargetKind::File | TargetKind::Itself => OFlags::PATH,
    }
}

/// O_DIRECTORY has settled it for directories; for files only fstat(2) can tell.
fn of_kind(found: OwnedFd, kind: TargetKind) -> Result<OwnedFd, Failure> {
    if kind == TargetKind::File {
        let mode = fstat(&found).during("fstat")?.st_mode;
        if FileType::from_raw_mode(mode).is_dir() {
            return Err(Errno::ISDIR).during("resolve (a file is to be mounted on it)");
        }
    }
    Ok(found)
}

/// EXDEV: an absolute link, or one that climbs above the root. EAGAIN: `..` met a rename.
fn needs_walk(error: Errno) -> bool {
    matches!(error, Errno::XDEV | Errno::AGAIN)
}

fn beneath(root: BorrowedFd<'_>, names: &CStr, flags: OFlags) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    openat2(root, names, flags | OFlags::CLOEXEC, Mode::empty(), resolve)
}

fn linkless(root: BorrowedFd<'_>, names: &Names, flags: OFlags) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    openat2(root, names.as_c_str(), flags | OFlags::CLOEXEC, Mode::empty(), resolve)
}

/// Where a path leads.
struct Found {
    /// What is there of it, without links.
    names: Names,
    /// What is missing below that; nothing that is missing can be a link.
    missing: Names,
}

/// Follows `path` from `root` as after chroot(2), but refuses to climb above it.
fn walk(root: BorrowedFd<'_>, path: &[u8]) -> Result<Found, Failure> {
    let mut pending = Pending::new(path).during("resolve")?;
    let (mut names, mut missing) = (Names::new(), Names::new());
    let mut links = 0;
    while let Some(name) = pending.next() {
        match name {
            b"" | b"." => continue,
            b".." => {
                if !missing.pop() && !names.pop() {
                    return Err(Errno::XDEV).during(LEAVES_ROOT);
                }
                continue;
            }
            _ if !missing.is_empty() => {
                missing.push(name).during("resolve")?;
                continue;
            }
            _ => names.push(name).during("resolve")?,
        }
        let here = match linkless(root, &names, OFlags::PATH | OFlags::NOFOLLOW) {
            Ok(here) => here,
            Err(Errno::NOENT) => {
                missing = Names::from(split(names.as_bytes()).1).during("resolve")?;
                names.pop();
                continue;
            }
            Err(error) => return Err(error).during("openat2"),
        };
        let mut target = [0; PATH_MAX];
        // What is no link answers ENOENT to an empty path.
        let length = match readlinkat_raw(&here, c"", &mut target) {
            Ok(length) => length,
            Err(Errno::NOENT) => continue,
            Err(error) => return Err(error).during("readlinkat"),
        };
        links += 1;
        if links > LINKS_MAX {
            return Err(Errno::LOOP).during("resolve");
        }
        let target = target.get(..length).unwrap_or_default();
        names.pop();
        if target.starts_with(b"/") {
            names.truncate(0);
        }
        pending.prepend(target).during("resolve")?;
    }
    Ok(Found { names, missing })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, symlink};

    use super::super::playground::{ROOT, new, play};
    use super::*;

    fn errno<T>(result: Result<T, Failure>) -> Errno {
        result.err().expect("refused").errno
    }

    fn inode(found: &OwnedFd) -> u64 {
        fstat(found).unwrap().st_ino
    }

    fn inode_of(path: &str) -> u64 {
        fs::metadata(format!("{ROOT}/{path}")).unwrap().ino()
    }

    #[test]
    fn links_inside_the_root_are_followed_as_after_chroot() {
        play(|root| {
            fs::create_dir_all(format!("{ROOT}/run/lock")).unwrap();
            fs::create_dir_all(format!("{ROOT}/var/lib")).unwrap();
            symlink("/run", format!("{ROOT}/var/run")).unwrap();
            symlink("../run", format!("{ROOT}/var/relative")).unwrap();
            symlink("/var/run/../var/relative", format!("{ROOT}/var/lib/chain")).unwrap();
            let lock = inode_of("run/lock");
            for path in [c"/run/lock", c"//run//lock/", c"/var/run/lock", c"/var/relative/lock"] {
                assert_eq!(inode(&open(root, path).unwrap()), lock, "{path:?}");
            }
            assert_eq!(inode(&open(root, c"/var/lib/chain/lock").unwrap()), lock);
            assert_eq!(inode(&open(root, c"/").unwrap()), inode_of("."));
            assert_eq!(inode(&open(root, c"/var/run/..").unwrap()), inode_of("."));
        });
    }

    #[test]
    fn what_climbs_above_the_root_is_refused() {
        play(|root| {
            fs::create_dir(format!("{ROOT}/etc")).unwrap();
            symlink("../../outside", format!("{ROOT}/etc/climbs")).unwrap();
            symlink("/../outside", format!("{ROOT}/etc/absolute")).unwrap();
            symlink("/etc/climbs", format!("{ROOT}/etc/twice")).unwrap();
            symlink("nowhere/../../../outside", format!("{ROOT}/etc/missing")).unwrap();
            for path in [c"/etc/climbs", c"/etc/absolute", c"/etc/twice/x", c"/../outside", c"/etc/missing"] {
                let failure = open_or_make(root, path, TargetKind::Directory).unwrap_err();
                assert_eq!((failure.operation, failure.errno), (LEAVES_ROOT, Errno::XDEV), "{path:?}");
            }
            assert_eq!(fs::read_dir("/tmp/outside").unwrap().count(), 0);
        });
    }

    #[test]
    fn endless_and_magic_links_are_refused() {
        play(|root| {
            symlink("/b", format!("{ROOT}/a")).unwrap();
            symlink("/a", format!("{ROOT}/b")).unwrap();
            assert_eq!(errno(open(root, c"/a/x")), Errno::LOOP);
            super::super::playground::perform_at(root, &new(c"proc", "/proc"), None).unwrap();
            assert_eq!(errno(open(root, c"/proc/self/root/tmp")), Errno::LOOP);
        });
    }

    #[test]
    fn what_is_missing_is_made_inside_the_root() {
        play(|root| {
            symlink("/made/by/link", format!("{ROOT}/absolute")).unwrap();
            symlink("relative/target", format!("{ROOT}/dangling")).unwrap();
            assert_eq!(errno(open(root, c"/absolute")), Errno::NOENT);
            for (path, at) in [
                ("/plain", "plain"),
                ("/a/b/c", "a/b/c"),
                ("/a/b/c/d/", "a/b/c/d"),
                ("/absolute/x", "made/by/link/x"),
                ("/dangling", "relative/target"),
                ("/new/../a/e", "a/e"),
            ] {
                let path = std::ffi::CString::new(path).unwrap();
                let made = open_or_make(root, &path, TargetKind::Directory).unwrap();
                assert_eq!(inode(&made), inode_of(at), "{path:?}");
                assert_eq!(fs::metadata(format!("{ROOT}/{at}")).unwrap().mode(), 0o40755);
            }
            symlink("/etc/resolv.conf", format!("{ROOT}/file")).unwrap();
            for (path, at) in [(c"/etc/hosts", "etc/hosts"), (c"/file", "etc/resolv.conf"), (c"/f", "f")] {
                let made = open_or_make(root, path, TargetKind::File).unwrap();
                assert_eq!(inode(&made), inode_of(at), "{path:?}");
                assert_eq!(fs::metadata(format!("{ROOT}/{at}")).unwrap().mode(), 0o100644);
            }
        });
    }

    #[test]
    fn a_target_of_the_wrong_kind_is_refused() {
        play(|root| {
            fs::create_dir(format!("{ROOT}/directory")).unwrap();
            fs::write(format!("{ROOT}/file"), "").unwrap();
            symlink("/directory", format!("{ROOT}/link")).unwrap();
            assert_eq!(errno(open_or_make(root, c"/directory", TargetKind::File)), Errno::ISDIR);
            assert_eq!(errno(open_or_make(root, c"/link", TargetKind::File)), Errno::ISDIR);
            assert_eq!(errno(open_or_make(root, c"/file", TargetKind::Directory)), Errno::NOTDIR);
            assert_eq!(errno(open_or_make(root, c"/file/below", TargetKind::File)), Errno::NOTDIR);
        });
    }

    /// While somebody swaps a directory for a link that leads outside, again and again.
    #[test]
    fn a_swapped_directory_leads_nowhere_else() {
        use rustix::fs::{RenameFlags, renameat_with};
        use std::sync::atomic::{AtomicBool, Ordering};

        play(|root| {
            fs::create_dir_all(format!("{ROOT}/a")).unwrap();
            symlink("/../../tmp/outside", format!("{ROOT}/swap")).unwrap();
            symlink("/a", format!("{ROOT}/via")).unwrap();
            let done = AtomicBool::new(false);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    while !done.load(Ordering::Relaxed) {
                        renameat_with(root, c"a", root, c"swap", RenameFlags::EXCHANGE).unwrap();
                    }
                });
                let mut made = 0;
                for round in 0..4000 {
                    let path = std::ffi::CString::new(format!("/via/{round}/x")).unwrap();
                    made += i32::from(open_or_make(root, &path, TargetKind::Directory).is_ok());
                }
                done.store(true, Ordering::Relaxed);
                assert!(made > 0, "some must find the directory in its place");
            });
            assert_eq!(fs::read_dir("/tmp/outside").unwrap().count(), 0);
        });
    }
}
