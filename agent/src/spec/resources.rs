//! `resources`, as the kernel has them.

use k8s_openapi::api::core::v1::{Container, Pod};

use super::qos;
use crate::cri::api::LinuxContainerResources;
use crate::objects::quantity;

/// Microseconds.
const PERIOD: i64 = 100_000;
/// The kernel takes no less, in microseconds.
const LEAST_QUOTA: i64 = 1_000;
const SHARES_OF_A_CPU: i128 = 1024;

/// In thousandths; 0 where it is not said.
pub(super) fn limit(container: &Container, name: &str) -> i128 {
    let limits = container.resources.as_ref().and_then(|resources| resources.limits.as_ref());
    limits.and_then(|limits| limits.get(name)).and_then(quantity::milli).unwrap_or(0)
}

/// In thousandths; 0 where it is not said.
pub(super) fn request(container: &Container, name: &str) -> i128 {
    let requests = container.resources.as_ref().and_then(|resources| resources.requests.as_ref());
    requests.and_then(|requests| requests.get(name)).and_then(quantity::milli).unwrap_or(0)
}

fn is_requested(container: &Container, name: &str) -> bool {
    let requests = container.resources.as_ref().and_then(|resources| resources.requests.as_ref());
    requests.is_some_and(|requests| requests.contains_key(name))
}

/// For a container's cgroup. As kubelet: without a request it gets the least share of processors, not an equal one.
pub(super) fn resources(pod: &Pod, container: &Container) -> LinuxContainerResources {
    let cpu_limit = limit(container, "cpu");
    let cpu_request = if is_requested(container, "cpu") { request(container, "cpu") } else { cpu_limit };
    let memory_limit = limit(container, "memory");
    LinuxContainerResources {
        cpu_period: PERIOD,
        cpu_quota: quota(cpu_limit),
        cpu_shares: shares(cpu_request),
        memory_limit_in_bytes: i64::try_from((memory_limit + 999) / 1000).unwrap_or(i64::MAX),
        oom_score_adj: qos::oom_score_adj(pod, container),
        ..Default::default()
    }
}

fn shares(milli: i128) -> i64 {
    let shares = milli * SHARES_OF_A_CPU / 1000;
    i64::try_from(shares.clamp(2, 262_144)).unwrap_or(2)
}

/// 0: no limit.
fn quota(milli: i128) -> i64 {
    if milli == 0 {
        return 0;
    }
    i64::try_from(milli * i128::from(PERIOD) / 1000).unwrap_or(i64::MAX).max(LEAST_QUOTA)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_and_quotas_are_the_kernels() {
        for (milli, shares_wanted, quota_wanted) in [
            (0, 2, 0),
            (1, 2, 1_000),
            (100, 102, 10_000),
            (1_000, 1_024, 100_000),
            (1 << 20, 262_144, 104_857_600),
        ] {
            assert_eq!((shares(milli), quota(milli)), (shares_wanted, quota_wanted), "{milli}");
        }
    }
}
