//! Where in the tree the next entry goes: a stack of open directories from the root to the current one.
//!
//! Archives are in the order of a walk, so most entries find their directory at the top. A directory's own
//! time is set when it is left, because making files in it changes that; one that is entered again has the
//! right time then, which is read and set again. So nothing has to be kept for the end, however large the
//! layer is.
//!
//! Names are followed as after chroot(2) into the layer: every step is one name below an open directory,
//! O_NOFOLLOW, and what is a symbolic link is taken apart here. `..`, which only links may have, goes up in
//! the stack and at the root stays there.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, Uid, XattrFlags, fchmod, fchown, fgetxattr,
    fremovexattr, fsetxattr, fstat, futimens, mkdirat, openat, openat2, readlinkat, statat, unlinkat,
};
use rustix::io::Errno;

use super::super::digests::{List, Record, Value};
use super::super::error::UnpackError;
use super::super::tar::{Entry, Time};
use super::attributes::{Attributes, Birth, settled, timestamps};
use super::names::PATH_MAX;
use super::whiteout::set_opaque;

/// As many links as the kernel follows in one path.
const LINKS_MAX: u32 = 40;
/// Levels that hold a descriptor; those above are opened again when they come to the top.
const HELD: usize = 16;
const DEFAULT_ACL: &str = "system.posix_acl_default";

/// The open directories.
pub struct Tree<'a> {
    root: BorrowedFd<'a>,
    levels: Vec<Level>,
    /// Of the top, from the root, without links.
    path: Vec<u8>,
    /// Some directory of the layer passes access control lists on to what is made in it.
    acls: bool,
    /// User and group of this thread, and of directories that no entry describes.
    owner: (u32, u32),
}

/// One directory.
#[derive(Default)]
struct Level {
    /// Of the path of the tree.
    path_length: usize,
    name: Vec<u8>,
    fd: Option<OwnedFd>,
    gid: u32,
    set_gid: bool,
    /// Made by the entry that is being read, and as mkdir(2) leaves it.
    new: bool,
    /// To be set when it is left, if it was `touched`.
    mtime: Time,
    touched: bool,
    /// To be listed then.
    record: Option<Record>,
    /// To be set then.
    default_acl: Option<Vec<u8>>,
}

/// May missing directories be made?
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// Yes, with these attributes for those that replace a whiteout.
    Make {
        /// See [`super::UnpackOptions::rootless`].
        rootless: bool,
    },
    /// No.
    Stays,
}

impl<'a> Tree<'a> {
    /// At the root.
    pub fn new(root: BorrowedFd<'a>, attributes: &Attributes) -> Result<Self, UnpackError> {
        let stat = fstat(root).map_err(|errno| UnpackError::call("stat the directory", b"/", errno))?;
        // One of the place where the store is: not of the layer.
        let _ = fremovexattr(root, DEFAULT_ACL);
        let level = Level {
            gid: stat.st_gid,
            set_gid: has_set_gid(&stat),
            mtime: Time::of(&stat),
            ..Level::default()
        };
        Ok(Self { root, levels: vec![level], path: Vec::new(), acls: false, owner: attributes.owner() })
    }

