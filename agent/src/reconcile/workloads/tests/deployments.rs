//! Deployments.

use k8s_openapi::api::apps::v1::{Deployment, DeploymentCondition, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::{World, template};
use crate::objects::{Key, Kind, Object, Typed};
use crate::reconcile::workloads::{history, owned, pods, rollback};

pub(super) fn deployment(image: &str, spec: Value) -> Value {
    let mut manifest = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "web"}}, "template": template(image)},
    });
    for (name, value) in spec.as_object().unwrap() {
        manifest["spec"][name] = value.clone();
    }
    manifest
}

fn sizes(world: &World) -> Vec<(String, i32)> {
    let mut sets: Vec<_> = world.list::<ReplicaSet>();
    sets.sort_by_key(|set| {
        set.metadata.annotations.as_ref().unwrap()["deployment.kubernetes.io/revision"].clone()
    });
    let image = |set: &ReplicaSet| {
        set.spec.template.clone().unwrap().spec.unwrap().containers[0].image.clone().unwrap()
    };
    sets.iter().map(|set| (image(set), set.spec.replicas.unwrap())).collect()
}

fn condition(world: &World, kind: &str) -> Option<DeploymentCondition> {
    let conditions = world.get::<Deployment>("web").status.unwrap().conditions.unwrap();
    conditions.into_iter().find(|condition| condition.type_.as_deref() == Some(kind))
}

fn reason(world: &World, kind: &str) -> String {
    condition(world, kind).and_then(|condition| condition.reason).unwrap_or_default()
}

fn images(world: &World) -> Vec<String> {
    world.active().into_iter().map(|pod| pod.spec.unwrap().containers[0].image.clone().unwrap()).collect()
}

#[test]
fn a_first_rollout() {
    let mut world = World::new();
    world.apply(deployment("a", json!({})));
    world.settle();
    let set = &world.list::<ReplicaSet>()[0];
    let hash = &set.metadata.labels.as_ref().unwrap()["pod-template-hash"];
    assert_eq!(set.name(), format!("web-{hash}"));
    assert_eq!(set.spec.selector.match_labels.as_ref().unwrap()["pod-template-hash"], *hash);
    assert!(
        world.pods().iter().all(|pod| pod.metadata.labels.as_ref().unwrap()["pod-template-hash"] == *hash)
    );
    assert_eq!(reason(&world, "Available"), "MinimumReplicasUnavailable");
    world.run();
    let found = world.get::<Deployment>("web");
    assert_eq!(found.metadata.annotations.unwrap()["deployment.kubernetes.io/revision"], "1");
    let status = found.status.unwrap();
    assert_eq!(
        (status.replicas, status.updated_replicas, status.available_replicas),
        (Some(3), Some(3), Some(3))
    );
    assert_eq!(status.observed_generation, found.metadata.generation);
    assert_eq!(reason(&world, "Available"), "MinimumReplicasAvailable");
    assert_eq!(reason(&world, "Progressing"), "NewReplicaSetAvailable");
    let scaled = world.events.iter().find(|event| event.starts_with("ScalingReplicaSet"));
    assert_eq!(*scaled.unwrap(), format!("ScalingReplicaSet: Scaled up replica set web-{hash} from 0 to 3"));
    assert!(world.wakes.is_empty(), "idle: {:?}", world.wakes);
}

#[test]
fn nothing_is_decided_where_nothing_is_to_do() {
    let mut world = World::new();
    world.apply(deployment("a", json!({})));
    world.run();
    let keys: Vec<Key> = world.objects.iter().map(|(key, _)| key.clone()).collect();
    for key in keys {
        let decision = crate::reconcile::workloads::reconcile(&key, &world.objects, world.now);
        assert_eq!(decision, Default::default(), "{key}");
    }
}

