//! After a start: Pods that were being made, stopped or removed when the last process was killed, and what a reboot has taken.
//!
//! CNI plugins are not waited for before the first request: theirs may be an agent that is a Pod of this node, and starts only when
//! the kubelet is answered.

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rcrun::network::NetworkNamespace;
use tracing::warn;

use super::{namespaces, release, run};
use crate::cni::{Attachment, CniError, ConfList};
use crate::config::Config;
use crate::runtime::Runtime;
use crate::state::{Entry, Pod, PodState};
use crate::work::blocking as in_thread;

/// How often it is tried to find a moment in which no plugin is at work.
const RETRY: Duration = Duration::from_secs(1);

/// What only plugins can give back: [`finish`] has it done while requests are served.
#[derive(Debug, Default)]
pub struct Unfinished {
    /// Not ready, or still being made, which nobody is told of.
    pods: Vec<Arc<Entry<Pod>>>,
    /// The plugins of now.
    plugins: Option<ConfList>,
}

/// Makes Pods' records and the kernel agree, but for what plugins have to do; before the first request. What cannot be cleaned up
/// is logged, and tried again when the Pod is stopped or removed.
pub async fn recover(runtime: &Arc<Runtime>) -> anyhow::Result<Unfinished> {
    let runtime = Arc::clone(runtime);
    Ok(tokio::task::spawn_blocking(move || blocking(&runtime)).await?)
}

fn blocking(runtime: &Runtime) -> Unfinished {
    let config = runtime.config();
    let mut unfinished = Unfinished::default();
    for entry in runtime.pods.entries() {
        let pod = entry.get();
        if !is_lost(runtime, &pod) {
            continue;
        }
        if !has_plugins(&pod) {
            give_back(runtime, &config, &entry);
            continue;
        }
        if pod.state == PodState::Ready {
            runtime.pods.update_or_note(&entry, |pod| pod.state = PodState::NotReady);
        }
        unfinished.pods.push(entry);
    }
    // First those whose names are taken though nobody sees them.
    unfinished.pods.sort_by_key(|entry| entry.get().state != PodState::Making);
    let pods = runtime.pods.list();
    let known: HashSet<&str> = pods.iter().map(|pod| pod.id.as_str()).collect();
    strays(runtime, &config, &known);
    let attached = attached(runtime);
    let attached: Vec<&str> = attached.iter().map(String::as_str).collect();
    if let Err(error) = runtime.network.collect(&config.network, &runtime.paths, &attached) {
        not_collected(&error);
    }
    unfinished.plugins = ConfList::load(&config.network.cni_conf_dir).unwrap_or_else(|error| {
        not_collected(&error);
        None
    });
    unfinished
}

fn attached(runtime: &Runtime) -> Vec<String> {
    let pods = runtime.pods.list();
    pods.iter().filter(|pod| pod.network.attachment.is_some()).map(|pod| pod.id.clone()).collect()
}

fn not_collected(error: &CniError) {
    warn!("give back networks of Pods that are no more: {error}");
}

/// Has plugins give back the networks of Pods that were lost or half made, one after another, and then what they keep of Pods
/// that are no more. The kubelet may ask for the same meanwhile: whoever has the Pod's turn does it.
pub async fn finish(runtime: Arc<Runtime>, unfinished: Unfinished) {
    for entry in unfinished.pods {
        let _turn = entry.turn.lock().await;
        let pod = entry.get();
        // It may have been stopped or removed meanwhile.
        let is_there = runtime.pods.find(&pod.id).is_ok();
        if is_there && (pod.state == PodState::Making || release::is_needed(&runtime, &pod)) {
            let (runtime, entry) = (Arc::clone(&runtime), Arc::clone(&entry));
            let given_back = in_thread(move || {
                give_back(&runtime, &runtime.config(), &entry);
                Ok(())
            });
            if let Err(error) = given_back.await {
                warn!(pod = pod.id, "clean up after Pod sandbox: {}", error.message());
            }
        }
    }
    let Some(plugins) = unfinished.plugins else { return };
    let plugins = Arc::new(plugins);
    while !collect(&runtime, &plugins).await {
        tokio::time::sleep(RETRY).await;
    }
}

/// False: plugins are at work, not now.
async fn collect(runtime: &Arc<Runtime>, plugins: &Arc<ConfList>) -> bool {
    let (runtime, plugins) = (Arc::clone(runtime), Arc::clone(plugins));
    let collected = in_thread(move || {
        let settings = &runtime.config().network;
        Ok(runtime.network.collect_of_plugins(settings, &plugins, || attached(&runtime)))
    });
    match collected.await {
        Ok(None) => return false,
        Ok(Some(Ok(()))) => {}
        Ok(Some(Err(error))) => not_collected(&error),
        Err(error) => warn!("give back networks of Pods that are no more: {}", error.message()),
    }
    true
}

fn has_plugins(pod: &Pod) -> bool {
    let attachment = pod.network.attachment.clone();
    matches!(attachment.map(serde_json::from_value), Some(Ok(Attachment::Cni(_))))
}

/// Gives back what a Pod has that was lost or half made.
fn give_back(runtime: &Runtime, config: &Config, entry: &Entry<Pod>) {
    let pod = entry.get();
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

/// Is there something to clean up after?
fn is_lost(runtime: &Runtime, pod: &Pod) -> bool {
    match pod.state {
        PodState::Ready => has_lost_its_namespaces(runtime, pod),
        PodState::Making => true,
        PodState::NotReady => release::is_needed(runtime, pod),
    }
}

/// As by a reboot.
fn has_lost_its_namespaces(runtime: &Runtime, pod: &Pod) -> bool {
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
