//! StatefulSets.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use serde_json::{Value, json};

use super::{World, template};
use crate::objects::{Key, Kind, Object, Typed};
use crate::reconcile::workloads::{pods, rollout_status};

fn set(image: &str, replicas: i32, more: Value) -> Value {
    let mut manifest = json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db"},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": template(image), "serviceName": "db",
        },
    });
    for (name, value) in more.as_object().unwrap() {
        manifest["spec"][name] = value.clone();
    }
    manifest
}

fn pod_key(ordinal: usize) -> Key {
    Key::new(Kind::Pod, "default", format!("db-{ordinal}"))
}

fn images(world: &World) -> Vec<(String, String)> {
    let image = |pod: Pod| (pod.name().to_owned(), pod.spec.unwrap().containers[0].image.clone().unwrap());
    world.active().into_iter().map(image).collect()
}

fn all(names: &[(&str, &str)]) -> Vec<(String, String)> {
    names.iter().map(|(name, image)| ((*name).to_owned(), (*image).to_owned())).collect()
}

#[test]
fn pods_come_one_after_the_other_and_go_the_other_way() {
    let mut world = World::new();
    world.apply(set("a", 3, json!({})));
    for count in 1..=3 {
        world.settle();
        assert_eq!(world.active().len(), count);
        world.set(&pod_key(count - 1), "Running", true);
    }
    world.settle();
    let pod = world.get::<Pod>("db-1");
    let labels = pod.metadata.labels.unwrap();
    assert_eq!(
        (
            labels["statefulset.kubernetes.io/pod-name"].as_str(),
            labels["apps.kubernetes.io/pod-index"].as_str()
        ),
        ("db-1", "1")
    );
    let spec = pod.spec.unwrap();
    assert_eq!((spec.hostname.unwrap().as_str(), spec.subdomain.unwrap().as_str()), ("db-1", "db"));
    world.apply(set("a", 1, json!({})));
    world.settle();
    assert_eq!(world.active().len(), 2, "one at a time");
    world.remove(&pod_key(2));
    world.settle();
    assert_eq!(images(&world), all(&[("db-0", "a")]));
    assert!(
        world.events.contains(&"SuccessfulDelete: delete Pod db-2 in StatefulSet db successful".to_owned())
    );
}

#[test]
fn in_parallel_all_at_once() {
    let mut world = World::new();
    world.apply(set("a", 3, json!({"podManagementPolicy": "Parallel"})));
    world.settle();
    assert_eq!(world.active().len(), 3);
    world.apply(set("a", 0, json!({"podManagementPolicy": "Parallel"})));
    world.settle();
    assert!(world.active().is_empty());
}

#[test]
fn an_update_goes_from_the_highest_to_the_lowest() {
    let mut world = World::new();
    world.apply(set("a", 3, json!({})));
    world.run();
    world.apply(set("b", 3, json!({})));
    world.settle();
    assert_eq!(images(&world), all(&[("db-0", "a"), ("db-1", "a")]));
    world.remove(&pod_key(2));
    world.settle();
    assert_eq!(
        images(&world),
        all(&[("db-0", "a"), ("db-1", "a"), ("db-2", "b")]),
        "it waits until that one is ready"
    );
    world.run();
    assert_eq!(images(&world), all(&[("db-0", "b"), ("db-1", "b"), ("db-2", "b")]));
    let found = world.get::<StatefulSet>("db");
    let status = found.status.clone().unwrap();
    assert_eq!(status.current_revision, status.update_revision);
    assert_eq!(
        (status.current_replicas, status.updated_replicas, status.ready_replicas),
        (Some(3), Some(3), Some(3))
    );
    assert!(rollout_status(&Object::StatefulSet(found.into())).unwrap().1);
}

#[test]
fn below_a_partition_the_old_template_stays() {
    let mut world = World::new();
    let partition = json!({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}});
    world.apply(set("a", 3, json!({})));
    world.run();
    world.apply(set("b", 3, partition));
    world.run();
    assert_eq!(images(&world), all(&[("db-0", "a"), ("db-1", "a"), ("db-2", "b")]));
    world.remove(&pod_key(0));
    world.run();
    assert_eq!(images(&world)[0].1, "a");
    let status = rollout_status(&Object::StatefulSet(world.get::<StatefulSet>("db").into())).unwrap();
    assert_eq!(status, ("partitioned roll out complete: 1 new pods have been updated...".into(), true));
    world.apply(set("b", 3, json!({})));
    world.run();
    assert_eq!(images(&world), all(&[("db-0", "b"), ("db-1", "b"), ("db-2", "b")]));
}

#[test]
fn on_delete_changes_nothing_by_itself() {
    let mut world = World::new();
    let strategy = json!({"updateStrategy": {"type": "OnDelete"}});
    world.apply(set("a", 2, strategy.clone()));
    world.run();
    world.apply(set("b", 2, strategy));
    world.run();
    world.remove(&pod_key(0));
    world.run();
    assert_eq!(images(&world), all(&[("db-0", "b"), ("db-1", "a")]));
}

#[test]
fn claims_are_made_and_stay() {
    let mut world = World::new();
    let templates = json!({"volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}]});
    world.apply(set("a", 2, templates.clone()));
    world.run();
    let claims = |world: &World| {
        world.list::<PersistentVolumeClaim>().iter().map(|claim| claim.name().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(claims(&world), ["data-db-0", "data-db-1"]);
    let volume = world.get::<Pod>("db-1").spec.unwrap().volumes.unwrap().remove(0);
    assert_eq!(
        (volume.name.as_str(), volume.persistent_volume_claim.unwrap().claim_name.as_str()),
        ("data", "data-db-1")
    );
    world.apply(set("a", 0, templates.clone()));
    world.run();
    assert_eq!((claims(&world).len(), world.pods().len()), (2, 0));
    world.apply(set("a", 2, templates));
    world.run();
    assert_eq!(claims(&world).len(), 2);
}

#[test]
fn one_that_fails_comes_again_under_its_name() {
    let mut world = World::new();
    world.apply(set("a", 1, json!({})));
    world.run();
    world.set(&pod_key(0), "Failed", false);
    world.pass(pods::REPLACED_AFTER);
    world.run();
    assert_eq!(images(&world), all(&[("db-0", "a")]));
    assert!(
        world.events.contains(
            &"RecreatingFailedPod: StatefulSet default/db is recreating failed Pod db-0".to_owned()
        )
    );
}

#[test]
fn nothing_is_decided_where_nothing_is_to_do() {
    let mut world = World::new();
    let key = world.apply(set("a", 2, json!({})));
    world.run();
    let decision = crate::reconcile::workloads::reconcile(&key, &world.objects, world.now);
    assert_eq!(decision, Default::default());
}
