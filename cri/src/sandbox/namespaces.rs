//! A Pod's network, IPC and UTS namespaces: made by one thread that ends with it, kept by mounts of their files.

use std::path::Path;

use rcrun::namespaces::Kind;
use rcrun::network::{NetworkError, NetworkNamespace, make_all};
use tonic::Status;

use super::check::Wishes;
use super::sysctl;
use crate::state::Pod;

/// Names of the pins in the Pod's volatile directory.
pub const IPC: &str = "ipc";
/// See [`IPC`].
pub const UTS: &str = "uts";

/// Makes and pins what the Pod has of its own, with hostname and sysctls set in them but those of the network, some of which
/// belong to its interface.
pub fn make(pod: &Pod, wishes: &Wishes) -> Result<Option<NetworkNamespace>, Status> {
    let named = [(Kind::Ipc, &pod.ipc), (Kind::Uts, &pod.uts)];
    let pins: Vec<(Kind, &Path)> =
        named.into_iter().filter_map(|(kind, path)| Some((kind, path.as_deref()?))).collect();
    let mut refused = None;
    let work = || {
        inside(wishes).map_err(|status| {
            let error = std::io::Error::other(status.message().to_owned());
            refused = Some(status);
            NetworkError::Call { operation: "prepare".into(), error }
        })
    };
    let made = match &pod.network.namespace {
        Some(path) => {
            let directory = path.parent().unwrap_or(Path::new("/"));
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            NetworkNamespace::make_with(directory, &name, &pins, work).map(Some)
        }
        None if pins.is_empty() => return Ok(None),
        None => make_all(&pins, work).map(|()| None),
    };
    made.map_err(|error| {
        refused.unwrap_or_else(|| Status::internal(format!("namespaces of the Pod: {error}")))
    })
}

fn inside(wishes: &Wishes) -> Result<(), Status> {
    // As elsewhere, who has the host's network has its name, too.
    if wishes.network {
        rustix::system::sethostname(wishes.hostname.as_bytes())
            .map_err(|errno| Status::internal(format!("sethostname {:?}: {errno}", wishes.hostname)))?;
    }
    sysctl::set(&wishes.sysctls, |kind| matches!(kind, Kind::Ipc | Kind::Uts))
}

/// Is a namespace pinned there? After a reboot there is a plain file, or none.
pub fn is_pinned(path: &Path) -> bool {
    const NSFS_MAGIC: i64 = 0x6e73_6673;
    #[allow(clippy::unnecessary_cast, reason = "its type differs between architectures")]
    rustix::fs::statfs(path).is_ok_and(|found| found.f_type as i64 == NSFS_MAGIC)
}
