//! Giving back all that a Pod has. Each step is fine with what is gone already, and none keeps the others from being done; but a
//! network namespace stays until the network is given back.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use rcrun::network::{NetworkNamespace, unpin};
use rustix::io::Errno;
use rustix::mount::{UnmountFlags, unmount};
use tracing::warn;

use super::{cgroup, files, init, namespaces};
use crate::cni::Attachment;
use crate::config::Config;
use crate::fault;
use crate::runtime::Runtime;
use crate::state::{Pod, PodState};

/// Gives back init, network, namespaces, files and cgroup; what could not be, in words. The containers are gone by then.
pub fn release(runtime: &Runtime, config: &Config, pod: &Pod) -> Vec<String> {
    let mut left = Vec::new();
    let mut note = |result: Result<(), String>| left.extend(result.err());
    note(init::end(runtime, &pod.id).map_err(|status| status.message().to_owned()));
    fault::point("end of the Pod's init");
    let detached = detach(runtime, config, pod);
    // A plugin gives back what it finds in the namespace, as a device that it has moved there: it is needed to try again.
    let namespace = pod.network.namespace.as_ref().filter(|_| detached.is_ok());
    note(detached);
    fault::point("end of the Pod's network");
    if let Some(path) = namespace {
        let removed = NetworkNamespace::remove(path);
        note(removed.map_err(|error| format!("network namespace {}: {error}", path.display())));
    }
    fault::point("end of the network namespace");
    note(volatile(&runtime.paths.pod_run(&pod.id)));
    fault::point("end of the Pod's files");
    // One that is in use still goes with the Pod's removal.
    let removed = cgroup::remove(runtime, pod).map(drop);
    note(removed.map_err(|error| format!("cgroup {}: {error}", pod.cgroup_parent)));
    left
}

fn detach(runtime: &Runtime, config: &Config, pod: &Pod) -> Result<(), String> {
    let Some(attachment) = &pod.network.attachment else { return Ok(()) };
    let attachment: Attachment = serde_json::from_value(attachment.clone())
        .map_err(|error| format!("the record of Pod {}'s network: {error}", pod.id))?;
    // A file that is no namespace any more is none: CNI says how a plugin is told so.
    let namespace = pod.network.namespace.as_deref();
    let namespace = namespace.filter(|path| namespaces::is_pinned(path));
    match runtime.network.detach(&config.network, &pod.id, namespace, &attachment) {
        // RunPodSandbox has failed, and could not give it back either: without this such a Pod would stay as long as its plugin fails.
        Err(error) if pod.state == PodState::NotReady && !attachment.was_made() => {
            warn!(pod = pod.id, "the network, which was never made whole, is given up: {error}");
            Ok(())
        }
        detached => detached.map_err(|error| error.to_string()),
    }
}

/// Unmounts what is in a Pod's volatile directory, and removes it.
pub fn volatile(run: &Path) -> Result<(), String> {
    for pin in [namespaces::IPC, namespaces::UTS] {
        unpin(&run.join(pin)).map_err(|error| error.to_string())?;
    }
    let shm = run.join(files::SHM);
    match unmount(&shm, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
        // Not there, or no mount.
        Ok(()) | Err(Errno::NOENT | Errno::INVAL) => {}
        Err(errno) => return Err(format!("unmount {}: {errno}", shm.display())),
    }
    match fs::remove_dir_all(run) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(format!("remove {}: {error}", run.display()))
        }
        _ => Ok(()),
    }
}

/// Is there something to give back?
pub fn is_needed(runtime: &Runtime, pod: &Pod) -> bool {
    pod.network.attachment.is_some()
        || pod.network.namespace.is_some()
        || runtime.paths.pod_run(&pod.id).exists()
}

/// The record of a Pod that has nothing any more.
pub fn forget(pod: &mut Pod) {
    pod.network = Default::default();
    (pod.ipc, pod.uts, pod.init) = (None, None, None);
}
