//! Full disks: of the state, of a container's log. Each is a small tmpfs of the node's.

use std::fs;

use rcrun_cri::api::ContainerState;
use rustix::process::Signal;
use tonic::{Code, Status};

use crate::calls::{Pod, container_config, pod_config};
use crate::node::Node;
use crate::support;

const STATE: &str = "/var/lib/rcrun/cri";
const RUN: &str = "/run/rcrun/cri";
/// As most machines have it: state and images on one disk.
const BOTH: &str = "/var/lib/rcrun";
const LOGS: &str = "/var/log/pods";

/// A node whose `directory` is a disk of its own with so many KiB.
fn node_with_disk(directory: &str, kib: u32) -> Result<Node, String> {
    let mut node = Node::without_server()?;
    let mount = format!(
        "mkdir -p {directory} && cp -a {directory} /run/copy && mount -t tmpfs -o size={kib}k,mode=700 tmpfs {directory} && \
         cp -a /run/copy/. {directory} && rm -r /run/copy"
    );
    node.run(&["sh", "-c", &mount]).success();
    node.start();
    node.accept_present();
    Ok(node)
}

/// Fills the disk, but for so many pages.
fn fill(node: &Node, directory: &str, pages: u32) {
    let script = format!(
        "cd {directory} && rm -f filler && head -c {0} /dev/zero >spare && cat /dev/zero >filler 2>/dev/null; rm spare",
        pages * 4096
    );
    node.run(&["sh", "-c", &script]).success();
}

fn empty(node: &Node, directory: &str) {
    fs::remove_file(node.path(directory).join("filler")).unwrap();
}

/// One line with the right code that names a file there.
#[track_caller]
fn is_full(error: &Status, directory: &str) {
    let message = error.message();
    assert_eq!(error.code(), Code::ResourceExhausted, "{message}");
    assert!(message.contains(directory) && !message.contains('\n'), "{message}");
    assert!(message.to_lowercase().contains("no space left on"), "{message}");
}

#[test]
fn a_pod_on_a_full_disk_is_refused_and_made_when_there_is_space() {
    let node = support::require!(node_with_disk(STATE, 512));
    let mut refused = 0;
    for pages in 0..16 {
        fill(&node, STATE, pages);
        let answer = node.try_run_pod(&pod_config("web"));
        empty(&node, STATE);
        match answer {
            Ok(pod) => node.remove_pod(&pod.id),
            Err(error) => {
                is_full(&error, STATE);
                refused += 1;
            }
        }
        assert!(node.pods().is_empty());
        let remaining = node.remaining();
        assert!(remaining.is_empty(), "with {pages} pages: {remaining:#?}");
    }
    assert!((2..16).contains(&refused), "{refused}");
    node.pod("web");
}

#[test]
fn a_container_on_a_full_disk_is_refused_and_made_when_there_is_space() {
    let node = support::require!(node_with_disk(STATE, 512));
    let pod = node.pod("web");
    let before = node.things();
    let config = container_config("c", &["echo", "hello"]);
    let mut refused = 0;
    for pages in 0..16 {
        fill(&node, STATE, pages);
        let answer = node.try_create(&pod, &config);
        empty(&node, STATE);
        match answer {
            Ok(id) => node.remove(&id),
            Err(error) => {
                is_full(&error, STATE);
                refused += 1;
            }
        }
        assert!(node.containers().is_empty());
        assert_eq!(node.things(), before, "with {pages} pages");
    }
    assert!((2..16).contains(&refused), "{refused}");
    let id = node.run_container(&pod, &config);
    assert_eq!(node.exited(&id).exit_code, 0);
}

/// StartContainer with so few pages; then with space. Was it refused?
fn starts_later(node: &Node, pod: &Pod, pages: u32) -> bool {
    let id = node.create(pod, &container_config(&format!("c{pages}"), &["sh", "-c", "echo hello; exit 3"]));
    fill(node, STATE, pages);
    let answer = node.try_start(&id);
    empty(node, STATE);
    let refused = answer.is_err();
    if let Err(error) = answer {
        is_full(&error, STATE);
        match node.status(&id).state() {
            ContainerState::ContainerCreated => node.try_start(&id).unwrap(),
            // There was room for what its shim is told, and none for the record that it runs: it does not any more.
            _ => {
                assert!(pages > 0);
                assert_eq!(node.status(&id).reason, "StartError");
                // Its shim is gone by then, and writes nothing more.
                assert!(!node.path(&format!("{RUN}/shims/{id}/shim.sock")).exists());
                node.remove(&id);
                return refused;
            }
        }
    }
    assert_eq!(node.exited(&id).exit_code, 3, "with {pages} pages");
    assert_eq!(node.output(&id), "hello\n");
    node.remove(&id);
    refused
}

#[test]
fn a_container_that_a_full_disk_kept_from_its_start_starts_when_there_is_space() {
    let node = support::require!(node_with_disk(STATE, 512));
    let pod = node.pod("web");
    let before = node.things();
    let refused = (0..6)
        .filter(|pages| starts_later(&node, &pod, *pages))
        .inspect(|_| assert!(node.containers().is_empty()));
    assert!((1..6).contains(&refused.count()));
    support::wait_for("the end of the last shim", 10, || (node.things() == before).then_some(()));
    let id = node.create(&pod, &container_config("again", &["true"]));
    fill(&node, STATE, 0);
    is_full(&node.try_start(&id).unwrap_err(), STATE);
    node.end(Signal::KILL);
    empty(&node, STATE);
    node.start();
    node.try_start(&id).unwrap();
    assert_eq!(node.exited(&id).exit_code, 0);
}

