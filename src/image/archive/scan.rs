//! The headers of a tar archive, one after the other, without its contents, in the formats that layers have
//! ([`crate::image::unpack::tar`]).
//!
//! In: a file that can be read at any place. Out: what each entry is and where its bytes are. What is said about an
//! entry beside its content is read up to a limit; nothing else is kept in memory.

use std::fs::File;
use std::os::unix::fs::FileExt;

use super::ArchiveError;
use crate::image::Limits;
use crate::image::unpack::tar::{self, BLOCK, Extended, Header, until_nul};

/// One entry of an archive.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// As it is written there.
    pub name: Vec<u8>,
    pub kind: Kind,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A file whose bytes are there.
    File {
        offset: u64,
        size: u64,
    },
    /// A file with holes, whose bytes are somewhere else than one after the other.
    Sparse,
    /// A symbolic link: seen from its own directory.
    Symlink(Vec<u8>),
    /// Another name: seen from the archive's root.
    Hardlink(Vec<u8>),
    Directory,
    /// A device or a FIFO.
    Special,
}

/// A walk over the headers.
pub(super) struct Scan<'a> {
    file: &'a File,
    at: u64,
    end: u64,
    /// Of extended headers before the next entry.
    extensions: u64,
    header_bytes: u64,
}

impl<'a> Scan<'a> {
    /// From the start of `file` on.
    pub fn new(file: &'a File, limits: &Limits) -> Result<Self, ArchiveError> {
        let metadata = file.metadata().map_err(|source| read("the archive", source))?;
        Ok(Self { file, at: 0, end: metadata.len(), extensions: 0, header_bytes: limits.header_bytes })
    }

    /// The next entry; None at the end of the archive, be it marked or not.
    pub fn next(&mut self) -> Result<Option<Entry>, ArchiveError> {
        let mut extended = Extended::default();
        self.extensions = 0;
        loop {
            let Some(header) = self.header()? else {
                return match self.extensions {
                    0 => Ok(None),
                    _ => Err(self.damaged("the entry that an extended header announces is missing")),
                };
            };
            let size = header.size().map_err(|what| self.damaged(what))?;
            match header.kind() {
                b'x' | b'X' => {
                    let records = self.extension(size)?;
                    extended.read(&records).map_err(|what| self.damaged(what))?;
                }
                // What is said about all entries is a comment, git's for instance.
                b'g' => drop(self.extension(size)?),
                b'L' => extended.long_name = Some(until_nul(self.extension(size)?)),
                b'K' => extended.long_link = Some(until_nul(self.extension(size)?)),
                b'S' => return Err(self.damaged("GNU tar's old sparse files are not read")),
                _ => return self.entry(&header, &extended).map(Some),
            }
        }
    }

    /// The next header, whose checksum is right; None at the end.
    fn header(&mut self) -> Result<Option<Header>, ArchiveError> {
        if self.at >= self.end {
            return Ok(None);
        }
        let mut block = [0; BLOCK];
        self.read(&mut block)?;
        if block.iter().all(|&byte| byte == 0) {
            return Ok(None);
        }
        Header::new(block).map(Some).map_err(|what| match self.at {
            FIRST => ArchiveError::NoArchive,
            _ => self.damaged(what),
        })
    }

    fn entry(&mut self, header: &Header, extended: &Extended) -> Result<Entry, ArchiveError> {
        let entry = extended.apply(header).map_err(|refused| self.damaged(refused.reason()))?;
        let (offset, size) = (self.at, entry.size);
        if header.has_content() {
            let padded = size.checked_next_multiple_of(FIRST);
            let next = padded.and_then(|padded| offset.checked_add(padded));
            // The last block's padding may be missing: nobody needs it.
            let there = offset.checked_add(size).is_some_and(|end| end <= self.end);
            let (Some(next), true) = (next, there) else {
                return Err(ArchiveError::CutOff { name: String::from_utf8_lossy(&entry.path).into_owned() });
            };
            self.at = next;
        }
        let kind = match entry.kind {
            tar::Kind::File if extended.is_sparse() => Kind::Sparse,
            tar::Kind::File => Kind::File { offset, size },
            tar::Kind::SymbolicLink => Kind::Symlink(entry.link),
            tar::Kind::HardLink => Kind::Hardlink(entry.link),
            tar::Kind::Directory => Kind::Directory,
            tar::Kind::Character { .. } | tar::Kind::Block { .. } | tar::Kind::Fifo => Kind::Special,
        };
        Ok(Entry { name: entry.path, kind })
    }

    /// An extended header's content.
    fn extension(&mut self, size: u64) -> Result<Vec<u8>, ArchiveError> {
        self.extensions = self.extensions.saturating_add(size.max(1));
        if self.extensions > self.header_bytes {
            return Err(ArchiveError::Header { bytes: self.extensions, most: self.header_bytes });
        }
        if size > self.end.saturating_sub(self.at) {
            return Err(self.damaged("a header is cut off"));
        }
        let mut content = vec![0; size as usize];
        self.read(&mut content)?;
        self.at = self.at.next_multiple_of(FIRST);
        Ok(content)
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<(), ArchiveError> {
        if self.end.saturating_sub(self.at) < buffer.len() as u64 {
            return Err(self.damaged("a header is cut off"));
        }
        self.file.read_exact_at(buffer, self.at).map_err(|source| read("the archive", source))?;
        self.at += buffer.len() as u64;
        Ok(())
    }

    fn damaged(&self, what: &'static str) -> ArchiveError {
        ArchiveError::Damaged { at: self.at, what }
    }
}

/// Where the first header ends.
const FIRST: u64 = BLOCK as u64;

fn read(what: &str, source: std::io::Error) -> ArchiveError {
    ArchiveError::Read { what: what.to_owned(), source }
}
