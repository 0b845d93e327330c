//! What keeps Services from working is told, and the rest goes on.

use std::fs;
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt as _;

use crate::cluster::Cluster;
use crate::support::{require, wait_for};

const WEB: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec:
  terminationGracePeriodSeconds: 1
  containers: [{name: web, image: "busybox:1", command: [sh, -c, "mkdir /tmp/www; echo hello >/tmp/www/index.html; exec httpd -f -p 8080 -h /tmp/www"]}]
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, clusterIP: 10.96.0.80, ports: [{port: 80, targetPort: 8080}]}
"#;

fn reaches(cluster: &Cluster) -> bool {
    // Without rules nobody answers, nor refuses.
    let answer = cluster.node.run(&["timeout", "10", "busybox", "wget", "-q", "-O-", "http://10.96.0.80/"]);
    answer.stdout == "hello\n"
}

/// A directory of programs on the node that is all that the agent has.
fn programs(cluster: &Cluster) -> std::path::PathBuf {
    let directory = cluster.node.file("programs");
    fs::create_dir(&directory).expect("mkdir");
    directory
}

const BY: [&str; 2] = ["env", "PATH=/run/node/programs"];

#[test]
fn without_nft_pods_run_and_an_event_says_what_is_missing() {
    let cluster = require!(Cluster::without_agent());
    let directory = programs(&cluster);
    cluster.start_by(&BY, &[]);
    cluster.tells(&["Warning", "ServiceRulesFailed", "node/", "cannot run nft", "install nftables"]);
    cluster.apply(WEB);
    cluster.ready("web");
    cluster
        .wait("endpoints", "web", "there", |endpoints| endpoints["subsets"][0]["addresses"][0].is_object());
    assert!(!reaches(&cluster));
    // When it comes, it is found.
    let nft = require!(crate::support::program("nft"));
    std::os::unix::fs::symlink(nft, directory.join("nft")).expect("link");
    wait_for("the rules", 120, || reaches(&cluster).then_some(()));
}

#[test]
fn what_nft_says_is_told_and_tried_again() {
    let cluster = require!(Cluster::without_agent());
    let directory = programs(&cluster);
    let fake = "#!/bin/sh\ncase $1 in -f) echo 'Error: Could not process rule: Operation not supported';; \
        *) echo 'Error: No such file or directory';; esac >&2\nexit 1\n";
    fs::write(directory.join("new"), fake).expect("write");
    fs::set_permissions(directory.join("new"), fs::Permissions::from_mode(0o755)).expect("chmod");
    fs::rename(directory.join("new"), directory.join("nft")).expect("rename");
    cluster.start_by(&BY, &[]);
    let words = "nft refused the rules of Services: Error: Could not process rule: Operation not supported";
    cluster.tells(&["Warning", "ServiceRulesFailed", words]);
    cluster.apply(WEB);
    cluster.ready("web");
    let nft = require!(crate::support::program("nft"));
    std::os::unix::fs::symlink(nft, directory.join("new")).expect("link");
    fs::rename(directory.join("new"), directory.join("nft")).expect("rename");
    wait_for("the rules", 120, || reaches(&cluster).then_some(()));
    // Told once, however often it was tried.
    let events = cluster.ok(&["get", "events"]);
    assert_eq!(events.matches(words).count(), 1, "{events}");
}

#[test]
fn a_taken_port_of_cluster_dns_is_told_and_taken_when_it_is_free() {
    let cluster = require!(Cluster::without_agent());
    let taken = cluster.node.in_network(|| UdpSocket::bind("0.0.0.0:53").expect("port 53"));
    cluster.start(&[]);
    cluster.tells(&["Warning", "ClusterDNSFailed", "10.96.0.10:53", "ddress already in use"]);
    cluster.apply(WEB);
    cluster.ready("web");
    wait_for("the rules", 120, || reaches(&cluster).then_some(()));
    drop(taken);
    wait_for("names", 120, || {
        let asked = cluster.node.run(&["busybox", "nslookup", "web.default.svc.cluster.local", "10.96.0.10"]);
        asked.stdout.contains("10.96.0.80").then_some(())
    });
}
