//! Containers on disk: one directory per container below `--root`, each file written whole.
//!
//! ```text
//! ROOT/            0700
//!   ID/            0700; its flock(2) serialises what changes the container
//!     state.json   a [`Record`], replaced by rename
//!     config.json  the configuration that the container was made from
//!     start.sock   while the container waits for `start`: its process listens here
//!     notify/      the container's NOTIFY_SOCKET, where it has one
//!   @seccomp/      0700; a [`Cache`] of compiled filters
//! ```
//!
//! Nothing here remembers a status: it is derived from what is alive ([`status`]), so that a command
//! killed at any point leaves nothing that lies.

mod cache;
mod directory;
mod process;
mod record;
mod status;
mod store;
mod time;

pub use cache::Cache;
pub use directory::{Directory, Lock};
pub use process::ProcessId;
pub use record::{Record, SCHEMA};
pub use status::Status;
pub use store::{Reservation, Store};
pub use time::{parse_rfc3339, rfc3339};

use std::path::PathBuf;

use crate::id::ContainerId;

/// Why stored state could not be read or changed.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum StateError {
    #[error("container {id} does not exist (in {root:?})")]
    NotFound { id: ContainerId, root: PathBuf },
    #[error("container id {id} is in use (in {root:?}): delete that container, or choose another id")]
    InUse { id: ContainerId, root: PathBuf },
    #[error(
        "container {id} is held by another rcrun that creates, starts or deletes it: end that one first (does a hook hang?)"
    )]
    Busy { id: ContainerId },
    #[error("state directory {path:?}: {operation}: {error}{}", directory_hint(.error))]
    Directory { path: PathBuf, operation: &'static str, error: std::io::Error },
    #[error("state file {path:?}: {operation}: {error}")]
    File { path: PathBuf, operation: &'static str, error: std::io::Error },
    #[error("state file {path:?}: {error}")]
    Format { path: PathBuf, error: serde_json::Error },
    #[error("state file {path:?} has schema {found}: this version of rcrun knows {SCHEMA}")]
    Schema { path: PathBuf, found: u32 },
}

fn directory_hint(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::PermissionDenied => {
            "; choose a directory of yours with --root, or set XDG_RUNTIME_DIR"
        }
        _ => "",
    }
}
