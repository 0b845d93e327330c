//! Owner, mode, extended attributes and time of what was made, with no call for what it already has.
//!
//! Order: the owner first, because changing it takes set-user-id bits and capabilities away; then the mode,
//! the extended attributes, the time.
//!
//! Extended attributes as docker and containerd treat them: `trusted.*` are not the archive's to set, nor are
//! overlayfs's marks and SELinux labels, which are the host's: they are dropped. What the file system has no
//! place for or this process may not set is ignored and counted.

use std::os::fd::BorrowedFd;

use rustix::fs::{
    AtFlags, Gid, Mode, Stat, Timespec, Timestamps, Uid, XattrFlags, chmodat, chownat, fchmod, fchown,
    fsetxattr, statat, utimensat,
};
use rustix::io::Errno;

use super::super::digests::xattrs_digest;
use super::super::error::{EntryName, UnpackError};
use super::super::tar::{Entry, Time};

const ACCESS_ACL: &[u8] = b"system.posix_acl_access";
const DEFAULT_ACL: &[u8] = b"system.posix_acl_default";

/// What this thread gives to new files by itself.
pub struct Attributes {
    uid: u32,
    gid: u32,
    /// No umask takes bits of the mode away.
    whole_modes: bool,
    /// Extended attributes that could not be set.
    pub ignored: u64,
}

/// What a file had when it was made.
#[derive(Clone, Copy, Debug)]
pub enum Birth {
    /// It was there before.
    Unknown,
    /// It was made in a directory of this group, which may pass it on.
    In {
        /// The directory's.
        gid: u32,
        /// It passes its group, and this bit, on.
        set_gid: bool,
    },
}

impl Attributes {
    /// Takes the umask away, from this thread alone.
    pub fn new() -> Self {
        let whole_modes = clear_umask().is_ok();
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        Self { uid, gid, whole_modes, ignored: 0 }
    }

    /// User and group of what this thread makes.
    pub fn owner(&self) -> (u32, u32) {
        (self.uid, self.gid)
    }

    /// Sets all but the time. Returns the digest of the extended attributes.
    pub fn of_open(
        &mut self,
        fd: BorrowedFd<'_>,
        entry: &Entry,
        birth: Birth,
    ) -> Result<Option<[u8; 32]>, UnpackError> {
        if !self.is_owned(entry, birth) {
            let (uid, gid) = owner(entry);
            fchown(fd, uid, gid).map_err(|errno| not_owned(entry, errno))?;
        }
        if !self.has_mode(entry, birth) {
            fchmod(fd, Mode::from_raw_mode(entry.mode))
                .map_err(|errno| UnpackError::call("chmod", &entry.path, errno))?;
        }
        self.set_xattrs(fd, entry)
    }

    /// Sets a symbolic link's owner and time.
    pub fn of_link(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &[u8],
        entry: &Entry,
        birth: Birth,
    ) -> Result<(), UnpackError> {
        self.own_and_date(parent, name, entry, birth)
    }

    /// Sets a device's or a FIFO's owner, mode and time.
    pub fn of_special(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &[u8],
        entry: &Entry,
        birth: Birth,
    ) -> Result<(), UnpackError> {
        self.own_and_date(parent, name, entry, birth)?;
        if self.has_mode(entry, birth) {
            return Ok(());
        }
        // It is no link: it has just been made.
        chmodat(parent, name, Mode::from_raw_mode(entry.mode), AtFlags::empty())
            .map_err(|errno| UnpackError::call("chmod", &entry.path, errno))
    }

    fn own_and_date(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &[u8],
        entry: &Entry,
        birth: Birth,
    ) -> Result<(), UnpackError> {
        // Only files and directories have attributes that an archive may set.
        self.ignored += entry.xattrs.iter().filter(|(name, _)| is_ours_to_set(name)).count() as u64;
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        if !self.is_owned(entry, birth) {
            let (uid, gid) = owner(entry);
            chownat(parent, name, uid, gid, flags).map_err(|errno| not_owned(entry, errno))?;
        }
        utimensat(parent, name, &timestamps(entry.mtime), flags)
            .map_err(|errno| UnpackError::call("set the time of", &entry.path, errno))
    }

