//! After a start: Pods that were being made, stopped or removed when the last process was killed, and what a reboot has taken.

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use rcrun::network::NetworkNamespace;
use tracing::warn;

use super::{namespaces, release, run};
use crate::config::Config;
use crate::runtime::Runtime;
use crate::state::{Entry, Pod, PodState};

/// Makes Pods' records and the kernel agree; before the first request. What cannot be cleaned up is logged, and tried again when
/// the Pod is stopped or removed.
pub async fn recover(runtime: &Arc<Runtime>) -> anyhow::Result<()> {
    let runtime = Arc::clone(runtime);
    tokio::task::spawn_blocking(move || blocking(&runtime)).await?;
    Ok(())
}

fn blocking(runtime: &Runtime) {
    let config = runtime.config();
    for entry in runtime.pods.entries() {
        one(runtime, &config, &entry);
    }
    let pods = runtime.pods.list();
    let known: HashSet<&str> = pods.iter().map(|pod| pod.id.as_str()).collect();
    strays(runtime, &config, &known);
    let attached: Vec<&str> =
        pods.iter().filter(|pod| pod.network.attachment.is_some()).map(|pod| pod.id.as_str()).collect();
    if let Err(error) = runtime.network.collect(&config.network, &runtime.paths, &attached) {
        warn!("give back networks of Pods that are no more: {error}");
    }
}

fn one(runtime: &Runtime, config: &Config, entry: &Entry<Pod>) {
    let pod = entry.get();
    let is_lost = match pod.state {
        PodState::Ready => is_lost(runtime, &pod),
        PodState::Making => true,
        PodState::NotReady => release::is_needed(runtime, &pod),
    };
    if !is_lost {
        return;
    }
    let left = release::release(runtime, config, &pod);
    let done = if !left.is_empty() {
        warn!(pod = pod.id, "clean up after Pod sandbox: {}", left.join("; "));
        runtime.pods.update_or_note(entry, |pod| pod.state = PodState::NotReady);
        Ok(())
    } else if pod.state == PodState::Making {
        // Nobody was told of it.
        runtime.pods.remove(&pod.id)
    } else {
        let change = |pod: &mut Pod| {
            pod.state = PodState::NotReady;
            release::forget(pod);
        };
        runtime.pods.update_or_note(entry, change);
        Ok(())
    };
    if let Err(error) = done {
        warn!(pod = pod.id, "record of Pod sandbox: {error}");
    }
}

/// Has it lost its namespaces, as by a reboot?
fn is_lost(runtime: &Runtime, pod: &Pod) -> bool {
    let pins = [&pod.network.namespace, &pod.ipc, &pod.uts];
    !runtime.paths.pod_run(&pod.id).exists()
        || pins.into_iter().flatten().any(|pin| !namespaces::is_pinned(pin))
}

/// What belongs to no Pod: a record that could not be read or was being removed has left it.
fn strays(runtime: &Runtime, config: &Config, known: &HashSet<&str>) {
    for name in names(&runtime.paths.run.join("pods")) {
        if !known.contains(name.as_str()) {
            let _ = super::init::end(runtime, &name);
            // Only that of a directory of ours: others may name theirs as we do. It is made after the directory, and goes before it.
            let namespace = config.network.netns_dir.join(format!("{}{name}", run::PREFIX));
            if let Err(error) = NetworkNamespace::remove(&namespace) {
                warn!("stray network namespace {}: {error}", namespace.display());
            }
            if let Err(error) = release::volatile(&runtime.paths.pod_run(&name)) {
                warn!("stray Pod {name}: {error}");
            }
        }
    }
    for name in names(&runtime.paths.state.join("pods")) {
        let directory = runtime.paths.pod_state(&name);
        // One with a record that cannot be read is for people to look at.
        if !known.contains(name.as_str())
            && is_id(&name)
            && !directory.join("record.json").exists()
            && let Err(error) = fs::remove_dir_all(&directory)
        {
            warn!("stray Pod {}: {error}", directory.display());
        }
    }
}

fn is_id(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}
