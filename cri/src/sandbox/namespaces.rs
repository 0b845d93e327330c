//! A Pod's IPC and UTS namespaces: made by a thread that ends with it, kept by bind mounts of their files.

use std::fs;
use std::path::Path;

use rcrun::namespaces::Kind;
use rcrun::sys::process::unshare;
use rustix::io::Errno;
use rustix::mount::{UnmountFlags, mount_bind, unmount};
use rustix::thread::UnshareFlags;
use tonic::Status;

use super::check::Wishes;
use super::sysctl;

/// Names of the pins in the Pod's volatile directory.
pub const IPC: &str = "ipc";
/// See [`IPC`].
pub const UTS: &str = "uts";

/// Makes and pins what the Pod has of its own, with hostname and sysctls set in them. Runs in a thread of its own.
pub fn make(run: &Path, wishes: &Wishes) -> Result<(), Status> {
    let mut kinds = UnshareFlags::empty();
    kinds.set(UnshareFlags::NEWIPC, wishes.ipc);
    // As elsewhere, who has the host's network has its name, too.
    kinds.set(UnshareFlags::NEWUTS, wishes.network);
    if kinds.is_empty() {
        return Ok(());
    }
    unshare(kinds).map_err(|errno| Status::internal(format!("unshare IPC and UTS namespaces: {errno}")))?;
    if wishes.network {
        rustix::system::sethostname(wishes.hostname.as_bytes())
            .map_err(|errno| Status::internal(format!("sethostname {:?}: {errno}", wishes.hostname)))?;
    }
    sysctl::set(&wishes.sysctls, |kind| matches!(kind, Kind::Ipc | Kind::Uts))?;
    if wishes.ipc {
        pin(Kind::Ipc, &run.join(IPC))?;
    }
    if wishes.network {
        pin(Kind::Uts, &run.join(UTS))?;
    }
    Ok(())
}

fn pin(kind: Kind, at: &Path) -> Result<(), Status> {
    let failed = |what: &str, error: &dyn std::fmt::Display| {
        Status::internal(format!("pin the {} namespace: {what} {}: {error}", kind.name(), at.display()))
    };
    fs::write(at, "").map_err(|error| failed("make", &error))?;
    let file = format!("/proc/thread-self/ns/{}", kind.file());
    mount_bind(file, at).map_err(|errno| failed("mount", &errno))
}

/// Unmounts what is at `path`; nothing there, or no mount, is fine.
pub fn unpin(path: &Path) -> Result<(), Errno> {
    match unmount(path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
        Err(Errno::NOENT | Errno::INVAL) => Ok(()),
        result => result,
    }
}

/// Is a namespace pinned there? After a reboot there is a plain file, or none.
pub fn is_pinned(path: &Path) -> bool {
    const NSFS_MAGIC: i64 = 0x6e73_6673;
    #[allow(clippy::unnecessary_cast, reason = "its type differs between architectures")]
    rustix::fs::statfs(path).is_ok_and(|found| found.f_type as i64 == NSFS_MAGIC)
}
