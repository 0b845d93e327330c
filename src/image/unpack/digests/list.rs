//! Writes the list.

use std::io::Write;

use super::super::error::UnpackError;
use super::record::{Record, write_names, write_record};

/// The first line: what follows is of this version, with this hash function.
pub const HEADING: &str = "rcrun-digests 1 blake3";

/// The list of a layer that is being unpacked.
pub struct List<'a> {
    to: &'a mut (dyn Write + Send),
    buffer: Vec<u8>,
}

impl<'a> List<'a> {
    /// Begins one.
    pub fn new(to: &'a mut (dyn Write + Send)) -> Self {
        let buffer = format!("{HEADING}\n").into_bytes();
        Self { to, buffer }
    }

    /// There is now this at `path`.
    pub fn record(&mut self, path: &[u8], record: &Record) -> Result<(), UnpackError> {
        write_record(&mut self.buffer, name(path), record).map_err(UnpackError::Digests)?;
        self.flush_if_full()
    }

    /// `path` is now another name of what `target` is.
    pub fn hard_link(&mut self, target: &[u8], path: &[u8]) -> Result<(), UnpackError> {
        self.names(b'h', &[target, path])
    }

    /// `path` hides what lower layers have of this name.
    pub fn whiteout(&mut self, path: &[u8]) -> Result<(), UnpackError> {
        self.names(b'w', &[path])
    }

    /// The directory hides what lower layers have in it.
    pub fn opaque(&mut self, path: &[u8]) -> Result<(), UnpackError> {
        self.names(b'o', &[name(path)])
    }

    /// Writes what is left.
    pub fn finish(&mut self) -> Result<(), UnpackError> {
        self.to.write_all(&self.buffer).and_then(|()| self.to.flush()).map_err(UnpackError::Digests)?;
        self.buffer.clear();
        Ok(())
    }

    fn names(&mut self, letter: u8, names: &[&[u8]]) -> Result<(), UnpackError> {
        write_names(&mut self.buffer, letter, names);
        self.flush_if_full()
    }

    fn flush_if_full(&mut self) -> Result<(), UnpackError> {
        const FULL: usize = 32 << 10;
        if self.buffer.len() >= FULL {
            self.to.write_all(&self.buffer).map_err(UnpackError::Digests)?;
            self.buffer.clear();
        }
        Ok(())
    }
}

fn name(path: &[u8]) -> &[u8] {
    if path.is_empty() { b"." } else { path }
}
