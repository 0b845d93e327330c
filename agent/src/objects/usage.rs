//! What an object counts in quotas. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, ResourceQuota};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::pod::is_finished;
use super::quantity::{Format, of_milli, parse};
use super::{Kind, Object, Objects};

/// Amounts by the names that quotas have for them: `pods`, `requests.cpu`, `count/deployments.apps`.
pub type Usage = BTreeMap<String, Quantity>;

/// What Pods are counted by, beside their number.
const OF_PODS: [(&str, &str, bool); 8] = [
    ("cpu", "cpu", false),
    ("memory", "memory", false),
    ("requests.cpu", "cpu", false),
    ("requests.memory", "memory", false),
    ("requests.ephemeral-storage", "ephemeral-storage", false),
    ("limits.cpu", "cpu", true),
    ("limits.memory", "memory", true),
    ("limits.ephemeral-storage", "ephemeral-storage", true),
];

/// Whether a quota may limit this.
pub fn is_counted(resource: &str) -> bool {
    let kind = |name: &str| Kind::ALL.iter().any(|kind| kind.namespaced() && count_name(*kind) == name);
    let others = ["services.nodeports", "services.loadbalancers", "requests.storage"];
    OF_PODS.iter().any(|(name, ..)| *name == resource)
        || others.contains(&resource)
        || plain_name(resource)
        || resource.strip_prefix("count/").is_some_and(kind)
}

/// Kinds that have a name of their own in quotas.
fn plain_name(resource: &str) -> bool {
    ["pods", "services", "configmaps", "secrets", "persistentvolumeclaims", "resourcequotas"]
        .contains(&resource)
}

/// `deployments.apps`, `pods`.
fn count_name(kind: Kind) -> String {
    match kind.api_version().split_once('/') {
        Some((group, _)) => format!("{}.{group}", kind.plural()),
        None => kind.plural().into(),
    }
}

/// What one object counts for a resource, in thousandths.
pub fn of_object(object: &Object, resource: &str) -> i128 {
    const ONE: i128 = 1000;
    let kind = object.kind();
    if resource.strip_prefix("count/").is_some_and(|name| name == count_name(kind)) {
        return ONE;
    }
    match object {
        // What has ended uses nothing.
        Object::Pod(pod) if is_finished(pod) => 0,
        Object::Pod(_) if resource == "pods" => ONE,
        Object::Pod(pod) => of_pod(pod, resource),
        Object::Service(service) if resource == "services.nodeports" => {
            let ports = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
            ports.filter(|port| port.node_port.is_some()).count() as i128 * ONE
        }
        Object::PersistentVolumeClaim(claim) if resource == "requests.storage" => {
            let resources = claim.spec.as_ref().and_then(|spec| spec.resources.as_ref());
            amount(resources.and_then(|resources| resources.requests.as_ref()), "storage").unwrap_or(0)
        }
        _ if plain_name(resource) && resource == kind.plural() => ONE,
        _ => 0,
    }
}

fn of_pod(pod: &Pod, resource: &str) -> i128 {
    let of = OF_PODS.iter().find(|(name, ..)| *name == resource);
    let (Some((_, name, limits)), Some(spec)) = (of, &pod.spec) else { return 0 };
    pod_amount(spec, name, *limits)
}

fn amount(amounts: Option<&BTreeMap<String, Quantity>>, name: &str) -> Option<i128> {
    parse(&amounts?.get(name)?.0).map(|(milli, _)| milli)
}

/// What a container requests, or is limited to, in thousandths.
pub fn container_amount(container: &Container, name: &str, limits: bool) -> Option<i128> {
    let resources = container.resources.as_ref()?;
    amount(if limits { resources.limits.as_ref() } else { resources.requests.as_ref() }, name)
}

