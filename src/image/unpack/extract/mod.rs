//! Entries of an archive made into files.
//!
//! Runs in a thread of its own, with a umask of its own. In: entries whose names and contents may be
//! anything, and the descriptor of a directory that nobody else changes. Out: a tree below it that is an
//! overlay's lower directory as it is (kernel's Documentation/filesystems/overlayfs.rst): whiteouts are
//! character devices 0:0, opaque directories have an attribute.
//!
//! Names resolve as after chroot(2) into the layer alone ([`tree`]), which is what docker does; a parent that
//! is not there is made (mode 0755, the caller's, 0:0 for root, time 0), also where a lower layer has a link
//! of that name. A later entry replaces an earlier one of its name; a directory is only replaced by what is
//! none. A whiteout hides what lower layers have and never what this one has, whichever comes first (OCI
//! image specification, layer.md, "Whiteouts").

mod attributes;
mod content;
mod device;
mod names;
mod tree;
mod whiteout;

use std::ffi::OsStr;
use std::io::Write;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, linkat, mkdirat, mknodat, statat, symlinkat};
use rustix::io::Errno;

use super::digests::{List, Record, Value};
use super::error::{EntryName, UnpackError};
use super::tar::{Archive, Entry, Kind};
use crate::image::limits::Limits;
use crate::image::remove;
use attributes::Attributes;
use names::Meaning;
use tree::{Missing, Tree};

/// What has been made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Made {
    /// Files, directories, links, whiteouts ...
    pub files: u64,
    /// Extended attributes that the file system does not take.
    pub ignored_xattrs: u64,
    /// The root hides all lower layers.
    pub opaque_root: bool,
}

/// A layer that is being made.
pub struct Extractor<'a> {
    tree: Tree<'a>,
    list: List<'a>,
    attributes: Attributes,
    limits: Limits,
    rootless: bool,
    made: Made,
}

impl<'a> Extractor<'a> {
    /// Begins with the empty directory `diff`. Belongs into a thread of its own: changes its umask.
    pub fn new(
        diff: BorrowedFd<'a>,
        digests: &'a mut (dyn Write + Send),
        limits: &Limits,
        rootless: bool,
    ) -> Result<Self, UnpackError> {
        let attributes = Attributes::new();
        Ok(Self {
            tree: Tree::new(diff, &attributes)?,
            list: List::new(digests),
            attributes,
            limits: limits.clone(),
            rootless,
            made: Made::default(),
        })
    }

    /// Makes all entries of `archive`.
    pub fn run(mut self, archive: &mut Archive) -> Result<Made, UnpackError> {
        while let Some(entry) = archive.next_entry()? {
            self.entry(&entry, archive)?;
        }
        archive.drain()?;
        self.tree.finish(&mut self.list)?;
        self.list.finish()?;
        self.made.ignored_xattrs = self.attributes.ignored;
        Ok(self.made)
    }

    fn entry(&mut self, entry: &Entry, archive: &mut Archive) -> Result<(), UnpackError> {
        let (parents, meaning) = names::parse(&entry.path)?;
        if meaning == Meaning::Nothing {
            return Ok(());
        }
        self.enter(&parents, entry)?;
        self.count(1)?;
        match meaning {
            Meaning::Nothing => Ok(()),
            Meaning::Hide(name) => self.hide(name, entry),
            Meaning::Opaque => self.make_opaque(entry),
            Meaning::Make(None) if entry.kind == Kind::Directory => self.describe_directory(entry),
            Meaning::Make(None) => {
                Err(UnpackError::entry(&entry.path, "its name is that of the root directory"))
            }
            Meaning::Make(Some(name)) => self.make(name, entry, archive),
        }
    }

    /// Goes to the directory of these names.
    fn enter(&mut self, parents: &[&[u8]], entry: &Entry) -> Result<(), UnpackError> {
        let missing = Missing::Make { rootless: self.rootless };
        let made = self.tree.enter(parents, missing, entry, &mut self.list)?;
        self.count(made.unwrap_or_default())
    }

    fn count(&mut self, more: u64) -> Result<(), UnpackError> {
        self.made.files += more;
        let limit = self.limits.layer_files;
        match self.made.files > limit {
            false => Ok(()),
            true => Err(UnpackError::Limit { what: "files", limit, variable: "RCRUN_IMAGE_MAX_LAYER_FILES" }),
        }
    }

