//! A layer's blob unpacked: from the bytes of a registry or an archive to a directory that overlayfs takes.
//!
//! In: a stream that may hold anything, a directory that nobody else writes. Out: the tree, the digests of the
//! blob and of the tar archive within, and a list of the tree's own digests ([`digests`]).
//!
//! A pipeline of threads that live as long as the call, each handing chunks to the next:
//!
//! ```text
//! caller: read, hash, copy -> inflate (limits) -+-> hash: DiffID
//!                                               +-> parse tar, write files, list digests
//! ```
//!
//! Chunks come from pools of a fixed size ([`pipe`]), so a layer takes about 3 MiB (and a Zstandard frame's
//! window) whatever its size, and the slowest stage sets the pace of all.
//!
//! Invariants: every file is reached through the descriptor of its directory, never through a link or a path
//! ([`extract`]); nothing is believed before it is within the [`Limits`]; an error leaves a tree that the
//! caller must remove, and nothing outside of it. Layers are unpacked each on its own: what a lower layer has
//! is not seen, so parents that are missing are made.

mod decode;
pub mod digests;
mod error;
mod extract;
mod pipe;
mod pipeline;
pub mod tar;

use std::io::{Read, Write};
use std::os::fd::BorrowedFd;

use super::digest::{Algorithm, Digest};
use super::limits::Limits;
use super::manifest::Compression;

pub use digests::{Difference, VerifyError, verify_layer};
pub use error::UnpackError;

/// How a layer is to be unpacked.
pub struct UnpackOptions<'a> {
    /// What it may cost.
    pub limits: Limits,
    /// In a user namespace, whose overlay is mounted with `userxattr`: opaque directories are marked by
    /// `user.overlay.opaque`, and device nodes are an error.
    pub rootless: bool,
    /// The blob's size in bytes as the manifest has it, for the limit of the ratio; None if unknown.
    pub blob_size: Option<u64>,
    /// Of the blob's digest.
    pub blob_algorithm: Algorithm,
    /// Of the DiffID.
    pub diff_algorithm: Algorithm,
    /// Gets the blob's bytes as they come.
    pub copy: Option<&'a mut (dyn Write + Send)>,
}

impl Default for UnpackOptions<'_> {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            rootless: false,
            blob_size: None,
            blob_algorithm: Algorithm::Sha256,
            diff_algorithm: Algorithm::Sha256,
            copy: None,
        }
    }
}

/// What was found in a layer. Nothing of it has been compared with a manifest or a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unpacked {
    /// Of the tar archive, to its last byte.
    pub diff_id: Digest,
    /// Of the blob, to its last byte.
    pub blob: Digest,
    /// The blob's size in bytes.
    pub blob_size: u64,
    /// How the blob was really packed.
    pub compression: Compression,
    /// Of the tar archive, in bytes.
    pub bytes: u64,
    /// Entries of the archive that made something.
    pub files: u64,
    /// Extended attributes that the file system does not take.
    pub ignored_xattrs: u64,
    /// The layer's root is opaque: it hides all layers below, which overlayfs does not heed at a root.
    pub opaque_root: bool,
}

/// Unpacks `blob` into the directory `diff`, which must be empty, and writes the list of its digests.
///
/// `compression` is what the media type says. As with other engines the blob's first bytes decide, because
/// registries have layers whose media type is wrong, and the DiffID is checked in any case.
pub fn unpack_layer(
    blob: impl Read,
    compression: Compression,
    diff: BorrowedFd<'_>,
    digests: &mut (dyn Write + Send),
    options: UnpackOptions<'_>,
) -> Result<Unpacked, UnpackError> {
    pipeline::run(blob, compression, diff, digests, options)
}

#[cfg(test)]
mod tests;
