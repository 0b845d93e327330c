//! The files of an archive by name: what docker's manifest.json and an OCI layout's index.json point to.
//!
//! In: a tar archive that can be read at any place, or a directory. Out: files to read, from several threads at once.
//! Links are followed within the archive alone; a name that is there twice is refused, because readers disagree on
//! which one counts.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{Mode, OFlags, ResolveFlags};
use serde::de::DeserializeOwned;

use super::ArchiveError;
use super::scan::{Kind, Scan};
use crate::image::Limits;
use crate::text::on_one_line;

/// What no archive's metadata ever name is not kept in memory.
pub(super) const LONGEST_NAME: usize = 255;
/// As many links lead from one to the next as the kernel follows.
const MOST_LINKS: usize = 40;

/// An archive's files.
pub struct Contents(Source);

enum Source {
    Archive { file: Arc<File>, places: HashMap<String, Place> },
    Directory(OwnedFd),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    File {
        offset: u64,
        size: u64,
    },
    /// A clean name.
    Link(String),
    /// A link out of the archive, as it is written.
    Escape(String),
    NoFile(&'static str),
}

/// A file of the archive, from its start.
pub struct Content {
    file: Arc<File>,
    at: u64,
    end: u64,
}

impl Contents {
    /// Those of the tar archive `file`.
    pub fn of_archive(file: File, limits: &Limits) -> Result<Self, ArchiveError> {
        let mut places = HashMap::new();
        let mut scan = Scan::new(&file, limits)?;
        let mut entries = 0;
        while let Some(entry) = scan.next()? {
            entries += 1;
            if entries > limits.archive_entries {
                return Err(ArchiveError::Entries(limits.archive_entries));
            }
            if let Some((name, place)) = place(&entry.name, entry.kind)? {
                keep(&mut places, name, place)?;
            }
        }
        match entries {
            0 => Err(ArchiveError::Empty),
            _ => Ok(Self(Source::Archive { file: Arc::new(file), places })),
        }
    }

    /// Those below the directory `path`.
    pub fn of_directory(path: &Path) -> Result<Self, ArchiveError> {
        let flags = OFlags::DIRECTORY | OFlags::PATH | OFlags::CLOEXEC;
        let opened = rustix::fs::open(path, flags, Mode::empty());
        let error = |errno: rustix::io::Errno| ArchiveError::Open {
            path: path.display().to_string(),
            source: errno.into(),
        };
        Ok(Self(Source::Directory(opened.map_err(error)?)))
    }

    /// The file `name`; None where nothing is called so.
    pub fn open(&self, name: &str) -> Result<Option<Content>, ArchiveError> {
        let Some(clean) = clean(name) else {
            return Err(ArchiveError::Escape { name: name.to_owned(), path: name.to_owned() });
        };
        match &self.0 {
            Source::Archive { file, places } => {
                let place = follow(places, &clean)?;
                Ok(place.map(|(at, size)| Content { file: file.clone(), at, end: at + size }))
            }
            Source::Directory(directory) => open_below(directory, &clean),
        }
    }

    /// The file `name`, which `needed_by` names.
    pub fn need(&self, name: &str, needed_by: &str) -> Result<Content, ArchiveError> {
        let missing = || ArchiveError::Missing { name: name.to_owned(), needed_by: needed_by.to_owned() };
        self.open(name)?.ok_or_else(missing)
    }

    /// The whole of the file `name` as JSON, if it is there.
    pub fn json<T: DeserializeOwned>(&self, name: &str, most: u64) -> Result<Option<T>, ArchiveError> {
        let Some(content) = self.open(name)? else { return Ok(None) };
        let bytes = content.bytes(name, most, "MANIFEST_BYTES")?;
        parse(name, &bytes).map(Some)
    }
}

/// `bytes` as JSON of the file `name`.
pub(super) fn parse<T: DeserializeOwned>(name: &str, bytes: &[u8]) -> Result<T, ArchiveError> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    serde_path_to_error::deserialize(&mut json).map_err(|error| ArchiveError::Json {
        name: name.to_owned(),
        reason: on_one_line(&error.to_string()),
    })
}

impl Content {
    /// How many bytes are left.
    pub fn size(&self) -> u64 {
        self.end - self.at
    }

    /// All of them, at `most` so many; RCRUN_IMAGE_MAX_`variable` is what raises the limit.
    pub fn bytes(self, name: &str, most: u64, variable: &'static str) -> Result<Vec<u8>, ArchiveError> {
        if self.size() > most {
            return Err(ArchiveError::TooLarge { name: name.to_owned(), size: self.size(), most, variable });
        }
        let mut bytes = vec![0; self.size() as usize];
        let read = self.file.read_exact_at(&mut bytes, self.at);
        read.map_err(|source| ArchiveError::Read { what: name.to_owned(), source })?;
        Ok(bytes)
    }

