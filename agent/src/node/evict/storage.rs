//! limits.ephemeral-storage: what containers write into their root file systems, their logs, and directories on disk.

use k8s_openapi::api::core::v1::{Container, Pod};

use crate::objects::quantity;

/// What one container has on disk, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Written {
    /// Its name.
    pub container: String,
    /// In its root file system.
    pub layer: u64,
    /// By what it said.
    pub logs: u64,
}

/// Whether a container has a limit.
pub(super) fn has_limits(pod: &Pod) -> bool {
    containers(pod).any(|container| limit(container).is_some())
}

/// What is over its limit: a container, or all of them together with the Pod's directories. None: nothing is.
pub(super) fn exceeded(pod: &Pod, written: &[Written], directories: u64) -> Option<String> {
    let of = |written: &Written| written.layer.saturating_add(written.logs);
    for written in written {
        let container = containers(pod).find(|container| container.name == written.container);
        let Some(limit) = container.and_then(limit) else { continue };
        if of(written) > limit {
            return Some(format!(
                "container {}: it holds {} bytes of ephemeral storage, its limit is {limit}",
                written.container,
                of(written)
            ));
        }
    }
    let used = written.iter().map(of).fold(directories, u64::saturating_add);
    let limit = of_all(pod).filter(|limit| used > *limit)?;
    Some(format!("the Pod holds {used} bytes of ephemeral storage, the limit of its containers is {limit}"))
}

/// Of containers together, as kubelet has it: one without a limit adds nothing, and those that run before the others share theirs.
fn of_all(pod: &Pod) -> Option<u64> {
    has_limits(pod).then_some(())?;
    let spec = pod.spec.as_ref()?;
    let of = |container: &Container| limit(container).unwrap_or(0);
    let (mut sidecars, mut most) = (0_u64, 0);
    for container in spec.init_containers.iter().flatten() {
        match container.restart_policy.as_deref() {
            Some("Always") => sidecars = sidecars.saturating_add(of(container)),
            _ => most = most.max(sidecars.saturating_add(of(container))),
        }
    }
    Some(most.max(spec.containers.iter().map(of).fold(sidecars, u64::saturating_add)))
}

fn containers(pod: &Pod) -> impl Iterator<Item = &Container> {
    pod.spec.iter().flat_map(|spec| spec.containers.iter().chain(spec.init_containers.iter().flatten()))
}

fn limit(container: &Container) -> Option<u64> {
    let milli = quantity::milli(container.resources.as_ref()?.limits.as_ref()?.get("ephemeral-storage")?)?;
    u64::try_from(milli / 1000).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(containers: Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": {"containers": containers}}))
            .expect("a Pod")
    }

    fn written(container: &str, layer: u64, logs: u64) -> Written {
        Written { container: container.into(), layer, logs }
    }

    #[test]
    fn a_container_and_all_of_them_have_limits() {
        let limited = |limit: &str| json!({"limits": {"ephemeral-storage": limit}});
        let two = pod(json!([
            {"name": "a", "resources": limited("1Ki")},
            {"name": "b", "resources": limited("2Ki")},
        ]));
        let of = |a: u64, b: u64, directories| {
            exceeded(&two, &[written("a", a, 24), written("b", b, 0)], directories).unwrap_or_default()
        };
        assert_eq!(of(1000, 2048, 0), "");
        assert_eq!(
            of(1001, 0, 0),
            "container a: it holds 1025 bytes of ephemeral storage, its limit is 1024"
        );
        assert_eq!(
            of(1000, 2048, 1),
            "the Pod holds 3073 bytes of ephemeral storage, the limit of its containers is 3072"
        );
        // Only what has a limit.
        let one = pod(json!([{"name": "a", "resources": limited("1Ki")}, {"name": "b"}]));
        assert!(exceeded(&one, &[written("b", 1024, 0)], 0).is_none());
        let none = pod(json!([{"name": "b", "resources": {"requests": {"ephemeral-storage": "1"}}}]));
        assert!(!has_limits(&none) && exceeded(&none, &[written("b", u64::MAX, 1)], 1).is_none());
    }

    #[test]
    fn what_runs_before_the_others_shares_their_limit() {
        let pod: Pod = serde_json::from_value(json!({"spec": {
            "initContainers": [
                {"name": "side", "restartPolicy": "Always", "resources": {"limits": {"ephemeral-storage": "10"}}},
                {"name": "init", "resources": {"limits": {"ephemeral-storage": "100"}}},
            ],
            "containers": [{"name": "main", "resources": {"limits": {"ephemeral-storage": "20"}}}],
        }}))
        .expect("a Pod");
        assert_eq!(of_all(&pod), Some(110));
    }
}
