//! What everybody asks of a Pod.

use k8s_openapi::api::core::v1::Pod;

/// Its phase; "" before it has one.
pub fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

/// Whether nothing is known of it yet: it is new, and at most taken to be pending, or the agent is.
pub fn is_unknown(pod: &Pod) -> bool {
    let looked_at = || pod.status.as_ref().is_some_and(|status| status.conditions.is_some());
    match phase(pod) {
        "" => true,
        "Pending" => !looked_at(),
        _ => false,
    }
}

/// Whether it has ended for good: nothing of it will run any more.
pub fn is_finished(pod: &Pod) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}
