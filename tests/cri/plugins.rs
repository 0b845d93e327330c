//! CNI with the plugins that everybody has: `bridge`, `host-local` and `portmap`, of the version in plugins/go.mod.
//!
//! They are built here; without Go, or without their modules, these tests are skipped.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use rcrun_cri::api;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::calls::{self, Pod, pod_config};
use crate::node::Node;
use crate::support;

/// host-local's, of the network `net`: a file for each address.
const LEASES: &str = "/var/lib/cni/networks/net";

/// Builds the plugins, once for all tests; Err is a reason to skip.
fn plugins() -> Result<PathBuf, String> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    BUILT.get_or_init(go_build).clone()
}

fn go_build() -> Result<PathBuf, String> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/cri/plugins");
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("plugins");
    fs::create_dir_all(&directory).map_err(|error| format!("{directory:?}: {error}"))?;
    let mut go = Command::new("go");
    go.args(["build", "-mod=readonly", "-buildvcs=false", "-o"]).arg(&directory).arg("tool");
    match go.current_dir(source).env("CGO_ENABLED", "0").output() {
        Ok(output) if output.status.success() => Ok(directory),
        Ok(output) => {
            let errors = String::from_utf8_lossy(&output.stderr);
            Err(format!("go build: {}", errors.lines().last().unwrap_or("no error")))
        }
        Err(error) => Err(format!("go: {error}")),
    }
}

/// A node with the plugins, and no configuration of CNI yet.
fn node_with_plugins() -> Result<Node, String> {
    let plugins = plugins()?;
    let node = Node::configured(|config| {
        config.network.cni_conf_dir = "/run/node/net.d".into();
        config.network.cni_bin_dirs = vec![plugins];
    })?;
    fs::create_dir(node.file("net.d")).unwrap();
    Ok(node)
}

