//! Jobs and CronJobs.

use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::World;
use crate::objects::{Key, Kind, Typed};
use crate::reconcile::workloads::{job::is_finished, pods};

fn job(spec: Value) -> Value {
    let mut manifest = json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "sum"},
        "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "sum", "image": "a"}]}}},
    });
    for (name, value) in spec.as_object().unwrap() {
        manifest["spec"][name] = value.clone();
    }
    manifest
}

/// Ends all active Pods.
fn end(world: &mut World, phase: &str) {
    world.settle();
    for pod in world.active() {
        world.set(&pod.key(), phase, false);
    }
    world.settle();
}

fn gone(world: &mut World) {
    for pod in world.pods().iter().filter(|pod| pods::is_deleted(pod)) {
        world.remove(&pod.key());
    }
    world.settle();
}

fn failure(world: &World) -> String {
    let conditions = world.get::<Job>("sum").status.unwrap().conditions.unwrap_or_default();
    conditions.into_iter().find(|is| is.type_ == "Failed").and_then(|is| is.reason).unwrap_or_default()
}

#[test]
fn one_pod_that_succeeds() {
    let mut world = World::new();
    world.apply(job(json!({})));
    world.settle();
    let pod = &world.pods()[0];
    assert_eq!(pods::label_of(pod, "batch.kubernetes.io/job-name"), Some("sum"));
    assert_eq!(pods::label_of(pod, "job-name"), Some("sum"));
    assert_eq!(world.get::<Job>("sum").status.unwrap().active, Some(1));
    end(&mut world, "Succeeded");
    let found = world.get::<Job>("sum");
    assert_eq!(is_finished(&found), Some("Complete"));
    let status = found.status.unwrap();
    assert_eq!((status.succeeded, status.active), (Some(1), None));
    assert!(status.completion_time.is_some() && world.wakes.is_empty());
    assert!(world.events.contains(&"Completed: Job completed".to_owned()));
    assert_eq!(world.pods().len(), 1);
}

#[test]
fn completions_in_parallel() {
    let mut world = World::new();
    world.apply(job(json!({"completions": 5, "parallelism": 2})));
    for active in [2, 2, 1] {
        world.settle();
        assert_eq!(world.active().len(), active);
        end(&mut world, "Succeeded");
    }
    assert_eq!(is_finished(&world.get("sum")), Some("Complete"));
    assert_eq!(world.get::<Job>("sum").status.unwrap().succeeded, Some(5));
}

#[test]
fn failures_wait_longer_and_longer_until_it_has_failed() {
    let mut world = World::new();
    world.apply(job(json!({"backoffLimit": 2})));
    end(&mut world, "Failed");
    assert!(world.active().is_empty());
    world.pass(10);
    end(&mut world, "Failed");
    world.pass(19);
    world.settle();
    assert!(world.active().is_empty());
    world.pass(1);
    end(&mut world, "Failed");
    assert_eq!(failure(&world), "BackoffLimitExceeded");
    assert!(
        world
            .events
            .contains(&"BackoffLimitExceeded: Job has reached the specified backoff limit".to_owned())
    );
    world.pass(1000);
    world.settle();
    assert_eq!(world.pods().len(), 3);
}

#[test]
fn a_deadline_ends_what_runs() {
    let mut world = World::new();
    world.apply(job(json!({"activeDeadlineSeconds": 30, "parallelism": 2, "completions": 2})));
    world.settle();
    world.pass(30);
    world.settle();
    assert!(world.active().is_empty() && failure(&world).is_empty());
    gone(&mut world);
    assert_eq!(failure(&world), "DeadlineExceeded");
}

