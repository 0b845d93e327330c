//! Pods: what they have of their own, what is refused, and that nothing is left of them.

use std::collections::HashMap;
use std::fs;

use rcrun_cri::api::{self, NamespaceMode, PodSandboxConfig, PodSandboxState};
use rustix::process::Signal;
use tonic::Code;

use crate::calls::pod_config;
use crate::node::Node;
use crate::support;

fn linux(config: &mut PodSandboxConfig) -> &mut api::LinuxPodSandboxConfig {
    config.linux.get_or_insert_default()
}

fn options(config: &mut PodSandboxConfig) -> &mut api::NamespaceOption {
    linux(config).security_context.get_or_insert_default().namespace_options.get_or_insert_default()
}

fn with_sysctl(mut config: PodSandboxConfig, name: &str, value: &str) -> PodSandboxConfig {
    linux(&mut config).sysctls.insert(name.into(), value.into());
    config
}

fn netns(id: &str) -> String {
    format!("/run/netns/rcrun-{id}")
}

fn pin(id: &str, name: &str) -> String {
    format!("/run/rcrun/cri/pods/{id}/{name}")
}

fn inside(node: &Node, namespace: &str, path: &str, command: &[&str]) -> String {
    let enter = ["nsenter", &format!("--{namespace}={path}"), "--"];
    let outcome = node.run(&[&enter, command].concat());
    assert!(outcome.status.success(), "{outcome}");
    outcome.stdout.trim().to_owned()
}

fn state(node: &Node, id: &str) -> PodSandboxState {
    node.pod_status(id).state()
}

#[test]
fn a_pod_has_namespaces_of_its_own_and_an_address() {
    let node = node!();
    let config = with_sysctl(pod_config("web"), "kernel.shm_rmid_forced", "1");
    let mut config = with_sysctl(config, "net.ipv4.ip_unprivileged_port_start", "80");
    config.dns_config = Some(api::DnsConfig {
        servers: vec!["10.0.0.10".into()],
        searches: vec!["svc.local".into()],
        options: vec!["ndots:5".into()],
    });
    config.labels.insert("app".into(), "web".into());
    config.annotations.insert("note".into(), "any text".into());
    let pod = node.run_pod(&config);
    let status = node.pod_status(&pod.id);
    assert_eq!(status.state(), PodSandboxState::SandboxReady);
    assert_eq!((&status.labels, &status.annotations), (&config.labels, &config.annotations));
    assert_eq!(status.metadata, config.metadata);
    let network = status.network.unwrap();
    let addresses = inside(&node, "net", &netns(&pod.id), &["ip", "-br", "addr", "show", "eth0"]);
    assert!(addresses.contains(&format!("{}/", network.ip)), "{addresses}: {}", network.ip);
    let port = ["cat", "/proc/sys/net/ipv4/ip_unprivileged_port_start"];
    assert_eq!(inside(&node, "net", &netns(&pod.id), &port), "80");
    assert_eq!(inside(&node, "uts", &pin(&pod.id, "uts"), &["hostname"]), "web");
    let forced = ["cat", "/proc/sys/kernel/shm_rmid_forced"];
    assert_eq!(inside(&node, "ipc", &pin(&pod.id, "ipc"), &forced), "1");
    assert_eq!(node.run(&forced).stdout.trim(), "0", "the node has its own");
    let resolv_conf =
        fs::read_to_string(node.path(&format!("/var/lib/rcrun/cri/pods/{}/resolv.conf", pod.id))).unwrap();
    assert_eq!(resolv_conf, "search svc.local\nnameserver 10.0.0.10\noptions ndots:5\n");
    let shm = node.run(&["findmnt", "-n", "-o", "SIZE,OPTIONS", &pin(&pod.id, "shm")]).stdout;
    assert!(shm.trim().starts_with("64M") && shm.contains("noexec"), "{shm}");
    assert!(node.path("/var/log/pods/test_web_web-uid").is_dir());
}

