//! What is remembered of a container.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::ProcessId;
use crate::cgroups::systemd::Manager;
use crate::resctrl::Group;

/// The version of this file's format; a record of another one is refused.
pub const SCHEMA: u32 = 1;

/// state.json. Written before anything of the container is made, so that whatever is left of it can
/// be found and removed; and again when its first process is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The configuration's ociVersion.
    pub oci_version: String,
    /// The bundle's directory.
    pub bundle: PathBuf,
    /// The root file system's directory.
    pub rootfs: PathBuf,
    /// When it was made, RFC 3339.
    pub created: String,
    /// Who made it: a uid.
    pub owner: u32,
    /// Its cgroup below the cgroup2 mount.
    pub cgroup: Option<String>,
    /// The scope that systemd made it as.
    #[serde(default)]
    pub scope: Option<String>,
    /// Whose systemd that is.
    #[serde(default)]
    pub manager: Manager,
    /// The resctrl group of its processes.
    #[serde(default)]
    pub resctrl: Option<Group>,
    /// Its first process; None while that is being made.
    pub init: Option<ProcessId>,
    /// Is its root entered with chroot(2), so that exec has to do that too?
    pub chroot: bool,
    /// The id of its root's mount where that is in rcrun's own mount namespace, for want of another one:
    /// statx(2)'s, the unique one where the kernel has it.
    #[serde(default)]
    pub root_mount: Option<u64>,
    /// The directory in the store of images that goes away with it, where it was made from one.
    #[serde(default)]
    pub directory: Option<PathBuf>,
    /// Was it made without a session keyring of its own?
    pub no_new_keyring: bool,
    /// The service manager's NOTIFY_SOCKET, for `start`.
    #[serde(default)]
    pub notify: Option<String>,
    /// The configuration's annotations.
    pub annotations: BTreeMap<String, String>,
}

impl Record {
    /// Is it a scope of its user's systemd? A user may not move processes there, only ask for it.
    pub fn is_users_scope(&self) -> bool {
        self.scope.is_some() && self.manager == Manager::User
    }
}
