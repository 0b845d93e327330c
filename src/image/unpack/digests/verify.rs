//! Compares an unpacked layer with its list.
//!
//! Every file is read once. What cannot differ without a change is left out: times of whiteouts, of a root
//! that no entry described, extended attributes that [`super::xattrs_digest`] leaves out.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::fmt;
use std::io::{self, BufRead};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat, fgetxattr, flistxattr, flistxattr_query, fstat,
    major, minor, openat, openat2, readlinkat, statat,
};
use rustix::io::{Errno, pread, retry_on_intr};

use super::super::error::EntryName;
use super::list::HEADING;
use super::record::{Content, Line, Record, Value, parse, xattrs_digest};
use crate::image::unpack::tar::{Segment, Time};

/// What is not as it was unpacked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// From the layer's root, `.` for itself.
    pub path: Vec<u8>,
    /// What is different.
    pub what: What,
}

/// A kind of difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// It is not there.
    Missing,
    /// It was not in the layer.
    Extra,
    /// These of its properties have changed.
    Changed(Vec<&'static str>),
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = EntryName::from(&self.path[..]);
        match &self.what {
            What::Missing => write!(f, "{name} is missing"),
            What::Extra => write!(f, "{name} was not in the layer"),
            What::Changed(properties) => write!(f, "{name} has another {}", properties.join(", ")),
        }
    }
}

/// Why a layer could not be compared.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The list cannot be read.
    #[error("read the layer's list of digests: {0}")]
    Read(#[source] io::Error),
    /// The list is not one, or of another version.
    #[error("line {0} of the layer's list of digests is invalid: pull the image again")]
    List(u64),
    /// A file of the layer cannot be read.
    #[error("{operation} {path} of the layer: {errno}")]
    Call {
        /// As its man page is called.
        operation: &'static str,
        /// Of the file.
        path: EntryName,
        /// What the kernel said.
        errno: Errno,
    },
}

/// Compares the tree at `diff` with the list that was written when it was unpacked. Differences are sorted by
/// path.
pub fn verify_layer(diff: BorrowedFd<'_>, digests: impl BufRead) -> Result<Vec<Difference>, VerifyError> {
    let mut walk = Walk { root: diff, expected: read(digests)?, links: HashMap::new(), found: Vec::new() };
    let mut pending = vec![Vec::new()];
    walk.root()?;
    while let Some(path) = pending.pop() {
        walk.directory(&path, &mut pending)?;
    }
    let missing = std::mem::take(&mut walk.expected).into_keys().filter(|path| path != b".");
    walk.found.extend(missing.map(|path| Difference { path, what: What::Missing }));
    walk.found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(walk.found)
}

/// What a path is to be.
#[derive(Clone, Debug, Default)]
struct Known {
    /// None: a whiteout. Paths of one file share it.
    record: Option<Rc<Record>>,
    opaque: bool,
}

/// The list's last word on each path.
fn read(mut digests: impl BufRead) -> Result<BTreeMap<Vec<u8>, Known>, VerifyError> {
    let mut known = BTreeMap::<Vec<u8>, Known>::new();
    let mut text = String::new();
    for number in 1.. {
        text.clear();
        let invalid = || VerifyError::List(number);
        match digests.read_line(&mut text) {
            Ok(0) if number > 1 => break,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::InvalidData => return Err(invalid()),
            Err(error) => return Err(VerifyError::Read(error)),
        }
        let line = text.strip_suffix('\n').ok_or_else(invalid)?;
        match number {
            1 if line == HEADING => {}
            1 => return Err(invalid()),
            _ => apply(&mut known, parse(line).ok_or_else(invalid)?).ok_or_else(invalid)?,
        }
    }
    Ok(known)
}

fn apply(known: &mut BTreeMap<Vec<u8>, Known>, line: Line) -> Option<()> {
    let is_directory =
        |known: &Known| known.record.as_ref().is_some_and(|record| record.value == Value::Directory);
    let (path, new) = match line {
        Line::Record(path, record) => {
            let both = record.value == Value::Directory && known.get(&path).is_some_and(is_directory);
            let opaque = both && known.get(&path).is_some_and(|old| old.opaque);
            (path, Known { record: Some(Rc::new(record)), opaque })
        }
        Line::HardLink { target, path } => (path, known.get(&target)?.clone()),
        Line::Whiteout(path) => (path, Known::default()),
        Line::Opaque(path) => {
            known.entry(path).or_default().opaque = true;
            return Some(());
        }
    };
    if !is_directory(&new) && known.get(&path).is_some_and(is_directory) {
        let below = [&path[..], b"/"].concat();
        let gone = known.range(below.clone()..).map(|(path, _)| path.clone());
        let gone: Vec<_> = gone.take_while(|path| path.starts_with(&below)).collect();
        gone.iter().for_each(|path| drop(known.remove(path)));
    }
    known.insert(path, new);
    Some(())
}

