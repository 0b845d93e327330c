//! What a Pod's status says, and Pods of templates.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ContainerState, Pod, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use k8s_openapi::jiff::{SignedDuration, Timestamp};

pub(super) use crate::objects::pod::{is_finished, is_unknown, phase};

/// The annotation by which a Pod is deleted before others, or after them.
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// Seconds after its start before a Pod that ended as a whole is replaced: one that fails at once would be made without end.
pub(super) const REPLACED_AFTER: i64 = 10;

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

/// In the order in which Kubernetes deletes them: those that do not run or are not ready first, then the younger ones.
pub(super) fn least_needed_first<'a>(pods: &[&'a Pod]) -> Vec<&'a Pod> {
    let mut sorted = pods.to_vec();
    sorted.sort_by_cached_key(|pod| {
        let place = ["", "Pending", "Unknown"].iter().position(|other| *other == phase(pod)).unwrap_or(3);
        let annotations = pod.metadata.annotations.as_ref();
        let cost = annotations.and_then(|all| all.get(DELETION_COST)?.parse::<i32>().ok()).unwrap_or(0);
        let ready = ready(pod);
        let created = Reverse(created(&pod.metadata));
        let last = (Reverse(ready.flatten()), Reverse(restarts(pod)), created, pod.metadata.uid.clone());
        (place, ready.is_some(), cost, last)
    });
    sorted
}

/// When its last container ended.
pub(super) fn finished(pod: &Pod) -> Option<Timestamp> {
    let statuses = pod.status.as_ref()?.container_statuses.as_deref()?;
    let ended = |state: &ContainerState| state.terminated.as_ref()?.finished_at.as_ref().map(|time| time.0);
    statuses.iter().filter_map(|status| ended(status.state.as_ref()?)).max()
}

/// When it was made.
pub(super) fn created(metadata: &ObjectMeta) -> Timestamp {
    metadata.creation_timestamp.as_ref().map_or(Timestamp::MAX, |time| time.0)
}

/// Until when the next Pod waits after those that failed at these times: from the newest on, a number of seconds that each doubles, from the
/// first to the longest.
pub(super) fn delayed(
    failures: impl Iterator<Item = Timestamp>,
    (first, longest): (i64, i64),
    now: Timestamp,
) -> Option<Timestamp> {
    let failures: Vec<Timestamp> = failures.collect();
    let newest = *failures.iter().max()?;
    let doublings = u32::try_from(failures.len() - 1).unwrap_or(u32::MAX).min(16);
    let until = after(newest, (first << doublings).min(longest));
    // What is still to come was so before the clock was set back.
    (until > now && newest <= now).then_some(until)
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

/// Adds labels to a Pod.
pub(super) fn label<const N: usize>(pod: &mut Pod, labels: [(&str, &str); N]) {
    let all = pod.metadata.labels.get_or_insert_default();
    all.extend(labels.map(|(name, value)| (name.to_owned(), value.to_owned())));
}

/// A label of a Pod.
pub(super) fn label_of<'a>(pod: &'a Pod, name: &str) -> Option<&'a str> {
    pod.metadata.labels.as_ref()?.get(name).map(String::as_str)
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