/// What a Pod requests or is limited to at once, in thousandths: its containers with its sidecars, or an init container with the sidecars that
/// were started before it, if that is more.
pub fn pod_amount(spec: &PodSpec, name: &str, limits: bool) -> i128 {
    let of = |container: &Container| container_amount(container, name, limits).unwrap_or(0);
    let (mut sidecars, mut most) = (0, 0);
    for container in spec.init_containers.iter().flatten() {
        if container.restart_policy.as_deref() == Some("Always") {
            sidecars += of(container);
        } else {
            most = most.max(sidecars + of(container));
        }
    }
    most.max(sidecars + spec.containers.iter().map(of).sum::<i128>())
}

/// What Pods have to say of every container where a quota limits it: (the resource, "limits" or "requests").
pub fn must_say(resource: &str) -> Option<(&'static str, bool)> {
    let of = OF_PODS.iter().find(|(name, ..)| *name == resource);
    of.map(|(_, name, limits)| (*name, *limits)).filter(|(name, _)| *name != "ephemeral-storage")
}

/// What the objects of a quota's namespace use of what it limits, in thousandths.
pub fn used(objects: &Objects, namespace: &str, resource: &str) -> i128 {
    let kinds = Kind::ALL.iter().copied().filter(|kind| kind.namespaced() && counts_kind(*kind, resource));
    let of =
        |kind| objects.of_kind_in(kind, namespace).map(|object| of_object(object, resource)).sum::<i128>();
    kinds.map(of).sum()
}

/// Whether objects of a kind may count for a resource.
pub fn counts_kind(kind: Kind, resource: &str) -> bool {
    match resource.strip_prefix("count/") {
        Some(name) => name == count_name(kind),
        None if plain_name(resource) => resource == kind.plural(),
        None if resource.starts_with("services.") => kind == Kind::Service,
        None if resource == "requests.storage" => kind == Kind::PersistentVolumeClaim,
        None => kind == Kind::Pod,
    }
}

/// A quota's `status.used`, written as its limits are.
pub fn of_quota(objects: &Objects, quota: &ResourceQuota) -> Usage {
    let namespace = quota.metadata.namespace.as_deref().unwrap_or_default();
    let hard = quota.spec.iter().flat_map(|spec| spec.hard.iter().flatten());
    let used = hard.map(|(name, limit)| {
        let format = parse(&limit.0).map_or(Format::Decimal, |(_, format)| format);
        (name.clone(), of_milli(used(objects, namespace, name), format))
    });
    used.collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_counts_what_it_needs_at_once() {
        let container = |cpu: &str, policy: Option<&str>| json!({"name": "c", "resources": {"requests": {"cpu": cpu}}, "restartPolicy": policy});
        let pod = json!({"spec": {
            "initContainers": [container("3", None), container("1", Some("Always")), container("500m", None)],
            "containers": [container("1", None), container("250m", None)],
        }});
        let pod = Object::from_value(Kind::Pod, pod).unwrap();
        assert_eq!(of_object(&pod, "requests.cpu"), 3000);
        assert_eq!(of_object(&pod, "cpu"), 3000);
        assert_eq!(of_object(&pod, "limits.cpu"), 0);
        assert_eq!(of_object(&pod, "pods"), 1000);
        assert_eq!(of_object(&pod, "count/pods"), 1000);
        assert_eq!(of_object(&pod, "secrets"), 0);
        let done = json!({"spec": {"containers": []}, "status": {"phase": "Failed"}});
        assert_eq!(of_object(&Object::from_value(Kind::Pod, done).unwrap(), "pods"), 0);
    }

    #[test]
    fn what_quotas_may_limit_is_known() {
        for name in
            ["pods", "limits.memory", "count/deployments.apps", "count/jobs.batch", "requests.storage", "cpu"]
        {
            assert!(is_counted(name), "{name}");
        }
        for name in ["pod", "count/deployments", "count/nodes", "requests.nvidia.com/gpu", ""] {
            assert!(!is_counted(name), "{name}");
        }
    }
}
