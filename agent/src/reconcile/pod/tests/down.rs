use serde_json::json;

use super::super::simulator::{UID, World};
use super::{many, one, running, two};

#[test]
fn a_deleted_pod_ends_and_nothing_is_left() {
    let mut world = running(two());
    world.delete(30);
    world.go();
    let order = ["Stop a 30", "Stop b 30", "StopSandbox", "RemoveSandbox", "TearDown"];
    assert_eq!(world.take(), order);
    assert!(world.pod().is_none() && world.sandboxes.is_empty() && world.containers.is_empty());
    assert!(world.seen().is_over());
    assert!(world.events.contains(&"Killing: Stopping container a".into()));
    assert_eq!(world.go(), Default::default());
}

#[test]
fn sidecars_end_last_in_reverse_with_what_is_left_of_the_grace() {
    let mut world = running(many("Always"));
    world.delete(30);
    world.decide();
    assert_eq!(world.take(), ["Stop a 30", "Stop b 30"]);
    world.advance(10);
    world.finish(0, false);
    world.decide();
    assert_eq!(world.take(), Vec::<String>::new());
    world.finish(0, false);
    world.decide();
    assert_eq!(world.take(), ["Stop t 20"]);
    world.advance(25);
    world.finish(0, false);
    world.go();
    assert_eq!(world.take()[0], "Stop s 2");
    assert!(world.pod().is_none());
}

#[test]
fn a_grace_of_nothing_kills_at_once() {
    let mut world = running(many("Always"));
    world.delete(0);
    world.decide();
    assert_eq!(world.take(), ["Stop s 0", "Stop t 0", "Stop a 0", "Stop b 0"]);
    world.go();
    assert!(world.pod().is_none());
}

#[test]
fn a_second_deletion_may_shorten_the_grace() {
    let mut world = running(one());
    world.delete(600);
    world.decide();
    world.advance(5);
    world.delete(600);
    world.decide();
    assert_eq!(world.take(), ["Stop a 600"]);
    world.delete(3);
    world.decide();
    assert_eq!(world.take(), ["Kill a 3"]);
    world.finish(1, false);
    world.decide();
    assert_eq!(world.take(), Vec::<String>::new());
    world.go();
    assert!(world.pod().is_none());
}

#[test]
fn a_pod_that_is_just_coming_up_is_deleted() {
    for steps in 0..8 {
        let mut world = World::new(many("Always"));
        for _ in 0..steps {
            world.decide();
            if !world.under_way.is_empty() {
                world.finish(0, false);
            }
        }
        world.delete(30);
        world.go();
        assert!(world.pod().is_none() && world.sandboxes.is_empty(), "after {steps}");
    }
}

#[test]
fn a_start_that_is_under_way_is_waited_for() {
    let mut world = World::new(one());
    while !world.steps.iter().any(|step| step.starts_with("Start")) {
        world.decide();
        if !world.steps.iter().any(|step| step.starts_with("Start")) {
            world.finish(0, false);
        }
    }
    world.take();
    world.delete(5);
    world.decide();
    assert_eq!(world.take(), Vec::<String>::new());
    world.go();
    assert_eq!(world.take(), ["Stop a 5", "StopSandbox", "RemoveSandbox", "TearDown"]);
}

#[test]
fn what_cannot_be_ended_is_told_again() {
    let mut world = running(one());
    for step in ["Stop a", "StopSandbox", "RemoveSandbox", "TearDown"] {
        world.failures.insert(step.into(), ("FailedKillPod", "the runtime is away"));
        world.delete(5);
        let decision = world.go();
        let wait = decision.wake.unwrap().duration_since(world.now).as_secs();
        assert!(wait >= 1, "{step}");
        assert!(world.pod().is_some());
        world.failures.clear();
        world.advance(wait);
        world.decide();
        world.finish(0, false);
    }
    world.go();
    assert!(world.pod().is_none());
}

