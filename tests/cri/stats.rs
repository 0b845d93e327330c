//! Statistics of containers and Pods.

use std::collections::HashMap;

use rcrun_cri::api;
use tonic::Code;

use crate::calls::container_config;
use crate::node::Node;
use crate::support;

impl Node {
    fn list_stats(&self, filter: api::ContainerStatsFilter) -> Vec<api::ContainerStats> {
        let request = api::ListContainerStatsRequest { filter: Some(filter) };
        self.call(async |mut c| c.list_container_stats(request).await).unwrap().stats
    }

    fn stats(&self, id: &str) -> api::ContainerStats {
        let request = api::ContainerStatsRequest { container_id: id.into() };
        self.call(async |mut c| c.container_stats(request).await).unwrap().stats.unwrap()
    }

    fn pod_stats(&self, id: &str) -> api::LinuxPodSandboxStats {
        let request = api::PodSandboxStatsRequest { pod_sandbox_id: id.into() };
        let answer = self.call(async |mut c| c.pod_sandbox_stats(request).await).unwrap();
        answer.stats.unwrap().linux.unwrap()
    }
}

fn number(value: &Option<api::UInt64Value>) -> u64 {
    value.as_ref().expect("a number").value
}

fn ids(stats: &[api::ContainerStats]) -> Vec<&str> {
    stats.iter().map(|stats| stats.attributes.as_ref().unwrap().id.as_str()).collect()
}

#[test]
fn a_container_that_runs_is_measured() {
    let node = node!();
    let pod = node.pod("p");
    let script = "head -c 100000 /dev/zero >/file; echo written; while :; do :; done";
    let mut config = container_config("c", &["sh", "-c", script]);
    config.labels = HashMap::from([("app".into(), "web".into())]);
    config.annotations = HashMap::from([("note".into(), "kept".into())]);
    let id = node.run_container(&pod, &config);
    let first = node.stats(&id);
    let attributes = first.attributes.unwrap();
    assert_eq!((attributes.id.as_str(), attributes.metadata), (id.as_str(), config.metadata));
    assert_eq!((attributes.labels, attributes.annotations), (config.labels, config.annotations));
    let cpu = |stats: &api::ContainerStats| stats.cpu.unwrap();
    assert!(first.memory.unwrap().timestamp > 0 && first.io.unwrap().timestamp > 0);
    let later = support::wait_for("a rate", 20, || {
        let stats = node.stats(&id);
        // It is 0 where the container has not had the processor in between.
        cpu(&stats).usage_nano_cores.is_some_and(|rate| rate.value > 0).then_some(stats)
    });
    let (used, rate) = (number(&cpu(&later).usage_core_nano_seconds), number(&cpu(&later).usage_nano_cores));
    assert!(used > 0 && rate > 0, "{later:?}");
    let layer = later.writable_layer.unwrap();
    assert_eq!(layer.fs_id.unwrap().mountpoint, "/var/lib/rcrun");
    support::wait_for("its file", 20, || (node.output(&id) == "written\n").then_some(()));
    node.stop(&id, 0);
    // What it has written is there until it is removed.
    let ended = node.stats(&id);
    assert_eq!((ended.cpu, ended.memory), (None, None));
    // Twenty times as long after the last one as that took.
    support::wait_for("the layer's next measuring", 300, || {
        let layer = node.stats(&id).writable_layer.unwrap();
        (number(&layer.used_bytes) >= 100_000 && number(&layer.inodes_used) >= 2).then_some(())
    });
}

#[test]
fn lists_are_filtered_by_all_that_is_given() {
    let node = node!();
    let pods = [node.pod("a"), node.pod("b")];
    let run = |pod, name: &str, label: &str| {
        let mut config = container_config(name, &["sleep", "1000"]);
        config.labels = HashMap::from([("app".into(), label.into())]);
        node.run_container(pod, &config)
    };
    let (one, two, three) = (run(&pods[0], "1", "x"), run(&pods[0], "2", "y"), run(&pods[1], "3", "x"));
    let mut all = [one.as_str(), two.as_str(), three.as_str()];
    all.sort_unstable();
    assert_eq!(ids(&node.list_stats(api::ContainerStatsFilter::default())), all);
    let of_id = api::ContainerStatsFilter { id: one[..20].into(), ..Default::default() };
    assert_eq!(ids(&node.list_stats(of_id)), [one.as_str()]);
    let of_both = api::ContainerStatsFilter {
        pod_sandbox_id: pods[0].id.clone(),
        label_selector: HashMap::from([("app".into(), "x".into())]),
        ..Default::default()
    };
    assert_eq!(ids(&node.list_stats(of_both)), [one.as_str()]);
    let of_none = api::ContainerStatsFilter { id: "nonesuch".into(), ..Default::default() };
    assert!(node.list_stats(of_none).is_empty());
    let streamed = node.call(async |mut c| {
        let mut stream =
            c.stream_container_stats(api::StreamContainerStatsRequest::default()).await?.into_inner();
        let part = stream.message().await?.expect("a part");
        assert!(stream.message().await?.is_none());
        Ok(tonic::Response::new(part))
    });
    assert_eq!(ids(&streamed.unwrap().container_stats), all);
    let request = api::ContainerStatsRequest { container_id: "nonesuch".into() };
    let error = node.call(async |mut c| c.container_stats(request).await).unwrap_err();
    assert_eq!((error.code(), error.message()), (Code::NotFound, "container \"nonesuch\" not found"));
    let request = api::PodSandboxStatsRequest { pod_sandbox_id: "nonesuch".into() };
    let error = node.call(async |mut c| c.pod_sandbox_stats(request).await).unwrap_err();
    assert_eq!((error.code(), error.message()), (Code::NotFound, "Pod sandbox \"nonesuch\" not found"));
}

#[test]
fn a_pod_is_measured_with_its_network_and_its_containers() {
    let node = node!();
    let pod = node.pod("p");
    let alone = node.pod_stats(&pod.id);
    assert_eq!((alone.containers.len(), number(&alone.process.unwrap().process_count)), (0, 0));
    let ids = [node.container(&pod, "1", &["sleep", "1000"]), node.container(&pod, "2", &["sleep", "1000"])];
    let stats = node.pod_stats(&pod.id);
    assert_eq!(number(&stats.process.unwrap().process_count), 2);
    assert_eq!(stats.containers.len(), ids.len());
    assert!(number(&stats.cpu.unwrap().usage_core_nano_seconds) > 0);
    let network = stats.network.expect("counts of its network");
    let default = network.default_interface.expect("an interface");
    assert_eq!((default.name.as_str(), network.interfaces.len()), ("eth0", 0));
    let request = api::ListPodSandboxStatsRequest { filter: None };
    let list = node.call(async |mut c| c.list_pod_sandbox_stats(request.clone()).await).unwrap().stats;
    assert_eq!(list.len(), 1);
    assert_eq!(list[0].attributes.as_ref().unwrap().metadata, pod.config.metadata);
    node.stop_pod(&pod.id);
    let list = node.call(async |mut c| c.list_pod_sandbox_stats(request).await).unwrap().stats;
    assert!(list.is_empty(), "{list:?}");
}
