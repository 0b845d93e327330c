//! Containers: what they are made of, how they live and end.

use std::time::{Duration, Instant};

use rcrun_cri::api::{self, ContainerState};
use tonic::Code;

use crate::calls::{container_config, pod_config, security};
use crate::support;

#[test]
fn a_container_says_hello_and_ends() {
    let node = node!();
    let pod = node.pod("web");
    let mut config = container_config("hello", &["sh", "-c", "echo hello; echo oh >&2; exit 3"]);
    config.labels.insert("app".into(), "web".into());
    config.annotations.insert("note".into(), "x".into());
    let id = node.create(&pod, &config);
    let created = node.status(&id);
    assert_eq!(created.state(), ContainerState::ContainerCreated);
    assert!(created.created_at > 0 && created.started_at == 0 && created.finished_at == 0, "{created:?}");
    node.try_start(&id).unwrap();
    let ended = node.exited(&id);
    assert_eq!((ended.exit_code, ended.reason.as_str()), (3, "Error"));
    assert!(ended.created_at <= ended.started_at && ended.started_at <= ended.finished_at, "{ended:?}");
    assert_eq!((ended.labels["app"].as_str(), ended.annotations["note"].as_str()), ("web", "x"));
    assert_eq!(ended.image_id, node.containers()[0].image_id);
    let mut lines: Vec<_> = node.output(&id).lines().map(str::to_owned).collect();
    lines.sort();
    assert_eq!(lines, ["hello", "oh"]);
    assert_eq!(node.try_start(&id).unwrap_err().code(), Code::FailedPrecondition);
    node.remove(&id);
    assert_eq!(node.try_status(&id).unwrap_err().code(), Code::NotFound);
    node.remove(&id);
    node.stop(&id, 0);
}

#[test]
fn a_container_is_stopped_by_its_signal_or_killed_after_the_timeout() {
    let node = node!();
    let pod = node.pod("web");
    let script = "trap 'exit 7' TERM; echo ready; while :; do sleep 0.01; done";
    let polite = node.container(&pod, "polite", &["sh", "-c", script]);
    support::wait_for("its trap", 10, || node.output(&polite).contains("ready").then_some(()));
    node.stop(&polite, 30);
    assert_eq!(node.exited(&polite).exit_code, 7);
    let deaf = node.container(&pod, "deaf", &["sleep", "1000"]);
    let before = Instant::now();
    node.stop(&deaf, 1);
    assert!(before.elapsed() >= Duration::from_secs(1));
    let status = node.status(&deaf);
    assert_eq!((status.exit_code, status.reason.as_str()), (137, "Error"));
    node.stop(&deaf, 1);
    let hurry = node.container(&pod, "hurry", &["sleep", "1000"]);
    let before = Instant::now();
    node.stop(&hurry, 0);
    assert!(before.elapsed() < support::seconds(30));
}

#[test]
fn a_stop_in_a_hurry_does_not_wait_for_a_patient_one() {
    let node = node!();
    let pod = node.pod("web");
    let id = node.container(&pod, "deaf", &["sleep", "1000"]);
    let request = api::StopContainerRequest { container_id: id.clone(), timeout: 1000 };
    let mut client = node.runtime();
    let patient = node.tokio.spawn(async move { client.stop_container(request).await });
    let before = Instant::now();
    node.stop(&id, 1);
    assert!(before.elapsed() < support::seconds(50));
    node.wait(patient).unwrap().unwrap();
}

#[test]
fn the_stop_signal_is_the_requests_or_the_images() {
    let node = node!();
    let pod = node.pod("web");
    let mut config = container_config(
        "usr1",
        &["sh", "-c", "trap 'exit 9' USR1; echo ready; while :; do sleep 0.01; done"],
    );
    config.stop_signal = api::Signal::Sigusr1.into();
    let id = node.run_container(&pod, &config);
    assert_eq!(node.status(&id).stop_signal(), api::Signal::Sigusr1);
    support::wait_for("its trap", 10, || node.output(&id).contains("ready").then_some(()));
    node.stop(&id, 30);
    assert_eq!(node.exited(&id).exit_code, 9);
}

#[test]
fn a_program_that_is_missing_is_a_start_error() {
    let node = node!();
    let pod = node.pod("web");
    let id = node.create(&pod, &container_config("lost", &["/nope"]));
    let error = node.try_start(&id).unwrap_err();
    assert!(error.message().contains("/nope"), "{error}");
    let status = node.status(&id);
    assert_eq!((status.state(), status.exit_code), (ContainerState::ContainerExited, 128));
    assert_eq!(status.reason, "StartError");
    assert!(status.message.contains("/nope"), "{status:?}");
}

