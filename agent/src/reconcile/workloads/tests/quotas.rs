//! Quotas and limits hold for what controllers make, whatever it is.

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use serde_json::{Value, json};

use super::World;
use super::sets::set;

fn quota(resource: &str, hard: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "few"}, "spec": {"hard": {resource: hard}},
    })
}

#[test]
fn a_quota_holds_for_claims_of_a_stateful_set() {
    for (policy, resource, hard, more) in [
        ("OrderedReady", "persistentvolumeclaims", "1", "3"),
        ("Parallel", "persistentvolumeclaims", "1", "3"),
        ("Parallel", "requests.storage", "1Gi", "3Gi"),
    ] {
        let mut world = World::new();
        world.apply(quota(resource, hard));
        let mut manifest = set(3);
        manifest["kind"] = "StatefulSet".into();
        manifest["spec"]["podManagementPolicy"] = policy.into();
        manifest["spec"]["volumeClaimTemplates"] = json!([{
            "metadata": {"name": "data"},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
        }]);
        let key = world.apply(manifest);
        world.run();
        let found = (world.list::<PersistentVolumeClaim>().len(), world.active().len());
        assert_eq!(found, (1, 1), "{policy} {resource}");
        let told = "FailedCreate: create Claim data-web-1 for Pod web-1 in StatefulSet web failed error: ";
        let event = world.events.iter().find(|event| event.starts_with(told));
        assert!(event.is_some_and(|event| event.contains("exceeded quota: few")), "{:?}", world.events);
        assert!(world.wakes.contains_key(&key));
        // More room is noticed at once.
        world.apply(quota(resource, more));
        world.run();
        assert_eq!((world.list::<PersistentVolumeClaim>().len(), world.active().len()), (3, 3), "{policy}");
    }
}

#[test]
fn a_limit_range_holds_for_claims_of_a_stateful_set() {
    let mut world = World::new();
    world.apply(json!({
        "apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "some"},
        "spec": {"limits": [{"type": "PersistentVolumeClaim", "max": {"storage": "1Gi"}}]},
    }));
    let mut manifest = set(1);
    manifest["kind"] = "StatefulSet".into();
    manifest["spec"]["volumeClaimTemplates"] = json!([{
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "2Gi"}}},
    }]);
    world.apply(manifest);
    world.run();
    assert!(world.list::<PersistentVolumeClaim>().is_empty() && world.active().is_empty());
    assert!(world.events.iter().any(|event| event.contains("maximum storage usage")), "{:?}", world.events);
}

#[test]
fn a_quota_holds_for_replica_sets_of_a_deployment() {
    for strategy in ["RollingUpdate", "Recreate"] {
        let mut world = World::new();
        world.apply(quota("count/replicasets.apps", "1"));
        let mut manifest = set(2);
        manifest["kind"] = "Deployment".into();
        manifest["spec"]["strategy"] = json!({"type": strategy});
        let key = world.apply(manifest.clone());
        world.run();
        assert_eq!((world.list::<ReplicaSet>().len(), world.active().len()), (1, 2));
        manifest["spec"]["template"]["spec"]["containers"][0]["image"] = "b".into();
        world.apply(manifest);
        world.run();
        assert_eq!(world.list::<ReplicaSet>().len(), 1, "{strategy}");
        // What runs stays, where it does not have to go first.
        assert_eq!(world.active().len(), if strategy == "Recreate" { 0 } else { 2 });
        let told =
            |event: &&String| event.starts_with("ReplicaSetCreateError: Failed to create new replica set ");
        let event = world.events.iter().find(told);
        assert!(event.is_some_and(|event| event.contains("exceeded quota: few")), "{:?}", world.events);
        let conditions = world.get::<Deployment>("web").status.unwrap().conditions.unwrap();
        let progressing = conditions.iter().find(|is| is.type_.as_deref() == Some("Progressing")).unwrap();
        assert_eq!(progressing.reason.as_deref(), Some("ReplicaSetCreateError"), "{strategy}");
        assert!(world.wakes.contains_key(&key));
        world.apply(quota("count/replicasets.apps", "2"));
        world.run();
        assert_eq!((world.list::<ReplicaSet>().len(), world.active().len()), (2, 2), "{strategy}");
    }
}
