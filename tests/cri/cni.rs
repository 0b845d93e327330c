//! CNI: plugins that are shell scripts make the Pods' network, fail, take long and are not there.

use std::fs;

use rcrun_cri::api::{self, PodSandboxState};
use rustix::process::Signal;
use tonic::Code;

use crate::calls::pod_config;
use crate::node::Node;
use crate::support;

fn state(node: &Node, id: &str) -> PodSandboxState {
    node.pod_status(id).state()
}

/// A node whose network is made by these plugins, each a shell script; what they are asked is in `calls`.
fn node_with(plugins: &[(&str, &str)]) -> Result<Node, String> {
    let node = Node::configured(|config| {
        config.network.cni_conf_dir = "/run/node/net.d".into();
        config.network.cni_bin_dirs = vec!["/run/node/plugins".into()];
    })?;
    fs::create_dir(node.file("net.d")).unwrap();
    fs::create_dir(node.file("plugins")).unwrap();
    let mut types = Vec::new();
    for (name, script) in plugins {
        let text =
            format!("#!/bin/sh\nconfig=$(cat)\necho {name} $CNI_COMMAND >> /run/node/calls\n{script}\n");
        let file = node.file("plugins").join(name);
        fs::write(&file, text).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(file, mode).unwrap();
        types.push(serde_json::json!({"type": name}));
    }
    let list = serde_json::json!({"cniVersion": "1.1.0", "name": "net", "plugins": types});
    fs::write(node.file("net.d/10-net.conflist"), list.to_string()).unwrap();
    Ok(node)
}

fn calls(node: &Node) -> Vec<String> {
    let text = fs::read_to_string(node.file("calls")).unwrap_or_default();
    let _ = fs::remove_file(node.file("calls"));
    text.lines().map(ToOwned::to_owned).collect()
}

/// Gives the Pod's eth0 its address, as a plugin does.
const PLUGIN: &str = r#"case $CNI_COMMAND in
ADD)
    nsenter --net=$CNI_NETNS ip link add eth0 type bridge || exit 1
    nsenter --net=$CNI_NETNS ip addr add 10.7.0.2/24 dev eth0 || exit 1
    echo '{"cniVersion":"1.1.0","interfaces":[{"name":"eth0","sandbox":"x"}],"ips":[{"address":"10.7.0.2/24","interface":0}]}' ;;
esac"#;

#[test]
fn plugins_make_the_network_where_there_is_a_configuration() {
    let node = support::require!(node_with(&[("plug", PLUGIN)]));
    let pod = node.pod("web");
    assert_eq!(node.pod_status(&pod.id).network.unwrap().ip, "10.7.0.2");
    let request = api::PodSandboxStatusRequest { pod_sandbox_id: pod.id.clone(), verbose: true };
    let info = node.call(async |mut c| c.pod_sandbox_status(request).await).unwrap().info;
    let info: serde_json::Value = serde_json::from_str(&info["info"]).unwrap();
    assert_eq!((&info["network"], &info["networkCheck"]), (&"cni".into(), &"ok".into()));
    assert_eq!(info["cniResult"]["ips"][0]["address"], "10.7.0.2/24");
    assert_eq!(calls(&node), ["plug ADD", "plug CHECK"]);
    // Another network for the next Pod; this one's is given back as it was made.
    fs::remove_file(node.file("net.d/10-net.conflist")).unwrap();
    let other = node.pod("other");
    assert!(node.pod_status(&other.id).network.unwrap().ip.starts_with("10.88."));
    node.restart();
    node.stop_pod(&pod.id);
    assert_eq!(calls(&node), ["plug DEL"]);
}

#[test]
fn a_network_that_fails_half_way_is_given_back_and_named() {
    let fails = r#"[ $CNI_COMMAND = ADD ] || exit 0; echo '{"code":7,"msg":"no range is left"}'; exit 1"#;
    let node = support::require!(node_with(&[("plug", PLUGIN), ("broken", fails)]));
    let error = node.try_run_pod(&pod_config("web")).unwrap_err();
    let said = "CNI plugin broken of network net: ADD failed: no range is left";
    assert_eq!((error.code(), error.message()), (Code::Internal, said));
    assert_eq!(calls(&node), ["plug ADD", "broken ADD", "broken DEL", "plug DEL"]);
    assert!(node.pods().is_empty());
}

#[test]
fn a_network_that_cannot_be_given_back_is_tried_again() {
    let fails = r#"[ $CNI_COMMAND = DEL ] && [ ! -e /run/node/cured ] && { echo stuck >&2; exit 1; }"#;
    let takes =
        r#"[ $CNI_COMMAND = DEL ] && nsenter --net=$CNI_NETNS ip link del eth0 && touch /run/node/taken"#;
    let node = support::require!(node_with(&[("plug", &format!("{fails}\n{takes}\n{PLUGIN}"))]));
    let pod = node.pod("web");
    let request = || api::StopPodSandboxRequest { pod_sandbox_id: pod.id.clone() };
    let error = node.call(async |mut c| c.stop_pod_sandbox(request()).await).unwrap_err();
    assert!(error.message().ends_with("CNI plugin plug of network net: DEL failed: stuck"), "{error}");
    assert_eq!(state(&node, &pod.id), PodSandboxState::SandboxNotready);
    node.restart();
    assert_eq!(state(&node, &pod.id), PodSandboxState::SandboxNotready);
    fs::write(node.file("cured"), "").unwrap();
    node.stop_pod(&pod.id);
    assert!(node.file("taken").exists(), "DEL finds what ADD has put into the namespace");
}