/// A Pod and its container, with so few pages. Was it refused?
fn lives(node: &Node, directory: &str, pages: u32) -> bool {
    fill(node, directory, pages);
    let lived = || {
        let pod = node.try_run_pod(&pod_config(&format!("web{pages}")))?;
        let id = node.try_create(&pod, &container_config("c", &["sh", "-c", "echo hello; exit 3"]))?;
        node.try_start(&id)?;
        assert_eq!(node.exited(&id).exit_code, 3);
        assert_eq!(node.output(&id), "hello\n");
        Ok(())
    };
    let answer: Result<(), Status> = lived();
    for pod in node.pods() {
        node.stop_pod(&pod.id);
        node.remove_pod(&pod.id);
    }
    empty(node, directory);
    let remaining = node.remaining();
    assert!(remaining.is_empty(), "{directory} with {pages} pages: {remaining:#?}");
    match answer {
        Ok(()) => return false,
        // A shim's reasons are words.
        Err(error) if error.code() == Code::Unknown => {
            let message = error.message();
            assert!(message.contains(directory) && !message.contains('\n'), "{message}");
            assert!(
                message.contains("could not be started: ") && message.contains("No space left"),
                "{message}"
            );
        }
        Err(error) => is_full(&error, directory),
    }
    true
}

#[test]
fn other_disks_of_the_runtime_that_are_full_are_named_too() {
    for (directory, kib) in [(RUN, 512), (BOTH, 16 * 1024)] {
        let node = support::require!(node_with_disk(directory, kib));
        let refused = (0..14).filter(|pages| lives(&node, directory, *pages)).count();
        assert!((1..14).contains(&refused), "{directory}: {refused}");
    }
}

#[test]
fn an_end_on_a_full_disk_is_known_at_once_and_ever_after() {
    let node = support::require!(node_with_disk(STATE, 512));
    let pod = node.pod("web");
    let script = "while ! [ -e /end ]; do sleep 0.01; done; exit 4";
    let seen = node.container(&pod, "seen", &["sh", "-c", script]);
    let unseen = node.container(&pod, "unseen", &["sh", "-c", script]);
    let pid = node.info(&unseen)["pid"].as_i64().unwrap();
    fill(&node, STATE, 0);
    // Which the container's end may overtake.
    node.try_exec(&seen, &["touch", "/end"], 0).unwrap();
    assert_eq!(node.exited(&seen).exit_code, 4);
    node.end(Signal::KILL);
    fs::write(node.path(&format!("/proc/{pid}/root/end")), "").unwrap();
    support::wait_for("its end", 10, || (!node.path(&format!("/proc/{pid}")).exists()).then_some(()));
    // A server starts there, too.
    node.start();
    let known = |node: &Node| {
        for id in [&seen, &unseen] {
            let status = node.exited(id);
            assert_eq!((status.exit_code, status.reason.as_str()), (4, "Error"));
        }
    };
    known(&node);
    empty(&node, STATE);
    known(&node);
    node.restart();
    known(&node);
    node.remove(&seen);
    node.remove(&unseen);
    node.container(&pod, "next", &["true"]);
}

#[test]
fn what_is_full_can_be_removed() {
    let node = support::require!(node_with_disk(STATE, 512));
    let pod = node.pod("web");
    node.container(&pod, "c", &["sleep", "1000"]);
    fill(&node, STATE, 0);
    node.stop_pod(&pod.id);
    node.remove_pod(&pod.id);
    assert!(node.pods().is_empty() && node.remaining().is_empty());
    empty(&node, STATE);
    node.restart();
    assert!(node.pods().is_empty() && node.containers().is_empty());
}

#[test]
fn a_logs_full_disk_costs_lines_and_not_the_container() {
    let node = support::require!(node_with_disk(LOGS, 256));
    let pod = node.pod("web");
    let script = "n=0; while :; do n=$((n + 1)); echo line $n; echo $n >/count; sleep 0.01; done";
    let id = node.container(&pod, "c", &["sh", "-c", script]);
    // It is empty for a moment with each line.
    let count = || {
        let read = || node.try_exec(&id, &["cat", "/count"], 0).unwrap().stdout;
        support::wait_for("a count", 10, || String::from_utf8_lossy(&read()).trim().parse::<u64>().ok())
    };
    support::wait_for("some lines", 10, || (count() > 5).then_some(()));
    fill(&node, LOGS, 0);
    // A page of the log has room still.
    let full = count() + 400;
    support::wait_for("more lines", 300, || (count() > full).then_some(()));
    let kept = node.output(&id).lines().count() as u64;
    assert!(kept < count(), "{kept} lines");
    // Other containers start all the same.
    let other = node.container(&pod, "other", &["true"]);
    assert_eq!(node.exited(&other).exit_code, 0);
    empty(&node, LOGS);
    let later = format!("line {}\n", count() + 20);
    support::wait_for("a later line", 20, || node.output(&id).contains(&later).then_some(()));
    assert_eq!(node.status(&id).state(), ContainerState::ContainerRunning);
}
