//! Pods that a Job ends because it is suspended or wants fewer at a time: they count neither as failed nor as succeeded, however they
//! end. Kubernetes takes its finalizer off them first; here they are marked, and deleted when that can be seen.

use k8s_openapi::api::core::v1::Pod;

use crate::objects::Typed as _;
use crate::reconcile::Action;

/// The annotation of such a Pod.
const RELEASED: &str = "rcrun.dev/released";

/// Whether a Pod does not count any more.
pub(super) fn is_released(pod: &Pod) -> bool {
    pod.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(RELEASED))
}

/// Marks a Pod.
pub(super) fn release(pod: &Pod) -> Action {
    let mut pod = pod.clone();
    pod.metadata.annotations.get_or_insert_default().insert(RELEASED.to_owned(), String::new());
    Action::Update(pod.wrap())
}

/// Takes the mark off a new Pod, whose template may have it from a Pod that was copied: it would be deleted and made for ever.
pub(super) fn take_back(pod: &mut Pod) {
    if let Some(annotations) = &mut pod.metadata.annotations {
        annotations.remove(RELEASED);
    }
}
