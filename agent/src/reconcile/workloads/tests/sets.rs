//! ReplicaSets.

use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::{World, template};
use crate::objects::{Key, Kind, Typed};
use crate::reconcile::Action;
use crate::reconcile::workloads::pods;

pub(super) fn set(replicas: i32) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "web"},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": template("a")},
    })
}

fn orphan(name: &str) -> Value {
    let mut pod = template("a");
    pod["apiVersion"] = json!("v1");
    pod["kind"] = json!("Pod");
    pod["metadata"]["name"] = json!(name);
    pod
}

#[test]
fn as_many_pods_as_are_wanted() {
    let mut world = World::new();
    world.apply(set(3));
    world.run();
    let made = world.active();
    assert_eq!(made.len(), 3);
    assert!(made.iter().all(|pod| pod.name().starts_with("web-") && pod.name().len() == 9));
    let owner = &made[0].metadata.owner_references.as_ref().unwrap()[0];
    assert_eq!(
        (owner.kind.as_str(), owner.controller, owner.block_owner_deletion),
        ("ReplicaSet", Some(true), Some(true))
    );
    let status = world.get::<ReplicaSet>("web").status.unwrap();
    assert_eq!((status.replicas, status.ready_replicas, status.available_replicas), (3, Some(3), Some(3)));
    assert_eq!(status.fully_labeled_replicas, Some(3));
    assert_eq!(
        world.events.iter().filter(|event| event.starts_with("SuccessfulCreate: Created pod: web-")).count(),
        3
    );
    world.remove(&made[1].key());
    world.run();
    assert_eq!(world.active().len(), 3);
    world.apply(set(0));
    world.run();
    assert!(world.pods().is_empty());
}

#[test]
fn a_decision_that_comes_again_makes_the_same() {
    let mut world = World::new();
    let key = world.apply(set(3));
    let decide = |world: &World| crate::reconcile::workloads::reconcile(&key, &world.objects, world.now);
    assert_eq!(decide(&world), decide(&world));
    world.settle();
    assert!(decide(&world).actions.is_empty(), "{:?}", decide(&world));
}

#[test]
fn orphans_are_adopted_and_others_let_go() {
    let mut world = World::new();
    world.apply(orphan("before"));
    world.apply(set(2));
    world.run();
    assert_eq!(world.active().len(), 2);
    assert!(pods::labels(&world.get::<ReplicaSet>("web").spec.template.unwrap()).is_some());
    // Another label: it is let go, and another one comes.
    let mut pod = world.get::<Pod>("before");
    pod.metadata.labels.as_mut().unwrap().insert("app".into(), "debug".into());
    world.put(pod.wrap(), false);
    world.run();
    assert_eq!(world.active().len(), 3);
    assert_eq!(world.get::<Pod>("before").metadata.owner_references, None);
    // One that comes later is adopted, and one too many.
    world.apply(orphan("later"));
    world.run();
    assert_eq!(world.active().len(), 3);
}

#[test]
fn which_pods_go_first() {
    let mut world = World::new();
    let key = world.apply(set(5));
    world.settle();
    let names: Vec<Key> = world.pods().iter().map(Typed::key).collect();
    let go = |world: &mut World, replicas| {
        world.apply(set(replicas));
        world.reconcile(&key);
        let gone = world.pods().into_iter().filter(pods_deleted).map(|pod| pod.key()).collect::<Vec<_>>();
        gone.iter().for_each(|key| world.remove(key));
        gone
    };
    fn pods_deleted(pod: &Pod) -> bool {
        pods::is_deleted(pod)
    }
    // Nothing is known of them yet: none goes.
    assert!(go(&mut world, 4).is_empty());
    world.set(&names[0], "Running", true);
    world.set(&names[1], "Running", true);
    world.set(&names[2], "Pending", false);
    world.set(&names[3], "Running", false);
    world.pass(10);
    world.set(&names[4], "Running", true);
    world.restarts(&names[0], 3);
    for (replicas, which) in [(4, 2), (3, 3), (2, 4), (1, 0)] {
        assert_eq!(go(&mut world, replicas), [names[which].clone()], "down to {replicas}");
    }
}