#[test]
fn an_orphan_is_ended() {
    let mut world = running(two());
    world.objects.remove(&super::super::simulator::key());
    world.go();
    assert_eq!(world.take(), ["Stop a 30", "Stop b 30", "StopSandbox", "RemoveSandbox", "TearDown"]);
    assert!(world.observed.pods[UID].is_over());
}

#[test]
fn a_pod_of_the_same_name_is_another_one() {
    let mut world = running(one());
    world.change(|pod| pod.metadata.uid = Some("another".into()));
    world.change(|pod| pod.status = None);
    world.decide();
    let steps = world.take();
    assert!(steps.contains(&"Stop a 30".into()) && steps.contains(&"PrepareVolumes".into()), "{steps:?}");
}

#[test]
fn sidecars_end_when_the_main_containers_have() {
    let mut world = running(many("Never"));
    world.exit("a", 0);
    world.exit("b", 0);
    world.decide();
    assert_eq!((world.take(), world.phase().as_str()), (vec!["Stop t 30".to_owned()], "Running"));
    world.go();
    assert_eq!(world.take(), ["Stop s 30", "StopSandbox"]);
    assert_eq!(world.phase(), "Succeeded");
    assert_eq!(world.status().pod_ip.as_deref(), Some("10.0.0.7"));
    assert_eq!(world.condition("Ready"), "False");
    // Containers are kept for their logs, also over a restart of the agent.
    assert!(!world.containers.is_empty());
    world.restart_agent(false);
    assert_eq!(world.go().wake, None);
    assert_eq!((world.take(), world.phase().as_str()), (vec!["StopSandbox".to_owned()], "Succeeded"));
    world.delete(30);
    world.go();
    assert!(world.pod().is_none() && world.containers.is_empty());
}

#[test]
fn a_pod_that_is_over_gives_its_volumes_back() {
    let mut spec = one();
    spec["restartPolicy"] = json!("Never");
    spec["volumes"] = json!([{"name": "v", "emptyDir": {}}]);
    let mut world = running(spec);
    world.failures.insert("ReleaseVolumes".into(), ("FailedUnmount", "it is busy"));
    world.exit("a", 0);
    let decision = world.go();
    assert_eq!(world.take(), ["StopSandbox", "ReleaseVolumes"]);
    assert!(world.events.contains(&"FailedCleanUp: it is busy".into()), "{:?}", world.events);
    // It is tried again.
    world.failures.clear();
    world.now = decision.wake.unwrap();
    assert_eq!(world.go().wake, None);
    assert_eq!(world.take(), ["ReleaseVolumes"]);
    // What was done before is not known then.
    world.restart_agent(false);
    assert_eq!(world.go().wake, None);
    assert_eq!(world.take(), ["StopSandbox", "ReleaseVolumes"]);
    assert_eq!((world.phase().as_str(), world.containers.len()), ("Succeeded", 1));
    world.delete(30);
    world.go();
    assert_eq!(world.take(), ["RemoveSandbox", "TearDown"]);
    assert!(world.pod().is_none() && world.seen().is_over());
}

#[test]
fn a_deadline_ends_the_pod() {
    let mut spec = one();
    spec["activeDeadlineSeconds"] = json!(60);
    let mut world = running(spec);
    let decision = world.go();
    assert_eq!(decision.wake.unwrap().duration_since(world.now).as_secs(), 60);
    world.advance(60);
    assert_eq!(world.go().wake, None);
    assert_eq!((world.phase().as_str(), world.running()), ("Failed", vec![]));
    assert_eq!(world.status().reason.as_deref(), Some("DeadlineExceeded"));
    assert_eq!(world.events.iter().filter(|event| event.starts_with("DeadlineExceeded")).count(), 1);
}

#[test]
fn a_grace_that_is_over_does_not_wait_for_sidecars_turns() {
    let mut world = running(many("Always"));
    world.delete(10);
    let decision = world.decide();
    assert_eq!(decision.wake.unwrap().duration_since(world.now).as_secs(), 10);
    world.take();
    world.advance(10);
    world.decide();
    assert_eq!(world.take(), ["Stop s 2", "Stop t 2"]);
}