    fn make(&mut self, name: &[u8], entry: &Entry, archive: &mut Archive) -> Result<(), UnpackError> {
        match entry.kind {
            Kind::Directory => self.directory(name, entry),
            Kind::File => self.file(name, entry, archive),
            Kind::HardLink => self.hard_link(name, entry),
            Kind::SymbolicLink => self.symbolic_link(name, entry),
            // This is how overlayfs, and an archive of its upper directory, spells a whiteout.
            Kind::Character { major: 0, minor: 0 } => self.hide(name, entry),
            Kind::Character { major, minor } => {
                self.special(name, entry, FileType::CharacterDevice, Value::Character(major, minor))
            }
            Kind::Block { major, minor } => {
                self.special(name, entry, FileType::BlockDevice, Value::Block(major, minor))
            }
            Kind::Fifo => self.special(name, entry, FileType::Fifo, Value::Fifo),
        }
    }

    fn directory(&mut self, name: &[u8], entry: &Entry) -> Result<(), UnpackError> {
        let mut opaque = false;
        let made = loop {
            match mkdirat(self.tree.top()?, name, Mode::from_raw_mode(entry.mode & 0o777)) {
                Ok(()) => break true,
                Err(Errno::EXIST) => {
                    let there = self.look(name, entry)?;
                    if there == There::Directory {
                        break false;
                    }
                    opaque |= there == There::Whiteout;
                    self.remove(name, there, entry)?;
                }
                Err(errno) => return Err(UnpackError::call("mkdir", &entry.path, errno)),
            }
        };
        self.tree.touch();
        self.tree.push(name, made.then_some(entry.gid), entry)?;
        self.describe_directory(entry)?;
        if opaque { self.make_opaque(entry) } else { Ok(()) }
    }

    /// Gives the directory at the top of the tree what `entry` says of it.
    fn describe_directory(&mut self, entry: &Entry) -> Result<(), UnpackError> {
        let birth = self.tree.own_birth();
        let xattrs = self.attributes.of_open(self.tree.top()?, entry, birth)?;
        let (mode, uid, gid) = (entry.mode, entry.uid, entry.gid);
        let record = Record { mode, uid, gid, mtime: entry.mtime, xattrs, value: Value::Directory };
        self.tree.describe(record, attributes::default_acl(entry));
        Ok(())
    }

    fn symbolic_link(&mut self, name: &[u8], entry: &Entry) -> Result<(), UnpackError> {
        if entry.link.is_empty() || entry.link.len() > names::PATH_MAX {
            return Err(UnpackError::entry(&entry.path, "its target has 0 or more than 4095 bytes"));
        }
        self.replacing(name, entry, "symlink", |tree| symlinkat(&entry.link[..], tree, name))?;
        let birth = self.tree.birth();
        self.attributes.of_link(self.tree.top()?, name, entry, birth)?;
        self.listed(name, entry, None, Value::SymbolicLink(entry.link.clone()))
    }

    /// A device or a FIFO.
    fn special(
        &mut self,
        name: &[u8],
        entry: &Entry,
        kind: FileType,
        value: Value,
    ) -> Result<(), UnpackError> {
        if self.rootless && kind != FileType::Fifo {
            return Err(UnpackError::Device(EntryName::from(&entry.path[..])));
        }
        let device = match value {
            Value::Character(major, minor) | Value::Block(major, minor) => device::number(major, minor),
            _ => Some(0),
        };
        let refused = || UnpackError::entry(&entry.path, "Linux has no device of its number");
        let device = device.ok_or_else(refused)?;
        let mode = Mode::from_raw_mode(entry.mode & 0o777);
        self.replacing(name, entry, "mknod", |tree| mknodat(tree, name, kind, mode, device))?;
        let birth = self.tree.birth();
        self.attributes.of_special(self.tree.top()?, name, entry, birth)?;
        self.listed(name, entry, None, value)
    }