#[test]
fn ended_pods_are_replaced_ever_more_slowly() {
    let mut world = World::new();
    world.apply(set(1));
    for _ in 0..200 {
        world.settle();
        for pod in world.active() {
            world.set(&pod.key(), "Failed", false);
        }
        world.pass(1);
    }
    let made = world.pods().len();
    assert!((5..12).contains(&made), "{made}");
}

#[test]
fn availability_waits_for_min_ready_seconds() {
    let mut world = World::new();
    let mut manifest = set(1);
    manifest["spec"]["minReadySeconds"] = json!(30);
    world.apply(manifest);
    world.run();
    let available = |world: &World| world.get::<ReplicaSet>("web").status.unwrap().available_replicas;
    assert_eq!(available(&world), Some(0));
    let key = Key::new(Kind::ReplicaSet, "default", "web");
    assert_eq!(world.wakes[&key], pods::after(world.now, 30));
    world.pass(30);
    world.settle();
    assert_eq!(available(&world), Some(1));
    assert!(world.wakes.is_empty());
}

#[test]
fn a_quota_leaves_room_for_so_many() {
    let mut world = World::new();
    let quota = |pods: i32| {
        json!({
            "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "few"}, "spec": {"hard": {"pods": pods.to_string()}},
        })
    };
    world.apply(quota(2));
    let key = world.apply(set(3));
    world.run();
    assert_eq!(world.active().len(), 2);
    let condition = world.get::<ReplicaSet>("web").status.unwrap().conditions.unwrap().remove(0);
    assert_eq!(
        (condition.type_.as_deref(), condition.reason.as_deref()),
        (Some("ReplicaFailure"), Some("FailedCreate"))
    );
    let message = condition.message.unwrap();
    assert!(message.starts_with("Error creating: ") && message.contains("few"), "{message}");
    assert!(world.events.iter().any(|event| event.starts_with("FailedCreate: Error creating: ")));
    assert!(world.wakes.contains_key(&key));
    // More room is noticed at once.
    world.apply(quota(3));
    world.run();
    assert_eq!(world.active().len(), 3);
    assert_eq!(world.get::<ReplicaSet>("web").status.unwrap().conditions, None);
}

#[test]
fn limits_of_the_namespace_are_given_to_pods() {
    let mut world = World::new();
    world.apply(json!({
        "apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "some"},
        "spec": {"limits": [{"type": "Container", "default": {"memory": "64Mi"}}]},
    }));
    world.apply(set(1));
    world.run();
    let spec = world.active().remove(0).spec.unwrap();
    let limits = spec.containers[0].resources.clone().unwrap().limits.unwrap();
    assert_eq!(limits["memory"].0, "64Mi");
}

#[test]
fn a_port_of_the_host_is_one_pods() {
    let mut world = World::new();
    let mut manifest = set(2);
    manifest["spec"]["template"]["spec"]["containers"][0]["ports"] =
        json!([{"containerPort": 80, "hostPort": 8080}]);
    world.apply(manifest);
    world.run();
    assert_eq!(world.active().len(), 1);
    assert!(
        world.events.iter().any(|event| event.starts_with("FailedCreate: ") && event.contains("port taken"))
    );
}

#[test]
fn no_more_pods_are_made_than_a_node_takes() {
    let mut world = World::new();
    let mut finished = orphan("done");
    finished["metadata"]["labels"] = json!({});
    finished["status"] = json!({"phase": "Succeeded"});
    world.apply(finished);
    let key = world.apply(set(i32::MAX));
    let decision = crate::reconcile::workloads::reconcile(&key, &world.objects, world.now);
    let made = decision.actions.iter().filter(|action| matches!(action, Action::Create(_))).count();
    assert_eq!(made, crate::api::admission::MOST_PODS);
    let refused = |action: &&Action| matches!(action, Action::Event { message, .. } if message.contains("at most 1000 Pods"));
    assert_eq!(decision.actions.iter().filter(refused).count(), 1);
}
