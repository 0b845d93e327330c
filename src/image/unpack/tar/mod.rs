//! Reads tar archives: ustar, GNU's and POSIX's (pax(1)) with the extensions that archives of file systems
//! have.
//!
//! In: chunks of an archive that may hold anything. Out: entries, one at a time, then the content of each as
//! slices of the chunks. What an entry says is syntactically right and within the [`Limits`]; what its names
//! mean for a file system is for [`super::extract`] to decide.
//!
//! Where archives differ from their standard this does as Go's archive/tar, which docker, containerd and podman
//! read layers with: global headers are skipped, links and directories have no content whatever their size
//! says, an archive may end without its two blocks of zeros. One lone block of zeros is an error.

mod header;
mod pax;
mod sparse;
mod stream;

use super::error::{EntryName, UnpackError};
use crate::image::limits::Limits;
pub(in crate::image) use header::Header;
pub(in crate::image) use pax::Extended;
use sparse::Map;
pub use sparse::Segment;
pub use stream::Stream;

/// Seconds since 1970 and nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time {
    /// Seconds, before 1970 negative.
    pub seconds: i64,
    /// 0 to 999,999,999, forward from `seconds`.
    pub nanoseconds: u32,
}

impl Time {
    /// When the file of `stat` was last modified.
    pub fn of(stat: &rustix::fs::Stat) -> Self {
        Self { seconds: stat.st_mtime, nanoseconds: stat.st_mtime_nsec as u32 }
    }
}

/// What an entry makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// Another name, the entry's `link`, of a file that is already there.
    HardLink,
    /// A symbolic link to the entry's `link`.
    SymbolicLink,
    /// A character device.
    Character {
        /// Its driver.
        major: u32,
        /// For its driver.
        minor: u32,
    },
    /// A block device.
    Block {
        /// Its driver.
        major: u32,
        /// For its driver.
        minor: u32,
    },
    /// A FIFO.
    Fifo,
}

/// An entry of the archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name as it stands there, any bytes but NUL.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Permission bits, with those of set-user-id, set-group-id and sticky.
    pub mode: u32,
    /// Owner, at most 4294967294.
    pub uid: u32,
    /// Group, at most 4294967294.
    pub gid: u32,
    /// When its content was last modified.
    pub mtime: Time,
    /// Of the file that it makes, holes included.
    pub size: u64,
    /// A link's target.
    pub link: Vec<u8>,
    /// Names and values.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Where the content's bytes belong in a sparse file; None: they are the file.
    pub sparse: Option<Vec<Segment>>,
}

/// An archive that is being read.
pub struct Archive {
    stream: Stream,
    limits: Limits,
    /// Of the current entry's content: not yet read.
    left: u64,
    /// What fills its last block.
    padding: u64,
    /// Of the current entry's extended headers.
    header_bytes: u64,
    /// Its name.
    current: Vec<u8>,
    /// An extended header has come whose entry has not.
    dangling: bool,
    ended: bool,
}

impl Archive {
    /// The archive that `stream` brings.
    pub fn new(stream: Stream, limits: &Limits) -> Self {
        let limits = limits.clone();
        Self {
            stream,
            limits,
            left: 0,
            padding: 0,
            header_bytes: 0,
            current: Vec::new(),
            dangling: false,
            ended: false,
        }
    }

