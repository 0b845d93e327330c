//! Pods whose directories grew beyond their sizeLimit fail, so that they do not fill the disk.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;

use super::{Node, events, store};
use crate::objects::pod::is_finished;
use crate::objects::{Key, Typed as _};
use crate::reconcile::EventType;
use crate::store::Store;
use crate::volumes;

/// As often as kubelet measures.
const EVERY: Duration = Duration::from_secs(10);
const REASON: &str = "Evicted";

/// A Pod that is to go, and why.
pub(super) struct Eviction {
    pub key: Key,
    pub uid: String,
    pub message: String,
}

/// Measures for ever, one volume after the other.
pub(super) async fn watch(node: Node, tell: impl Fn(Eviction) -> bool) {
    loop {
        tokio::time::sleep(EVERY).await;
        for (key, uid, plan) in limited(&node.store) {
            let directory = volumes::directory(&node.state, &uid);
            let measured = tokio::task::spawn_blocking(move || volumes::exceeded(&plan, &directory));
            let Ok(Some(exceeded)) = measured.await else { continue };
            if !tell(Eviction { key, uid, message: exceeded.to_string() }) {
                return;
            }
        }
    }
}

/// Running Pods that have a limit to be watched.
fn limited(store: &Store) -> Vec<(Key, String, volumes::Plan)> {
    let has_limit = |pod: &&Pod| {
        let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
        let mut directories = volumes.filter_map(|volume| volume.empty_dir.as_ref());
        !is_finished(pod) && directories.any(|directory| directory.size_limit.is_some())
    };
    store.read(|objects| {
        let plans = objects.list::<Pod>().filter(has_limit).filter_map(|pod| {
            let plan = volumes::plan(pod, objects).ok()?;
            plan.has_limits().then(|| (pod.key(), pod.uid().to_owned(), plan))
        });
        plans.collect()
    })
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
