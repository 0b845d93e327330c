use serde_json::json;

use super::super::super::observed::State;
use super::super::simulator::World;
use super::{many, one, running, two};

#[test]
fn a_pod_comes_up_in_order() {
    let mut world = World::new(two());
    let decision = world.go();
    let seen = world.take();
    let order = ["PrepareVolumes", "Pull a", "Pull b", "RunSandbox 0", "Start a 0", "Start b 0"];
    assert_eq!(seen, order);
    assert_eq!((decision.wake, world.phase().as_str()), (None, "Running"));
    let expected = [
        "Scheduled: Successfully assigned web/front to node",
        "Pulled: Container image \"busybox\" already present on machine",
        "Pulled: Container image \"busybox\" already present on machine",
        "Created: Created container a",
        "Started: Started container a",
        "Created: Created container b",
        "Started: Started container b",
    ];
    assert_eq!(world.events, expected);
}

#[test]
fn nothing_is_decided_before_the_runtime_was_asked() {
    let mut world = World::new(one());
    world.observed.listed = false;
    assert_eq!(world.decide(), Default::default());
}

#[test]
fn init_containers_run_one_after_the_other_and_sidecars_stay() {
    let mut world = World::new(many("Always"));
    world.go();
    assert_eq!(world.running(), ["i"]);
    assert_eq!((world.phase().as_str(), world.condition("Initialized").as_str()), ("Pending", "False"));
    world.exit("i", 0);
    world.go();
    assert_eq!(world.running(), ["s", "j"]);
    world.exit("j", 0);
    world.go();
    assert_eq!(world.running(), ["s", "t", "a", "b"]);
    assert_eq!((world.phase().as_str(), world.condition("Initialized").as_str()), ("Running", "True"));
    assert_eq!(world.condition("Ready"), "True");
}

#[test]
fn a_sidecar_that_ends_is_restarted_and_the_others_do_not_mind() {
    let mut world = running(many("Never"));
    world.exit("s", 0);
    world.go();
    assert_eq!(world.take(), ["Pull s", "Start s 1"]);
    world.exit("s", 0);
    world.exit("i", 0);
    world.go();
    assert_eq!((world.waiting("s").as_str(), world.phase().as_str()), ("CrashLoopBackOff", "Running"));
    assert_eq!((world.condition("Initialized"), world.condition("Ready")), ("True".into(), "False".into()));
    world.advance(10);
    world.go();
    assert_eq!(world.container("s").restart_count, 2);
}

#[test]
fn a_failed_init_container_is_tried_again_or_fails_the_pod() {
    let mut world = World::new(many("OnFailure"));
    world.go();
    world.exit("i", 1);
    world.go();
    assert_eq!((world.running(), world.container("i").restart_count), (vec!["i"], 1));
    let mut world = World::new(many("Never"));
    world.go();
    world.exit("i", 0);
    world.go();
    world.exit("j", 3);
    world.go();
    assert_eq!((world.running(), world.phase().as_str()), (vec![], "Failed"));
    assert!(!world.sandboxes[0].ready);
}

#[test]
fn a_crash_is_restarted_at_once_and_then_later_and_later() {
    let mut world = running(one());
    world.exit("a", 1);
    world.go();
    assert_eq!(world.take(), ["Pull a", "Start a 1"]);
    world.exit("a", 1);
    let decision = world.go();
    assert_eq!(world.waiting("a"), "CrashLoopBackOff");
    let waiting = world.container("a").state.unwrap().waiting.unwrap().message.unwrap();
    assert_eq!(waiting, "back-off 10s restarting failed container=a pod=front_web(uid-1)");
    assert_eq!(world.phase(), "Running");
    assert_eq!(world.container("a").last_state.unwrap().terminated.unwrap().exit_code, 1);
    assert_eq!(decision.wake.unwrap().duration_since(world.now).as_secs(), 10);
    let told = |world: &World| world.events.iter().filter(|event| event.starts_with("BackOff")).count();
    world.go();
    assert_eq!(told(&world), 1);
    world.advance(10);
    world.go();
    assert_eq!(world.container("a").restart_count, 2);
    world.exit("a", 1);
    world.advance(19);
    world.go();
    assert_eq!(world.waiting("a"), "CrashLoopBackOff");
    world.advance(1);
    world.go();
    assert_eq!(world.running(), ["a"]);
    // After a long run all is forgotten.
    world.advance(601);
    world.exit("a", 1);
    world.go();
    assert_eq!(world.running(), ["a"]);
    // The newest and the one before it are kept.
    assert_eq!(world.containers.len(), 2);
}

#[test]
fn restart_policies_hold() {
    for (policy, code, restarted, phase) in [
        ("Always", 0, true, "Running"),
        ("OnFailure", 1, true, "Running"),
        ("OnFailure", 0, false, "Succeeded"),
        ("Never", 0, false, "Succeeded"),
        ("Never", 2, false, "Failed"),
    ] {
        let mut spec = one();
        spec["restartPolicy"] = json!(policy);
        let mut world = running(spec);
        world.exit("a", code);
        world.go();
        assert_eq!(world.starts["a"] == 2, restarted, "{policy} {code}");
        assert_eq!(world.phase(), phase, "{policy} {code}");
        assert_eq!(world.sandboxes[0].ready, restarted);
    }
}

