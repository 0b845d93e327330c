//! The archive's bytes, in blocks or as they come.

use super::super::error::UnpackError;
use super::super::pipe::{Chunk, Inlet, Pool, pipe};
use super::BLOCK;

/// A place in a sequence of chunks.
pub struct Stream {
    inlet: Inlet,
    chunk: Option<Chunk>,
    /// In the chunk.
    at: usize,
    /// In the archive.
    position: u64,
    ended: bool,
}

impl Stream {
    pub(in crate::image::unpack) fn new(inlet: Inlet) -> Self {
        Self { inlet, chunk: None, at: 0, position: 0, ended: false }
    }

    /// One that brings `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        let (outlet, [inlet]) = pipe();
        let pool = Pool::new(1, 0);
        // The receiver is here: it has not given up.
        let _ = outlet.send(&pool.chunk(bytes.to_vec(), bytes.len()));
        outlet.end();
        Self::new(inlet)
    }

    /// How many bytes have been taken.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The next bytes, as many as lie together; none at the end.
    pub fn available(&mut self) -> Result<&[u8], UnpackError> {
        while !self.ended && self.chunk.as_ref().is_none_or(|chunk| self.at >= chunk.len()) {
            // First the old one goes back to its pool, which may have no other.
            self.chunk = None;
            self.at = 0;
            self.chunk = self.inlet.next()?;
            self.ended = self.chunk.is_none();
        }
        Ok(self.chunk.as_ref().and_then(|chunk| chunk.get(self.at..)).unwrap_or_default())
    }

    /// Takes `count` of the bytes that are [`Stream::available`].
    pub fn consume(&mut self, count: usize) {
        self.at += count;
        self.position += count as u64;
    }

    /// The next block; None at the end.
    pub fn block(&mut self) -> Result<Option<[u8; BLOCK]>, UnpackError> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            let available = self.available()?;
            let count = available.len().min(BLOCK - filled);
            if count == 0 {
                let reason = "it ends in the middle of a block";
                let at = self.position;
                return if filled == 0 { Ok(None) } else { Err(UnpackError::Archive { reason, at }) };
            }
            block[filled..filled + count].copy_from_slice(&available[..count]);
            filled += count;
            self.consume(count);
        }
        Ok(Some(block))
    }

    /// Takes all that is left.
    pub fn drain(&mut self) -> Result<(), UnpackError> {
        loop {
            let count = self.available()?.len();
            if count == 0 {
                return Ok(());
            }
            self.consume(count);
        }
    }
}
