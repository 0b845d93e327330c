//! Requests about what is not there, and requests that say too little: each with its gRPC code and a message that names what
//! was asked for.

use rcrun_cri::api::{self, runtime_service_client::RuntimeServiceClient};
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::calls::{container_config, pod_config};
use crate::node::Node;
use crate::support;

/// An id that nothing has.
const NOBODY: &str = "f00dfeedf00dfeedf00dfeedf00dfeedf00dfeedf00dfeedf00dfeedf00dfeed";

#[track_caller]
fn refused<T: std::fmt::Debug>(call: &str, answer: Result<T, Status>, code: Code, fragments: &[&str]) {
    let status = answer.expect_err(call);
    assert_eq!(status.code(), code, "{call}: {}", status.message());
    assert!(!status.message().contains('\n'), "{call}: {}", status.message());
    for fragment in fragments {
        assert!(status.message().contains(fragment), "{call}: no {fragment:?} in {:?}", status.message());
    }
}

type Client = RuntimeServiceClient<Channel>;

/// `(name, answer)` of each RPC about a container, for one that is not there; those that are idempotent left out.
async fn about_no_container(mut c: Client) -> Vec<(&'static str, Result<(), Status>)> {
    let container_id = NOBODY.to_owned();
    let cmd = vec!["true".to_owned()];
    let mut answers = Vec::new();
    let request = api::StartContainerRequest { container_id: container_id.clone() };
    answers.push(("StartContainer", c.start_container(request).await.map(drop)));
    let request = api::ContainerStatusRequest { container_id: container_id.clone(), verbose: true };
    answers.push(("ContainerStatus", c.container_status(request).await.map(drop)));
    let request = api::UpdateContainerResourcesRequest {
        container_id: container_id.clone(),
        linux: Some(api::LinuxContainerResources::default()),
        ..Default::default()
    };
    answers.push(("UpdateContainerResources", c.update_container_resources(request).await.map(drop)));
    let request = api::ReopenContainerLogRequest { container_id: container_id.clone() };
    answers.push(("ReopenContainerLog", c.reopen_container_log(request).await.map(drop)));
    let request = api::ExecSyncRequest { container_id: container_id.clone(), cmd: cmd.clone(), timeout: 1 };
    answers.push(("ExecSync", c.exec_sync(request).await.map(drop)));
    let request =
        api::ExecRequest { container_id: container_id.clone(), cmd, stdout: true, ..Default::default() };
    answers.push(("Exec", c.exec(request).await.map(drop)));
    let request =
        api::AttachRequest { container_id: container_id.clone(), stdout: true, ..Default::default() };
    answers.push(("Attach", c.attach(request).await.map(drop)));
    let request = api::ContainerStatsRequest { container_id };
    answers.push(("ContainerStats", c.container_stats(request).await.map(drop)));
    answers
}

async fn about_no_pod(mut c: Client) -> Vec<(&'static str, Result<(), Status>)> {
    let pod_sandbox_id = NOBODY.to_owned();
    let mut answers = Vec::new();
    let request = api::PodSandboxStatusRequest { pod_sandbox_id: pod_sandbox_id.clone(), verbose: true };
    answers.push(("PodSandboxStatus", c.pod_sandbox_status(request).await.map(drop)));
    let request = api::PodSandboxStatsRequest { pod_sandbox_id: pod_sandbox_id.clone() };
    answers.push(("PodSandboxStats", c.pod_sandbox_stats(request).await.map(drop)));
    let request = api::PortForwardRequest { pod_sandbox_id: pod_sandbox_id.clone(), port: vec![80] };
    answers.push(("PortForward", c.port_forward(request).await.map(drop)));
    let request = api::CreateContainerRequest {
        pod_sandbox_id: pod_sandbox_id.clone(),
        config: Some(container_config("c", &["true"])),
        sandbox_config: Some(pod_config("p")),
    };
    answers.push(("CreateContainer", c.create_container(request).await.map(drop)));
    let request = api::UpdatePodSandboxResourcesRequest { pod_sandbox_id, ..Default::default() };
    answers.push(("UpdatePodSandboxResources", c.update_pod_sandbox_resources(request).await.map(drop)));
    answers
}

