//! Decompression of a layer as it streams by.
//!
//! The first bytes of the blob tell how it is packed ([`Packing::of`]); media types are wrong too often, and
//! all engines do it like this. In: pieces of the blob. Out: the tar archive, of which [`Gate`] keeps the
//! size within the limits.

mod gzip;
mod zstd;

use super::error::UnpackError;
use crate::image::limits::Limits;
use crate::image::manifest::Compression;

/// What one call has read and written.
pub struct Progress {
    /// Bytes of the input.
    pub read: usize,
    /// Bytes of the output.
    pub written: usize,
}

/// A stream's state between two pieces of it.
pub enum Decoder {
    /// RFC 1952.
    Gzip(gzip::Gzip),
    /// RFC 8878.
    Zstd(zstd::Zstd),
}

impl Decoder {
    /// None for an archive that is not packed.
    pub fn new(compression: Compression) -> Result<Option<Self>, UnpackError> {
        Ok(match compression {
            Compression::None => None,
            Compression::Gzip => Some(Self::Gzip(gzip::Gzip::new())),
            Compression::Zstd => Some(Self::Zstd(zstd::Zstd::new()?)),
        })
    }

    /// Decodes as much as there is input for and room: done with `input` when it reads and writes nothing.
    pub fn decode(&mut self, input: &[u8], output: &mut [u8]) -> Result<Progress, UnpackError> {
        match self {
            Self::Gzip(gzip) => gzip.decode(input, output),
            Self::Zstd(zstd) => zstd.decode(input, output),
        }
    }

    /// May the stream end here?
    pub fn finish(&self) -> Result<(), UnpackError> {
        match self {
            Self::Gzip(gzip) => gzip.finish(),
            Self::Zstd(zstd) => zstd.finish(),
        }
    }
}

/// How the blob that begins with `start` is packed: what the media type says counts only for one that is too
/// short to tell.
pub fn detect(start: &[u8], said: Compression) -> Result<Compression, UnpackError> {
    match Compression::of_content(start) {
        Ok(Compression::None) if start.len() < 4 && !start.is_empty() => Ok(said),
        found => found.map_err(UnpackError::Packing),
    }
}

/// Counts what comes out against what went in.
pub struct Gate {
    limits: Limits,
    blob_size: u64,
    read: u64,
    /// Bytes that came out.
    pub written: u64,
}

impl Gate {
    /// `blob_size`: what is to come, if that is known.
    pub fn new(limits: &Limits, blob_size: Option<u64>) -> Self {
        Self { limits: limits.clone(), blob_size: blob_size.unwrap_or(0), read: 0, written: 0 }
    }

    /// Counts one step of a [`Decoder`].
    pub fn pass(&mut self, read: usize, written: usize) -> Result<(), UnpackError> {
        /// What may come of nothing: small archives of zeros are no bombs.
        const FREE: u64 = 16 << 20;
        self.read += read as u64;
        self.written += written as u64;
        let limit = self.limits.layer_bytes;
        if self.written > limit {
            let variable = "RCRUN_IMAGE_MAX_LAYER_BYTES";
            return Err(UnpackError::Limit { what: "bytes when it is unpacked", limit, variable });
        }
        let limit = self.limits.ratio;
        if self.written > FREE && self.written > self.read.max(self.blob_size).saturating_mul(limit) {
            let what = "bytes when it is unpacked for each byte of its blob";
            return Err(UnpackError::Limit { what, limit, variable: "RCRUN_IMAGE_MAX_RATIO" });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_decide() {
        let said = Compression::Gzip;
        assert_eq!(detect(b"\x1f\x8b\x08\0", Compression::None).unwrap(), Compression::Gzip);
        assert_eq!(detect(b"\x28\xb5\x2f\xfd", said).unwrap(), Compression::Zstd);
        assert_eq!(detect(b"\x53\x2a\x4d\x18", said).unwrap(), Compression::Zstd);
        assert_eq!(detect(b"etc/passwd\0", said).unwrap(), Compression::None);
        assert_eq!(detect(b"", said).unwrap(), Compression::None);
        assert_eq!(detect(b"e", said).unwrap(), Compression::Gzip);
        assert!(detect(b"\xfd7zXZ\0", said).unwrap_err().to_string().contains("xz"));
        assert!(detect(b"BZh91AY&SY", said).unwrap_err().to_string().contains("bzip2"));
    }

    #[test]
    fn bombs_are_stopped_by_their_ratio_and_by_their_size() {
        let limits = Limits { layer_bytes: 100 << 20, ratio: 1000, ..Limits::default() };
        let mut gate = Gate::new(&limits, None);
        gate.pass(1, 16 << 20).unwrap();
        let error = gate.pass(1, 1).unwrap_err().to_string();
        assert!(error.contains("RCRUN_IMAGE_MAX_RATIO"), "{error}");
        let mut gate = Gate::new(&limits, Some(1 << 20));
        gate.pass(1, 100 << 20).unwrap();
        let error = gate.pass(1, 1).unwrap_err().to_string();
        assert!(error.contains("RCRUN_IMAGE_MAX_LAYER_BYTES"), "{error}");
    }
}
