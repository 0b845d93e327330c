//! Limits of containers and Pods: on a host with the controllers, as in the VM.

use std::fs;

use rcrun_cri::api::{self, ContainerState};

use crate::calls::{container_config, pod_config, resources};
use crate::node::Node;
use crate::support;

/// A node whose cgroups can limit memory, cpu and processes, or a return from the test with a SKIP line.
macro_rules! limited {
    () => {{
        let node = node!();
        let controllers =
            fs::read_to_string(node.path("/sys/fs/cgroup/cgroup.controllers")).expect("cgroup2");
        let has = |name| controllers.split_whitespace().any(|one| one == name);
        $crate::support::require!(if has("memory") && has("cpu") && has("pids") {
            Ok(())
        } else {
            Err(format!("this host's cgroup2 has no memory, cpu and pids controllers, only {controllers:?}"))
        });
        node
    }};
}

const MIB: i64 = 1 << 20;

/// A file of the cgroup that the container is in, as it sees that itself.
fn own(node: &Node, id: &str, file: &str) -> String {
    node.exec(id, &["cat", &format!("/sys/fs/cgroup/{file}")]).trim().to_owned()
}

#[test]
fn limits_are_in_the_containers_cgroup_and_are_changed_in_place() {
    let node = limited!();
    let pod = node.pod("web");
    let mut config = container_config("c", &["sleep", "1000"]);
    let wanted = resources(&mut config);
    wanted.memory_limit_in_bytes = 64 * MIB;
    wanted.cpu_quota = 50_000;
    wanted.cpu_period = 100_000;
    wanted.cpu_shares = 512;
    wanted.unified.insert("memory.high".into(), (48 * MIB).to_string());
    let id = node.run_container(&pod, &config);
    assert_eq!(own(&node, &id, "memory.max"), (64 * MIB).to_string());
    assert_eq!(own(&node, &id, "memory.high"), (48 * MIB).to_string());
    assert_eq!(own(&node, &id, "cpu.max"), "50000 100000");
    let weight = own(&node, &id, "cpu.weight");
    let linux = api::LinuxContainerResources {
        memory_limit_in_bytes: 96 * MIB,
        cpu_quota: 80_000,
        cpu_period: 100_000,
        cpu_shares: 1024,
        ..Default::default()
    };
    let request = api::UpdateContainerResourcesRequest {
        container_id: id.clone(),
        linux: Some(linux),
        ..Default::default()
    };
    node.call(async |mut c| c.update_container_resources(request).await).unwrap();
    assert_eq!(own(&node, &id, "memory.max"), (96 * MIB).to_string());
    assert_eq!(own(&node, &id, "cpu.max"), "80000 100000");
    assert_ne!(own(&node, &id, "cpu.weight"), weight);
    let shown = node.status(&id).resources.unwrap().linux.unwrap();
    assert_eq!((shown.memory_limit_in_bytes, shown.cpu_quota, shown.cpu_shares), (96 * MIB, 80_000, 1024));
}

#[test]
fn a_container_without_memory_is_oom_killed() {
    let node = limited!();
    let pod = node.pod("web");
    let mut config = container_config("c", &["sh", "-c", "exec tail /dev/zero"]);
    resources(&mut config).memory_limit_in_bytes = 16 * MIB;
    let id = node.run_container(&pod, &config);
    let ended = node.exited(&id);
    assert_eq!(ended.state(), ContainerState::ContainerExited);
    assert_eq!((ended.exit_code, ended.reason.as_str()), (137, "OOMKilled"));
}

#[test]
fn statistics_have_what_the_controllers_count() {
    let node = limited!();
    let pod = node.pod("web");
    let id = node.container(
        &pod,
        "c",
        &["sh", "-c", "dd if=/dev/zero of=/tmp/x bs=1M count=4; while :; do :; done"],
    );
    let stats = support::wait_for("statistics", 20, || {
        let request = api::ContainerStatsRequest { container_id: id.clone() };
        let answer = node.call(async |mut c| c.container_stats(request).await).unwrap();
        let stats = answer.stats?;
        let memory = stats.memory?.working_set_bytes?.value;
        (memory > 0 && stats.cpu.as_ref()?.usage_core_nano_seconds.as_ref()?.value > 0).then_some(stats)
    });
    let memory = stats.memory.unwrap();
    assert!(memory.usage_bytes.unwrap().value >= memory.working_set_bytes.unwrap().value);
    let request = api::PodSandboxStatsRequest { pod_sandbox_id: pod.id.clone() };
    let answer = node.call(async |mut c| c.pod_sandbox_stats(request).await).unwrap();
    let linux = answer.stats.unwrap().linux.unwrap();
    assert!(linux.process.unwrap().process_count.unwrap().value >= 1);
}

#[test]
fn a_pods_cgroup_that_rcrun_made_has_the_pods_limits_and_is_gone_with_it() {
    let node = limited!();
    let mut config = pod_config("web");
    let linux = config.linux.get_or_insert_default();
    linux.cgroup_parent = "/kubepods/pod1".into();
    linux.resources =
        Some(api::LinuxContainerResources { memory_limit_in_bytes: 128 * MIB, ..Default::default() });
    let pod = node.run_pod(&config);
    let id = node.container(&pod, "c", &["sleep", "1000"]);
    let cgroup = node.path("/sys/fs/cgroup/kubepods/pod1");
    let limit = || fs::read_to_string(cgroup.join("memory.max")).unwrap().trim().to_owned();
    assert_eq!(limit(), (128 * MIB).to_string());
    let inside = fs::read_to_string(cgroup.join(&id).join("cgroup.procs")).unwrap();
    assert!(!inside.is_empty());
    let request = api::UpdatePodSandboxResourcesRequest {
        pod_sandbox_id: pod.id.clone(),
        resources: Some(api::LinuxContainerResources {
            memory_limit_in_bytes: 160 * MIB,
            ..Default::default()
        }),
        overhead: None,
    };
    node.call(async |mut c| c.update_pod_sandbox_resources(request).await).unwrap();
    assert_eq!(limit(), (160 * MIB).to_string());
    node.stop_pod(&pod.id);
    node.remove_pod(&pod.id);
    assert!(!cgroup.exists());
}