#[test]
fn a_containers_own_policy_and_rules_come_first() {
    let mut spec = two();
    spec["restartPolicy"] = json!("Never");
    spec["containers"][0]["restartPolicy"] = json!("Never");
    let rule = json!([{"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}]);
    spec["containers"][0]["restartPolicyRules"] = rule;
    spec["containers"][1]["restartPolicy"] = json!("OnFailure");
    let mut world = running(spec);
    world.exit("a", 42);
    world.exit("b", 1);
    world.go();
    assert_eq!(world.running(), ["a", "b"]);
    world.exit("a", 1);
    world.exit("b", 0);
    world.go();
    assert_eq!(world.phase(), "Failed");
}

#[test]
fn a_lost_sandbox_is_made_anew_and_all_starts_again() {
    let mut world = running(many("Always"));
    world.lose_sandbox();
    world.decide();
    assert_eq!(world.status().pod_ip, None);
    world.go();
    assert_eq!(world.running(), ["i"]);
    world.exit("i", 0);
    world.go();
    world.exit("j", 0);
    world.go();
    assert_eq!(world.running(), ["s", "t", "a", "b"]);
    assert_eq!(world.container("a").restart_count, 1);
    assert!(world.events.iter().any(|event| event.starts_with("SandboxChanged")));
    assert_eq!(world.sandboxes.iter().filter(|sandbox| sandbox.ready).count(), 1);
}

#[test]
fn a_sandbox_that_is_lost_under_containers_that_run_once_fails_the_pod() {
    let mut spec = one();
    spec["restartPolicy"] = json!("Never");
    let mut world = running(spec);
    world.lose_sandbox();
    world.go();
    assert_eq!((world.phase().as_str(), world.starts["a"]), ("Failed", 1));
}

#[test]
fn one_that_was_not_started_before_the_sandbox_was_lost_fails_the_pod_too() {
    let mut spec = two();
    spec["restartPolicy"] = json!("Never");
    let mut world = World::new(spec);
    world.failures.insert("Start b".into(), ("CreateContainerConfigError", "no"));
    world.go();
    world.break_sandbox();
    world.go();
    assert_eq!((world.phase().as_str(), world.running()), ("Failed", vec![]));
}

#[test]
fn containers_that_outlive_their_sandbox_end_before_there_is_another() {
    let mut world = running(two());
    world.break_sandbox();
    world.go();
    let order = ["Stop a 30", "Stop b 30", "StopSandbox", "RunSandbox 1", "Start a 1", "Start b 1"];
    let mut seen = world.take();
    seen.retain(|step| !step.starts_with("Remove") && !step.starts_with("Pull"));
    assert_eq!(seen, order);
}

#[test]
fn a_command_that_cannot_be_started_counts_as_an_end() {
    let mut spec = one();
    spec["restartPolicy"] = json!("Never");
    let mut world = World::new(spec);
    world.no_command = true;
    world.go();
    let ended = world.container("a").state.unwrap().terminated.unwrap();
    assert_eq!((ended.exit_code, ended.reason.as_deref()), (128, Some("StartError")));
    assert_eq!(world.phase(), "Failed");
    assert!(world.events.contains(&"Failed: Error: no such command".into()));
    assert!(!world.events.iter().any(|event| event.starts_with("Started")));
}

#[test]
fn what_fails_is_tried_again_later() {
    for (step, reason) in [("PrepareVolumes", "FailedMount"), ("RunSandbox", "FailedCreatePodSandBox")] {
        let mut world = World::new(one());
        world.failures.insert(step.into(), ("whatever", "no"));
        let decision = world.go();
        assert_eq!((world.phase().as_str(), world.waiting("a").as_str()), ("Pending", "ContainerCreating"));
        assert!(world.events.iter().any(|event| event.starts_with(reason)), "{:?}", world.events);
        assert_eq!(decision.wake.unwrap().duration_since(world.now).as_secs(), 1);
        world.failures.clear();
        world.advance(1);
        world.go();
        assert_eq!(world.phase(), "Running");
    }
}

#[test]
fn an_image_that_cannot_be_pulled_is_waited_for() {
    let mut world = World::new(one());
    world.failures.insert("Pull a".into(), ("ErrImagePull", "no such image"));
    world.go();
    assert_eq!(world.waiting("a"), "ErrImagePull");
    world.advance(2);
    let decision = world.go();
    assert_eq!(world.waiting("a"), "ImagePullBackOff");
    let message = world.container("a").state.unwrap().waiting.unwrap().message.unwrap();
    assert_eq!(message, "Back-off pulling image \"busybox\": ErrImagePull: no such image");
    assert_eq!(decision.wake.unwrap().duration_since(world.now).as_secs(), 8);
    assert!(world.events.contains(&"Failed: Failed to pull image \"busybox\": no such image".into()));
    world.advance(8);
    world.go();
    world.advance(19);
    world.failures.clear();
    world.go();
    assert_eq!(world.waiting("a"), "ImagePullBackOff");
    world.advance(1);
    world.go();
    assert_eq!(world.running(), ["a"]);
}

#[test]
fn one_container_that_cannot_start_does_not_keep_others() {
    let mut world = World::new(two());
    world.failures.insert("Start a".into(), ("CreateContainerConfigError", "configmap \"x\" not found"));
    let decision = world.go();
    assert_eq!((world.running(), world.waiting("a").as_str()), (vec!["b"], "CreateContainerConfigError"));
    assert_eq!(decision.wake.unwrap().duration_since(world.now).as_secs(), 10);
    world.failures.clear();
    world.advance(10);
    world.go();
    assert_eq!(world.running(), ["b", "a"]);
    assert_eq!(world.container("a").restart_count, 0);
}

#[test]
fn a_missing_configmap_that_comes_is_used_at_once() {
    let mut spec = one();
    spec["containers"][0]["envFrom"] = json!([{"configMapRef": {"name": "settings"}}]);
    let mut world = World::new(spec);
    world
        .failures
        .insert("Start a".into(), ("CreateContainerConfigError", "configmap \"settings\" not found"));
    world.go();
    world.failures.clear();
    world.advance(1);
    let meta = json!({"name": "settings", "namespace": "web", "creationTimestamp": world.now.to_string()});
    let map = crate::objects::Object::from_value(crate::objects::Kind::ConfigMap, json!({"metadata": meta}));
    let map = map.unwrap();
    world.objects.insert(map.clone());
    let concerned = super::super::dependents(&map, &world.objects);
    assert_eq!(concerned, [super::super::simulator::key()]);
    world.go();
    assert_eq!(world.running(), ["a"]);
}

#[test]
fn a_container_that_was_made_but_never_ran_is_made_again() {
    let mut world = running(one());
    let at = world.now;
    world.containers[0].state = State::Created { at };
    world.look();
    world.go();
    assert_eq!(world.take(), ["RemoveContainer a", "Pull a", "Start a 0"]);
}

#[test]
fn a_container_of_an_unknown_state_is_ended_and_comes_again() {
    let mut world = running(one());
    world.containers[0].state = State::Unknown;
    world.look();
    world.go();
    assert_eq!(world.take(), ["Stop a 30", "Pull a", "Start a 1"]);
    // One that the runtime knows nothing of even then is removed.
    world.lose_container("a");
    world.decide();
    world.finish(0, false);
    world.containers.iter_mut().filter(|c| c.attempt == 1).for_each(|c| c.state = State::Unknown);
    world.look();
    world.go();
    world.advance(10);
    world.go();
    assert_eq!(world.take(), ["Stop a 30", "RemoveContainer a", "Pull a", "Start a 2"]);
}

#[test]
fn a_changed_container_is_restarted_whatever_the_policy() {
    let mut spec = one();
    spec["restartPolicy"] = json!("Never");
    let mut world = running(spec);
    world.containers[0].hash = "of another image".into();
    world.look();
    world.go();
    assert_eq!((world.running(), world.container("a").restart_count), (vec!["a"], 1));
    assert!(
        world.events.contains(&"Killing: Container a definition changed, will be restarted".into()),
        "{:?}",
        world.events
    );
}

#[test]
fn a_hook_keeps_the_next_container_and_ends_its_own_if_it_fails() {
    let mut spec = two();
    spec["containers"][0]["lifecycle"] = json!({"postStart": {"exec": {"command": ["true"]}}});
    let mut world = World::new(spec.clone());
    world.go();
    let order = ["Start a 0", "PostStart a", "Start b 0"];
    assert_eq!(world.take()[4..], order);
    spec["restartPolicy"] = json!("Never");
    let mut world = World::new(spec);
    world.failures.insert("PostStart a".into(), ("FailedPostStartHook", "said a secret"));
    world.go();
    assert_eq!(world.running(), ["b"]);
    assert!(world.events.contains(&"FailedPostStartHook: PostStartHook failed".into()));
    assert!(world.events.contains(&"Killing: FailedPostStartHook".into()));
}

#[test]
fn an_agent_that_comes_again_changes_nothing() {
    let mut spec = many("Always");
    spec["containers"][0]["lifecycle"] = json!({"postStart": {"exec": {"command": ["true"]}}});
    spec["containers"][0]["readinessProbe"] = json!({"exec": {"command": ["true"]}});
    let mut world = running(spec);
    world.restart_agent(false);
    let first =
        super::super::reconcile(&super::super::simulator::key(), &world.objects, &world.observed, world.now);
    let status = first.actions.iter().find_map(|action| match action {
        super::super::Action::Status(crate::objects::Object::Pod(pod)) => pod.status.clone(),
        _ => None,
    });
    let ready = status.unwrap().conditions.unwrap().into_iter().find(|c| c.type_ == "Ready").unwrap();
    assert_eq!(ready.status, "True");
    world.go();
    assert_eq!(world.take(), ["PrepareVolumes", "Probe a Readiness"]);
    assert_eq!((world.phase().as_str(), world.condition("Ready").as_str()), ("Running", "True"));
    assert!(world.events.is_empty(), "{:?}", world.events);
}