fn bridge() -> Value {
    json!({"type": "bridge", "bridge": "cni0", "isGateway": true, "ipam": {
        "type": "host-local", "ranges": [[{"subnet": "10.22.0.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}],
    }})
}

fn configure(node: &Node, plugins: &[Value]) {
    let list = json!({"cniVersion": "1.1.0", "name": "net", "plugins": plugins});
    fs::write(node.file("net.d/10-net.conflist"), list.to_string()).unwrap();
}

fn address(node: &Node, pod: &Pod) -> String {
    node.pod_status(&pod.id).network.unwrap().ip
}

/// Addresses that host-local has given away.
fn leases(node: &Node) -> Vec<String> {
    let entries = fs::read_dir(node.path(LEASES)).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| name.parse::<std::net::IpAddr>().is_ok()).collect()
}

fn veths(node: &Node) -> String {
    node.run(&["ip", "-o", "link", "show", "type", "veth"]).stdout
}

#[track_caller]
fn nothing_is_left(node: &Node) {
    assert_eq!((leases(node), veths(node)), (Vec::new(), String::new()), "{}", node.log());
}

/// A container that serves a page with this text at port 80.
fn serve(node: &Node, pod: &Pod, text: &str) {
    let script = format!("mkdir /www && echo {text} > /www/index.html && exec httpd -f -p 80 -h /www");
    node.container(pod, "web", &["sh", "-c", &script]);
}

#[test]
fn pods_reach_each_other_over_a_bridge_and_give_their_addresses_back() {
    let node = support::require!(node_with_plugins());
    configure(&node, &[bridge()]);
    let (web, client) = (node.pod("web"), node.pod("client"));
    let (of_web, of_client) = (address(&node, &web), address(&node, &client));
    assert!(of_web.starts_with("10.22.0.") && of_client.starts_with("10.22.0."), "{of_web} {of_client}");
    let mut given = leases(&node);
    given.sort();
    let mut told = vec![of_web.clone(), of_client];
    told.sort();
    assert_eq!(given, told);
    serve(&node, &web, "hello");
    let id = node.container(&client, "client", &["sleep", "1000"]);
    let url = format!("http://{of_web}/");
    let page = support::wait_for("the page", 20, || {
        let answer = node.try_exec(&id, &["sh", "-c", &format!("wget -q -O - {url}")], 30).ok()?;
        (answer.exit_code == 0).then_some(answer.stdout)
    });
    assert_eq!(page, b"hello\n");
    let request = api::PodSandboxStatusRequest { pod_sandbox_id: web.id.clone(), verbose: true };
    let info = node.call(async |mut c| c.pod_sandbox_status(request).await).unwrap().info;
    let info: Value = serde_json::from_str(&info["info"]).unwrap();
    assert_eq!((&info["network"], &info["networkCheck"]), (&json!("cni"), &json!("ok")));
    assert!(info["cniResult"]["ips"][0]["address"].as_str().unwrap().starts_with(&of_web), "{info}");
    // One goes as usual, one without having been stopped.
    node.stop_pod(&web.id);
    assert_eq!(leases(&node).len(), 1);
    node.remove_pod(&web.id);
    node.remove_pod(&client.id);
    nothing_is_left(&node);
}

#[test]
fn what_check_finds_is_in_the_verbose_status() {
    let node = support::require!(node_with_plugins());
    configure(&node, &[bridge()]);
    let pod = node.pod("web");
    let netns = format!("rcrun-{}", pod.id);
    node.run(&["ip", "-n", &netns, "addr", "flush", "dev", "eth0"]).success();
    let request = api::PodSandboxStatusRequest { pod_sandbox_id: pod.id.clone(), verbose: true };
    let info = node.call(async |mut c| c.pod_sandbox_status(request).await).unwrap().info;
    let info: Value = serde_json::from_str(&info["info"]).unwrap();
    let said = info["networkCheck"].as_str().unwrap();
    assert!(said.contains("CNI plugin bridge of network net: CHECK failed: "), "{said}");
}

#[test]
fn a_configuration_that_appears_is_the_next_pods() {
    let node = support::require!(node_with_plugins());
    let first = node.pod("first");
    assert!(address(&node, &first).starts_with("10.88."));
    configure(&node, &[bridge()]);
    let second = node.pod("second");
    assert!(address(&node, &second).starts_with("10.22.0."));
    // Another range for the same network, while one of the old range is in use.
    let mut other = bridge();
    other["bridge"] = "cni1".into();
    other["ipam"]["ranges"][0][0]["subnet"] = "10.23.0.0/24".into();
    configure(&node, &[other]);
    let third = node.pod("third");
    assert!(address(&node, &third).starts_with("10.23.0."));
    fs::remove_file(node.file("net.d/10-net.conflist")).unwrap();
    calls::remove_all_pods(&node);
    nothing_is_left(&node);
}

#[test]
fn a_full_range_is_said_in_the_plugins_words_and_leaves_nothing() {
    let node = support::require!(node_with_plugins());
    let mut small = bridge();
    // Its gateway has one of the two.
    small["ipam"]["ranges"][0][0]["subnet"] = "10.22.0.0/30".into();
    configure(&node, &[small]);
    let first = node.pod("first");
    let error = node.try_run_pod(&pod_config("second")).unwrap_err();
    let said = "CNI plugin bridge of network net: ADD failed: ";
    assert!(error.message().starts_with(said) && error.message().contains("no IP addresses"), "{error}");
    assert_eq!((leases(&node).len(), node.pods().len()), (1, 1));
    node.remove_pod(&first.id);
    nothing_is_left(&node);
    node.run_pod(&pod_config("second"));
}

#[test]
fn a_server_that_is_killed_while_it_makes_a_pod_leaves_no_address_given_away() {
    let node = support::require!(node_with_plugins());
    configure(&node, &[bridge()]);
    node.pod("stays");
    for number in 1.. {
        node.end(Signal::TERM);
        node.serve(node.cri(&[]).env("RCRUN_CRI_FAULT", number.to_string()));
        if node.try_run_pod(&pod_config("web")).is_ok() {
            if number == 1 {
                eprintln!("SKIP plugins: this build of rcrun-cri has no points where it can be killed");
            } else {
                assert!(number > 4, "only {number} points");
            }
            break;
        }
        support::wait_for("the server's end", 10, || node.has_ended().then_some(()));
        let given = leases(&node).len();
        node.start();
        node.wait_for_clean_up();
        let listed: Vec<_> = node.pods().into_iter().map(|pod| pod.metadata.unwrap().name).collect();
        // One that was ready before the end is listed, and has its address; anything less is gone.
        assert_eq!(leases(&node).len(), listed.len(), "point {number}: {given} before, now {listed:?}");
        for pod in node.pods().into_iter().filter(|pod| pod.metadata.as_ref().unwrap().name == "web") {
            node.remove_pod(&pod.id);
        }
        assert_eq!(leases(&node).len(), 1, "point {number}");
    }
    // This one would be killed at a later point.
    node.restart();
    calls::remove_all_pods(&node);
    nothing_is_left(&node);
}

#[test]
fn a_port_of_the_node_leads_into_a_pod_of_portmaps() {
    support::require!(support::program("iptables"));
    let node = support::require!(node_with_plugins());
    if !node.run(&["iptables", "-w", "-t", "nat", "-L", "-n"]).status.success() {
        return eprintln!("SKIP portmap: iptables cannot be used here");
    }
    let portmap = json!({"type": "portmap", "backend": "iptables", "capabilities": {"portMappings": true}});
    configure(&node, &[bridge(), portmap]);
    let mut config = pod_config("web");
    config.port_mappings =
        vec![api::PortMapping { host_port: 18081, container_port: 80, ..Default::default() }];
    let pod = node.run_pod(&config);
    serve(&node, &pod, "mapped");
    support::wait_for("the page", 20, || {
        let page = node.run(&["/bin/busybox", "wget", "-q", "-O", "-", "http://127.0.0.1:18081/"]);
        (page.stdout == "mapped\n").then_some(())
    });
    let rules = || node.run(&["iptables-save", "-t", "nat"]).stdout;
    assert!(rules().contains("18081"), "{}", rules());
    node.remove_pod(&pod.id);
    assert!(!rules().contains("18081"), "{}", rules());
    nothing_is_left(&node);
}