#[test]
fn indexed_pods_know_which_they_are() {
    let mut world = World::new();
    world.apply(job(json!({"completionMode": "Indexed", "completions": 3, "parallelism": 3})));
    world.settle();
    let mut pods = world.active();
    pods.sort_by_key(|pod| pod.metadata.annotations.clone());
    for (index, pod) in pods.iter().enumerate() {
        let spec = pod.spec.as_ref().unwrap();
        assert_eq!(spec.hostname, Some(format!("sum-{index}")));
        assert!(pod.name().starts_with(&format!("sum-{index}-")));
        let env = &spec.containers[0].env.as_ref().unwrap()[0];
        assert_eq!(
            (env.name.as_str(), env.value.clone().unwrap()),
            ("JOB_COMPLETION_INDEX", index.to_string())
        );
    }
    world.set(&pods[1].key(), "Failed", false);
    world.set(&pods[0].key(), "Succeeded", false);
    world.set(&pods[2].key(), "Succeeded", false);
    world.settle();
    assert_eq!(world.get::<Job>("sum").status.unwrap().completed_indexes.as_deref(), Some("0,2"));
    // What is done stays done, whoever deletes its Pod.
    world.remove(&pods[0].key());
    world.pass(10);
    world.settle();
    let active = world.active();
    assert_eq!(active.len(), 1);
    assert!(active[0].name().starts_with("sum-1-"));
    end(&mut world, "Succeeded");
    assert_eq!(world.get::<Job>("sum").status.unwrap().completed_indexes.as_deref(), Some("0-2"));
    assert_eq!(is_finished(&world.get("sum")), Some("Complete"));
}

#[test]
fn a_suspended_job_has_no_pods() {
    let mut world = World::new();
    world.apply(job(json!({"suspend": true})));
    world.settle();
    assert!(world.pods().is_empty());
    world.apply(job(json!({"suspend": false})));
    world.settle();
    assert_eq!(world.active().len(), 1);
    world.apply(job(json!({"suspend": true})));
    world.settle();
    assert!(world.active().is_empty());
    let told: Vec<_> =
        world.events.iter().filter(|event| event.contains("Job ")).map(String::as_str).collect();
    assert_eq!(told, ["Suspended: Job suspended", "Resumed: Job resumed", "Suspended: Job suspended"]);
}

/// What the Job deletes ends in this phase before it is gone.
fn stopped_as(world: &mut World, phase: &str) {
    world.settle();
    for pod in world.pods().iter().filter(|pod| pods::is_deleted(pod)) {
        world.set(&pod.key(), phase, false);
    }
    world.settle();
    gone(world);
}

fn counts(world: &World) -> (Option<i32>, Option<i32>) {
    let status = world.get::<Job>("sum").status.unwrap();
    (status.succeeded, status.failed)
}

#[test]
fn what_is_ended_by_suspension_counts_for_nothing() {
    for phase in ["Failed", "Succeeded"] {
        for mode in ["NonIndexed", "Indexed"] {
            let mut world = World::new();
            let spec = |suspend: bool| json!({"completions": 3, "parallelism": 3, "backoffLimit": 1, "completionMode": mode, "suspend": suspend});
            world.apply(job(spec(false)));
            world.settle();
            world.apply(job(spec(true)));
            stopped_as(&mut world, phase);
            assert_eq!(
                (counts(&world), is_finished(&world.get("sum"))),
                ((None, None), None),
                "{phase} {mode}"
            );
            assert!(world.pods().is_empty());
            // Nothing has failed for which it would have to wait.
            world.apply(job(spec(false)));
            world.settle();
            assert_eq!(world.active().len(), 3, "{phase} {mode}");
            end(&mut world, "Succeeded");
            assert_eq!((counts(&world), is_finished(&world.get("sum"))), ((Some(3), None), Some("Complete")));
        }
    }
}

#[test]
fn what_is_ended_for_less_parallelism_counts_for_nothing() {
    for phase in ["Failed", "Succeeded"] {
        let mut world = World::new();
        let spec =
            |parallelism: usize| json!({"completions": 4, "parallelism": parallelism, "backoffLimit": 0});
        world.apply(job(spec(3)));
        world.settle();
        world.apply(job(spec(1)));
        stopped_as(&mut world, phase);
        assert_eq!((counts(&world), is_finished(&world.get("sum"))), ((None, None), None), "{phase}");
        assert_eq!((world.active().len(), world.pods().len()), (1, 1));
        // A Pod that somebody else deletes does.
        let key = world.pods()[0].key();
        let mut pod = world.objects.get(&key).unwrap().clone();
        pod.metadata_mut().deletion_timestamp =
            Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(world.now));
        world.put(pod, false);
        stopped_as(&mut world, phase);
        let expected = if phase == "Failed" { (None, Some(1)) } else { (Some(1), None) };
        assert_eq!(counts(&world), expected, "{phase}");
    }
}

