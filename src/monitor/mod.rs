//! A container's monitor, the program `rcrun-shim`: what it is told, what it is asked, what it leaves behind.
//!
//! One process a container, its parent and subreaper. It makes the container through this library, relays its standard
//! streams, writes its log, serves requests on a socket, and writes how the container ended before anybody can see the end.
//! This module is what `rcrun`, `rcrun-cri` and the shim share; the shim itself is in `shim/`.
//!
//! ```text
//! BUNDLE/            kept over a reboot; the caller's
//!   config.json      the OCI configuration
//!   shim.json        [`Settings`]
//!   exit.json        [`Exit`]: the container has ended
//! RUN/               volatile
//!   shim.sock        0600; SEQPACKET: one [`Request`] a connection, then [`Reply`]s; descriptors as SCM_RIGHTS
//!   stdin stdout stderr   FIFOs: they outlive the shim, a new one takes over
//! ```

mod client;
mod message;
mod program;
mod settings;
pub mod wire;

pub use client::{Attached, Event, Execution, Monitor, SOCKET, Watch};
pub use message::{Launched, Reply, Request};
pub use program::{Program, Started};
pub use settings::{Exit, Runtime, SCHEMA, Settings};

/// [`Settings`] in a bundle.
pub const SETTINGS_FILE: &str = "shim.json";
/// [`Exit`] in a bundle.
pub const EXIT_FILE: &str = "exit.json";

/// Why a monitor did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum MonitorError {
    #[error("rcrun-shim is not installed: it is looked for beside {beside:?}, in $RCRUN_SHIM and in $PATH")]
    NoProgram { beside: std::path::PathBuf },
    /// Nobody listens: it has ended with its container, or was killed.
    #[error("the shim of container {id} is gone")]
    Gone { id: String },
    /// The container's process could not be made; the text is the library's.
    #[error("{0}")]
    Refused(String),
    #[error("shim of container {id}: {operation}: {error}")]
    Call { id: String, operation: &'static str, error: std::io::Error },
    #[error(
        "container {id}: its start has not come to an end within {seconds} s and was given up: does a hook hang?"
    )]
    Late { id: String, seconds: u64 },
    #[error("container {id}: {operation} {path:?}: {error}")]
    File { id: String, operation: &'static str, path: std::path::PathBuf, error: std::io::Error },
    #[error("shim of container {id} said something else than it was asked: {text}")]
    Protocol { id: String, text: String },
}