#[test]
fn who_asks_for_what_is_not_there_is_told_so() {
    let node = node!();
    for (call, answer) in node.wait(about_no_container(node.runtime())) {
        refused(call, answer, Code::NotFound, &[NOBODY]);
    }
    for (call, answer) in node.wait(about_no_pod(node.runtime())) {
        refused(call, answer, Code::NotFound, &[NOBODY]);
    }
}

#[test]
fn stopping_and_removing_what_is_not_there_is_done() {
    let node = node!();
    node.stop(NOBODY, 0);
    node.remove(NOBODY);
    node.stop_pod(NOBODY);
    node.remove_pod(NOBODY);
    let image = Some(api::ImageSpec { image: "registry.example/nothing:1".into(), ..Default::default() });
    let request = api::RemoveImageRequest { image: image.clone() };
    node.image_call(async |mut c| c.remove_image(request).await).expect("RemoveImage");
    // A question, not a failure.
    let request = api::ImageStatusRequest { image, verbose: false };
    let status = node.image_call(async |mut c| c.image_status(request).await).expect("ImageStatus");
    assert!(status.image.is_none());
}

#[test]
fn lists_filtered_by_what_is_not_there_are_empty() {
    let node = node!();
    let _pod = node.pod("web");
    let filter = Some(api::PodSandboxFilter { id: NOBODY.into(), ..Default::default() });
    let request = api::ListPodSandboxRequest { filter };
    let pods = node.call(async |mut c| c.list_pod_sandbox(request).await).expect("ListPodSandbox");
    assert!(pods.items.is_empty());
    let filter = Some(api::ContainerFilter { pod_sandbox_id: NOBODY.into(), ..Default::default() });
    let request = api::ListContainersRequest { filter };
    let containers = node.call(async |mut c| c.list_containers(request).await).expect("ListContainers");
    assert!(containers.containers.is_empty());
}

#[test]
fn requests_that_say_too_little_name_what_is_missing() {
    let node = node!();
    let run = |config| {
        let request = api::RunPodSandboxRequest { config, runtime_handler: String::new() };
        node.call(async |mut c| c.run_pod_sandbox(request).await)
    };
    refused("no config", run(None), Code::InvalidArgument, &["config"]);
    let mut config = pod_config("web");
    config.metadata = None;
    refused("no metadata", run(Some(config)), Code::InvalidArgument, &["metadata"]);
    let mut config = pod_config("web");
    config.metadata.as_mut().unwrap().name.clear();
    refused("no name", run(Some(config)), Code::InvalidArgument, &["metadata.name"]);
    let unknown = node.try_run_pod_by(&pod_config("web"), "gvisor").unwrap_err();
    assert!(unknown.message().contains("gvisor"), "{unknown:?}");
    assert!(node.pods().is_empty());

    let pod = node.pod("web");
    let mut config = container_config("c", &["true"]);
    config.metadata = None;
    refused("no metadata", node.try_create(&pod, &config), Code::InvalidArgument, &["metadata"]);
    let mut config = container_config("c", &["true"]);
    config.image = None;
    refused("no image", node.try_create(&pod, &config), Code::InvalidArgument, &["image"]);
    let mut config = container_config("c", &["true"]);
    config.image.as_mut().unwrap().image = "registry.example/nothing:1".into();
    refused("image missing", node.try_create(&pod, &config), Code::NotFound, &["registry.example/nothing:1"]);
    assert!(node.containers().is_empty());
}

#[test]
fn a_name_is_reserved_as_long_as_its_holder_is_there() {
    let node = node!();
    let pod = node.pod("web");
    let again = node.try_run_pod(&pod_config("web"));
    refused("the same Pod again", again, Code::AlreadyExists, &["reserved", &pod.id]);
    let id = node.create(&pod, &container_config("c", &["true"]));
    let again = node.try_create(&pod, &container_config("c", &["true"]));
    refused("the same container again", again, Code::AlreadyExists, &["reserved", &id]);
    node.remove(&id);
    node.create(&pod, &container_config("c", &["true"]));
}

#[test]
fn what_is_not_served_says_so() {
    let node = node!();
    let answers = node.wait(unserved(node.runtime()));
    for (call, answer) in answers {
        refused(call, answer, Code::Unimplemented, &[call, "not served"]);
    }
}

