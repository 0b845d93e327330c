//! Regular files.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{Mode, OFlags, fstat, ftruncate, futimens, openat};
use rustix::io::{Errno, pwrite, retry_on_intr, write};

use super::super::digests::{Content, Record, Value};
use super::super::error::UnpackError;
use super::super::tar::{Archive, Entry};
use super::Extractor;
use super::attributes::{settled, timestamps};

impl Extractor<'_> {
    pub(super) fn file(
        &mut self,
        name: &[u8],
        entry: &Entry,
        archive: &mut Archive,
    ) -> Result<(), UnpackError> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(entry.mode & 0o777);
        let file = self.replacing(name, entry, "create", |tree| openat(tree, name, flags, mode))?;
        let digest = match &entry.sparse {
            None => write_all_of(archive, file.as_fd(), entry)?,
            Some(_) => write_segments(archive, file.as_fd(), entry)?,
        };
        let xattrs = self.attributes.of_open(file.as_fd(), entry, self.tree.birth())?;
        let failed = |operation, errno| UnpackError::call(operation, &entry.path, errno);
        futimens(&file, &timestamps(entry.mtime)).map_err(|errno| failed("set the time of", errno))?;
        let mtime = settled(entry.mtime, || fstat(&file)).map_err(|errno| failed("stat", errno))?;
        let value = Value::File(Content { size: entry.size, digest, segments: entry.sparse.clone() });
        let record = Record { mode: entry.mode, uid: entry.uid, gid: entry.gid, mtime, xattrs, value };
        self.list.record(&self.tree.path_of(name), &record)
    }
}

fn write_all_of(archive: &mut Archive, file: BorrowedFd<'_>, entry: &Entry) -> Result<[u8; 32], UnpackError> {
    let mut hasher = blake3::Hasher::new();
    loop {
        let piece = archive.content()?;
        if piece.is_empty() {
            return Ok(*hasher.finalize().as_bytes());
        }
        write_all(piece, |rest, _| write(file, rest), entry)?;
        hasher.update(piece);
        let count = piece.len();
        archive.consume(count);
    }
}

/// Writes each stored part to its place and leaves holes between.
fn write_segments(
    archive: &mut Archive,
    file: BorrowedFd<'_>,
    entry: &Entry,
) -> Result<[u8; 32], UnpackError> {
    let mut hasher = blake3::Hasher::new();
    for segment in entry.sparse.iter().flatten() {
        let mut written = 0;
        while written < segment.length {
            let piece = archive.content()?;
            let most = usize::try_from(segment.length - written).unwrap_or(usize::MAX);
            let piece = piece.get(..most).unwrap_or(piece);
            let start = segment.offset + written;
            write_all(piece, |rest, done| pwrite(file, rest, start + done), entry)?;
            hasher.update(piece);
            let count = piece.len();
            written += count as u64;
            archive.consume(count);
        }
    }
    ftruncate(file, entry.size).map_err(|errno| UnpackError::call("write", &entry.path, errno))?;
    Ok(*hasher.finalize().as_bytes())
}

/// Calls `write` with what is left and how much is done, until all is.
fn write_all(
    bytes: &[u8],
    write: impl Fn(&[u8], u64) -> Result<usize, Errno>,
    entry: &Entry,
) -> Result<(), UnpackError> {
    let mut rest = bytes;
    while !rest.is_empty() {
        let done = (bytes.len() - rest.len()) as u64;
        let count = retry_on_intr(|| write(rest, done));
        let count = count.map_err(|errno| UnpackError::call("write", &entry.path, errno))?;
        rest = rest.get(count..).unwrap_or_default();
    }
    Ok(())
}
