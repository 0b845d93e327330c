//! Metrics, as Prometheus asks for them.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use rcrun_cri::api;

use crate::node::Node;
use crate::support;

const ADDRESS: &str = "127.0.0.1:9436";

/// The whole answer to a request from the node's own network.
fn ask(node: &Node, request: &str) -> String {
    node.in_network(|| {
        let mut stream = TcpStream::connect(ADDRESS).expect("connect");
        stream.set_read_timeout(Some(support::seconds(support::LONG))).expect("a time limit");
        write!(stream, "{request} HTTP/1.1\r\nHost: {ADDRESS}\r\n\r\n").expect("ask");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    })
}

#[test]
fn metrics_count_pods_and_containers_and_say_what_is_skipped() {
    let node = support::require!(Node::configured(|config| config.metrics_address = ADDRESS.into()));
    let pod = node.pod("web");
    node.container(&pod, "sleeps", &["sleep", "1000"]);
    let ended = node.container(&pod, "ends", &["true"]);
    node.exited(&ended);
    let answer = ask(&node, "GET /metrics");
    let (head, text) = answer.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert!(head.to_lowercase().contains("content-type: text/plain; version=0.0.4"), "{head}");
    let has = |line: &str| assert!(text.lines().any(|one| one == line), "no {line}: {text}");
    has("rcrun_pods{state=\"ready\"} 1");
    has("rcrun_pods{state=\"not_ready\"} 0");
    has("rcrun_containers{state=\"running\"} 1");
    has("rcrun_containers{state=\"exited\"} 1");
    let status = node.call(async |mut c| c.status(api::StatusRequest { verbose: true }).await).unwrap();
    let skipped: Vec<String> = serde_json::from_str(&status.info["skipped"]).unwrap();
    for controller in ["cpu", "cpuset", "memory", "pids", "hugetlb", "io"] {
        let number = usize::from(skipped.iter().any(|one| one == controller));
        has(&format!("rcrun_skipped_limits{{controller=\"{controller}\"}} {number}"));
    }
    let restricted = usize::from(status.info["lowest_oom_score_adj"] != "null");
    has(&format!("rcrun_oom_score_adj_restricted {restricted}"));
    assert!(ask(&node, "GET /").starts_with("HTTP/1.1 404 "));
    assert!(ask(&node, "POST /metrics").starts_with("HTTP/1.1 405 "));
    // Its address is not another server's to have.
    node.configure(|config| {
        config.metrics_address = ADDRESS.into();
        config.state = "/var/lib/rcrun/other".into();
    });
    let second = node.cri(&["--listen", "/run/rcrun/other.sock"]).wait();
    second.refused(&[ADDRESS, "change metrics_address in the configuration"]);
}
