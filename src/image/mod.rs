//! Images: from a name to a root file system.
//!
//! name -> manifest -> blobs (verified) -> layers (unpacked once) -> overlay -> bundle. In: what a user names and
//! what registries and archives answer, none of which is trusted. Out: a [`crate::bundle::Bundle`], or files in the
//! store. All of it runs in the caller's process; threads live within a pull, a push, a load or a save and are
//! gone before any [`crate::plan`] is made.

pub mod archive;
pub mod config;
pub mod container;
pub mod digest;
pub mod event;
pub mod limits;
pub mod manifest;
pub mod missing;
mod parallel;
pub mod platform;
pub mod policy;
pub mod pull;
pub mod push;
pub mod reference;
pub mod registry;
mod remove;
pub mod rootless;
pub mod store;
pub mod unpack;

pub use digest::{Digest, DigestError};
pub use limits::{LimitError, Limits};
pub use manifest::{Descriptor, Document, Index, Manifest, ManifestError};
pub use platform::{Platform, PlatformError};
pub use reference::{Name, Reference, ReferenceError};
pub use store::{Store, StoreError};