#[test]
fn wishes_that_cannot_be_met_name_the_field_and_leave_nothing() {
    let node = node!();
    let pod = node.pod("web");
    let refused = |config: &api::ContainerConfig, code: Code, fragment: &str| {
        let error = node.try_create(&pod, config).unwrap_err();
        assert_eq!(error.code(), code, "{error}");
        assert!(error.message().contains(fragment), "{error}");
    };
    let mut config = container_config("c", &["true"]);
    config.metadata = None;
    refused(&config, Code::InvalidArgument, "config.metadata is missing");
    let mut config = container_config("c", &["true"]);
    config.image = Some(api::ImageSpec { image: "docker.io/library/nope:1".into(), ..Default::default() });
    refused(&config, Code::NotFound, "docker.io/library/nope:1");
    let mut config = container_config("c", &["true"]);
    security(&mut config).run_as_username = "nobody-there".into();
    refused(&config, Code::InvalidArgument, "run_as_username");
    let mut config = container_config("c", &["true"]);
    config.log_path = "../../etc/x".into();
    refused(&config, Code::InvalidArgument, "log_path");
    let missing = crate::calls::Pod { id: "0".repeat(64), config: pod_config("x") };
    let error = node.try_create(&missing, &container_config("c", &["true"])).unwrap_err();
    assert_eq!(error.code(), Code::NotFound);
    assert!(node.containers().is_empty());
    let id = node.create(&pod, &container_config("c", &["true"]));
    let taken = node.try_create(&pod, &container_config("c", &["true"])).unwrap_err();
    assert_eq!(taken.code(), Code::AlreadyExists);
    assert!(taken.message().contains(&id), "{taken}");
    node.stop_pod(&pod.id);
    let late = node.try_create(&pod, &container_config("d", &["true"])).unwrap_err();
    assert_eq!(late.code(), Code::FailedPrecondition);
    assert_eq!(node.try_start(&id).unwrap_err().code(), Code::FailedPrecondition);
}