struct Walk<'a> {
    root: BorrowedFd<'a>,
    expected: BTreeMap<Vec<u8>, Known>,
    /// Device and inode of each file that has several names, by its record.
    links: HashMap<*const Record, (Rc<Record>, u64, u64)>,
    found: Vec<Difference>,
}

impl Walk<'_> {
    fn root(&mut self) -> Result<(), VerifyError> {
        let Some(known) = self.expected.remove(&b"."[..]) else { return Ok(()) };
        let stat = fstat(self.root).map_err(|errno| failed("stat", b".", errno))?;
        let root = self.root;
        let mut changed = Vec::new();
        if let Some(record) = &known.record {
            compare_attributes(record, &stat, &mut changed);
            compare_xattrs(record, root, b".", &mut changed)?;
        }
        if known.opaque != is_opaque(root) {
            changed.push("opaqueness");
        }
        self.report(b".", changed);
        Ok(())
    }

    /// Compares all that is in a directory; those in it are added to `pending`.
    fn directory(&mut self, path: &[u8], pending: &mut Vec<Vec<u8>>) -> Result<(), VerifyError> {
        let here = self.open_directory(path)?;
        let entries = Dir::read_from(&here).map_err(|errno| failed("read", path, errno))?;
        for entry in entries {
            let entry = entry.map_err(|errno| failed("read", path, errno))?;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            let whole = if path.is_empty() { name.to_vec() } else { [path, b"/", name].concat() };
            let Some(known) = self.expected.remove(&whole) else {
                self.found.push(Difference { path: whole, what: What::Extra });
                continue;
            };
            let stat = statat(&here, name, AtFlags::SYMLINK_NOFOLLOW);
            let stat = stat.map_err(|errno| failed("stat", &whole, errno))?;
            let changed = self.compare(here.as_fd(), name, &whole, &known, &stat)?;
            self.report(&whole, changed);
            if FileType::from_raw_mode(stat.st_mode).is_dir() {
                pending.push(whole);
            }
        }
        Ok(())
    }

    fn open_directory(&self, path: &[u8]) -> Result<OwnedFd, VerifyError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let name = if path.is_empty() { &b"."[..] } else { path };
        openat2(self.root, name, flags, Mode::empty(), resolve).map_err(|errno| failed("open", path, errno))
    }

    fn compare(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &[u8],
        path: &[u8],
        known: &Known,
        stat: &Stat,
    ) -> Result<Vec<&'static str>, VerifyError> {
        let kind = FileType::from_raw_mode(stat.st_mode);
        let Some(record) = &known.record else {
            let whiteout = kind == FileType::CharacterDevice && stat.st_rdev == 0;
            return Ok(if whiteout { vec![] } else { vec!["type"] });
        };
        let mut changed = Vec::new();
        if kind != kind_of(&record.value) {
            return Ok(vec!["type"]);
        }
        compare_attributes(record, stat, &mut changed);
        let open = |flags| {
            let flags = flags | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            openat(parent, name, flags, Mode::empty()).map_err(|errno| failed("open", path, errno))
        };
        match &record.value {
            Value::File(content) => {
                self.compare_inode(record, stat, &mut changed);
                let file = open(OFlags::empty())?;
                compare_content(content, file.as_fd(), stat, path, &mut changed)?;
                compare_xattrs(record, file.as_fd(), path, &mut changed)?;
            }
            Value::Directory => {
                let directory = open(OFlags::DIRECTORY)?;
                compare_xattrs(record, directory.as_fd(), path, &mut changed)?;
                if known.opaque != is_opaque(directory.as_fd()) {
                    changed.push("opaqueness");
                }
            }
            Value::SymbolicLink(target) => {
                let found =
                    readlinkat(parent, name, Vec::new()).map_err(|errno| failed("readlink", path, errno))?;
                if found.as_bytes() != target {
                    changed.push("target");
                }
            }
            Value::Character(a, b) | Value::Block(a, b) => {
                if (major(stat.st_rdev), minor(stat.st_rdev)) != (*a, *b) {
                    changed.push("device number");
                }
            }
            Value::Fifo => {}
        }
        Ok(changed)
    }

    /// All names of one file are still names of one file.
    fn compare_inode(&mut self, record: &Rc<Record>, stat: &Stat, changed: &mut Vec<&'static str>) {
        let found = (record.clone(), stat.st_dev, stat.st_ino);
        let (_, device, inode) = self.links.entry(Rc::as_ptr(record)).or_insert(found);
        if (*device, *inode) != (stat.st_dev, stat.st_ino) {
            changed.push("hard link");
        }
    }

    fn report(&mut self, path: &[u8], changed: Vec<&'static str>) {
        if !changed.is_empty() {
            self.found.push(Difference { path: path.to_vec(), what: What::Changed(changed) });
        }
    }
}

