//! The list of a layer's own digests: written while it is unpacked, compared with the tree by [`verify_layer`].
//!
//! A DiffID cannot be computed again from an unpacked tree; this list says what the tree must be. It is text,
//! a line for each thing that happened, in the order of the archive:
//!
//! ```text
//! rcrun-digests 1 blake3
//! d MODE UID:GID MTIME XATTRS PATH               a directory
//! f MODE UID:GID MTIME XATTRS SIZE:DIGEST[:OFFSET+LENGTH,...] PATH   a file, with the stored parts of a sparse one
//! l MODE UID:GID MTIME XATTRS TARGET PATH        a symbolic link
//! c MODE UID:GID MTIME XATTRS MAJOR:MINOR PATH   a character device; b: a block device
//! p MODE UID:GID MTIME XATTRS PATH               a FIFO
//! h TARGET PATH                                  the file that TARGET is now has the name PATH too
//! w PATH                                         a whiteout: a character device 0:0
//! o PATH                                         this directory is opaque
//! ```
//!
//! A line replaces what earlier ones say of its path, and of all below the path unless both are directories:
//! as the archive's later entries do. MODE is octal, MTIME seconds with nanoseconds where there are any.
//! DIGEST is BLAKE3 of the content (of a sparse file's stored parts, one after the other), XATTRS of the
//! extended attributes in [`xattrs_digest`]'s order, both in base64 without padding; `-` for none. In paths and
//! targets blanks, backslashes and what is no printable ASCII are `\` and two hexadecimal digits. The root is
//! `.`. BLAKE3 and not SHA-256, because it is several times faster, most of all where the processor has no
//! instructions for SHA-256.

mod list;
mod record;
mod verify;

pub use list::List;
pub use record::{Content, Record, Value, content_digest, xattrs_digest};
pub use verify::{Difference, VerifyError, verify_layer};