#[test]
fn a_rolling_update_and_its_undoing() {
    let mut world = World::new();
    world.apply(deployment("a", json!({})));
    world.run();
    world.apply(deployment("b", json!({})));
    world.settle();
    assert_eq!(sizes(&world), [("a".into(), 3), ("b".into(), 1)]);
    world.run();
    assert_eq!(images(&world), ["b", "b", "b"]);
    assert_eq!(sizes(&world), [("a".into(), 0), ("b".into(), 3)]);
    let found = Object::Deployment(world.get::<Deployment>("web").into());
    assert_eq!(history(&found, &world.objects), [(1, None), (2, None)]);
    let back = rollback(&world.get("web"), 0, &world.objects).unwrap();
    world.put(back.wrap(), true);
    world.run();
    assert_eq!(images(&world), ["a", "a", "a"]);
    assert_eq!(history(&found, &world.objects), [(2, None), (3, None)]);
    let set = world.list::<ReplicaSet>().into_iter().find(|set| set.spec.replicas == Some(3)).unwrap();
    assert_eq!(set.metadata.annotations.unwrap()["deployment.kubernetes.io/revision-history"], "1");
    assert!(
        rollback(&world.get("web"), 9, &world.objects)
            .unwrap_err()
            .contains("unable to find specified revision 9")
    );
    assert_eq!(rollback(&world.get("web"), 3, &world.objects).unwrap(), world.get("web"));
}

#[test]
fn reasons_of_changes_go_with_revisions() {
    let mut world = World::new();
    let cause = |world: &mut World, cause: &str| {
        let mut found = world.get::<Deployment>("web");
        let annotations = found.metadata.annotations.get_or_insert_default();
        annotations.insert("kubernetes.io/change-cause".into(), cause.into());
        annotations.insert("rcrun.dev/manifest".into(), "web.yaml".into());
        world.put(found.wrap(), false);
    };
    world.apply(deployment("a", json!({})));
    cause(&mut world, "first");
    world.run();
    world.apply(deployment("b", json!({})));
    cause(&mut world, "second");
    world.run();
    let found = Object::Deployment(world.get::<Deployment>("web").into());
    assert_eq!(history(&found, &world.objects), [(1, Some("first".into())), (2, Some("second".into()))]);
    let back = rollback(&world.get("web"), 1, &world.objects).unwrap();
    assert_eq!(back.metadata.annotations.as_ref().unwrap()["kubernetes.io/change-cause"], "first");
    assert_eq!(back.metadata.annotations.as_ref().unwrap()["rcrun.dev/manifest"], "web.yaml");
    for set in world.list::<ReplicaSet>() {
        assert!(!set.metadata.annotations.unwrap().contains_key("rcrun.dev/manifest"));
    }
}

#[test]
fn a_change_half_way_through_a_rollout() {
    let mut world = World::new();
    world.apply(deployment("a", json!({})));
    world.run();
    world.apply(deployment("bad", json!({})));
    world.settle();
    let new = world.active().into_iter().find(pods::is_unknown).unwrap();
    world.set(&new.key(), "Pending", false);
    world.apply(deployment("c", json!({})));
    world.settle();
    // The one that does not get ready makes room.
    assert_eq!(sizes(&world), [("a".into(), 3), ("bad".into(), 0), ("c".into(), 1)]);
    world.run();
    assert_eq!(images(&world), ["c", "c", "c"]);
}

#[test]
fn recreate_ends_the_old_before_the_new() {
    let mut world = World::new();
    let spec = json!({"strategy": {"type": "Recreate"}});
    world.apply(deployment("a", spec.clone()));
    world.run();
    world.apply(deployment("b", spec));
    world.settle();
    assert!(world.active().is_empty());
    assert_eq!((world.pods().len(), world.list::<ReplicaSet>().len()), (3, 1));
    world.run();
    assert_eq!(images(&world), ["b", "b", "b"]);
}

#[test]
fn a_pause_stops_rollouts_but_not_scaling() {
    let mut world = World::new();
    world.apply(deployment("a", json!({})));
    world.run();
    world.apply(deployment("b", json!({"paused": true})));
    world.run();
    assert_eq!(images(&world), ["a", "a", "a"]);
    assert_eq!(reason(&world, "Progressing"), "DeploymentPaused");
    world.apply(deployment("b", json!({"paused": true, "replicas": 5})));
    world.run();
    assert_eq!(images(&world).len(), 5);
    world.apply(deployment("b", json!({"replicas": 5})));
    world.run();
    assert_eq!(images(&world), ["b"; 5]);
    assert_eq!(reason(&world, "Progressing"), "NewReplicaSetAvailable");
}