#[test]
fn what_is_released_is_deleted_however_the_job_goes_on() {
    let mut world = World::new();
    let mut manifest = job(json!({"completions": 2, "parallelism": 2}));
    // From a Pod that was copied.
    manifest["spec"]["template"]["metadata"] = json!({"annotations": {"rcrun.dev/released": ""}});
    let key = world.apply(manifest.clone());
    world.settle();
    assert_eq!(world.active().len(), 2);
    manifest["spec"]["suspend"] = json!(true);
    world.apply(manifest.clone());
    world.reconcile(&key);
    assert_eq!(world.active().len(), 2);
    manifest["spec"]["suspend"] = json!(false);
    world.apply(manifest);
    world.settle();
    assert_eq!((world.active().len(), world.pods().len()), (2, 4));
    assert_eq!(world.get::<Job>("sum").status.unwrap().terminating, Some(2));
    end(&mut world, "Succeeded");
    assert_eq!((counts(&world), is_finished(&world.get("sum"))), ((Some(2), None), None));
    stopped_as(&mut world, "Failed");
    assert_eq!((counts(&world), is_finished(&world.get("sum"))), ((Some(2), None), Some("Complete")));
}

#[test]
fn restarts_in_a_pod_count() {
    let mut world = World::new();
    let template =
        json!({"spec": {"restartPolicy": "OnFailure", "containers": [{"name": "sum", "image": "a"}]}});
    world.apply(job(json!({"backoffLimit": 3, "template": template})));
    world.settle();
    let key = world.pods()[0].key();
    world.set(&key, "Running", false);
    world.restarts(&key, 3);
    world.settle();
    gone(&mut world);
    assert_eq!(failure(&world), "BackoffLimitExceeded");
}

#[test]
fn finished_jobs_go_after_a_while() {
    let mut world = World::new();
    world.apply(job(json!({"ttlSecondsAfterFinished": 100})));
    end(&mut world, "Succeeded");
    world.pass(99);
    world.settle();
    assert_eq!(world.list::<Job>().len(), 1);
    world.pass(1);
    world.settle();
    assert!(world.list::<Job>().is_empty());
}

fn cron(spec: Value) -> Value {
    let mut manifest = json!({
        "apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "tick"},
        "spec": {
            "schedule": "*/5 * * * *", "timeZone": "UTC",
            "jobTemplate": {"metadata": {"labels": {"from": "tick"}}, "spec": job(json!({}))["spec"]},
        },
    });
    for (name, value) in spec.as_object().unwrap() {
        manifest["spec"][name] = value.clone();
    }
    manifest
}

fn jobs(world: &World) -> Vec<String> {
    world.list::<Job>().iter().map(|job| job.name().to_owned()).collect()
}

const MINUTE: i64 = 29_453_760; // 2026-01-01T00:00:00Z

#[test]
fn a_job_at_each_time() {
    let mut world = World::new();
    let key = world.apply(cron(json!({})));
    world.settle();
    assert!(jobs(&world).is_empty());
    assert_eq!(world.wakes[&key], pods::after(world.now, 300));
    world.pass(300);
    world.settle();
    assert_eq!(jobs(&world), [format!("tick-{}", MINUTE + 5)]);
    let made = &world.list::<Job>()[0];
    assert_eq!(made.metadata.labels.as_ref().unwrap()["from"], "tick");
    assert_eq!(
        made.metadata.annotations.as_ref().unwrap()["batch.kubernetes.io/cronjob-scheduled-timestamp"],
        "2026-01-01T00:05:00Z"
    );
    let status = world.get::<CronJob>("tick").status.unwrap();
    assert_eq!(status.active.unwrap()[0].name.as_ref(), Some(&jobs(&world)[0]));
    end(&mut world, "Succeeded");
    let status = world.get::<CronJob>("tick").status.unwrap();
    assert!(status.active.is_none() && status.last_successful_time.is_some());
    assert!(
        world.events.contains(&format!(
            "SawCompletedJob: Saw completed job: tick-{}, condition: Complete",
            MINUTE + 5
        ))
    );
    assert!(world.events.contains(&format!("SuccessfulCreate: Created job tick-{}", MINUTE + 5)));
    // What was missed is made up for once.
    world.pass(3600);
    world.settle();
    assert_eq!(jobs(&world), [format!("tick-{}", MINUTE + 5), format!("tick-{}", MINUTE + 65)]);
}

