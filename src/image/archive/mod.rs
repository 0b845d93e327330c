//! Archives of images: `load` and `save`.
//!
//! In: a tar archive of docker's (manifest.json) or of OCI's (an image layout), or such a layout's directory, none of
//! which is trusted. Out: images in the store; and the other way round. An archive that is both, as `docker save`
//! writes since version 25, is read as OCI's, because that has the manifests as they were pushed; manifest.json only
//! adds names then. Runs in the caller's process, with its privileges; nothing is ever unpacked by the names in the archive.

mod contents;
mod described;
mod docker;
mod error;
mod input;
mod load;
mod names;
mod oci;
mod output;
mod save;
mod scan;

pub use contents::{Content, Contents};
pub use described::{Described, Layer, describe};
pub use error::ArchiveError;
pub use input::Input;
pub use load::{LoadError, LoadOptions, Loaded, load};
pub use output::{Output, OutputError};
pub use save::{Fetch, Format, SaveError, Wanted, save};

#[cfg(test)]
mod tests;