#[test]
fn a_pod_on_the_hosts_network_has_the_hosts_name_and_no_address() {
    let node = node!();
    let mut config = pod_config("host");
    options(&mut config).network = NamespaceMode::Node.into();
    config.port_mappings = vec![api::PortMapping { host_port: 80, container_port: 80, ..Default::default() }];
    let pod = node.run_pod(&config);
    let status = node.pod_status(&pod.id);
    assert_eq!(status.network.unwrap().ip, "");
    assert!(!node.path(&netns(&pod.id)).exists() && !node.path(&pin(&pod.id, "uts")).exists());
    assert!(node.path(&pin(&pod.id, "ipc")).exists());
    options(&mut config).ipc = NamespaceMode::Node.into();
    config.metadata.as_mut().unwrap().attempt = 1;
    let pod = node.run_pod(&config);
    assert!(!node.path(&pin(&pod.id, "ipc")).exists() && !node.path(&pin(&pod.id, "shm")).exists());
}

#[test]
fn the_same_pod_again_is_refused_until_it_is_removed() {
    let node = node!();
    let pod = node.pod("web");
    let error = node.try_run_pod(&pod.config).unwrap_err();
    assert_eq!(error.code(), Code::AlreadyExists);
    let said =
        format!("name \"web_test_web-uid_0\" is reserved for Pod sandbox {}: remove that first", pod.id);
    assert_eq!(error.message(), said);
    node.stop_pod(&pod.id);
    assert_eq!(node.try_run_pod(&pod.config).unwrap_err().code(), Code::AlreadyExists);
    node.remove_pod(&pod.id);
    node.run_pod(&pod.config);
}

#[test]
fn stopping_and_removing_can_be_repeated() {
    let node = node!();
    for id in ["nothing", "0000"] {
        node.stop_pod(id);
        node.remove_pod(id);
    }
    let pod = node.pod("web");
    for _ in 0..2 {
        node.stop_pod(&pod.id);
        assert_eq!(state(&node, &pod.id), PodSandboxState::SandboxNotready);
    }
    assert!(!node.path(&netns(&pod.id)).exists() && !node.path(&pin(&pod.id, "")).exists());
    for _ in 0..2 {
        node.remove_pod(&pod.id);
    }
    let error = node.try_pod_status(&pod.id).unwrap_err();
    assert_eq!(
        (error.code(), error.message()),
        (Code::NotFound, &*format!("Pod sandbox {:?} not found", pod.id))
    );
    let ready = node.pod("never-stopped");
    node.remove_pod(&ready.id);
    assert!(node.pods().is_empty());
}

#[test]
fn wishes_that_cannot_be_met_are_named_and_leave_nothing() {
    let node = node!();
    let refused = |change: &dyn Fn(&mut PodSandboxConfig), code: Code, said: &str| {
        let mut config = pod_config("refused");
        change(&mut config);
        let error = node.try_run_pod(&config).unwrap_err();
        assert_eq!(error.code(), code, "{error}");
        assert!(error.message().contains(said), "{error}");
        assert!(node.pods().is_empty() && node.remaining().is_empty());
    };
    let invalid = Code::InvalidArgument;
    refused(&|c| c.metadata = None, invalid, "metadata: missing");
    refused(&|c| c.hostname = "a".repeat(65), invalid, "hostname: ");
    refused(&|c| options(c).pid = NamespaceMode::Target.into(), invalid, "namespace_options.pid: TARGET");
    let user = api::UserNamespace { mode: NamespaceMode::Pod.into(), ..Default::default() };
    refused(&|c| options(c).userns_options = Some(user.clone()), invalid, "not supported yet");
    let sysctl = |name: &'static str, value: &'static str| {
        move |config: &mut PodSandboxConfig| *config = with_sysctl(config.clone(), name, value)
    };
    refused(
        &sysctl("vm.swappiness", "1"),
        invalid,
        "linux.sysctls[\"vm.swappiness\"]: belongs to no namespace",
    );
    // The kernel itself says no, with the namespaces there already.
    refused(&sysctl("kernel.shm_rmid_forced", "7"), invalid, "sysctl kernel.shm_rmid_forced");
    refused(&sysctl("net.ipv4.no_such_thing", "1"), invalid, "sysctl net.ipv4.no_such_thing");
    refused(&|c| linux(c).cgroup_parent = "/a/../b".into(), invalid, "linux.cgroup_parent: ");
    let port = api::PortMapping { host_port: 70000, container_port: 80, ..Default::default() };
    refused(&|c| c.port_mappings = vec![port.clone()], invalid, "port_mappings[0].host_port");
    fs::write(node.file("plain"), "").unwrap();
    refused(&|c| c.log_directory = "/run/node/plain/logs".into(), Code::Internal, "/run/node/plain/logs");
    let error = node.try_run_pod_by(&pod_config("refused"), "kata").unwrap_err();
    assert!(error.code() == invalid && error.message().contains("runtime_handler: \"kata\""), "{error}");
}

