//! Why a command failed.

use std::path::PathBuf;

use crate::bundle::BundleError;
use crate::cgroups::{CgroupError, LimitError};
use crate::checkpoint::CriuError;
use crate::id::ContainerId;
use crate::launch::LaunchError;
use crate::plan::PlanError;
use crate::resctrl::ResctrlError;
use crate::spec::SpecError;
use crate::state::{StateError, Status};

/// A command's failed operation with its object.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum Error {
    #[error(transparent)]
    Bundle(#[from] BundleError),
    #[error(transparent)]
    Spec(#[from] SpecError),
    #[error(transparent)]
    Plan(#[from] PlanError),
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    #[error(transparent)]
    Limit(#[from] LimitError),
    #[error(transparent)]
    Resctrl(#[from] ResctrlError),
    #[error(transparent)]
    State(#[from] StateError),
    #[error(transparent)]
    Launch(#[from] LaunchError),
    #[error(transparent)]
    Criu(#[from] CriuError),
    #[error("container {id} is {status}: {cure}")]
    Status { id: ContainerId, status: Status, cure: &'static str },
    #[error("{error}; or leave the limits of linux.resources out")]
    Unlimited { error: CgroupError },
    #[error(
        "container {id} has no cgroup: it was made with --cgroup-manager disabled, or by a user who may make none"
    )]
    NoCgroup { id: ContainerId },
    #[error(
        "out of memory: the limit of cgroup {cgroup}, {limit} bytes (linux.resources.memory.limit), is too \
         small to start the program: {error}"
    )]
    OutOfMemory { cgroup: String, limit: String, error: LaunchError },
    #[error("container {id}: signal {signal}: {error}")]
    Signal { id: ContainerId, signal: i32, error: rustix::io::Errno },
    #[error("container {id}: its process does not end after SIGKILL: {reason}")]
    Undying { id: ContainerId, reason: String },
    #[error("{option}: {reason}")]
    Option { option: &'static str, reason: String },
    #[error("unmount the root file system {path:?} from the host's mounts: {failure}")]
    RootMount { path: PathBuf, failure: crate::sys::Failure },
    #[error(transparent)]
    Container(#[from] crate::image::container::ContainerError),
    #[error("{what} {path:?}: {error}")]
    File { what: &'static str, path: PathBuf, error: std::io::Error },
}