#[test]
fn a_pod_that_never_had_its_network_can_be_removed_while_its_plugin_fails() {
    let fails = r#"echo '{"code":11,"msg":"the agent is not up"}'; exit 1"#;
    let node = support::require!(node_with(&[("agent", fails)]));
    let error = node.try_run_pod(&pod_config("web")).unwrap_err();
    let said = |command| format!("CNI plugin agent of network net: {command} failed: the agent is not up");
    assert_eq!(error.message(), format!("{}; then: {}", said("ADD"), said("DEL")));
    let pods = node.pods();
    assert_eq!(pods.len(), 1, "what DEL has not given back is listed");
    node.stop_pod(&pods[0].id);
    assert!(node.log().contains(&format!("is given up: {}", said("DEL"))));
    node.remove_pod(&pods[0].id);
    assert_eq!(calls(&node), ["agent ADD", "agent DEL", "agent DEL"]);
    assert_eq!(node.remaining(), Vec::<String>::new());
}

#[test]
fn a_pod_that_was_being_made_when_the_server_was_killed_is_gone_after() {
    let waits = r#"[ $CNI_COMMAND = ADD ] && { touch /run/node/waiting; while [ ! -e /run/node/go ]; do sleep 0.05; done; }"#;
    let node = support::require!(node_with(&[("plug", &format!("{waits}\n{PLUGIN}"))]));
    std::thread::scope(|scope| {
        scope.spawn(|| node.try_run_pod(&pod_config("web")).unwrap_err());
        support::wait_for("the plugin", 10, || node.file("waiting").exists().then_some(()));
        assert!(node.pods().is_empty(), "nobody was told of it");
        node.end(Signal::KILL);
    });
    fs::write(node.file("go"), "").unwrap();
    node.start();
    assert!(node.pods().is_empty());
    node.wait_for_clean_up();
    assert!(calls(&node).contains(&"plug DEL".to_owned()));
    node.pod("web");
}

#[test]
fn a_server_that_starts_answers_before_plugins_do() {
    let waits = r#"[ $CNI_COMMAND = DEL ] && while [ ! -e /run/node/go ]; do sleep 0.05; done"#;
    let node = support::require!(node_with(&[("plug", &format!("{waits}\n{PLUGIN}"))]));
    let (stopped, lost) = (node.pod("stopped"), node.pod("lost"));
    node.end(Signal::KILL);
    for pod in [&stopped, &lost] {
        // What a reboot takes.
        let reboot = format!(
            "umount -l /run/netns/rcrun-{0} /run/rcrun/cri/pods/{0}/ipc /run/rcrun/cri/pods/{0}/uts /run/rcrun/cri/pods/{0}/shm
             rm -r /run/netns/rcrun-{0} /run/rcrun/cri/pods/{0}",
            pod.id
        );
        node.run(&["sh", "-c", &reboot]).success();
    }
    assert_eq!(calls(&node), ["plug ADD", "plug ADD"]);
    node.start();
    support::wait_for("the first DEL", 20, || {
        fs::read_to_string(node.file("calls")).is_ok_and(|text| text == "plug DEL\n").then_some(())
    });
    for pod in [&stopped, &lost] {
        assert_eq!(state(&node, &pod.id), PodSandboxState::SandboxNotready);
    }
    let new = node.pod("new");
    assert_eq!(calls(&node), ["plug DEL", "plug ADD"]);
    fs::write(node.file("go"), "").unwrap();
    node.stop_pod(&stopped.id);
    // After the last DEL, and beside no other.
    let all = support::wait_for("GC", 20, || {
        let text = fs::read_to_string(node.file("calls")).unwrap_or_default();
        text.ends_with("plug GC\n").then_some(text)
    });
    assert_eq!(all, "plug DEL\nplug GC\n");
    node.stop_pod(&lost.id);
    let _ = calls(&node);
    node.remove_pod(&new.id);
    assert_eq!(calls(&node), ["plug DEL"]);
}

#[test]
fn a_node_without_its_plugins_is_not_ready_and_says_so() {
    let node = support::require!(node_with(&[("plug", PLUGIN)]));
    fs::remove_file(node.file("plugins/plug")).unwrap();
    let request = api::StatusRequest::default();
    let status = node.call(async |mut c| c.status(request).await).unwrap().status.unwrap();
    let network = status.conditions.iter().find(|condition| condition.r#type == "NetworkReady").unwrap();
    assert!(!network.status && network.message.contains("install it there"), "{network:?}");
    let error = node.try_run_pod(&pod_config("web")).unwrap_err();
    assert_eq!(error.code(), Code::FailedPrecondition);
}
