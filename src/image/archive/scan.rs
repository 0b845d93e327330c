//! The headers of a tar archive, one after the other, without its contents: POSIX.1-2017 pax(1), "ustar Interchange
//! Format" and "pax Interchange Format", and GNU tar's long names.
//!
//! In: a file that can be read at any place. Out: what each entry is and where its bytes are. What is said about an
//! entry beside its content is read up to a limit; nothing else is kept in memory.

use std::fs::File;
use std::os::unix::fs::FileExt;

use tar::{EntryType, Header};

use super::ArchiveError;
use crate::image::Limits;

const BLOCK: u64 = 512;

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
    header_bytes: u64,
}

/// What extended headers say about the entry that follows them.
#[derive(Default)]
struct Extended {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    sparse: bool,
    bytes: u64,
}

impl<'a> Scan<'a> {
    /// From the start of `file` on.
    pub fn new(file: &'a File, limits: &Limits) -> Result<Self, ArchiveError> {
        let metadata = file.metadata().map_err(|source| read("the archive", source))?;
        Ok(Self { file, at: 0, end: metadata.len(), header_bytes: limits.header_bytes })
    }

    /// The next entry; None at the end of the archive, be it marked or not.
    pub fn next(&mut self) -> Result<Option<Entry>, ArchiveError> {
        let mut extended = Extended::default();
        loop {
            let Some(header) = self.header()? else {
                return match extended.bytes {
                    0 => Ok(None),
                    _ => Err(self.damaged("the entry that an extended header announces is missing")),
                };
            };
            let written = header.entry_size().map_err(|_| self.damaged("a size is no number"))?;
            let typ = header.entry_type();
            let is_extension = matches!(
                typ,
                EntryType::GNULongName
                    | EntryType::GNULongLink
                    | EntryType::XHeader
                    | EntryType::XGlobalHeader
            );
            if is_extension {
                self.extend(&mut extended, typ, written)?;
                continue;
            }
            return self.entry(&header, typ, extended, written).map(Some);
        }
    }

    /// The next header, whose checksum is right; None at the end.
    fn header(&mut self) -> Result<Option<Header>, ArchiveError> {
        let mut header = Header::new_old();
        match self.end.saturating_sub(self.at) {
            0 => return Ok(None),
            rest if rest < BLOCK => return Err(self.damaged("a header is cut off")),
            _ => {}
        }
        self.read(header.as_mut_bytes())?;
        if header.as_bytes().iter().all(|&byte| byte == 0) {
            return Ok(None);
        }
        if header.cksum().ok() != Some(checksum(header.as_bytes())) {
            return Err(match self.at {
                BLOCK => ArchiveError::NoArchive,
                _ => self.damaged("a header's checksum is wrong"),
            });
        }
        Ok(Some(header))
    }

    fn entry(
        &mut self,
        header: &Header,
        typ: EntryType,
        extended: Extended,
        written: u64,
    ) -> Result<Entry, ArchiveError> {
        let name = extended.name.unwrap_or_else(|| header.path_bytes().into_owned());
        let size = extended.size.unwrap_or(written);
        let offset = self.at;
        let link = || extended.link.or_else(|| header.link_name_bytes().map(Into::into)).unwrap_or_default();
        let (kind, has_content) = match typ {
            EntryType::GNUSparse => return Err(self.damaged("GNU tar's old sparse files are not read")),
            EntryType::Symlink => (Kind::Symlink(link()), false),
            // pax may give a hard link its content; GNU and bsdtar write the size 0 then or have the content there.
            EntryType::Link => (Kind::Hardlink(link()), false),
            EntryType::Directory => (Kind::Directory, false),
            EntryType::Char | EntryType::Block | EntryType::Fifo => (Kind::Special, false),
            _ if extended.sparse => (Kind::Sparse, true),
            // Before POSIX a directory was a file whose name ends so.
            _ if name.ends_with(b"/") => (Kind::Directory, true),
            _ => (Kind::File { offset, size }, true),
        };
        if has_content {
            let padded = size.checked_next_multiple_of(BLOCK);
            let next = padded.and_then(|padded| offset.checked_add(padded));
            // The last block's padding may be missing: nobody needs it.
            let there = offset.checked_add(size).is_some_and(|end| end <= self.end);
            let (Some(next), true) = (next, there) else {
                return Err(ArchiveError::CutOff { name: String::from_utf8_lossy(&name).into_owned() });
            };
            self.at = next;
        }
        Ok(Entry { name, kind })
    }

    /// Takes an extended header's content.
    fn extend(&mut self, extended: &mut Extended, typ: EntryType, size: u64) -> Result<(), ArchiveError> {
        extended.bytes = extended.bytes.saturating_add(size.max(1));
        if extended.bytes > self.header_bytes {
            return Err(ArchiveError::Header { bytes: extended.bytes, most: self.header_bytes });
        }
        // Within the limit, and so it fits.
        let mut content = vec![0; size as usize];
        self.read(&mut content)?;
        self.at = self.at.next_multiple_of(BLOCK);
        let until_nul = |mut bytes: Vec<u8>| {
            bytes.truncate(bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len()));
            bytes
        };
        match typ {
            EntryType::GNULongName => extended.name = Some(until_nul(content)),
            EntryType::GNULongLink => extended.link = Some(until_nul(content)),
            EntryType::XHeader => self.pax(extended, &content)?,
            // What is said about all entries is a comment, git's for instance.
            _ => {}
        }
        Ok(())
    }

    fn pax(&self, extended: &mut Extended, mut content: &[u8]) -> Result<(), ArchiveError> {
        // The last block of some writers ends in zeros.
        while content.first().is_some_and(|&byte| byte != 0) {
            let (key, value, rest) =
                record(content).ok_or_else(|| self.damaged("a pax record is malformed"))?;
            content = rest;
            match key {
                b"path" => extended.name = Some(value.to_vec()),
                b"linkpath" => extended.link = Some(value.to_vec()),
                b"size" => {
                    let size = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
                    extended.size = Some(size.ok_or_else(|| self.damaged("a pax size is no number"))?);
                }
                key if key.starts_with(b"GNU.sparse.") => extended.sparse = true,
                _ => {}
            }
        }
        Ok(())
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<(), ArchiveError> {
        if self.end - self.at.min(self.end) < buffer.len() as u64 {
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

fn read(what: &str, source: std::io::Error) -> ArchiveError {
    ArchiveError::Read { what: what.to_owned(), source }
}

/// The first of `records`, `LENGTH KEY=VALUE\n`, and those after it.
fn record(records: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let blank = records.iter().position(|&byte| byte == b' ')?;
    let length: usize = std::str::from_utf8(&records[..blank]).ok()?.parse().ok()?;
    let (record, rest) = records.split_at_checked(length)?;
    let pair = record.get(blank + 1..)?.strip_suffix(b"\n")?;
    let equals = pair.iter().position(|&byte| byte == b'=')?;
    Some((&pair[..equals], &pair[equals + 1..], rest))
}

/// The sum of a header's bytes, those of the checksum itself taken for blanks.
fn checksum(header: &[u8; BLOCK as usize]) -> u32 {
    let sum = |bytes: &[u8]| bytes.iter().map(|&byte| u32::from(byte)).sum::<u32>();
    sum(&header[..148]) + sum(&header[156..]) + 8 * u32::from(b' ')
}
