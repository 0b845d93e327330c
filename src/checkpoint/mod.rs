//! Checkpoint and restore: what rcrun tells CRIU (criu(8)) and what CRIU tells it.
//!
//! CRIU does the work in a process of its own, `criu swrk FD`; this folder speaks its protocol.
//!
//! - [`rpc`]: the messages on the wire, as far as they are used.
//! - [`client`]: starts CRIU, sends a request, answers its notifications.
//! - [`mounts`], [`namespaces`], [`descriptors`]: what of a container comes from outside of it. CRIU
//!   takes such things by name when it dumps and gets another one of that name when it restores.
//! - [`options`]: the flags of `checkpoint` and `restore`, and the request that they make.
//! - [`label`]: whether CRIU can keep SELinux's context.
//! - [`log`]: why CRIU failed, out of its log.
//!
//! The commands themselves, on stored state, are `src/lifecycle/checkpoint.rs` and `restore.rs`.

pub mod client;
pub mod descriptors;
mod error;
pub mod label;
pub mod log;
pub mod mounts;
pub mod namespaces;
pub mod options;
pub mod rpc;

pub use client::{Criu, Notification};
pub use error::CriuError;
pub use options::{CgroupsMode, CriuOptions, Directories, PRIVATE, SEARCHABLE};
