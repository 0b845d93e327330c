//! Where an archive comes from: a file, a pipe, a directory; compressed or not.
//!
//! Out: [`Contents`]. What cannot be read at any place (a pipe, a compressed file) is first written to a file without a name
//! on the store's file system, which is gone with the process however it ends.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use super::{ArchiveError, Contents};
use crate::image::manifest::Compression;
use crate::image::{Limits, StoreError};

/// Where images are loaded from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A tar archive, or the directory of an OCI layout.
    Path(PathBuf),
    /// A tar archive on descriptor 0.
    Stdin,
}

/// How many bytes are read and written at once.
const BUFFER: usize = 256 << 10;
/// Below this size nothing is a bomb.
const HARMLESS: u64 = 16 << 20;
/// Zstandard's largest window, 128 MiB, as a power of two: what `zstd --long=27` writes.
const WINDOW_LOG: u32 = 27;

impl Input {
    /// The archive's files; what must be written for that goes into `directory`.
    pub fn open(&self, directory: &Path, limits: &Limits) -> Result<Contents, ArchiveError> {
        match self {
            Self::Stdin => {
                let stdin = rustix::io::dup(std::io::stdin());
                let stdin = stdin.map_err(|errno| read("standard input", errno.into()))?;
                contents(File::from(stdin), directory, limits)
            }
            Self::Path(path) => {
                let open = |source| ArchiveError::Open { path: path.display().to_string(), source };
                let file = File::open(path).map_err(open)?;
                match file.metadata().map_err(open)?.is_dir() {
                    true => Contents::of_directory(path),
                    false => contents(file, directory, limits),
                }
            }
        }
    }
}

fn contents(file: File, directory: &Path, limits: &Limits) -> Result<Contents, ArchiveError> {
    let metadata = file.metadata().map_err(|source| read("the archive", source))?;
    let mut reader = BufReader::with_capacity(BUFFER, file);
    let packing = packing(&mut reader)?;
    // From another place than its start a file is read as a pipe is: what stands before is not the archive's.
    let at_start = rustix::fs::tell(reader.get_ref()).is_ok_and(|at| at == reader.buffer().len() as u64);
    let file = match (packing, metadata.is_file() && at_start) {
        (Compression::None, true) => reader.into_inner(),
        _ => spool(packing, reader, directory, limits)?,
    };
    Contents::of_archive(file, limits)
}

/// What the first bytes say.
fn packing(reader: &mut impl BufRead) -> Result<Compression, ArchiveError> {
    match reader.fill_buf().map_err(|source| read("the archive", source))? {
        [] => Err(ArchiveError::Empty),
        start => Compression::of_content(start).map_err(ArchiveError::Compression),
    }
}

/// Writes the archive, unpacked, to a file without a name.
fn spool(
    packing: Compression,
    reader: BufReader<File>,
    directory: &Path,
    limits: &Limits,
) -> Result<File, ArchiveError> {
    let failed = |error| ArchiveError::Spool(StoreError::file("write the archive to", directory, error));
    let mut file = unnamed(directory).map_err(failed)?;
    let counted = Counted { reader, bytes: 0 };
    match packing {
        Compression::None => copy(counted, &mut file, |_| u64::MAX, limits, failed)?,
        Compression::Gzip => {
            let gzip = flate2::bufread::MultiGzDecoder::new(counted);
            copy(gzip, &mut file, |gzip| gzip.get_ref().bytes, limits, failed)?;
        }
        Compression::Zstd => {
            let start = |source| read("the archive", source);
            let mut zstd = zstd::stream::read::Decoder::with_buffer(counted).map_err(start)?;
            zstd.window_log_max(WINDOW_LOG).map_err(start)?;
            copy(zstd, &mut file, |zstd| zstd.get_ref().bytes, limits, failed)?;
        }
    }
    Ok(file)
}

/// Copies all of `reader`, unless that is too many times what `packed` says it was made of.
fn copy<R: Read>(
    mut reader: R,
    file: &mut File,
    packed: impl Fn(&R) -> u64,
    limits: &Limits,
    failed: impl Fn(io::Error) -> ArchiveError,
) -> Result<(), ArchiveError> {
    let mut buffer = vec![0; BUFFER];
    let mut written: u64 = 0;
    loop {
        let got = match reader.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(got) => got,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(source) => return Err(read("the archive", source)),
        };
        written += got as u64;
        if written > HARMLESS && written > packed(&reader).saturating_mul(limits.ratio) {
            return Err(ArchiveError::Ratio(limits.ratio));
        }
        file.write_all(&buffer[..got]).map_err(&failed)?;
    }
}

/// Counts what is taken.
struct Counted {
    reader: BufReader<File>,
    bytes: u64,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.reader.read(buffer)?;
        self.bytes += got as u64;
        Ok(got)
    }
}

impl BufRead for Counted {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.reader.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.bytes += amount as u64;
        self.reader.consume(amount);
    }
}

/// A file without a name on the file system of `directory`, to be written and read.
pub(super) fn unnamed(directory: &Path) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    let mode = Mode::RUSR | Mode::WUSR;
    match rustix::fs::open(directory, flags | OFlags::TMPFILE, mode) {
        Ok(file) => return Ok(file.into()),
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::ISDIR) => {}
        Err(errno) => return Err(errno.into()),
    }
    // A file system that has none: one whose name is taken away at once.
    let directory =
        rustix::fs::open(directory, OFlags::DIRECTORY | OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let mut digits = [0; 8];
    crate::sys::random(&mut digits);
    let name = format!(".spool-{:016x}", u64::from_ne_bytes(digits));
    let name = OsStr::new(&name);
    let file = rustix::fs::openat(directory.as_fd(), name, flags | OFlags::CREATE | OFlags::EXCL, mode)?;
    rustix::fs::unlinkat(directory.as_fd(), name, rustix::fs::AtFlags::empty())?;
    Ok(file.into())
}

fn read(what: &str, source: io::Error) -> ArchiveError {
    ArchiveError::Read { what: what.to_owned(), source }
}