#[test]
fn scaling_in_a_rollout_is_proportional() {
    let mut world = World::new();
    let spec = |replicas: i32| json!({"replicas": replicas, "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 3, "maxUnavailable": 2}}});
    world.apply(deployment("a", spec(10)));
    world.run();
    world.apply(deployment("b", spec(10)));
    world.settle();
    assert_eq!(sizes(&world), [("a".into(), 8), ("b".into(), 5)]);
    world.apply(deployment("b", spec(15)));
    world.settle();
    assert_eq!(sizes(&world), [("a".into(), 11), ("b".into(), 7)]);
    world.run();
    assert_eq!(images(&world), ["b"; 15]);
}

#[test]
fn a_rollout_that_does_not_move_is_told() {
    let mut world = World::new();
    world.apply(deployment("a", json!({"progressDeadlineSeconds": 60})));
    world.run();
    world.apply(deployment("b", json!({"progressDeadlineSeconds": 60})));
    world.settle();
    world.pass(59);
    world.settle();
    assert_ne!(reason(&world, "Progressing"), "ProgressDeadlineExceeded");
    world.pass(1);
    world.settle();
    assert_eq!(reason(&world, "Progressing"), "ProgressDeadlineExceeded");
    assert_eq!(condition(&world, "Progressing").unwrap().status.unwrap(), "False");
    assert_eq!(images(&world).iter().filter(|image| *image == "a").count(), 3);
    world.run();
    assert_eq!(reason(&world, "Progressing"), "NewReplicaSetAvailable");
}

#[test]
fn old_replica_sets_are_forgotten() {
    let mut world = World::new();
    for image in ["a", "b", "c", "d"] {
        world.apply(deployment(image, json!({"revisionHistoryLimit": 1})));
        world.run();
    }
    assert_eq!(sizes(&world), [("c".into(), 0), ("d".into(), 3)]);
}

#[test]
fn a_hash_that_is_taken_is_no_obstacle() {
    let mut world = World::new();
    world.apply(deployment("a", json!({})));
    world.settle();
    let name = world.list::<ReplicaSet>()[0].name().to_owned();
    let mut world = World::new();
    let mut other = deployment("z", json!({"selector": {"matchLabels": {"app": "other"}}}));
    other["kind"] = json!("ReplicaSet");
    other["metadata"]["name"] = json!(name);
    other["spec"]["replicas"] = json!(0);
    world.apply(other);
    world.apply(deployment("a", json!({})));
    world.run();
    assert_eq!(images(&world), ["a"; 3]);
    assert_eq!(world.get::<Deployment>("web").status.unwrap().collision_count, Some(1));
}

#[test]
fn after_a_start_of_the_agent_nothing_changes() {
    let mut world = World::new();
    world.apply(deployment("a", json!({})));
    world.run();
    let before: Vec<String> = world.active().iter().map(|pod| pod.name().to_owned()).collect();
    // Statuses are not kept.
    for object in world.objects.iter().map(|(_, object)| object.clone()).collect::<Vec<_>>() {
        let mut value = object.to_value();
        value.as_object_mut().unwrap().remove("status");
        world.put(Object::from_value(object.kind(), value).unwrap(), false);
    }
    world.run();
    let after: Vec<String> = world.active().iter().map(|pod| pod.name().to_owned()).collect();
    assert_eq!(before, after);
    assert_eq!(reason(&world, "Progressing"), "NewReplicaSetAvailable");
}

#[test]
fn orphaned_replica_sets_are_adopted() {
    let mut world = World::new();
    let key = world.apply(deployment("a", json!({})));
    world.run();
    let names: Vec<String> = world.active().iter().map(|pod| pod.name().to_owned()).collect();
    world.remove(&key);
    let mut set = world.list::<ReplicaSet>()[0].clone();
    set.metadata.owner_references = None;
    world.put(set.wrap(), false);
    world.apply(deployment("a", json!({})));
    world.run();
    assert_eq!(names, world.active().iter().map(|pod| pod.name().to_owned()).collect::<Vec<_>>());
    let found = world.get::<Deployment>("web");
    assert!(world.list::<ReplicaSet>().iter().all(|set| owned::is_controlled_by(&set.metadata, found.uid())));
}

#[test]
fn whom_a_change_concerns() {
    let mut world = World::new();
    world.apply(deployment("a", json!({})));
    world.run();
    let pod = Object::Pod(world.list::<Pod>()[0].clone().into());
    let keys = crate::reconcile::workloads::dependents(&pod, &world.objects);
    assert!(keys.contains(&Key::new(Kind::Deployment, "default", "web")));
    assert!(keys.contains(&world.list::<ReplicaSet>()[0].key()));
}
