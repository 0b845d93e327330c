//! The stages of unpacking, and the threads they run in.

use std::io::{self, Read, Write};
use std::os::fd::BorrowedFd;
use std::thread::{Builder, Scope, ScopedJoinHandle};

use super::decode::{Decoder, Gate, detect};
use super::error::UnpackError;
use super::extract::{Extractor, Made};
use super::pipe::{Chunk, Inlet, Outlet, Pool, pipe};
use super::tar::{Archive, Stream};
use super::{UnpackOptions, Unpacked};
use crate::image::digest::{Algorithm, Digest, Hasher};
use crate::image::manifest::Compression;

/// Of the blob: how many chunks there are at once, and of how many bytes.
const PACKED: (usize, usize) = (4, 128 << 10);
/// Of the archive.
const PLAIN: (usize, usize) = (8, 256 << 10);
/// What no stage comes near.
const STACK: usize = 512 << 10;

/// See [`super::unpack_layer`].
pub fn run(
    blob: impl Read,
    said: Compression,
    diff: BorrowedFd<'_>,
    digests: &mut (dyn Write + Send),
    mut options: UnpackOptions<'_>,
) -> Result<Unpacked, UnpackError> {
    let mut source = Source::new(blob, &mut options);
    let first = source.next()?;
    let compression = detect(first.as_deref().unwrap_or_default(), said)?;
    let hashed_once = compression == Compression::None && options.blob_algorithm == options.diff_algorithm;
    let gate = Gate::new(&options.limits, options.blob_size);
    let (limits, algorithm) = (options.limits.clone(), options.diff_algorithm);
    let (rootless, for_archive) = (options.rootless, &limits);
    std::thread::scope(|scope| {
        let (plain, hashing, extracting) = outlets(hashed_once);
        let hash = hashing.map(|inlet| start(scope, "unpack-digest", move || diff_id(&inlet, algorithm)));
        let hash = hash.transpose()?;
        let extract = start(scope, "unpack-files", move || {
            let mut archive = Archive::new(Stream::new(extracting), for_archive);
            Extractor::new(diff, digests, for_archive, rootless)?.run(&mut archive)
        })?;
        let (read, inflated) = match compression {
            Compression::None => (source.run(first, plain, Some(gate)), Ok(None)),
            _ => {
                let (packed, [inlet]) = pipe();
                let inflate =
                    start(scope, "unpack-inflate", move || inflate(&inlet, plain, compression, gate))?;
                (source.run(first, packed, None), join(inflate).map(Some))
            }
        };
        let made = join(extract);
        let diff_id = hash.map(join).transpose();
        finish(read, inflated, made, diff_id, compression)
    })
}

/// The results of all stages, or the error that made the others give up.
fn finish(
    read: Result<(Digest, u64), UnpackError>,
    inflated: Result<Option<u64>, UnpackError>,
    made: Result<Made, UnpackError>,
    diff_id: Result<Option<Digest>, UnpackError>,
    compression: Compression,
) -> Result<Unpacked, UnpackError> {
    match (read, inflated, made, diff_id) {
        (Ok((blob, blob_size)), Ok(bytes), Ok(made), Ok(diff_id)) => Ok(Unpacked {
            diff_id: diff_id.unwrap_or_else(|| blob.clone()),
            bytes: bytes.unwrap_or(blob_size),
            blob,
            blob_size,
            compression,
            files: made.files,
            ignored_xattrs: made.ignored_xattrs,
            opaque_root: made.opaque_root,
        }),
        (read, inflated, made, diff_id) => {
            let errors = [read.err(), inflated.err(), made.err(), diff_id.err()];
            let cause = errors.into_iter().flatten().find(|error| !matches!(error, UnpackError::GivenUp));
            Err(cause.unwrap_or(UnpackError::GivenUp))
        }
    }
}

/// To the stages that take the archive: the one that hashes is not there if the archive is the blob.
fn outlets(hashed_once: bool) -> (Outlet, Option<Inlet>, Inlet) {
    if hashed_once {
        let (plain, [extracting]) = pipe();
        return (plain, None, extracting);
    }
    let (plain, [hashing, extracting]) = pipe();
    (plain, Some(hashing), extracting)
}

