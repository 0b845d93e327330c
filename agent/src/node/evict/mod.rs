//! Pods that hold more on disk than they may fail, so that they do not fill it: directories beyond their sizeLimit, containers
//! beyond their limit of ephemeral-storage.

mod storage;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;

use super::{Node, events, store};
use crate::cri::log_directory;
use crate::metrics::{ContainerUsage, usage};
use crate::objects::pod::is_finished;
use crate::objects::{Key, Typed as _};
use crate::reconcile::EventType;
use crate::store::Store;
use crate::volumes;
use storage::Written;

/// As often as kubelet measures.
const EVERY: Duration = Duration::from_secs(10);
const REASON: &str = "Evicted";

/// A Pod that is to go, and why.
pub(super) struct Eviction {
    pub key: Key,
    pub uid: String,
    pub message: String,
}

/// A Pod with a limit, and what there is to be looked at.
struct Limited {
    pod: Arc<Pod>,
    /// Its emptyDirs. What else it was made of may be gone by now, as a ConfigMap.
    plan: volumes::Plan,
    /// Its volumes.
    directory: PathBuf,
    logs: PathBuf,
}

/// Measures for ever, one Pod after the other.
pub(super) async fn watch(node: Node, tell: impl Fn(Eviction) -> bool) {
    loop {
        tokio::time::sleep(EVERY).await;
        let limited = limited(&node);
        let of_containers = match limited.iter().any(|limited| storage::has_limits(&limited.pod)) {
            true => used(&node).await,
            false => HashMap::new(),
        };
        for limited in limited {
            let (key, uid) = (limited.pod.key(), limited.pod.uid().to_owned());
            let of_containers =
                of_containers.get(&(key.namespace.clone(), key.name.clone())).cloned().unwrap_or_default();
            let measured = tokio::task::spawn_blocking(move || exceeded(&limited, of_containers));
            let Ok(Some(message)) = measured.await else { continue };
            if !tell(Eviction { key, uid, message }) {
                return;
            }
        }
    }
}

/// Pods that are not over and have a limit to be watched.
fn limited(node: &Node) -> Vec<Limited> {
    let has_size_limit = |pod: &Pod| {
        let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
        let mut directories = volumes.filter_map(|volume| volume.empty_dir.as_ref());
        directories.any(|directory| directory.size_limit.is_some())
    };
    node.store.read(|objects| {
        let pods = objects.list::<Pod>().filter(|pod| !is_finished(pod));
        let limited = pods.filter(|pod| has_size_limit(pod) || storage::has_limits(pod)).map(|pod| Limited {
            plan: volumes::empty_directories(pod),
            directory: volumes::directory(&node.state, pod.uid()),
            logs: log_directory(&node.settings.logs, pod.namespace(), pod.name(), pod.uid()),
            pod: Arc::new(pod.clone()),
        });
        limited.collect()
    })
}

/// By namespace and Pod. An agent whose runtime does not say ends no Pod for that.
async fn used(node: &Node) -> HashMap<(String, String), Vec<Written>> {
    let mut of_pods: HashMap<(String, String), Vec<Written>> = HashMap::new();
    for ContainerUsage { namespace, pod, container, filesystem, .. } in
        usage(&node.runtime).await.unwrap_or_default()
    {
        let written = Written { container, layer: filesystem.unwrap_or(0), logs: 0 };
        of_pods.entry((namespace, pod)).or_default().push(written);
    }
    of_pods
}

/// What the Pod has too much of. Blocks.
fn exceeded(limited: &Limited, mut written: Vec<Written>) -> Option<String> {
    let Limited { pod, plan, directory, logs } = limited;
    if let Some(volume) = volumes::exceeded(plan, directory) {
        return Some(volume.to_string());
    }
    if !storage::has_limits(pod) {
        return None;
    }
    for written in &mut written {
        written.logs = volumes::disk_usage(&logs.join(&written.container));
    }
    storage::exceeded(pod, &written, volumes::disk_usage_of(plan, directory))
}

/// Says that the Pod has failed, after which it is ended as any other that is over.
pub(super) fn fail(of: &Store, eviction: &Eviction, now: Timestamp) -> Result<(), crate::store::StoreError> {
    let Eviction { key, uid, message } = eviction;
    let Some(pod) = store::pod(of, key, uid).filter(|pod| !is_finished(pod)) else { return Ok(()) };
    let mut failed = Pod::clone(&pod);
    let status = failed.status.get_or_insert_default();
    status.phase = Some("Failed".into());
    status.reason = Some(REASON.into());
    status.message = Some(message.clone());
    store::put_status(of, &failed.wrap())?;
    events::tell(of, key, uid, EventType::Warning, REASON, message, now);
    Ok(())
}
