//! Blobs by their digest: each is written once, whoever wants it, and has its name only when it is verified.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::path::PathBuf;

use super::{Store, StoreError, ingest, layout};
use crate::image::digest::Hasher;
use crate::image::{Descriptor, Digest};

/// Is the blob there, or is it this caller's to write?
#[derive(Debug)]
pub enum BlobClaim {
    /// It is there, opened for reading.
    Present(File),
    /// Write it: others who want it wait until it is committed or the writer is dropped.
    Missing(BlobWriter),
}

impl Store {
    /// The blob, opened for reading; None where the store has it not.
    pub fn blob(&self, digest: &Digest) -> Result<Option<File>, StoreError> {
        let path = self.blob_path(digest);
        match File::open(&path) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::file("open", &path, error)),
        }
    }

    /// A small blob, verified; `what` it is is for messages. Never more than the descriptor's size is read.
    pub fn read_blob(&self, what: &'static str, descriptor: &Descriptor) -> Result<Vec<u8>, StoreError> {
        let digest = descriptor.digest.clone();
        let Some(file) = self.blob(&digest)? else { return Err(StoreError::NoBlob { what, digest }) };
        let path = self.blob_path(&digest);
        let size = file.metadata().map_err(|error| StoreError::file("stat", &path, error))?.len();
        if size != descriptor.size {
            let reason = format!("it has {size} bytes instead of {}", descriptor.size);
            return Err(StoreError::BadBlob { digest, reason });
        }
        let mut bytes = Vec::with_capacity(size as usize);
        file.take(size).read_to_end(&mut bytes).map_err(|error| StoreError::file("read", &path, error))?;
        let found = Digest::of_with(digest.algorithm(), &bytes);
        match found == digest {
            true => Ok(bytes),
            false => Err(StoreError::BadBlob { digest, reason: format!("its content is {found}") }),
        }
    }

    /// Keeps a small blob, also on a disk whose machine stops now. One that is there and damaged is replaced.
    pub fn put_blob(&self, digest: &Digest, bytes: &[u8]) -> Result<(), StoreError> {
        let expected = Descriptor::new("", digest.clone(), bytes.len() as u64);
        match self.claim_blob(digest)? {
            BlobClaim::Missing(mut writer) => {
                writer.write_all(bytes).map_err(|error| writer.failed(error))?;
                writer.sync()?;
                writer.commit(&expected).map(drop)
            }
            BlobClaim::Present(file) => {
                check(&expected, &Digest::of_with(digest.algorithm(), bytes), bytes.len() as u64)?;
                let mut found = Vec::new();
                let read = file.take(bytes.len() as u64 + 1).read_to_end(&mut found);
                match read.is_ok() && found == bytes {
                    true => Ok(()),
                    false => self.ingest.write_whole(&self.blob_path(digest), bytes),
                }
            }
        }
    }

    /// The blob, or the right to write it. Waits while another process or thread writes the same one.
    pub fn claim_blob(&self, digest: &Digest) -> Result<BlobClaim, StoreError> {
        self.sweep_once();
        let name = format!("{}-{}.blob", digest.algorithm().name(), digest.hex());
        loop {
            if let Some(file) = self.blob(digest)? {
                return Ok(BlobClaim::Present(file));
            }
            let Some(file) = self.ingest.lock_file(&name)? else { continue };
            let path = self.ingest.path().join(&name);
            let writer = BlobWriter {
                hasher: Some(Hasher::new(digest.algorithm())),
                digest: digest.clone(),
                file,
                size: 0,
                target: self.blob_path(digest),
                path: Some(path),
            };
            // Between the look and the lock it may have come: then the new file was made for nothing, and goes.
            match self.blob(digest)? {
                Some(file) => return Ok(BlobClaim::Present(file)),
                None => return writer.emptied().map(BlobClaim::Missing),
            }
        }
    }

    /// Removes a blob that no root needs; whoever has it open may read on.
    pub(super) fn remove_blob(&self, digest: &Digest) -> Result<(), StoreError> {
        let path = self.blob_path(digest);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(StoreError::file("remove", &path, error))
            }
            _ => Ok(()),
        }
    }
}

/// A blob that is being written. Dropped without [`Self::commit`], it is gone.
#[derive(Debug)]
pub struct BlobWriter {
    digest: Digest,
    file: File,
    hasher: Option<Hasher>,
    size: u64,
    target: PathBuf,
    path: Option<PathBuf>,
}

impl BlobWriter {
    /// Gives the blob its name if it is what `expected` says; it is opened for reading.
    pub fn commit(mut self, expected: &Descriptor) -> Result<File, StoreError> {
        let found = self.hasher.take().map(Hasher::finish);
        check(expected, found.as_ref().unwrap_or(&self.digest), self.size)?;
        if let Some(directory) = self.target.parent() {
            layout::make_directory(directory)?;
        }
        let Some(path) = self.path.take() else { unreachable!("only commit takes the path, and the writer") };
        if let Err(error) = ingest::rename(&path, &self.target) {
            self.path = Some(path);
            return Err(error);
        }
        File::open(&self.target).map_err(|error| StoreError::file("open", &self.target, error))
    }

    /// Bytes so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Waits until the bytes are on the disk.
    fn sync(&self) -> Result<(), StoreError> {
        self.file.sync_data().map_err(|error| self.failed(error))
    }

    /// What somebody who was killed has left in the file goes.
    fn emptied(self) -> Result<Self, StoreError> {
        match self.file.set_len(0) {
            Ok(()) => Ok(self),
            Err(error) => Err(self.failed(error)),
        }
    }

    fn failed(&self, error: io::Error) -> StoreError {
        match error.downcast::<StoreError>() {
            Ok(error) => error,
            Err(error) => StoreError::file("write", &self.target, error),
        }
    }
}

impl Write for BlobWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = match self.file.write(bytes) {
            Ok(written) => written,
            Err(error) if error.kind() == ErrorKind::Interrupted => return Err(error),
            Err(error) => return Err(StoreError::file("write", &self.target, error).into()),
        };
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&bytes[..written]);
        }
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for BlobWriter {
    fn drop(&mut self) {
        // Under the lock, which the file holds until it is closed.
        if let Some(path) = &self.path {
            let _ = fs::remove_file(path);
        }
    }
}

fn check(expected: &Descriptor, found: &Digest, size: u64) -> Result<(), StoreError> {
    let digest = expected.digest.clone();
    if size != expected.size {
        return Err(StoreError::WrongSize { digest, expected: expected.size, found: size });
    }
    match *found == digest {
        true => Ok(()),
        false => Err(StoreError::WrongDigest { expected: digest, found: found.clone() }),
    }
}