fn kind_of(value: &Value) -> FileType {
    match value {
        Value::Directory => FileType::Directory,
        Value::File(_) => FileType::RegularFile,
        Value::SymbolicLink(_) => FileType::Symlink,
        Value::Character(..) => FileType::CharacterDevice,
        Value::Block(..) => FileType::BlockDevice,
        Value::Fifo => FileType::Fifo,
    }
}

fn compare_attributes(record: &Record, stat: &Stat, changed: &mut Vec<&'static str>) {
    if stat.st_mode & 0o7777 != record.mode {
        changed.push("mode");
    }
    if (stat.st_uid, stat.st_gid) != (record.uid, record.gid) {
        changed.push("owner");
    }
    if Time::of(stat) != record.mtime {
        changed.push("time");
    }
}

fn compare_content(
    content: &Content,
    file: BorrowedFd<'_>,
    stat: &Stat,
    path: &[u8],
    changed: &mut Vec<&'static str>,
) -> Result<(), VerifyError> {
    if stat.st_size as u64 != content.size {
        changed.push("size");
        return Ok(());
    }
    let whole = [Segment { offset: 0, length: content.size }];
    let segments = content.segments.as_deref().unwrap_or(&whole);
    let digest = digest_of(file, segments).map_err(|errno| failed("read", path, errno))?;
    if digest != content.digest {
        changed.push("content");
    }
    Ok(())
}

/// Of the segments' bytes; a file that has become shorter meanwhile has other ones.
fn digest_of(file: BorrowedFd<'_>, segments: &[Segment]) -> Result<[u8; 32], Errno> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 256 << 10];
    for segment in segments {
        let mut done = 0;
        while done < segment.length {
            let most = usize::try_from(segment.length - done).unwrap_or(usize::MAX).min(buffer.len());
            let count = retry_on_intr(|| pread(file, &mut buffer[..most], segment.offset + done))?;
            if count == 0 {
                break;
            }
            hasher.update(&buffer[..count]);
            done += count as u64;
        }
    }
    Ok(*hasher.finalize().as_bytes())
}

fn compare_xattrs(
    record: &Record,
    file: BorrowedFd<'_>,
    path: &[u8],
    changed: &mut Vec<&'static str>,
) -> Result<(), VerifyError> {
    let xattrs = xattrs_of(file).map_err(|errno| failed("read the extended attributes of", path, errno))?;
    if xattrs_digest(xattrs.iter().map(|(name, value)| (&name[..], &value[..]))) != record.xattrs {
        changed.push("extended attribute");
    }
    Ok(())
}

/// Name and value.
type Xattr = (Vec<u8>, Vec<u8>);

fn xattrs_of(file: BorrowedFd<'_>) -> Result<Vec<Xattr>, Errno> {
    /// XATTR_LIST_MAX and XATTR_SIZE_MAX of linux/limits.h.
    const MOST: usize = 65536;
    match flistxattr_query(file) {
        Ok(0) | Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
        Ok(_) => {}
        Err(errno) => return Err(errno),
    }
    let mut names = vec![0; MOST];
    let length = flistxattr(file, &mut names[..])?;
    let names = names.get(..length).unwrap_or_default();
    let mut xattrs = Vec::new();
    for name in names.split(|&byte| byte == 0).filter(|name| !name.is_empty()) {
        let mut value = vec![0; MOST];
        match fgetxattr(file, name, &mut value[..]) {
            Ok(length) => value.truncate(length),
            Err(Errno::NODATA | Errno::OPNOTSUPP) => continue,
            Err(errno) => return Err(errno),
        }
        xattrs.push((name.to_vec(), value));
    }
    Ok(xattrs)
}

fn is_opaque(directory: BorrowedFd<'_>) -> bool {
    [c"trusted.overlay.opaque", c"user.overlay.opaque"]
        .iter()
        .any(|name| fgetxattr(directory, *name, &mut [0_u8; 8][..]).is_ok_and(|length| length > 0))
}

fn failed(operation: &'static str, path: &[u8], errno: Errno) -> VerifyError {
    VerifyError::Call { operation, path: EntryName::from(path), errno }
}