#[test]
fn containers_are_found_by_filters() {
    let node = node!();
    let (one, two) = (node.pod("one"), node.pod("two"));
    let mut config = container_config("a", &["sleep", "1000"]);
    config.labels.insert("app".into(), "web".into());
    let a = node.run_container(&one, &config);
    let b = node.create(&two, &container_config("b", &["true"]));
    let list = |filter: api::ContainerFilter| {
        let request = api::ListContainersRequest { filter: Some(filter) };
        let answer = node.call(async |mut c| c.list_containers(request).await).unwrap();
        answer.containers.into_iter().map(|container| container.id).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(list(Default::default()), format!("{a} {b}"));
    assert_eq!(list(api::ContainerFilter { id: b[..12].into(), ..Default::default() }), b);
    assert_eq!(list(api::ContainerFilter { pod_sandbox_id: one.id.clone(), ..Default::default() }), a);
    let running = api::ContainerStateValue { state: ContainerState::ContainerRunning.into() };
    assert_eq!(list(api::ContainerFilter { state: Some(running), ..Default::default() }), a);
    let label_selector = [("app".to_owned(), "web".to_owned())].into();
    assert_eq!(list(api::ContainerFilter { label_selector, ..Default::default() }), a);
    assert!(list(api::ContainerFilter { id: "f".repeat(64), ..Default::default() }).is_empty());
    let mut streamed = Vec::new();
    node.wait(async {
        let request = api::StreamContainersRequest::default();
        let mut stream = node.runtime().stream_containers(request).await.unwrap().into_inner();
        while let Some(answer) = stream.message().await.unwrap() {
            streamed.extend(answer.containers);
        }
    });
    assert_eq!(streamed.len(), 2);
}

#[test]
fn who_runs_is_what_the_security_context_says() {
    let node = node!();
    let mut config = container_config("who", &["id"]);
    let context = security(&mut config);
    context.run_as_user = Some(api::Int64Value { value: 1234 });
    context.run_as_group = Some(api::Int64Value { value: 5678 });
    context.supplemental_groups = vec![42];
    let (output, status) = node.ran(&config);
    assert_eq!(output.trim(), "uid=1234 gid=5678 groups=42,5678");
    let user = status.user.unwrap().linux.unwrap();
    assert_eq!((user.uid, user.gid, user.supplemental_groups), (1234, 5678, vec![5678, 42]));
}

#[test]
fn events_tell_of_all_that_happens_to_a_container() {
    let node = node!();
    let mut events = node
        .wait(async { node.runtime().get_container_events(api::GetEventsRequest {}).await })
        .unwrap()
        .into_inner();
    let pod = node.pod("web");
    let id = node.container(&pod, "short", &["true"]);
    node.exited(&id);
    node.remove(&id);
    let mut kinds = Vec::new();
    while kinds.len() < 4 {
        let event = node.wait(events.message()).unwrap().unwrap();
        if event.container_id == id {
            assert_eq!(event.pod_sandbox_status.as_ref().unwrap().id, pod.id);
            kinds.push(event.container_event_type());
        }
    }
    use api::ContainerEventType as Kind;
    let expected = [
        Kind::ContainerCreatedEvent,
        Kind::ContainerStartedEvent,
        Kind::ContainerStoppedEvent,
        Kind::ContainerDeletedEvent,
    ];
    assert_eq!(kinds, expected);
    // Of one that is removed while it runs the end is told first.
    let id = node.container(&pod, "runs", &["sleep", "1000"]);
    node.remove(&id);
    kinds.clear();
    while kinds.last() != Some(&Kind::ContainerDeletedEvent) {
        let event = node.wait(events.message()).unwrap().unwrap();
        if event.container_id == id {
            kinds.push(event.container_event_type());
        }
    }
    assert_eq!(kinds, expected);
    // An event of the Pod itself tells of its containers, too.
    let id = node.container(&pod, "long", &["sleep", "1000"]);
    node.stop_pod(&pod.id);
    let stopped = loop {
        let event = node.wait(events.message()).unwrap().unwrap();
        if event.container_id == pod.id && event.container_event_type() == Kind::ContainerStoppedEvent {
            break event;
        }
    };
    let containers: Vec<_> =
        stopped.containers_statuses.iter().map(|status| (&status.id, status.state())).collect();
    assert_eq!(containers, [(&id, api::ContainerState::ContainerExited)]);
}

#[test]
fn a_log_that_was_moved_away_goes_on_in_a_new_file() {
    let node = node!();
    let pod = node.pod("web");
    let script = "echo one; while ! [ -e /go ]; do sleep 0.01; done; echo two; sleep 1000";
    let id = node.container(&pod, "logs", &["sh", "-c", script]);
    support::wait_for("its first line", 10, || node.output(&id).contains("one").then_some(()));
    let log = node.path(&node.status(&id).log_path);
    std::fs::rename(&log, log.with_extension("1")).unwrap();
    let request = api::ReopenContainerLogRequest { container_id: id.clone() };
    node.call(async |mut c| c.reopen_container_log(request).await).unwrap();
    let root = node.info(&id)["pid"].as_i64().unwrap();
    node.run(&["touch", &format!("/proc/{root}/root/go")]).success();
    support::wait_for("its second line", 10, || node.output(&id).contains("two").then_some(()));
    assert!(!node.output(&id).contains("one"));
    node.stop(&id, 0);
    let request = api::ReopenContainerLogRequest { container_id: id.clone() };
    let error = node.call(async |mut c| c.reopen_container_log(request).await).unwrap_err();
    assert_eq!(error.code(), Code::FailedPrecondition);
}

#[test]
fn resources_of_a_created_and_of_a_running_container_are_changed() {
    let node = node!();
    let pod = node.pod("web");
    let id = node.create(&pod, &container_config("c", &["sleep", "1000"]));
    let update = |shares: i64| {
        let linux = api::LinuxContainerResources { cpu_shares: shares, ..Default::default() };
        let request = api::UpdateContainerResourcesRequest {
            container_id: id.clone(),
            linux: Some(linux),
            ..Default::default()
        };
        node.call(async |mut c| c.update_container_resources(request).await)
    };
    update(512).unwrap();
    assert_eq!(node.info(&id)["runtimeSpec"]["linux"]["resources"]["cpu"]["shares"], 512);
    assert_eq!(node.status(&id).resources.unwrap().linux.unwrap().cpu_shares, 512);
    node.try_start(&id).unwrap();
    update(1024).unwrap();
    assert_eq!(node.status(&id).resources.unwrap().linux.unwrap().cpu_shares, 1024);
    node.stop(&id, 0);
    assert_eq!(update(2).unwrap_err().code(), Code::FailedPrecondition);
}

#[test]
fn more_pods_than_there_are_threads_are_stopped_at_once() {
    let node = node!();
    let ids: Vec<String> = (0..80)
        .map(|number| {
            let mut config = pod_config(&format!("web{number}"));
            let security = config.linux.as_mut().unwrap().security_context.as_mut().unwrap();
            security.namespace_options.as_mut().unwrap().network = api::NamespaceMode::Node.into();
            config.hostname.clear();
            let pod = node.run_pod(&config);
            node.container(&pod, "c", &["sleep", "1000"]);
            pod.id
        })
        .collect();
    let stops: Vec<_> = ids
        .iter()
        .map(|id| {
            let request = api::StopPodSandboxRequest { pod_sandbox_id: id.clone() };
            let mut client = node.runtime();
            node.tokio.spawn(async move { client.stop_pod_sandbox(request).await })
        })
        .collect();
    for stop in stops {
        node.wait(stop).unwrap().unwrap();
    }
    let ended = |container: &api::Container| container.state() == ContainerState::ContainerExited;
    assert!(node.containers().iter().all(ended));
}
