//! The quality of service of a Pod, by which it is told who ends first when memory is short.

use k8s_openapi::api::core::v1::{Container, Pod};

use super::{containers, machine, resources};

/// The `Guaranteed`, `Burstable` or `BestEffort` of a Pod.
pub fn qos_class(pod: &Pod) -> &'static str {
    let names = ["cpu", "memory"];
    let mut limited = true;
    let mut asked = false;
    let mut equal = true;
    for container in containers(pod) {
        for name in names {
            let limit = resources::limit(container, name);
            let request = resources::request(container, name);
            limited &= limit > 0;
            asked |= limit > 0 || request > 0;
            // A request that is not said is its limit.
            equal &= request == 0 || request == limit;
        }
    }
    match (asked, limited && equal) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

const OF_GUARANTEED: i64 = -997;
const OF_BEST_EFFORT: i64 = 1000;

/// Of a container, from -1000 (never killed) to 1000 (first). Who asked for more of the machine's memory is killed later, so that
/// it is killed for what it uses above what it asked for.
pub(super) fn oom_score_adj(pod: &Pod, container: &Container) -> i64 {
    match qos_class(pod) {
        "Guaranteed" => return OF_GUARANTEED,
        "BestEffort" => return OF_BEST_EFFORT,
        _ => {}
    }
    let score = |bytes: i64| 1000 - bytes.saturating_mul(1000) / machine::memory().max(1);
    let mut adjusted = score(memory_request(container));
    let is_sidecar = container.restart_policy.as_deref() == Some("Always")
        && pod
            .spec
            .as_ref()
            .is_some_and(|spec| !spec.containers.iter().any(|main| main.name == container.name));
    if is_sidecar {
        // Whom it serves must not outlive it.
        let mains = pod.spec.iter().flat_map(|spec| &spec.containers);
        let least = mains.map(memory_request).min().unwrap_or(0);
        adjusted = adjusted.min(score(least));
    }
    adjusted.clamp(1000 + OF_GUARANTEED, OF_BEST_EFFORT - 1)
}

fn memory_request(container: &Container) -> i64 {
    let bytes = |milli: i128| i64::try_from(milli / 1000).unwrap_or(i64::MAX);
    match resources::request(container, "memory") {
        0 => bytes(resources::limit(container, "memory")),
        request => bytes(request),
    }
}
