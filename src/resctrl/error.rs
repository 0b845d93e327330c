//! What can go wrong with resctrl: each variant is a failed operation with its object.

use std::path::PathBuf;

use rustix::io::Errno;

use crate::id::ContainerId;

/// A failed operation on the resctrl file system.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ResctrlError {
    #[error("read {file}: {errno}")]
    ReadProc { file: &'static str, errno: Errno },
    #[error(
        "linux.intelRdt: resctrl is not mounted: mount it (mount -t resctrl resctrl /sys/fs/resctrl), or remove the field"
    )]
    NotMounted,
    #[error(
        "linux.intelRdt: this host has no resctrl: it takes a processor with Intel RDT or AMD QoS and a kernel with \
         CONFIG_X86_CPU_RESCTRL, then mount -t resctrl resctrl /sys/fs/resctrl; or remove the field"
    )]
    NotThere,
    #[error("{field}: this host cannot do that: {path:?} is missing: remove it")]
    NoResource { field: &'static str, path: PathBuf },
    #[error(
        "linux.intelRdt.closID: the group {path:?} does not exist: make it, or say what it is to have with schemata, \
         l3CacheSchema or memBwSchema"
    )]
    NoGroup { path: PathBuf },
    #[error(
        "{field} is {wanted:?}, but the group {path:?} exists and has {present:?}: make them the same, or choose another \
         closID"
    )]
    OtherSchemata { field: &'static str, wanted: String, path: PathBuf, present: String },
    #[error(
        "linux.intelRdt.enableMonitoring: the monitoring group {path:?} exists: it is another container's, or left over: rmdir it"
    )]
    MonitoringGroupExists { path: PathBuf },
    #[error("linux.intelRdt: make the group {path:?}: {errno}{}", said(.status))]
    Make { path: PathBuf, errno: Errno, status: Option<String> },
    #[error("linux.intelRdt: write {value:?} to {path:?}: {errno}{}", said(.status))]
    Write { path: PathBuf, value: String, errno: Errno, status: Option<String> },
    #[error("linux.intelRdt: remove the group {path:?}: {errno}{}", said(.status))]
    Remove { path: PathBuf, errno: Errno, status: Option<String> },
    #[error("linux.intelRdt: read {path:?}: {errno}")]
    Read { path: PathBuf, errno: Errno },
    #[error("linux.intelRdt: {path:?} holds {text:?}, which is no number")]
    NoNumber { path: PathBuf, text: String },
    #[error(
        "container {id} was made without linux.intelRdt: leave --l3-cache-schema and --mem-bw-schema out"
    )]
    NoneToUpdate { id: ContainerId },
}

impl ResctrlError {
    /// Is the group, or the file, not there?
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Write { errno: Errno::NOENT, .. } | Self::Read { errno: Errno::NOENT, .. })
    }
}

/// The kernel's own words on the last operation.
fn said(status: &Option<String>) -> String {
    status.as_ref().map(|status| format!(": last_cmd_status: {status}")).unwrap_or_default()
}