    /// The current directory.
    pub fn top(&mut self) -> Result<BorrowedFd<'_>, UnpackError> {
        let path = &self.path;
        match self.levels.as_mut_slice() {
            [] | [_] => Ok(self.root),
            [.., top] => {
                if top.fd.is_none() {
                    let resolve =
                        ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
                    let opened = openat2(self.root, &path[..], DIRECTORY, Mode::empty(), resolve);
                    top.fd = Some(opened.map_err(|errno| UnpackError::call("open", path, errno))?);
                }
                Ok(top.fd.as_ref().map_or(self.root, |fd| fd.as_fd()))
            }
        }
    }

    /// The current directory's path; empty for the root.
    pub fn path(&self) -> &[u8] {
        &self.path
    }

    /// Is it the root?
    pub fn is_root(&self) -> bool {
        self.levels.len() <= 1
    }

    /// The path of `name` in the current directory.
    pub fn path_of(&self, name: &[u8]) -> Vec<u8> {
        join(&self.path, name)
    }

    /// Something is about to change in the current directory.
    pub fn touch(&mut self) {
        if let Some(top) = self.levels.last_mut() {
            top.touched = true;
        }
    }

    /// What something new in the current directory has by itself.
    pub fn birth(&self) -> Birth {
        self.levels.last().map_or(Birth::Unknown, |top| Birth::In { gid: top.gid, set_gid: top.set_gid })
    }

    /// The same for the current directory itself, once.
    pub fn own_birth(&mut self) -> Birth {
        match self.levels.as_mut_slice() {
            [.., above, top] => match std::mem::take(&mut top.new) {
                true => Birth::In { gid: above.gid, set_gid: above.set_gid },
                false => Birth::Unknown,
            },
            _ => Birth::Unknown,
        }
    }

    /// Goes to the directory of the names `to`, following links; returns how many directories it made on the
    /// way. None if one is missing and stays so.
    pub fn enter(
        &mut self,
        to: &[&[u8]],
        missing: Missing,
        entry: &Entry,
        list: &mut List<'_>,
    ) -> Result<Option<u64>, UnpackError> {
        let known =
            self.levels.iter().skip(1).zip(to).take_while(|(level, name)| level.name == **name).count();
        self.leave_to(known + 1, list)?;
        if known == to.len() {
            return Ok(Some(0));
        }
        let mut pending: Vec<Vec<u8>> = to[known..].iter().rev().map(|name| name.to_vec()).collect();
        let (mut links, mut made) = (0, 0);
        while let Some(name) = pending.pop() {
            match &name[..] {
                b"" | b"." => continue,
                b".." => {
                    self.leave_to(self.levels.len().saturating_sub(1).max(1), list)?;
                    continue;
                }
                _ => {}
            }
            match self.step(&name, entry)? {
                Step::Entered => {}
                Step::Link(target) => {
                    links += 1;
                    if links > LINKS_MAX {
                        return Err(UnpackError::entry(
                            &entry.path,
                            "its parents are links that lead nowhere",
                        ));
                    }
                    if target.starts_with(b"/") {
                        self.leave_to(1, list)?;
                    }
                    pending.extend(target.split(|&byte| byte == b'/').rev().map(<[u8]>::to_vec));
                }
                step => match missing {
                    Missing::Stays => return Ok(None),
                    Missing::Make { rootless } => {
                        self.make_parent(&name, &step, rootless, entry, list)?;
                        made += 1;
                    }
                },
            }
        }
        Ok(Some(made))
    }

    /// Goes into the directory `name`. `made`: with this group, by the current entry.
    pub fn push(&mut self, name: &[u8], made: Option<u32>, entry: &Entry) -> Result<(), UnpackError> {
        let failed = |operation, errno| UnpackError::call(operation, &entry.path, errno);
        let fd = openat(self.top()?, name, DIRECTORY, Mode::empty());
        let fd = fd.map_err(|errno| failed("open the directory of", errno))?;
        let level = match made {
            Some(gid) => Level { gid, new: true, ..Level::default() },
            None => Level::existing(&fstat(&fd).map_err(|errno| failed("stat the directory of", errno))?),
        };
        self.add(name, fd, level, entry)
    }

    /// The current directory is now as `record` says, and passes `default_acl` on.
    pub fn describe(&mut self, record: Record, default_acl: Option<Vec<u8>>) {
        self.acls |= default_acl.is_some();
        if let Some(top) = self.levels.last_mut() {
            (top.gid, top.set_gid) = (record.gid, record.mode & 0o2000 != 0);
            (top.mtime, top.touched) = (record.mtime, true);
            top.default_acl = default_acl.or(top.default_acl.take());
            top.record = Some(record);
        }
    }

    /// Lists the current directory now, if it has not been.
    pub fn list_top(&mut self, list: &mut List<'_>) -> Result<(), UnpackError> {
        self.settle(list)
    }

    /// Leaves all directories.
    pub fn finish(&mut self, list: &mut List<'_>) -> Result<(), UnpackError> {
        self.leave_to(1, list)?;
        self.settle(list)
    }

    /// A descriptor of the current directory that stays when it is left.
    pub fn keep(&mut self) -> Result<OwnedFd, UnpackError> {
        let kept = rustix::io::fcntl_dupfd_cloexec(self.top()?, 0);
        kept.map_err(|errno| UnpackError::call("open", &self.path, errno))
    }

    fn step(&mut self, name: &[u8], entry: &Entry) -> Result<Step, UnpackError> {
        let failed = |operation, errno| UnpackError::call(operation, &entry.path, errno);
        let top = self.top()?;
        match openat(top, name, DIRECTORY, Mode::empty()) {
            Ok(fd) => {
                let stat = fstat(&fd).map_err(|errno| failed("stat the directory of", errno))?;
                self.add(name, fd, Level::existing(&stat), entry)?;
                Ok(Step::Entered)
            }
            Err(Errno::NOENT) => Ok(Step::Missing),
            Err(Errno::NOTDIR | Errno::LOOP) => match readlinkat(top, name, Vec::new()) {
                Ok(target) => Ok(Step::Link(target.into_bytes())),
                Err(_) => {
                    let stat = statat(top, name, AtFlags::SYMLINK_NOFOLLOW);
                    let stat = stat.map_err(|errno| failed("stat the directory of", errno))?;
                    let device = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice;
                    Ok(if device && stat.st_rdev == 0 { Step::Whiteout } else { Step::File })
                }
            },
            Err(errno) => Err(failed("open the directory of", errno)),
        }
    }

    /// A directory that no entry has described.
    fn make_parent(
        &mut self,
        name: &[u8],
        step: &Step,
        rootless: bool,
        entry: &Entry,
        list: &mut List<'_>,
    ) -> Result<(), UnpackError> {
        const MODE: u32 = 0o755;
        let failed = |errno| UnpackError::call("make the directory of", &entry.path, errno);
        self.touch();
        match step {
            Step::Whiteout => unlinkat(self.top()?, name, AtFlags::empty()).map_err(failed)?,
            Step::File => {
                return Err(UnpackError::entry(&entry.path, "it is below something that is no directory"));
            }
            _ => {}
        }
        mkdirat(self.top()?, name, Mode::from_raw_mode(MODE)).map_err(failed)?;
        self.push(name, Some(self.owner.1), entry)?;
        let by_itself = self.own_birth();
        let (uid, gid) = self.owner;
        let top = self.top()?;
        if !matches!(by_itself, Birth::In { gid: passed_on, .. } if passed_on == gid) {
            fchown(top, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid))).map_err(failed)?;
        }
        fchmod(top, Mode::from_raw_mode(MODE)).map_err(failed)?;
        let value = Value::Directory;
        let record = Record { mode: MODE, uid, gid, mtime: Time::default(), xattrs: None, value };
        self.describe(record, None);
        if matches!(step, Step::Whiteout) {
            set_opaque(self.top()?, rootless).map_err(failed)?;
            self.settle(list)?;
            list.opaque(&self.path)?;
        }
        Ok(())
    }

    fn add(&mut self, name: &[u8], fd: OwnedFd, level: Level, entry: &Entry) -> Result<(), UnpackError> {
        let path_length = self.path.len();
        let mut path = join(&self.path, name);
        if path.len() > PATH_MAX {
            return Err(UnpackError::entry(
                &entry.path,
                "its name has more than 4095 bytes where its links lead",
            ));
        }
        std::mem::swap(&mut self.path, &mut path);
        let default_acl = if self.acls && !level.new { take_default_acl(fd.as_fd()) } else { None };
        self.levels.push(Level { path_length, name: name.to_vec(), fd: Some(fd), default_acl, ..level });
        if let Some(high) =
            self.levels.len().checked_sub(HELD + 1).and_then(|index| self.levels.get_mut(index))
        {
            high.fd = None;
        }
        Ok(())
    }

    /// Leaves directories until there are `count` levels.
    fn leave_to(&mut self, count: usize, list: &mut List<'_>) -> Result<(), UnpackError> {
        while self.levels.len() > count {
            self.settle(list)?;
            if let Some(level) = self.levels.pop() {
                self.path.truncate(level.path_length);
            }
        }
        Ok(())
    }

    /// Sets what the current directory is to have when it is left.
    fn settle(&mut self, list: &mut List<'_>) -> Result<(), UnpackError> {
        let touched = self.levels.last().is_some_and(|top| top.touched || top.default_acl.is_some());
        if !touched {
            return Ok(());
        }
        self.top()?;
        let path = &self.path;
        let failed = |operation, errno| UnpackError::call(operation, path, errno);
        let Some(top) = self.levels.last_mut() else { return Ok(()) };
        let fd = top.fd.as_ref().map_or(self.root, |fd| fd.as_fd());
        if let Some(acl) = top.default_acl.take() {
            match fsetxattr(fd, DEFAULT_ACL, &acl, XattrFlags::empty()) {
                Ok(()) | Err(Errno::OPNOTSUPP | Errno::PERM) => {}
                Err(errno) => return Err(failed("set the default ACL of", errno)),
            }
        }
        futimens(fd, &timestamps(top.mtime)).map_err(|errno| failed("set the time of", errno))?;
        top.touched = false;
        if let Some(mut record) = top.record.take() {
            record.mtime = settled(record.mtime, || fstat(fd)).map_err(|errno| failed("stat", errno))?;
            list.record(path, &record)?;
        }
        Ok(())
    }
}

impl Level {
    fn existing(stat: &Stat) -> Self {
        Self { gid: stat.st_gid, set_gid: has_set_gid(stat), mtime: Time::of(stat), ..Self::default() }
    }
}

/// What is where a directory is to be.
enum Step {
    Entered,
    Missing,
    Link(Vec<u8>),
    Whiteout,
    File,
}

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

fn has_set_gid(stat: &Stat) -> bool {
    stat.st_mode & 0o2000 != 0
}

fn join(path: &[u8], name: &[u8]) -> Vec<u8> {
    if path.is_empty() { name.to_vec() } else { [path, b"/", name].concat() }
}

/// What a directory passes on would change what is made in it now.
fn take_default_acl(fd: BorrowedFd<'_>) -> Option<Vec<u8>> {
    let mut value = vec![0; 4096];
    let length = fgetxattr(fd, DEFAULT_ACL, &mut value[..]).ok()?;
    value.truncate(length);
    fremovexattr(fd, DEFAULT_ACL).ok().map(|()| value)
}
