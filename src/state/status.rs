//! A container's status, derived from what is alive: runtime.md, "State".

use std::fmt;

use super::{Directory, Record};

/// runtime.md's statuses, and `paused` as runc has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Status {
    Creating,
    Created,
    Running,
    Paused,
    Stopped,
}

impl Status {
    /// The status of a container; `is_frozen` is asked only where it decides.
    ///
    /// - Creating: no first process is known.
    /// - Stopped: that process has ended, or its pid is another's by now.
    /// - Created: it answers on start.sock, so it waits for `start`.
    /// - Paused: its cgroup is frozen.
    pub fn of(directory: &Directory, record: Option<&Record>, is_frozen: impl FnOnce() -> bool) -> Self {
        let Some(init) = record.and_then(|record| record.init) else { return Self::Creating };
        if !init.is_alive() {
            Self::Stopped
        } else if is_frozen() {
            Self::Paused
        } else if directory.waits_for_start() {
            Self::Created
        } else {
            Self::Running
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Creating => "creating",
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        })
    }
}