#[test]
fn lists_can_be_filtered_and_streamed() {
    let node = node!();
    let mut config = pod_config("labelled");
    config.labels.insert("app".into(), "web".into());
    let labelled = node.run_pod(&config);
    let stopped = node.pod("stopped");
    node.stop_pod(&stopped.id);
    let list = |filter: api::PodSandboxFilter| {
        let request = api::ListPodSandboxRequest { filter: Some(filter) };
        let items = node.call(async |mut c| c.list_pod_sandbox(request).await).unwrap().items;
        items.into_iter().map(|pod| pod.id).collect::<Vec<_>>()
    };
    let none = api::PodSandboxFilter::default;
    assert_eq!(list(none()), [labelled.id.as_str(), &stopped.id]);
    assert_eq!(
        list(api::PodSandboxFilter { id: labelled.id[..12].into(), ..none() }),
        [labelled.id.as_str()]
    );
    let state = Some(api::PodSandboxStateValue { state: PodSandboxState::SandboxNotready.into() });
    assert_eq!(list(api::PodSandboxFilter { state, ..none() }), [stopped.id.as_str()]);
    let label_selector = HashMap::from([("app".to_owned(), "web".to_owned())]);
    assert_eq!(list(api::PodSandboxFilter { label_selector, ..none() }), [labelled.id.as_str()]);
    let streamed = node.wait(async {
        let request = api::StreamPodSandboxesRequest::default();
        let mut stream = node.runtime().stream_pod_sandboxes(request).await.unwrap().into_inner();
        let mut ids = Vec::new();
        while let Some(part) = stream.message().await.unwrap() {
            ids.extend(part.pod_sandboxes.into_iter().map(|pod| pod.id));
        }
        ids
    });
    assert_eq!(streamed, [labelled.id, stopped.id]);
}

