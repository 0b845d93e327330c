//! What ResourceQuotas say of their use: `status.hard` and `status.used`. Whether something may be made is [`crate::api::admission`]'s.

use k8s_openapi::api::core::v1::{ResourceQuota, ResourceQuotaStatus};

use super::{Action, Decision};
use crate::objects::{Key, Kind, Object, Objects, Typed, usage};

/// Writes a quota's status, if it is another than it says.
pub fn reconcile(key: &Key, desired: &Objects) -> Decision {
    let Some(quota) = desired.find::<ResourceQuota>(&key.namespace, &key.name) else {
        return Decision::default();
    };
    let status = ResourceQuotaStatus {
        hard: quota.spec.as_ref().and_then(|spec| spec.hard.clone()),
        used: Some(usage::of_quota(desired, quota)),
    };
    if quota.status.as_ref() == Some(&status) {
        return Decision::default();
    }
    let quota = ResourceQuota { status: Some(status), ..quota.clone() };
    Decision { actions: vec![Action::Status(quota.wrap())], wake: None }
}

/// The quotas that count an object.
pub fn dependents(changed: &Object, desired: &Objects) -> Vec<Key> {
    let key = changed.key();
    if key.kind == Kind::Event {
        return Vec::new();
    }
    let counts = |quota: &&ResourceQuota| {
        let mut hard = quota.spec.iter().flat_map(|spec| spec.hard.iter().flatten());
        hard.any(|(name, _)| usage::counts_kind(key.kind, name))
    };
    desired.list_in::<ResourceQuota>(&key.namespace).filter(counts).map(Typed::key).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_quota_says_what_is_used_of_it() {
        let quota = json!({"metadata": {"name": "q", "namespace": "n"},
            "spec": {"hard": {"pods": "4", "requests.memory": "1Gi"}}});
        let pod = |namespace: &str, name: &str| {
            let resources = json!({"requests": {"memory": "64Mi"}});
            let pod = json!({"metadata": {"name": name, "namespace": namespace},
                "spec": {"containers": [{"name": "c", "resources": resources}]}});
            Object::from_value(Kind::Pod, pod).unwrap()
        };
        let quota = Object::from_value(Kind::ResourceQuota, quota).unwrap();
        let key = quota.key();
        let mut objects: Objects =
            [quota, pod("n", "a"), pod("n", "b"), pod("other", "c")].into_iter().collect();
        let actions = reconcile(&key, &objects).actions;
        let [Action::Status(written)] = &actions[..] else { panic!("{actions:?}") };
        assert_eq!(written.to_value()["status"]["used"], json!({"pods": "2", "requests.memory": "128Mi"}));
        objects.insert(written.clone());
        assert_eq!(reconcile(&key, &objects), Decision::default());
        assert_eq!(dependents(&pod("n", "a"), &objects), [key]);
        assert!(dependents(&pod("other", "c"), &objects).is_empty());
    }
}
