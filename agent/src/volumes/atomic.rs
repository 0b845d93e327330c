//! Files that change all at once: `NAME -> ..data/NAME`, `..data -> ..TIME`, which is a directory that is never changed.
//!
//! A new directory is written beside the old one, then the link is replaced by rename. Whoever opened the old directory sees the old
//! files to its end; whoever comes later sees the new ones. The same layout as kubelet's, which programs watch for.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CString;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, Dir, FileType, Gid, Mode, OFlags, ResolveFlags, fchmod, fchown, fstat, mkdirat, openat, openat2,
    readlinkat, renameat, symlinkat, unlinkat,
};
use rustix::io::Errno;

use super::file_system::{DIRECTORY, FileError, On as _};
use super::plan::File;
use super::{tree, walk};

/// The link that is swapped.
pub(super) const DATA: &str = "..data";
const NEW: &str = "..data_tmp";
/// Without and with a group that may read.
const DIRECTORY_MODE: u32 = 0o755;
const GROUP_DIRECTORY_MODE: u32 = 0o2755;

/// Whether anything was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    Changed,
    Unchanged,
}

/// Makes the files of a directory these, which is made if it is not there; `group` may read all of them.
pub(super) fn write(
    directory: &Path,
    files: &BTreeMap<String, File>,
    group: Option<u32>,
) -> Result<Written, FileError> {
    let volume = Volume { path: directory, top: open(directory, group)?, group };
    let current = volume.current();
    if let Some(current) = &current
        && volume.holds(current, files)
        && volume.has_links(files)
    {
        volume.remove_all_but(Some(current), files)?;
        return Ok(Written::Unchanged);
    }
    let new = volume.write_all(files)?;
    for name in firsts(files) {
        volume.link(name)?;
    }
    volume.swap(&new)?;
    volume.remove_all_but(Some(&new), files)?;
    Ok(Written::Changed)
}

/// What of a path is seen in the directory itself.
fn firsts(files: &BTreeMap<String, File>) -> BTreeSet<&str> {
    files.keys().map(|path| path.split('/').next().unwrap_or(path)).collect()
}

fn open(path: &Path, group: Option<u32>) -> Result<OwnedFd, FileError> {
    let mode = if group.is_some() { GROUP_DIRECTORY_MODE } else { DIRECTORY_MODE };
    let (top, _) = super::file_system::make_directory(path, mode)?;
    let status = fstat(&top).on("look at", path)?;
    if group.is_some_and(|group| group != status.st_gid) || status.st_mode & 0o7777 != mode {
        own(&top, group, mode).on("change the owner of", path)?;
    }
    Ok(top)
}

/// The owner first: a change of it takes bits of the mode away.
fn own(file: &OwnedFd, group: Option<u32>, mode: u32) -> Result<(), Errno> {
    if let Some(group) = group {
        fchown(file, None, Some(Gid::from_raw(group)))?;
    }
    fchmod(file, Mode::from_raw_mode(mode))
}

struct Volume<'a> {
    path: &'a Path,
    top: OwnedFd,
    group: Option<u32>,
}

