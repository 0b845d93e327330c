use k8s_openapi::jiff::Timestamp;
use serde_json::json;

use super::super::simulator::World;
use super::super::{Outcome, PodObserved, PodStep, begin, record};
use super::{many, one, running};

#[test]
fn a_running_pods_status_says_what_kubelets_says() {
    let world = running(one());
    let status = serde_json::to_value(world.status()).unwrap();
    let at = "2027-01-15T08:00:00Z";
    assert_eq!(world.now.to_string(), at);
    let condition = |name: &str| json!({"type": name, "status": "True", "lastTransitionTime": at, "observedGeneration": 1});
    let names = ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"];
    let expected = json!({
        "conditions": names.map(condition),
        "containerStatuses": [{
            "containerID": "rcrun://a-2",
            "image": "busybox",
            "imageID": "image of a",
            "lastState": {},
            "name": "a",
            "ready": true,
            "restartCount": 0,
            "started": true,
            "state": {"running": {"startedAt": at}},
        }],
        "hostIP": "192.0.2.1",
        "hostIPs": [{"ip": "192.0.2.1"}],
        "observedGeneration": 1,
        "phase": "Running",
        "podIP": "10.0.0.7",
        "podIPs": [{"ip": "10.0.0.7"}],
        "qosClass": "BestEffort",
        "startTime": at,
    });
    assert_eq!(status, expected);
}

#[test]
fn a_status_is_told_once() {
    let mut world = running(many("Always"));
    let decision = world.decide();
    assert!(decision.actions.is_empty() && decision.wake.is_none());
}

#[test]
fn transition_times_are_kept() {
    let mut world = running(one());
    let before = world.status().conditions;
    world.advance(100);
    world.change(|pod| pod.metadata.generation = Some(2));
    world.go();
    let times = |conditions: Option<Vec<k8s_openapi::api::core::v1::PodCondition>>| -> Vec<Timestamp> {
        conditions.unwrap().into_iter().map(|condition| condition.last_transition_time.unwrap().0).collect()
    };
    assert_eq!(times(world.status().conditions), times(before));
    assert_eq!(world.status().observed_generation, Some(2));
}

#[test]
fn a_pod_in_the_hosts_network_has_the_hosts_address() {
    let mut spec = one();
    spec["hostNetwork"] = json!(true);
    let world = running(spec);
    assert_eq!(world.status().pod_ip.as_deref(), Some("192.0.2.1"));
}

#[test]
fn a_pod_that_comes_up_says_for_what_it_waits() {
    let mut world = World::new(many("Always"));
    world.decide();
    assert_eq!(world.phase(), "Pending");
    assert_eq!(
        (world.waiting("i").as_str(), world.waiting("a").as_str()),
        ("PodInitializing", "PodInitializing")
    );
    let conditions = world.status().conditions.unwrap();
    let initialized = conditions.iter().find(|c| c.type_ == "Initialized").unwrap();
    assert_eq!(initialized.reason.as_deref(), Some("ContainersNotInitialized"));
    assert_eq!(initialized.message.as_deref(), Some("containers with incomplete status: [i s j t]"));
    assert_eq!(world.condition("PodScheduled"), "True");
    assert_eq!(world.condition("PodReadyToStartContainers"), "False");
}

#[test]
fn an_end_is_told_with_its_code_and_words() {
    let mut spec = one();
    spec["restartPolicy"] = json!("Never");
    let mut world = running(spec);
    world.exit("a", 3);
    world.go();
    let ended = world.container("a").state.unwrap().terminated.unwrap();
    assert_eq!((ended.exit_code, ended.reason.as_deref()), (3, Some("Error")));
    assert_eq!(ended.container_id.as_deref(), Some("rcrun://a-2"));
    assert!(!world.container("a").ready);
}

#[test]
fn times_too_large_are_the_end_of_time() {
    let mut spec = one();
    spec["activeDeadlineSeconds"] = json!(i64::MAX);
    spec["terminationGracePeriodSeconds"] = json!(i64::MAX);
    spec["containers"][0]["livenessProbe"] = json!({"exec": {"command": ["true"]}, "initialDelaySeconds": i32::MAX, "terminationGracePeriodSeconds": i64::MAX});
    let mut world = running(spec);
    world.delete(0);
    world.change(|pod| pod.metadata.deletion_grace_period_seconds = Some(i64::MAX));
    world.go();
    assert!(world.pod().is_none());
}

#[test]
fn nothing_is_told_of_the_image_of_a_pod_that_went_meanwhile() {
    let mut seen = PodObserved::default();
    let step = PodStep::Pull { container: "a".into() };
    for outcome in [
        Outcome::Failed { reason: "ErrImagePull".into(), message: "no".into() },
        Outcome::Image { id: "i".into(), pulled: None },
    ] {
        begin(&mut seen, &step, Timestamp::UNIX_EPOCH);
        assert_eq!(record(&mut seen, None, &step, outcome, Timestamp::UNIX_EPOCH), []);
    }
    assert!(seen.busy.is_empty());
}
