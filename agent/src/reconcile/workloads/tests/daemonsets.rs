//! DaemonSets.

use k8s_openapi::api::apps::v1::DaemonSet;
use serde_json::{Value, json};

use super::{World, template};
use crate::objects::{Object, Typed};
use crate::reconcile::workloads::{pods, rollout_status};

fn daemon_set(image: &str, strategy: Value) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "web"},
        "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": template(image), "updateStrategy": strategy},
    })
}

fn images(world: &World) -> Vec<String> {
    world.active().into_iter().map(|pod| pod.spec.unwrap().containers[0].image.clone().unwrap()).collect()
}

fn status(world: &World) -> (String, bool) {
    rollout_status(&Object::DaemonSet(world.get::<DaemonSet>("web").into())).unwrap()
}

#[test]
fn one_pod_and_a_new_one_for_a_new_template() {
    let mut world = World::new();
    world.apply(daemon_set("a", json!({})));
    assert!(!status(&world).1);
    world.run();
    assert_eq!(images(&world), ["a"]);
    assert_eq!(status(&world), ("daemon set \"web\" successfully rolled out".into(), true));
    world.apply(daemon_set("b", json!({})));
    world.settle();
    // The old one ends before the new one starts.
    assert!(images(&world).is_empty() && world.pods().len() == 1);
    world.run();
    assert_eq!(images(&world), ["b"]);
    let found = world.get::<DaemonSet>("web").status.unwrap();
    assert_eq!(
        (found.desired_number_scheduled, found.number_ready, found.updated_number_scheduled),
        (1, 1, Some(1))
    );
}

#[test]
fn with_a_surge_the_new_one_comes_first() {
    let mut world = World::new();
    let surge = json!({"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}});
    world.apply(daemon_set("a", surge.clone()));
    world.run();
    world.apply(daemon_set("b", surge));
    world.settle();
    assert_eq!(images(&world).len(), 2);
    world.run();
    assert_eq!(images(&world), ["b"]);
}

#[test]
fn on_delete_waits_for_somebody_to_delete_it() {
    let mut world = World::new();
    world.apply(daemon_set("a", json!({"type": "OnDelete"})));
    world.run();
    world.apply(daemon_set("b", json!({"type": "OnDelete"})));
    world.run();
    assert_eq!(images(&world), ["a"]);
    world.remove(&world.pods()[0].key());
    world.run();
    assert_eq!(images(&world), ["b"]);
}

#[test]
fn one_that_fails_is_replaced_but_not_every_moment() {
    let mut world = World::new();
    world.apply(daemon_set("a", json!({})));
    world.run();
    world.set(&world.pods()[0].key(), "Failed", false);
    world.settle();
    assert!(world.active().is_empty() && world.pods().len() == 1);
    world.pass(pods::REPLACED_AFTER);
    world.run();
    assert_eq!((world.active().len(), world.pods().len()), (1, 1));
    assert!(
        world
            .events
            .iter()
            .any(|event| event.starts_with("FailedDaemonPod: Found failed daemon pod default/web-"))
    );
}
