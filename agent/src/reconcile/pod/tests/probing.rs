use serde_json::{Value, json};

use super::super::super::observed::ProbeKind;
use super::super::simulator::{World, unwell};
use super::running;

fn probed(probes: Value) -> Value {
    let mut container = json!({"name": "a", "image": "busybox"});
    container.as_object_mut().unwrap().extend(probes.as_object().unwrap().clone());
    json!({"containers": [container], "restartPolicy": "Always"})
}

fn exec(extra: Value) -> Value {
    let mut probe = json!({"exec": {"command": ["true"]}, "periodSeconds": 5, "failureThreshold": 2});
    probe.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    probe
}

/// Seconds until the next decision.
fn wait(world: &mut World) -> Option<i64> {
    let decision = world.go();
    decision.wake.map(|at| at.duration_since(world.now).as_secs())
}

#[test]
fn readiness_follows_its_thresholds() {
    let mut world = World::new(probed(
        json!({"readinessProbe": exec(json!({"initialDelaySeconds": 7, "successThreshold": 2}))}),
    ));
    assert_eq!(wait(&mut world), Some(7));
    assert_eq!((world.container("a").ready, world.container("a").started), (false, Some(true)));
    world.advance(7);
    assert_eq!(wait(&mut world), Some(5));
    assert!(!world.container("a").ready);
    world.advance(5);
    world.go();
    assert_eq!((world.container("a").ready, world.condition("Ready").as_str()), (true, "True"));
    world.unwell.insert(unwell("a", ProbeKind::Readiness));
    world.advance(5);
    world.go();
    assert!(world.container("a").ready);
    world.advance(5);
    world.go();
    assert!(!world.container("a").ready);
    assert_eq!(world.running(), ["a"]);
    assert!(world.events.contains(&"Unhealthy: Readiness probe failed: not well".into()));
}

#[test]
fn probes_go_on_when_the_clock_is_set_back() {
    let mut world = World::new(probed(json!({"livenessProbe": exec(json!({}))})));
    assert_eq!(wait(&mut world), Some(5));
    world.advance(-3600);
    // They are asked at once, and from then on by the clock as it is.
    assert_eq!(wait(&mut world), Some(5));
    world.unwell.insert(unwell("a", ProbeKind::Liveness));
    for _ in 0..2 {
        world.advance(5);
        world.go();
    }
    assert_eq!(world.container("a").restart_count, 1);
}

#[test]
fn liveness_that_fails_restarts_with_its_own_grace() {
    let mut world =
        World::new(probed(json!({"livenessProbe": exec(json!({"terminationGracePeriodSeconds": 3}))})));
    world.go();
    world.unwell.insert(unwell("a", ProbeKind::Liveness));
    world.advance(5);
    world.go();
    world.take();
    world.advance(5);
    world.decide();
    world.finish(0, false);
    world.decide();
    assert_eq!(world.take(), ["Probe a Liveness", "Stop a 3"]);
    assert!(world.events.contains(&"Killing: Container a failed liveness probe, will be restarted".into()));
    world.unwell.clear();
    world.go();
    assert_eq!(world.container("a").restart_count, 1);
}

#[test]
fn a_container_that_ends_well_when_it_is_killed_is_restarted_nevertheless() {
    let mut spec = probed(json!({"livenessProbe": exec(json!({"failureThreshold": 1}))}));
    spec["restartPolicy"] = json!("OnFailure");
    let mut world = World::new(spec);
    world.go();
    world.unwell.insert(unwell("a", ProbeKind::Liveness));
    world.advance(5);
    world.decide();
    world.finish(0, false);
    world.decide();
    world.exit("a", 0);
    world.unwell.clear();
    world.go();
    assert_eq!((world.running(), world.phase().as_str()), (vec!["a"], "Running"));
}

#[test]
fn a_startup_probe_comes_before_the_others() {
    let mut world = World::new(probed(json!({
        "startupProbe": exec(json!({"failureThreshold": 3})),
        "livenessProbe": exec(json!({})),
        "readinessProbe": exec(json!({})),
    })));
    world.unwell.insert(unwell("a", ProbeKind::Startup));
    world.go();
    world.advance(5);
    world.go();
    assert_eq!(world.container("a").started, Some(false));
    world.unwell.clear();
    world.take();
    world.advance(5);
    world.go();
    assert_eq!(world.take(), ["Probe a Startup", "Probe a Liveness", "Probe a Readiness"]);
    assert_eq!((world.container("a").started, world.container("a").ready), (Some(true), true));
    world.advance(5);
    world.go();
    assert_eq!(world.take(), ["Probe a Liveness", "Probe a Readiness"]);
}

#[test]
fn a_startup_probe_that_never_succeeds_kills() {
    let mut world = World::new(probed(json!({"startupProbe": exec(json!({}))})));
    world.unwell.insert(unwell("a", ProbeKind::Startup));
    world.go();
    world.advance(5);
    world.go();
    assert!(world.events.contains(&"Killing: Container a failed startup probe, will be restarted".into()));
}

#[test]
fn a_sidecar_keeps_the_next_until_it_has_started() {
    let spec = json!({
        "initContainers": [{"name": "s", "image": "x", "restartPolicy": "Always", "startupProbe": exec(json!({}))}],
        "containers": [{"name": "a", "image": "x"}],
    });
    let mut world = World::new(spec);
    world.unwell.insert(unwell("s", ProbeKind::Startup));
    world.go();
    assert_eq!((world.running(), world.phase().as_str()), (vec!["s"], "Pending"));
    world.unwell.clear();
    world.advance(5);
    world.go();
    assert_eq!(world.running(), ["s", "a"]);
}

#[test]
fn a_found_container_is_ready_until_it_says_otherwise() {
    let probes = json!({"readinessProbe": exec(json!({}))});
    let mut world = running(probed(probes));
    world.unwell.insert(unwell("a", ProbeKind::Readiness));
    world.restart_agent(false);
    world.decide();
    assert!(world.container("a").ready);
    world.go();
    assert!(!world.container("a").ready);
}

#[test]
fn probes_go_on_at_their_period_and_not_while_one_is_under_way() {
    let mut world = running(probed(json!({"livenessProbe": exec(json!({}))})));
    world.advance(5);
    world.decide();
    assert_eq!(world.take(), ["Probe a Liveness"]);
    world.advance(4);
    assert_eq!(world.decide().wake.map(|at| at.duration_since(world.now).as_secs()), Some(1));
    world.advance(4);
    assert_eq!(world.decide().wake, None);
    world.go();
    // Three seconds late, and asked again at once.
    assert_eq!(world.take(), ["Probe a Liveness"]);
}

#[test]
fn nobody_probes_what_is_being_deleted() {
    let mut world = running(probed(json!({"livenessProbe": exec(json!({}))})));
    world.delete(30);
    world.advance(5);
    let decision = world.decide();
    assert_eq!((world.take(), decision.wake), (vec!["Stop a 30".to_owned()], None));
}