fn start<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    name: &str,
    stage: impl FnOnce() -> T + Send + 'scope,
) -> Result<ScopedJoinHandle<'scope, T>, UnpackError> {
    Builder::new().name(name.into()).stack_size(STACK).spawn_scoped(scope, stage).map_err(UnpackError::Thread)
}

fn join<T>(stage: ScopedJoinHandle<'_, Result<T, UnpackError>>) -> Result<T, UnpackError> {
    stage.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// The blob, hashed and copied as it is read.
struct Source<'a, R> {
    blob: R,
    pool: Pool,
    hasher: Hasher,
    size: u64,
    copy: Option<&'a mut (dyn Write + Send)>,
}

impl<'a, R: Read> Source<'a, R> {
    fn new(blob: R, options: &mut UnpackOptions<'a>) -> Self {
        let hasher = Hasher::new(options.blob_algorithm);
        Self { blob, pool: Pool::new(PACKED.0, PACKED.1), hasher, size: 0, copy: options.copy.take() }
    }

    /// The next chunk, full if the blob is not at its end; None there.
    fn next(&mut self) -> Result<Option<Chunk>, UnpackError> {
        let mut buffer = self.pool.take();
        let length = fill(&mut self.blob, &mut buffer).map_err(UnpackError::Read)?;
        let chunk = self.pool.chunk(buffer, length);
        self.size += length as u64;
        Ok((length > 0).then_some(chunk))
    }

    /// Sends all to `outlet`, `first` first, and then looks at each chunk itself.
    fn run(
        mut self,
        first: Option<Chunk>,
        outlet: Outlet,
        mut gate: Option<Gate>,
    ) -> Result<(Digest, u64), UnpackError> {
        let mut next = first;
        while let Some(chunk) = next {
            if let Some(gate) = &mut gate {
                gate.pass(chunk.len(), chunk.len())?;
            }
            outlet.send(&chunk)?;
            self.hasher.update(&chunk);
            if let Some(copy) = &mut self.copy {
                copy.write_all(&chunk).map_err(UnpackError::Copy)?;
            }
            drop(chunk);
            next = self.next()?;
        }
        outlet.end();
        Ok((self.hasher.finish(), self.size))
    }
}

/// Reads until `buffer` is full or the end is there.
fn fill(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match from.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Decompresses what comes from `inlet`; how many bytes that makes.
fn inflate(
    inlet: &Inlet,
    outlet: Outlet,
    compression: Compression,
    mut gate: Gate,
) -> Result<u64, UnpackError> {
    let Some(mut decoder) = Decoder::new(compression)? else { return Ok(0) };
    let mut pool = Pool::new(PLAIN.0, PLAIN.1);
    let (mut buffer, mut filled) = (pool.take(), 0);
    loop {
        let chunk = inlet.next()?;
        let mut input = chunk.as_deref().unwrap_or_default();
        loop {
            let progress = decoder.decode(input, &mut buffer[filled..])?;
            gate.pass(progress.read, progress.written)?;
            input = input.get(progress.read..).unwrap_or_default();
            filled += progress.written;
            if filled == buffer.len() {
                outlet.send(&pool.chunk(std::mem::take(&mut buffer), filled))?;
                (buffer, filled) = (pool.take(), 0);
            } else if progress.read == 0 && progress.written == 0 {
                break;
            }
        }
        if chunk.is_none() {
            break;
        }
    }
    decoder.finish()?;
    if filled > 0 {
        outlet.send(&pool.chunk(buffer, filled))?;
    }
    outlet.end();
    Ok(gate.written)
}

/// The digest of the archive.
fn diff_id(inlet: &Inlet, algorithm: Algorithm) -> Result<Digest, UnpackError> {
    let mut hasher = Hasher::new(algorithm);
    while let Some(chunk) = inlet.next()? {
        hasher.update(&chunk);
    }
    Ok(hasher.finish())
}