impl Volume<'_> {
    fn mode(&self, file: &File) -> u32 {
        if self.group.is_some() { file.mode | 0o440 } else { file.mode }
    }

    /// The directory that holds the files now.
    fn current(&self) -> Option<String> {
        let target = readlinkat(&self.top, DATA, Vec::new()).ok()?.into_string().ok()?;
        (target.starts_with("..") && !target.contains('/') && target.len() > 2).then_some(target)
    }

    /// Whether a directory holds just these files.
    fn holds(&self, directory: &str, files: &BTreeMap<String, File>) -> bool {
        let same = |path: &str, file: &File| -> Result<bool, std::io::Error> {
            let opened = self.open_below(&format!("{directory}/{path}"))?;
            let status = fstat(&opened)?;
            let bytes = file.content.bytes();
            if status.st_mode & 0o7777 != self.mode(file)
                || self.group.is_some_and(|group| group != status.st_gid)
                || u64::try_from(status.st_size).ok() != u64::try_from(bytes.len()).ok()
            {
                return Ok(false);
            }
            let mut found = Vec::with_capacity(bytes.len());
            std::fs::File::from(opened).read_to_end(&mut found)?;
            Ok(found == bytes)
        };
        let mut count = 0_usize;
        let counted = walk::walk(&self.path.join(directory), |_, _, kind| {
            count += usize::from(kind != FileType::Directory);
            Ok(())
        });
        counted.is_ok()
            && count == files.len()
            && files.iter().all(|(path, file)| same(path, file).unwrap_or(false))
    }

    fn open_below(&self, path: &str) -> Result<OwnedFd, Errno> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        openat2(&self.top, path, flags, Mode::empty(), ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS)
    }

    fn has_links(&self, files: &BTreeMap<String, File>) -> bool {
        firsts(files).iter().all(|name| self.is_linked(name))
    }

    fn is_linked(&self, name: &str) -> bool {
        readlinkat(&self.top, name, Vec::new())
            .is_ok_and(|target| target.as_bytes() == format!("{DATA}/{name}").as_bytes())
    }

    /// Writes all files to a new directory, whose name is returned.
    fn write_all(&self, files: &BTreeMap<String, File>) -> Result<String, FileError> {
        let name = loop {
            // To the nanosecond: a reader that still has the name of one that was removed must not find another one under it.
            let now = k8s_openapi::jiff::Timestamp::now();
            let name = format!("..{}.{:09}", now.strftime("%Y_%m_%d_%H_%M_%S"), now.subsec_nanosecond());
            match mkdirat(&self.top, &name, Mode::from_raw_mode(0o700)) {
                Err(Errno::EXIST) => {}
                made => {
                    made.on("make", &self.path.join(DATA))?;
                    break name;
                }
            }
        };
        let written = self.fill(&name, files);
        if written.is_err()
            && let Ok(name) = c_string(&name)
        {
            // Each try would leave one, on a disk that is full.
            let _ = tree::remove_at(self.top.as_fd(), &name);
        }
        written.map(|()| name)
    }

    fn fill(&self, name: &str, files: &BTreeMap<String, File>) -> Result<(), FileError> {
        // As it will be seen. Its own name is another one at each try.
        let path = self.path.join(DATA);
        let directory = openat(&self.top, name, DIRECTORY, Mode::empty()).on("open", &path)?;
        for (at, file) in files {
            self.write_one(&directory, &path, at, file)?;
        }
        self.finish_directory(&directory).on("change the mode of", &path)
    }

    fn finish_directory(&self, directory: &OwnedFd) -> Result<(), Errno> {
        let mode = if self.group.is_some() { GROUP_DIRECTORY_MODE } else { DIRECTORY_MODE };
        own(directory, self.group, mode)
    }

    fn write_one(&self, top: &OwnedFd, path: &Path, at: &str, file: &File) -> Result<(), FileError> {
        let whole = path.join(at);
        let (above, name) = at.rsplit_once('/').unwrap_or(("", at));
        let mut directory = top.try_clone().on("open", path)?;
        for part in above.split('/').filter(|part| !part.is_empty()) {
            match mkdirat(&directory, part, Mode::from_raw_mode(0o700)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(error).on("make a directory of", &whole),
            }
            directory = openat(&directory, part, DIRECTORY, Mode::empty()).on("open", &whole)?;
            self.finish_directory(&directory).on("change the mode of", &whole)?;
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let created = openat(&directory, name, flags, Mode::from_raw_mode(0o600)).on("make", &whole)?;
        let mut created = std::fs::File::from(created);
        created.write_all(file.content.bytes()).on("write", &whole)?;
        own(&created.into(), self.group, self.mode(file)).on("change the mode of", &whole)
    }

    /// Shows a name, unless it is shown already.
    fn link(&self, name: &str) -> Result<(), FileError> {
        if self.is_linked(name) {
            return Ok(());
        }
        let path = self.path.join(name);
        let raw = c_string(name).on("link", &path)?;
        tree::remove_at(self.top.as_fd(), &raw).on("remove", &path)?;
        symlinkat(format!("{DATA}/{name}"), &self.top, name).on("link", &path)
    }

    fn swap(&self, new: &str) -> Result<(), FileError> {
        let path = self.path.join(NEW);
        match unlinkat(&self.top, NEW, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(error).on("remove", &path),
        }
        symlinkat(new, &self.top, NEW).on("link", &path)?;
        renameat(&self.top, NEW, &self.top, DATA).on("rename", &path)
    }

    /// Removes what is shown and is not any more, old directories, and what a crash left.
    fn remove_all_but(&self, current: Option<&str>, files: &BTreeMap<String, File>) -> Result<(), FileError> {
        let shown = firsts(files);
        let mut removed: Vec<CString> = Vec::new();
        for entry in Dir::read_from(&self.top).on("read", self.path)? {
            let entry = entry.on("read", self.path)?;
            let name = entry.file_name();
            let kept = match name.to_str() {
                Ok("." | ".." | DATA) => true,
                Ok(name) => Some(name) == current || shown.contains(name),
                Err(_) => false,
            };
            if !kept {
                removed.push(name.to_owned());
            }
        }
        for name in removed {
            let path: PathBuf = self.path.join(std::ffi::OsStr::from_bytes(name.as_bytes()));
            tree::remove_at(self.top.as_fd(), &name).on("remove", &path)?;
        }
        Ok(())
    }
}

fn c_string(name: &str) -> Result<CString, std::io::Error> {
    CString::new(name).map_err(Into::into)
}
