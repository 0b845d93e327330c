//! Containers' logs that become too long.

use std::path::PathBuf;

use crate::cluster::Cluster;
use crate::containerd;
use crate::support::{self, require};

const TALKER: &str = "apiVersion: v1
kind: Pod
metadata: {name: talker}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - {name: c, image: 'busybox:1', command: [sh, -c, 'echo line 1; until [ -e /tmp/go ]; do sleep 0.1; done; i=1; while :; do i=$((i+1)); echo line $i; sleep 0.01; done']}
";

const LIMITS: [&str; 4] = ["--log-max-size", "4Ki", "--log-max-files", "3"];

#[test]
fn a_log_that_is_too_long_is_followed_by_the_next() {
    let cluster = require!(Cluster::without_agent());
    cluster.start(&LIMITS);
    rotated(&cluster);
}

#[test]
fn a_log_of_containerd_is_followed_by_the_next() {
    let cluster = require!(Cluster::on_containerd());
    cluster.end(rustix::process::Signal::TERM);
    cluster.start(&[&LIMITS[..], &["--cri", containerd::SOCKET]].concat());
    rotated(&cluster);
}

#[test]
fn limits_that_are_none_are_refused() {
    let cluster = cluster!();
    cluster
        .program(&["--log-max-size", "much"])
        .wait()
        .refused(&["--log-max-size much: give bytes, as 10Mi"]);
    cluster.program(&["--log-max-files", "1"]).wait().refused(&["--log-max-files 1: there are at least 2"]);
}

fn rotated(cluster: &Cluster) {
    cluster.apply(TALKER);
    cluster.ready("talker");
    let mut follower = cluster.program(&["logs", "-f", "talker"]).limit(600).spawn();
    // It begins with the file that is the newest then.
    follower.wait_for_output("line 1\n");
    cluster.ok(&["exec", "talker", "--", "touch", "/tmp/go"]);
    let seen = support::wait_for("three files that were followed by the next", 120, || {
        let logs = names(cluster);
        let rotated: Vec<_> = logs.iter().filter(|name| name.starts_with("0.log.")).cloned().collect();
        assert!(rotated.len() <= 2, "{logs:?}");
        (rotated.len() >= 2).then_some(rotated)
    });
    support::wait_for("the end of the oldest", 60, || (!names(cluster).contains(&seen[0])).then_some(()));
    let current = support::wait_for("a line of the newest", 60, || {
        // Between two files there is none for a moment.
        let logs = cluster.verb(&["logs", "talker"]);
        Some(logs.stdout).filter(|lines| logs.status.success() && !lines.is_empty())
    });
    assert!(!current.starts_with("line 1\n"), "{current}");
    cluster.ok(&["delete", "pod", "talker"]);
    let followed = follower.wait().stdout;
    let numbers = followed.lines().map(|line| line["line ".len()..].parse::<usize>().expect("a number"));
    assert!(followed.lines().count() > 100, "{followed}");
    for (number, expected) in numbers.zip(1..) {
        assert_eq!(number, expected, "lines were lost or told twice");
    }
}

/// The files of its container, sorted.
fn names(cluster: &Cluster) -> Vec<String> {
    let pod = cluster.object("pods", "talker").expect("a Pod");
    let uid = pod["metadata"]["uid"].as_str().expect("a uid");
    let directory: PathBuf = cluster.node.file(&format!("log/default_talker_{uid}/c"));
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}