    /// The first bytes, as many as `buffer` takes and there are, without moving on.
    pub fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.size()).unwrap_or(usize::MAX).min(buffer.len());
        let mut filled = 0;
        while filled < most {
            match self.file.read_at(&mut buffer[filled..most], self.at + filled as u64)? {
                0 => break,
                got => filled += got,
            }
        }
        Ok(filled)
    }
}

impl Read for Content {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.size()).unwrap_or(usize::MAX).min(buffer.len());
        let got = self.file.read_at(&mut buffer[..most], self.at)?;
        if got == 0 && most > 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file became shorter"));
        }
        self.at += got as u64;
        Ok(got)
    }
}

/// Under which name an entry is found, and what it is; None where nothing could name it.
fn place(name: &[u8], kind: Kind) -> Result<Option<(String, Place)>, ArchiveError> {
    let Ok(written) = std::str::from_utf8(name) else { return Ok(None) };
    let Some(name) = clean(written) else {
        return Err(ArchiveError::Escape { name: written.to_owned(), path: written.to_owned() });
    };
    if name.is_empty() || name.len() > LONGEST_NAME {
        return Ok(None);
    }
    let parent = name.rsplit_once('/').map_or("", |(parent, _)| parent);
    let link = |within: &str, target: &[u8]| {
        let target = String::from_utf8_lossy(target);
        let escape = || Place::Escape(target.chars().take(LONGEST_NAME).collect());
        match target.starts_with('/') || target.len() > LONGEST_NAME {
            true => escape(),
            false => clean(&format!("{within}/{target}")).map_or_else(escape, Place::Link),
        }
    };
    let place = match kind {
        Kind::File { offset, size } => Place::File { offset, size },
        Kind::Symlink(target) => link(parent, &target),
        Kind::Hardlink(target) => link("", target.strip_prefix(b"/").unwrap_or(&target)),
        Kind::Sparse => Place::NoFile("a file with holes"),
        Kind::Special => Place::NoFile("a device or a FIFO"),
        Kind::Directory => Place::NoFile("a directory"),
    };
    Ok(Some((name, place)))
}

/// Directories may be named again and again.
fn keep(places: &mut HashMap<String, Place>, name: String, place: Place) -> Result<(), ArchiveError> {
    let directory = Place::NoFile("a directory");
    match places.get(&name) {
        Some(there) if *there == directory && place == directory => Ok(()),
        Some(_) => Err(ArchiveError::Twice(name)),
        None => {
            places.insert(name, place);
            Ok(())
        }
    }
}

/// A path without `.`, `..` and slashes that say nothing; None where it leads above the archive's root.
fn clean(path: &str) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// Where the bytes of `name` are, after all links.
fn follow(places: &HashMap<String, Place>, name: &str) -> Result<Option<(u64, u64)>, ArchiveError> {
    let mut current = name;
    for _ in 0..MOST_LINKS {
        match places.get(current) {
            None => return Ok(None),
            Some(Place::File { offset, size }) => return Ok(Some((*offset, *size))),
            Some(Place::Link(target)) => current = target,
            Some(Place::Escape(path)) => {
                return Err(ArchiveError::Escape { name: name.to_owned(), path: path.clone() });
            }
            Some(Place::NoFile(kind)) => {
                return Err(ArchiveError::NoFile { name: current.to_owned(), kind });
            }
        }
    }
    Err(ArchiveError::Circle(name.to_owned()))
}

/// The file `name` of a directory, links within it followed.
fn open_below(directory: &OwnedFd, name: &str) -> Result<Option<Content>, ArchiveError> {
    // A FIFO would wait for somebody to write.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let file = match rustix::fs::openat2(directory, name, flags, Mode::empty(), resolve) {
        Ok(file) => File::from(file),
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        Err(rustix::io::Errno::XDEV) => {
            return Err(ArchiveError::Escape { name: name.to_owned(), path: name.to_owned() });
        }
        Err(errno) => return Err(ArchiveError::Open { path: name.to_owned(), source: errno.into() }),
    };
    let metadata = file.metadata();
    let metadata = metadata.map_err(|source| ArchiveError::Open { path: name.to_owned(), source })?;
    match metadata.is_file() {
        true => Ok(Some(Content { file: Arc::new(file), at: 0, end: metadata.len() })),
        false => Err(ArchiveError::NoFile { name: name.to_owned(), kind: "a directory or a device" }),
    }
}