    fn hard_link(&mut self, name: &[u8], entry: &Entry) -> Result<(), UnpackError> {
        let missing = || {
            let target = EntryName::from(&entry.link[..]);
            UnpackError::Link { entry: EntryName::from(&entry.path[..]), target }
        };
        let parts = names::split(&entry.link).map_err(|_| {
            UnpackError::entry(&entry.path, "the target of its hard link has .. in it or is too long")
        })?;
        let Some((file, parents)) = parts.split_last() else { return Err(missing()) };
        let Some((directory, path)) = self.find(parents, entry)? else { return Err(missing()) };
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        let from = match statat(&directory, *file, flags) {
            Ok(from) => from,
            Err(Errno::NOENT) => return Err(missing()),
            Err(errno) => return Err(UnpackError::call("stat the target of", &entry.path, errno)),
        };
        match FileType::from_raw_mode(from.st_mode) {
            FileType::Directory => {
                return Err(UnpackError::entry(&entry.path, "it is a hard link to a directory"));
            }
            FileType::CharacterDevice if from.st_rdev == 0 => return Err(missing()),
            _ => {}
        }
        // A link to itself changes nothing; removing the name first would remove the file.
        let same = |to: rustix::fs::Stat| (to.st_dev, to.st_ino) == (from.st_dev, from.st_ino);
        if statat(self.tree.top()?, name, flags).is_ok_and(same) {
            return Ok(());
        }
        self.replacing(name, entry, "link", |tree| linkat(&directory, *file, tree, name, AtFlags::empty()))?;
        let target = if path.is_empty() { file.to_vec() } else { [&path[..], b"/", file].concat() };
        self.list.hard_link(&target, &self.tree.path_of(name))
    }

    /// The directory of these names and its path without links; the tree is where it was again.
    fn find(&mut self, names: &[&[u8]], entry: &Entry) -> Result<Option<(OwnedFd, Vec<u8>)>, UnpackError> {
        let here = self.tree.path().to_vec();
        let found = match self.tree.enter(names, Missing::Stays, entry, &mut self.list)? {
            Some(_) => Some((self.tree.keep()?, self.tree.path().to_vec())),
            None => None,
        };
        let back = names::split(&here)?;
        self.tree.enter(&back, Missing::Stays, entry, &mut self.list)?;
        Ok(found)
    }

    /// Makes `name` by `call`, in the place of what the layer had there before.
    fn replacing<T>(
        &mut self,
        name: &[u8],
        entry: &Entry,
        operation: &'static str,
        call: impl Fn(BorrowedFd<'_>) -> Result<T, Errno>,
    ) -> Result<T, UnpackError> {
        self.tree.touch();
        loop {
            match call(self.tree.top()?) {
                Err(Errno::EXIST) => {
                    let there = self.look(name, entry)?;
                    self.remove(name, there, entry)?;
                }
                result => return result.map_err(|errno| UnpackError::call(operation, &entry.path, errno)),
            }
        }
    }

    fn listed(
        &mut self,
        name: &[u8],
        entry: &Entry,
        xattrs: Option<[u8; 32]>,
        value: Value,
    ) -> Result<(), UnpackError> {
        let mtime = attributes::settled_at(self.tree.top()?, name, entry)?;
        let mode = if entry.kind == Kind::SymbolicLink { 0o777 } else { entry.mode };
        let record = Record { mode, uid: entry.uid, gid: entry.gid, mtime, xattrs, value };
        self.list.record(&self.tree.path_of(name), &record)
    }

    /// What the layer has of this name.
    fn look(&mut self, name: &[u8], entry: &Entry) -> Result<There, UnpackError> {
        let stat = match statat(self.tree.top()?, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(There::Nothing),
            Err(errno) => return Err(UnpackError::call("stat", &entry.path, errno)),
        };
        Ok(match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => There::Directory,
            FileType::CharacterDevice if stat.st_rdev == 0 => There::Whiteout,
            _ => There::File,
        })
    }

    fn remove(&mut self, name: &[u8], there: There, entry: &Entry) -> Result<(), UnpackError> {
        let result = match there {
            There::Nothing => Ok(()),
            There::Directory => {
                let path = Path::new(OsStr::from_bytes(name));
                remove::tree(self.tree.top()?, path).map_err(|unremoved| unremoved.error)
            }
            There::File | There::Whiteout => rustix::fs::unlinkat(self.tree.top()?, name, AtFlags::empty()),
        };
        result.map_err(|errno| UnpackError::call("replace", &entry.path, errno))
    }
}

/// What has a name already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum There {
    Nothing,
    Directory,
    Whiteout,
    File,
}
