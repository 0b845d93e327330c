//! What a Pod's status says, and Pods of templates.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use k8s_openapi::jiff::{SignedDuration, Timestamp};

/// "" where it has no status yet.
pub(super) fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

/// Whether nothing is known of it yet: it is new, or the agent is.
pub(super) fn is_unknown(pod: &Pod) -> bool {
    phase(pod).is_empty()
}

/// Whether it has ended for good.
pub(super) fn is_finished(pod: &Pod) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

/// Whether its deletion has begun.
pub(super) fn is_deleted(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some()
}

/// Whether it counts as a replica.
pub(super) fn is_active(pod: &&Pod) -> bool {
    !is_finished(pod) && !is_deleted(pod)
}

/// Whether it is ready, and since when as far as that is known.
pub(super) fn ready(pod: &Pod) -> Option<Option<Timestamp>> {
    let conditions = pod.status.as_ref()?.conditions.as_deref()?;
    let ready =
        conditions.iter().find(|condition| condition.type_ == "Ready" && condition.status == "True")?;
    Some(ready.last_transition_time.as_ref().map(|time| time.0))
}

/// From when on it is available, if it stays ready.
pub(super) fn available_from(pod: &Pod, min_ready_seconds: Option<i32>) -> Option<Timestamp> {
    match (ready(pod)?, min_ready_seconds.unwrap_or(0)) {
        (_, ..=0) => Some(Timestamp::MIN),
        (since, seconds) => Some(after(since?, seconds.into())),
    }
}

/// Whether it is available now.
pub(super) fn is_available(pod: &Pod, min_ready_seconds: Option<i32>, now: Timestamp) -> bool {
    available_from(pod, min_ready_seconds).is_some_and(|from| from <= now)
}

/// When the next of them becomes available by time alone.
pub(super) fn next_available<'a>(
    pods: impl Iterator<Item = &'a Pod>,
    min_ready_seconds: Option<i32>,
    now: Timestamp,
) -> Option<Timestamp> {
    pods.filter_map(|pod| available_from(pod, min_ready_seconds)).filter(|from| *from > now).min()
}

/// The most restarts of its containers.
pub(super) fn restarts(pod: &Pod) -> i32 {
    let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_deref());
    statuses.unwrap_or_default().iter().map(|status| status.restart_count).max().unwrap_or(0)
}

/// When it was made.
pub(super) fn created(metadata: &ObjectMeta) -> Timestamp {
    metadata.creation_timestamp.as_ref().map_or(Timestamp::MAX, |time| time.0)
}

/// Seconds after a time.
pub(super) fn after(at: Timestamp, seconds: i64) -> Timestamp {
    at.checked_add(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX)
}

/// A Pod of a template, without defaults.
pub(super) fn of_template(
    template: &PodTemplateSpec,
    namespace: &str,
    name: String,
    owner: OwnerReference,
) -> Pod {
    let of = template.metadata.as_ref();
    let metadata = ObjectMeta {
        name: Some(name),
        namespace: Some(namespace.to_owned()),
        labels: of.and_then(|metadata| metadata.labels.clone()),
        annotations: of.and_then(|metadata| metadata.annotations.clone()),
        finalizers: of.and_then(|metadata| metadata.finalizers.clone()),
        owner_references: Some(vec![owner]),
        ..ObjectMeta::default()
    };
    Pod { metadata, spec: template.spec.clone(), status: None }
}

/// Labels of a template.
pub(super) fn labels(template: &PodTemplateSpec) -> Option<&BTreeMap<String, String>> {
    template.metadata.as_ref()?.labels.as_ref()
}

/// How many of some Pods are what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Neither ended nor being deleted.
    pub active: i32,
    /// Of these, those that are ready.
    pub ready: i32,
    /// Of these, those that have been so for long enough.
    pub available: i32,
    /// Being deleted.
    pub terminating: i32,
    /// Those of which nothing is known yet.
    pub unknown: i32,
}

impl Counts {
    /// Counts.
    pub fn of<'a>(
        pods: impl IntoIterator<Item = &'a Pod>,
        min_ready_seconds: Option<i32>,
        now: Timestamp,
    ) -> Self {
        let mut counts = Self::default();
        for pod in pods {
            counts.terminating += i32::from(is_deleted(pod) && !is_finished(pod));
            if is_active(&pod) {
                counts.active += 1;
                counts.ready += i32::from(ready(pod).is_some());
                counts.available += i32::from(is_available(pod, min_ready_seconds, now));
                counts.unknown += i32::from(is_unknown(pod));
            }
        }
        counts
    }
}