#[test]
fn pods_made_at_the_same_time_have_addresses_of_their_own() {
    let node = node!();
    let names: Vec<String> = (0..12).map(|number| format!("pod-{number}")).collect();
    let pods: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = names.iter().map(|name| scope.spawn(|| node.pod(name))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let mut addresses: Vec<String> =
        pods.iter().map(|pod| node.pod_status(&pod.id).network.unwrap().ip).collect();
    addresses.sort();
    addresses.dedup();
    assert_eq!(addresses.len(), names.len());
}

#[test]
fn a_killed_server_finds_its_pods_again() {
    let node = node!();
    let pod = node.pod("web");
    let before = node.pod_status(&pod.id);
    node.restart();
    assert_eq!(node.pod_status(&pod.id), before);
    let other = node.pod("other");
    assert_ne!(node.pod_status(&other.id).network.unwrap().ip, before.network.unwrap().ip);
    node.stop_pod(&pod.id);
    node.restart();
    assert_eq!(state(&node, &pod.id), PodSandboxState::SandboxNotready);
    node.remove_pod(&pod.id);
}

#[test]
fn after_a_reboot_pods_are_not_ready_and_their_addresses_free() {
    let node = node!();
    let pod = node.pod("web");
    node.end(Signal::KILL);
    // What a reboot takes: mounts, devices, /run.
    let reboot = format!(
        "umount -l {0} {1}/ipc {1}/uts {1}/shm; rm -r /run/netns/* /run/rcrun/cri; ip link del rcrun0",
        netns(&pod.id),
        pin(&pod.id, "").trim_end_matches('/'),
    );
    let outcome = node.run(&["sh", "-c", &reboot]);
    assert!(outcome.status.success(), "{outcome}");
    node.start();
    assert_eq!(state(&node, &pod.id), PodSandboxState::SandboxNotready);
    let leases = "/var/lib/rcrun/cri/leases/rcrun0/addresses";
    assert_eq!(fs::read_dir(node.path(leases)).unwrap().count(), 0);
    node.stop_pod(&pod.id);
    node.remove_pod(&pod.id);
    node.pod("web");
}

#[test]
fn a_pods_cgroup_that_was_made_for_its_limits_goes_with_it() {
    let node = node!();
    let limited = |name: &str| {
        let mut config = pod_config(name);
        linux(&mut config).cgroup_parent = format!("/pods/{name}");
        linux(&mut config).resources =
            Some(api::LinuxContainerResources { cpu_shares: 512, ..Default::default() });
        config
    };
    let made = node.run_pod(&limited("made"));
    assert!(node.cgroup().join("pods/made").exists());
    let resources = api::LinuxContainerResources { cpu_shares: 1024, ..Default::default() };
    let request = api::UpdatePodSandboxResourcesRequest {
        pod_sandbox_id: made.id.clone(),
        resources: Some(resources),
        overhead: None,
    };
    node.call(async |mut c| c.update_pod_sandbox_resources(request).await).unwrap();
    node.stop_pod(&made.id);
    assert!(!node.cgroup().join("pods").exists());
    // A container's may be in it a moment longer.
    let kept = node.run_pod(&limited("kept"));
    fs::create_dir(node.cgroup().join("pods/kept/container")).unwrap();
    node.stop_pod(&kept.id);
    fs::remove_dir(node.cgroup().join("pods/kept/container")).unwrap();
    node.remove_pod(&kept.id);
    assert!(!node.cgroup().join("pods").exists());
    // The kubelet's own is left alone.
    fs::create_dir_all(node.cgroup().join("pods/there")).unwrap();
    let there = node.run_pod(&limited("there"));
    node.remove_pod(&there.id);
    assert!(node.cgroup().join("pods/there").exists());
    fs::remove_dir(node.cgroup().join("pods/there")).unwrap();
    fs::remove_dir(node.cgroup().join("pods")).unwrap();
}

#[test]
fn a_port_of_the_node_leads_into_the_pod() {
    let node = node!();
    let mut config = pod_config("web");
    config.port_mappings =
        vec![api::PortMapping { host_port: 18080, container_port: 80, ..Default::default() }];
    let pod = node.run_pod(&config);
    let serve = "mkdir /www && echo hello > /www/index.html && exec httpd -f -p 80 -h /www";
    node.container(&pod, "web", &["sh", "-c", serve]);
    let address = node.pod_status(&pod.id).network.unwrap().ip;
    for url in [format!("http://{address}/"), "http://127.0.0.1:18080/".into()] {
        support::wait_for("the page", 20, || {
            let page = node.run(&["/bin/busybox", "wget", "-q", "-O", "-", &url]);
            (page.stdout == "hello\n").then_some(())
        });
    }
    let mut taken = pod_config("taken");
    taken.port_mappings = config.port_mappings;
    let error = node.try_run_pod(&taken).unwrap_err();
    assert!(error.code() == Code::AlreadyExists && error.message().contains("18080"), "{error}");
    node.stop_pod(&pod.id);
    node.run_pod(&taken);
}