    /// The next entry; what was not read of the one before is skipped. None at the end of the archive.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, UnpackError> {
        self.skip_content()?;
        let mut extended = Extended::default();
        (self.header_bytes, self.dangling) = (0, false);
        loop {
            let at = self.stream.position();
            let Some(header) = self.header()? else { return Ok(None) };
            let size = header.size().map_err(|reason| UnpackError::Archive { reason, at })?;
            match header.kind() {
                b'x' | b'X' => {
                    let read = extended.read(&self.extension(size)?);
                    read.map_err(|reason| UnpackError::Archive { reason, at })?;
                }
                b'g' => drop(self.extension(size)?),
                b'L' => extended.long_name = Some(until_nul(self.extension(size)?)),
                b'K' => extended.long_link = Some(until_nul(self.extension(size)?)),
                _ => return self.entry(&header, extended, at).map(Some),
            }
            self.dangling = true;
        }
    }

    /// The next bytes of the current entry's content; empty at its end.
    pub fn content(&mut self) -> Result<&[u8], UnpackError> {
        if self.left == 0 {
            return Ok(&[]);
        }
        let left = usize::try_from(self.left).unwrap_or(usize::MAX);
        let available = self.stream.available()?;
        if available.is_empty() {
            return Err(UnpackError::EndsWithin(EntryName::from(&self.current[..])));
        }
        Ok(available.get(..left).unwrap_or(available))
    }

    /// Takes `count` bytes that [`Archive::content`] has shown.
    pub fn consume(&mut self, count: usize) {
        self.left -= count as u64;
        self.stream.consume(count);
    }

    /// Reads what is left of the stream behind the archive's end.
    pub fn drain(&mut self) -> Result<(), UnpackError> {
        self.stream.drain()
    }

    fn entry(&mut self, header: &Header, extended: Extended, at: u64) -> Result<Entry, UnpackError> {
        let mut entry = extended.apply(header).map_err(|error| error.at(header, at))?;
        self.current.clone_from(&entry.path);
        let stored = entry.size;
        let mut taken = 0;
        let sparse = match entry.kind == Kind::File {
            true => self.sparse_map(header, &extended, stored, &mut taken)?,
            false => None,
        };
        if let Some(map) = sparse {
            let checked = map.checked(stored - taken);
            let (size, segments) = checked.map_err(|reason| UnpackError::entry(&entry.path, reason))?;
            entry.size = size;
            entry.sparse = Some(segments);
        }
        self.left = if header.has_content() { stored - taken } else { 0 };
        self.padding = if header.has_content() { stored.wrapping_neg() % BLOCK as u64 } else { 0 };
        if entry.kind != Kind::File {
            entry.size = 0;
        }
        Ok(entry)
    }

    /// Reads the map of a sparse file, of which `taken` bytes stand where the content does.
    fn sparse_map(
        &mut self,
        header: &Header,
        extended: &Extended,
        stored: u64,
        taken: &mut u64,
    ) -> Result<Option<Map>, UnpackError> {
        if header.kind() == b'S' {
            return self.old_sparse_map(header).map(Some);
        }
        let Some(map) = extended.sparse_map(&self.current)? else { return Ok(None) };
        if !map.follows {
            return Ok(Some(map));
        }
        let mut reader = sparse::Text::default();
        while !reader.is_complete() {
            self.count_header(BLOCK as u64)?;
            if stored - *taken < BLOCK as u64 {
                return Err(UnpackError::entry(&self.current, sparse::INVALID));
            }
            let Some(block) = self.stream.block()? else {
                return Err(UnpackError::EndsWithin(EntryName::from(&self.current[..])));
            };
            *taken += BLOCK as u64;
            reader.read(&block).map_err(|reason| UnpackError::entry(&self.current, reason))?;
        }
        Ok(Some(Map { segments: reader.segments(), ..map }))
    }

    /// The map of GNU's old format: in the header, then in blocks that follow.
    fn old_sparse_map(&mut self, header: &Header) -> Result<Map, UnpackError> {
        let refuse = |name: &[u8], reason| UnpackError::entry(name, reason);
        let mut map = header.sparse_map().map_err(|reason| refuse(&self.current, reason))?;
        let mut more = header.sparse_goes_on();
        while more {
            self.count_header(BLOCK as u64)?;
            let Some(block) = self.stream.block()? else {
                return Err(UnpackError::EndsWithin(EntryName::from(&self.current[..])));
            };
            more = sparse::extend(&mut map, &block).map_err(|reason| refuse(&self.current, reason))?;
        }
        Ok(map)
    }

    /// The next header; None at the end of the archive.
    fn header(&mut self) -> Result<Option<Header>, UnpackError> {
        if self.ended {
            return Ok(None);
        }
        let at = self.stream.position();
        let damaged = |reason| UnpackError::Archive { reason, at };
        let block = self.stream.block()?;
        let Some(block) = block.filter(|block| block.iter().any(|&byte| byte != 0)) else {
            self.ended = true;
            let second = if block.is_some() { self.stream.block()? } else { None };
            return match second.is_none_or(|block| block.iter().all(|&byte| byte == 0)) {
                true if self.dangling => Err(damaged("it ends behind an extended header")),
                true => Ok(None),
                false => Err(damaged("a lone block of zeros is no end")),
            };
        };
        Header::new(block).map(Some).map_err(damaged)
    }

    /// The content of an extended header of `size` bytes.
    fn extension(&mut self, size: u64) -> Result<Vec<u8>, UnpackError> {
        self.count_header(size)?;
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
        self.left = size;
        self.padding = size.wrapping_neg() % BLOCK as u64;
        self.current = b"(extended header)".to_vec();
        loop {
            let piece = self.content()?;
            if piece.is_empty() {
                break;
            }
            bytes.extend_from_slice(piece);
            let count = piece.len();
            self.consume(count);
        }
        self.skip_content()?;
        Ok(bytes)
    }

    fn count_header(&mut self, size: u64) -> Result<(), UnpackError> {
        self.header_bytes = self.header_bytes.saturating_add(size);
        let limit = self.limits.header_bytes;
        match self.header_bytes > limit {
            false => Ok(()),
            true => {
                let what = "bytes of headers for one of its entries";
                Err(UnpackError::Limit { what, limit, variable: "RCRUN_IMAGE_MAX_HEADER_BYTES" })
            }
        }
    }

    fn skip_content(&mut self) -> Result<(), UnpackError> {
        self.left += std::mem::take(&mut self.padding);
        loop {
            let count = self.content()?.len();
            if count == 0 {
                return Ok(());
            }
            self.consume(count);
        }
    }
}

/// What archives are made of.
pub(in crate::image) const BLOCK: usize = 512;

/// GNU's long names end so.
pub(in crate::image) fn until_nul(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.truncate(bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len()));
    bytes
}

#[cfg(test)]
mod tests;