    fn is_owned(&self, entry: &Entry, birth: Birth) -> bool {
        // Whether the directory's group is passed on depends on it and on the mount: equal ones leave no doubt.
        matches!(birth, Birth::In { gid, .. } if gid == self.gid)
            && (entry.uid, entry.gid) == (self.uid, self.gid)
    }

    fn has_mode(&self, entry: &Entry, birth: Birth) -> bool {
        const SPECIAL: u32 = 0o7000;
        let plain = entry.mode & SPECIAL == 0;
        self.whole_modes && plain && matches!(birth, Birth::In { set_gid: false, .. })
    }

    fn set_xattrs(&mut self, fd: BorrowedFd<'_>, entry: &Entry) -> Result<Option<[u8; 32]>, UnpackError> {
        if entry.xattrs.is_empty() {
            return Ok(None);
        }
        let mut set = Vec::with_capacity(entry.xattrs.len());
        for (name, value) in entry.xattrs.iter().filter(|(name, _)| is_ours_to_set(name)) {
            match fsetxattr(fd, &name[..], value, XattrFlags::empty()) {
                Ok(()) => set.push((&name[..], &value[..])),
                Err(Errno::OPNOTSUPP | Errno::PERM) => self.ignored += 1,
                Err(errno) => {
                    return Err(UnpackError::call("set an extended attribute of", &entry.path, errno));
                }
            }
        }
        Ok(xattrs_digest(set))
    }
}

/// No mode loses bits any more, in this thread: others keep the umask that they share.
fn clear_umask() -> Result<(), Errno> {
    crate::sys::process::unshare(rustix::thread::UnshareFlags::FS)?;
    rustix::process::umask(Mode::empty());
    Ok(())
}

/// What a directory passes on to what is made in it: set when nothing more is made there.
pub fn default_acl(entry: &Entry) -> Option<Vec<u8>> {
    entry.xattrs.iter().find(|(name, _)| name == DEFAULT_ACL).map(|(_, value)| value.clone())
}

fn is_ours_to_set(name: &[u8]) -> bool {
    match name {
        b"security.selinux" => false,
        _ if name.starts_with(b"user.overlay.") => false,
        _ => name.starts_with(b"user.") || name.starts_with(b"security.") || name == ACCESS_ACL,
    }
}

fn owner(entry: &Entry) -> (Option<Uid>, Option<Gid>) {
    (Some(Uid::from_raw(entry.uid)), Some(Gid::from_raw(entry.gid)))
}

fn not_owned(entry: &Entry, errno: Errno) -> UnpackError {
    match errno {
        // The user namespace has no such id.
        Errno::INVAL => {
            UnpackError::Unmapped { entry: EntryName::from(&entry.path[..]), uid: entry.uid, gid: entry.gid }
        }
        errno => UnpackError::call("chown", &entry.path, errno),
    }
}

/// Both times the same, so that the tree does not depend on when it was made.
pub fn timestamps(time: Time) -> Timestamps {
    let time = Timespec { tv_sec: time.seconds, tv_nsec: time.nanoseconds.into() };
    Timestamps { last_access: time, last_modification: time }
}

/// What became of `time` in the file system: it may be coarser or too far off.
pub fn settled(time: Time, stat: impl FnOnce() -> Result<Stat, Errno>) -> Result<Time, Errno> {
    let usual = time.nanoseconds == 0 && (0..=i64::from(i32::MAX)).contains(&time.seconds);
    if usual { Ok(time) } else { stat().map(|stat| Time::of(&stat)) }
}

/// The same for what has `name` in `parent`.
pub fn settled_at(parent: BorrowedFd<'_>, name: &[u8], entry: &Entry) -> Result<Time, UnpackError> {
    settled(entry.mtime, || statat(parent, name, AtFlags::SYMLINK_NOFOLLOW))
        .map_err(|errno| UnpackError::call("stat", &entry.path, errno))
}