async fn unserved(mut c: Client) -> Vec<(&'static str, Result<(), Status>)> {
    vec![
        (
            "CheckpointContainer",
            c.checkpoint_container(api::CheckpointContainerRequest::default()).await.map(drop),
        ),
        (
            "ListMetricDescriptors",
            c.list_metric_descriptors(api::ListMetricDescriptorsRequest::default()).await.map(drop),
        ),
        (
            "ListPodSandboxMetrics",
            c.list_pod_sandbox_metrics(api::ListPodSandboxMetricsRequest::default()).await.map(drop),
        ),
    ]
}

/// A thousand at once through one connection, and through a hundred.
#[test]
fn a_thousand_lists_at_once_are_all_answered() {
    let node = node!();
    let pod = node.pod("web");
    node.create(&pod, &container_config("c", &["true"]));
    for connections in [1, 100] {
        let channels: Vec<Channel> = (0..connections).map(|_| node.connect()).collect();
        let answered = node.wait(async {
            let mut tasks = tokio::task::JoinSet::new();
            for number in 0..1000 {
                let mut client = RuntimeServiceClient::new(channels[number % channels.len()].clone());
                tasks.spawn(
                    async move { client.list_containers(api::ListContainersRequest::default()).await },
                );
            }
            tasks.join_all().await
        });
        let lists =
            answered.into_iter().map(|answer| answer.expect("ListContainers").into_inner().containers.len());
        assert_eq!(lists.filter(|length| *length == 1).count(), 1000, "{connections} connections");
    }
}

/// Everything listed before is listed after, and goes on.
#[test]
fn a_killed_server_finds_everything_again() {
    let node = node!();
    let pod = node.pod("web");
    let created = node.create(&pod, &container_config("created", &["true"]));
    let running = node.container(&pod, "running", &["sleep", "1000"]);
    let ended = node.container(&pod, "ended", &["sh", "-c", "exit 3"]);
    node.exited(&ended);
    let pid = pid_of(&node, &running);
    node.end(rustix::process::Signal::KILL);
    assert!(support::process_exists(pid), "the container has gone with the server");
    node.start();
    assert_eq!((node.pods().len(), node.containers().len()), (1, 3));
    let state = |id: &str| node.status(id).state();
    assert_eq!(state(&created), api::ContainerState::ContainerCreated);
    assert_eq!(state(&running), api::ContainerState::ContainerRunning);
    assert_eq!(node.status(&ended).exit_code, 3);
    assert_eq!(node.exec(&running, &["echo", "still here"]), "still here\n");
    node.try_start(&created).unwrap();
    assert_eq!(node.exited(&created).exit_code, 0);
}

/// A container that ends while nobody serves has its exit code afterwards.
#[test]
fn what_ends_while_the_server_is_away_is_known_afterwards() {
    let node = node!();
    let pod = node.pod("web");
    let id = node.container(&pod, "c", &["sh", "-c", "until [ -e /end ]; do sleep 0.1; done; exit 7"]);
    let pid = pid_of(&node, &id);
    node.end(rustix::process::Signal::KILL);
    std::fs::write(format!("/proc/{pid}/root/end"), "").unwrap();
    support::wait_for("the container's end", 20, || (!support::process_exists(pid)).then_some(()));
    node.start();
    let status = node.exited(&id);
    assert_eq!((status.exit_code, status.reason.as_str()), (7, "Error"), "{status:?}");
}

/// The container's init, as this process sees it: the only process in its cgroup.
fn pid_of(node: &Node, id: &str) -> i32 {
    let mut directories = vec![node.cgroup().to_owned()];
    while let Some(directory) = directories.pop() {
        let procs = std::fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
        if directory.to_string_lossy().contains(id) {
            let first = procs.lines().find_map(|line| line.parse().ok());
            if let Some(pid) = first {
                return pid;
            }
        }
        let below = std::fs::read_dir(&directory).into_iter().flatten().flatten().map(|entry| entry.path());
        directories.extend(below.filter(|path| path.is_dir()));
    }
    panic!("no process of {id} in {}", node.cgroup().display());
}
