//! What can go wrong with a layer, each in one line that names the entry of the archive.

use std::fmt;
use std::io;

use rustix::io::Errno;

/// A failed operation on a layer.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The blob's source failed.
    #[error("read the layer: {0}")]
    Read(#[source] io::Error),
    /// Where the blob's bytes are kept.
    #[error("keep the layer's blob: {0}")]
    Copy(#[source] io::Error),
    /// Where the digests are listed.
    #[error("write the layer's list of digests: {0}")]
    Digests(#[source] io::Error),
    /// A thread of the pipeline could not be had.
    #[error("start a thread to unpack the layer: {0}")]
    Thread(#[source] io::Error),
    /// It ends too early.
    #[error("the layer ends in the middle of its {0} stream: the blob is truncated")]
    Truncated(&'static str),
    /// It is no stream of its kind.
    #[error("the layer's {packing} stream is corrupt: {reason}")]
    Corrupt {
        /// gzip or zstd.
        packing: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// Packed as no image may be.
    #[error("the layer is packed with {0}: layers of images are plain, gzip or zstd")]
    Packing(&'static str),
    /// A Zstandard frame that takes too much memory.
    #[error("the layer's zstd stream needs a window of {0} bytes: at most 134217728 (--long=27) are allowed")]
    Window(u64),
    /// Taken for an attack.
    #[error("the layer has more than {limit} {what}: if it is to be trusted, raise {variable}")]
    Limit {
        /// What there is too much of.
        what: &'static str,
        /// How much is allowed.
        limit: u64,
        /// The variable of the environment that says so.
        variable: &'static str,
    },
    /// Not a tar archive, or damaged.
    #[error("the layer is no valid tar archive: {reason} (at byte {at})")]
    Archive {
        /// What is wrong.
        reason: &'static str,
        /// Where in the archive.
        at: u64,
    },
    /// Ends within an entry.
    #[error("the layer's tar archive ends within entry {0}")]
    EndsWithin(EntryName),
    /// An entry that is not well-formed.
    #[error("entry {entry} of the layer is refused: {reason}")]
    Entry {
        /// Its name.
        entry: EntryName,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A hard link without its file.
    #[error("entry {entry} of the layer is refused: the layer has no {target} for it to be a hard link to")]
    Link {
        /// Its name.
        entry: EntryName,
        /// What it is to link to.
        target: EntryName,
    },
    /// A device that only root may make.
    #[error(
        "entry {0} of the layer is a device node, which needs root: pull as root, or use an image without it"
    )]
    Device(EntryName),
    /// An owner that this user namespace does not have.
    #[error(
        "entry {entry} of the layer belongs to {uid}:{gid}, which is not mapped here: \
         give the user more ids in /etc/subuid and /etc/subgid"
    )]
    Unmapped {
        /// Its name.
        entry: EntryName,
        /// User.
        uid: u32,
        /// Group.
        gid: u32,
    },
    /// A system call on an entry.
    #[error("{operation} {entry} of the layer: {errno}")]
    Call {
        /// As its man page is called.
        operation: &'static str,
        /// The entry's name.
        entry: EntryName,
        /// What the kernel said.
        errno: Errno,
    },
    /// Another stage has failed; its error is the one to tell.
    #[error("unpacking the layer was given up")]
    GivenUp,
}

impl UnpackError {
    pub(super) fn entry(entry: &[u8], reason: &'static str) -> Self {
        Self::Entry { entry: EntryName::from(entry), reason }
    }

    pub(super) fn call(operation: &'static str, entry: &[u8], errno: Errno) -> Self {
        Self::Call { operation, entry: EntryName::from(entry), errno }
    }
}

/// A name of the archive for people: on one line, not too long, whatever its bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct EntryName(Box<str>);

impl From<&[u8]> for EntryName {
    fn from(name: &[u8]) -> Self {
        const LONGEST: usize = 200;
        let shown = name.get(..LONGEST).unwrap_or(name).escape_ascii().to_string();
        Self(if name.len() > LONGEST { format!("{shown}...") } else { shown }.into())
    }
}

impl fmt::Display for EntryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0)
    }
}

impl fmt::Debug for EntryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
