//! Why a checkpoint or a restore failed.

use std::path::PathBuf;

use rustix::io::Errno;

use crate::namespaces::Kind;
use crate::sys::Failure;

/// A failed operation of CRIU's or on the way to it.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum CriuError {
    #[error(
        "criu is not in PATH: checkpoint and restore need it: install the package criu (https://criu.org)"
    )]
    Missing,
    #[error("start criu {path:?}: {failure}")]
    Start { path: PathBuf, failure: Failure },
    #[error("criu: {0}")]
    Talk(Failure),
    #[error("criu said something that is none of its messages: {0}")]
    Protocol(String),
    #[error("criu ended without an answer ({how}){}", said(.reasons))]
    Died { how: String, reasons: String },
    #[error("criu {operation} failed{}{}", number(.errno), said(.reasons))]
    Failed { operation: &'static str, errno: i32, reasons: String },
    #[error("criu or this kernel lacks {feature}, which {option} needs")]
    Feature { feature: &'static str, option: &'static str },
    #[error(
        "process.selinuxLabel: this criu keeps no SELinux context, and what it restores would not be confined: use one \
         that is built with libselinux"
    )]
    NoSelinux,
    #[error(
        "the restored process is in rcrun's SELinux context {restored:?} and not in {wanted:?}: the checkpoint was \
         made without it, or this criu cannot set it: use one that is built with libselinux, with --lsm-profile"
    )]
    Context { wanted: String, restored: String },
    #[error("{what} {path:?}: {error}")]
    Directory { what: &'static str, path: PathBuf, error: std::io::Error },
    #[error("{path:?}: {reason}")]
    Descriptors { path: PathBuf, reason: String },
    #[error("config.json: linux.namespaces: {kind} namespace {path:?}: {error}: it must be there")]
    Namespace { kind: Kind, path: PathBuf, error: Errno },
    #[error("config.json: linux.namespaces: {kind}: criu cannot restore into an existing one")]
    NoJoin { kind: Kind },
    #[error(
        "config.json: linux.namespaces: mount: missing: criu takes no mounts of the host's along, and this container's \
         are: add one"
    )]
    HostMounts,
    #[error("mount point {target:?} in {root:?}: {failure}")]
    MountPoint { target: String, root: PathBuf, failure: Failure },
    #[error("read {path:?}: {error}")]
    Read { path: PathBuf, error: std::io::Error },
    #[error("criu reported no process of its own that was restored")]
    NoProcess,
}

fn number(errno: &i32) -> String {
    match *errno {
        0 => String::new(),
        errno => format!(" ({})", Errno::from_raw_os_error(errno)),
    }
}

fn said(reasons: &str) -> String {
    match reasons {
        "" => String::new(),
        reasons => format!(": {reasons}"),
    }
}