#[test]
fn concurrency_as_it_is_asked_for() {
    for (policy, count) in [("Allow", 2), ("Forbid", 1), ("Replace", 1)] {
        let mut world = World::new();
        world.apply(cron(json!({"concurrencyPolicy": policy})));
        world.settle();
        world.pass(300);
        world.settle();
        world.pass(300);
        world.settle();
        assert_eq!(jobs(&world).len(), count, "{policy}");
        let newest = if policy == "Forbid" { 5 } else { 10 };
        assert_eq!(jobs(&world).last(), Some(&format!("tick-{}", MINUTE + newest)), "{policy}");
    }
}

#[test]
fn a_quota_holds_for_jobs_of_a_cron_job() {
    for (policy, made) in [("Allow", 5), ("Replace", 10)] {
        let mut world = World::new();
        let quota = |jobs: &str| {
            json!({
                "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "few"},
                "spec": {"hard": {"count/jobs.batch": jobs}},
            })
        };
        world.apply(quota("1"));
        let key = world.apply(cron(json!({"concurrencyPolicy": policy})));
        world.settle();
        for _ in 0..2 {
            world.pass(300);
            world.settle();
        }
        assert_eq!(jobs(&world), [format!("tick-{}", MINUTE + made)], "{policy}");
        let refused =
            world.events.iter().find(|event| event.starts_with("FailedCreate: Error creating job: "));
        let event = refused.filter(|event| event.contains("exceeded quota: few"));
        assert_eq!(event.is_some(), policy == "Allow", "{:?}", world.events);
        assert!(world.wakes.contains_key(&key));
        world.apply(quota("2"));
        world.settle();
        assert_eq!(jobs(&world).last(), Some(&format!("tick-{}", MINUTE + 10)), "{policy}");
    }
}

#[test]
fn finished_jobs_are_kept_as_far_as_is_said() {
    let mut world = World::new();
    world.apply(cron(json!({"successfulJobsHistoryLimit": 2})));
    world.settle();
    for _ in 0..5 {
        world.pass(300);
        end(&mut world, "Succeeded");
    }
    assert_eq!(jobs(&world), [format!("tick-{}", MINUTE + 20), format!("tick-{}", MINUTE + 25)]);
}

#[test]
fn a_time_that_is_long_over_is_missed() {
    let mut world = World::new();
    let key = world.apply(cron(json!({"startingDeadlineSeconds": 60})));
    world.settle();
    world.pass(300 + 61);
    world.settle();
    assert!(jobs(&world).is_empty());
    assert_eq!(world.events, ["MissSchedule: Missed scheduled time to start a job: 2026-01-01T00:05:00Z"]);
    assert!(world.wakes.contains_key(&key));
}

#[test]
fn a_suspended_one_does_not_wake() {
    let mut world = World::new();
    world.apply(cron(json!({"suspend": true})));
    world.settle();
    assert!(world.wakes.is_empty());
    world.pass(3600);
    world.settle();
    assert!(jobs(&world).is_empty());
}

#[test]
fn jobs_tell_their_cron_job() {
    let mut world = World::new();
    world.apply(cron(json!({})));
    world.settle();
    world.pass(300);
    world.settle();
    let keys =
        crate::reconcile::workloads::dependents(&world.list::<Job>()[0].clone().wrap(), &world.objects);
    assert!(keys.contains(&Key::new(Kind::CronJob, "default", "tick")));
    let keys =
        crate::reconcile::workloads::dependents(&world.list::<Pod>()[0].clone().wrap(), &world.objects);
    assert!(keys.contains(&world.list::<Job>()[0].key()));
}
