//! kill -9 of rcrun-cri, of shims, of both; and a reboot.

use std::fs;

use rcrun_cri::api::{self, ContainerState};
use rustix::process::{Pid, Signal, kill_process};
use tonic::Status;

use crate::calls::{self, container_config, pod_config};
use crate::node::Node;
use crate::support;

/// kill -9
pub fn kill(pid: i32) {
    kill_process(Pid::from_raw(pid).expect("a pid"), Signal::KILL).expect("kill");
}

/// The shim of a container, as this process sees it: the parent of its init.
pub fn shim_of(node: &Node, id: &str) -> i32 {
    let name = format!("/containers/{id}");
    let mut all = fs::read_dir("/proc").expect("/proc").flatten();
    let found = all.find_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let command = fs::read_to_string(entry.path().join("cmdline")).ok()?;
        (command.contains("rcrun-shim") && command.contains(&name) && pid != node.pid()).then_some(pid)
    });
    found.expect("a shim")
}

#[test]
fn containers_go_on_and_their_ends_are_known_after_a_new_server() {
    let node = node!();
    let pod = node.pod("web");
    let script = "echo up; while ! [ -e /end ]; do sleep 0.01; done; exit 4";
    let lives = node.container(&pod, "lives", &["sh", "-c", script]);
    let ends = node.container(&pod, "ends", &["sh", "-c", script]);
    let created = node.create(&pod, &container_config("created", &["echo", "late"]));
    let ended = node.container(&pod, "ended", &["false"]);
    node.exited(&ended);
    let before = node.status(&lives);
    let pid = node.info(&ends)["pid"].as_i64().unwrap();
    node.end(Signal::KILL);
    fs::write(node.path(&format!("/proc/{pid}/root/end")), "").unwrap();
    let state = node.path(&format!("/run/rcrun/cri/shims/{ends}"));
    support::wait_for("its end", 10, || (!state.exists()).then_some(()));
    node.start();
    assert_eq!(node.status(&lives), before);
    assert_eq!(node.exec(&lives, &["echo", "here"]), "here\n");
    let status = node.status(&ends);
    assert_eq!((status.state(), status.exit_code), (ContainerState::ContainerExited, 4));
    assert_eq!(node.status(&ended).exit_code, 1);
    node.try_start(&created).unwrap();
    assert_eq!(node.exited(&created).exit_code, 0);
    assert_eq!(node.output(&created), "late\n");
    node.try_exec(&lives, &["touch", "/end"], 0).unwrap();
    assert_eq!(node.exited(&lives).exit_code, 4);
}

#[test]
fn a_container_whose_shim_was_killed_gets_another() {
    let node = node!();
    let pod = node.pod("web");
    let script = "while ! [ -e /end ]; do sleep 0.01; done; echo over; exit 5";
    let id = node.container(&pod, "c", &["sh", "-c", script]);
    let first = shim_of(&node, &id);
    kill(first);
    assert_eq!(node.status(&id).state(), ContainerState::ContainerRunning);
    support::wait_for("another shim", 10, || node.try_exec(&id, &["true"], 0).ok());
    assert_ne!(shim_of(&node, &id), first);
    node.try_exec(&id, &["touch", "/end"], 0).unwrap();
    let status = node.exited(&id);
    // Linux 6.15 tells the code of who is no child.
    match status.exit_code {
        5 => assert_eq!(status.reason, "Error"),
        code => assert_eq!((code, status.reason.as_str()), (255, "ContainerStatusUnknown")),
    }
    assert_eq!(node.output(&id), "over\n");
}

#[test]
fn a_container_without_a_shim_can_be_stopped_and_removed_at_once() {
    let node = node!();
    let pod = node.pod("web");
    let stopped = node.container(&pod, "stopped", &["sleep", "1000"]);
    kill(shim_of(&node, &stopped));
    node.stop(&stopped, 0);
    assert_eq!(node.status(&stopped).state(), ContainerState::ContainerExited);
    assert_ne!(node.status(&stopped).exit_code, 0);
    let removed = node.container(&pod, "removed", &["sleep", "1000"]);
    kill(shim_of(&node, &removed));
    node.remove(&removed);
    assert_eq!(node.try_status(&removed).unwrap_err().code(), tonic::Code::NotFound);
}

#[test]
fn an_end_that_nobody_saw_is_unknown_and_not_zero() {
    let node = node!();
    let pod = node.pod("web");
    let id = node.container(&pod, "c", &["sleep", "1000"]);
    let shim = shim_of(&node, &id);
    node.end(Signal::KILL);
    kill(shim);
    let pid = fs::read_dir("/proc").unwrap().flatten().find_map(|entry| {
        let command = fs::read(entry.path().join("cmdline")).ok()?;
        let in_node = fs::read_to_string(entry.path().join("cgroup")).ok()?.contains(&id);
        (command == b"sleep\x001000\0" && in_node).then(|| entry.file_name().to_str()?.parse().ok())?
    });
    kill(pid.expect("the container's process"));
    node.start();
    let status = node.exited(&id);
    assert!(matches!(status.exit_code, 255 | 137), "{status:?}");
    if status.exit_code == 255 {
        assert_eq!(status.reason, "ContainerStatusUnknown");
    }
    assert!(status.finished_at >= status.started_at);
}

#[test]
fn after_a_reboot_containers_have_ended_and_can_be_removed() {
    let node = node!();
    let pod = node.pod("web");
    let id = node.container(&pod, "c", &["sleep", "1000"]);
    let created = node.create(&pod, &container_config("created", &["true"]));
    node.end(Signal::KILL);
    let shim = shim_of(&node, &id);
    // What a reboot takes: processes, cgroups, mounts, devices, /run.
    kill(shim);
    let reboot = format!(
        "echo 1 >/sys/fs/cgroup/{id}/cgroup.kill; while ! rmdir /sys/fs/cgroup/{id}; do sleep 0.01; done 2>/dev/null;
         umount -l /run/netns/rcrun-{0} /run/rcrun/cri/pods/{0}/ipc /run/rcrun/cri/pods/{0}/uts /run/rcrun/cri/pods/{0}/shm;
         rm -r /run/netns/* /run/rcrun/cri; ip link del rcrun0",
        pod.id
    );
    node.run(&["sh", "-c", &reboot]).success();
    node.start();
    let status = node.status(&id);
    assert_eq!((status.state(), status.exit_code), (ContainerState::ContainerExited, 255));
    assert_eq!(status.reason, "ContainerStatusUnknown");
    assert_eq!(node.status(&created).state(), ContainerState::ContainerCreated);
    assert_eq!(node.try_start(&created).unwrap_err().code(), tonic::Code::FailedPrecondition);
    node.remove(&id);
    node.remove(&created);
}

/// All that happens to a Pod of this handler and a container, in the order that a kubelet has it.
fn life(node: &Node, handler: &str) -> Result<(), Status> {
    let pod = node.try_run_pod_by(&pod_config("web"), handler)?;
    let id = node.try_create(&pod, &container_config("c", &["sleep", "1000"]))?;
    node.try_start(&id)?;
    let request = api::StopContainerRequest { container_id: id.clone(), timeout: 0 };
    node.call(async |mut c| c.stop_container(request).await)?;
    let request = api::RemoveContainerRequest { container_id: id };
    node.call(async |mut c| c.remove_container(request).await)?;
    let running = node.try_create(&pod, &container_config("d", &["sleep", "1000"]))?;
    node.try_start(&running)?;
    let request = api::StopPodSandboxRequest { pod_sandbox_id: pod.id.clone() };
    node.call(async |mut c| c.stop_pod_sandbox(request).await)?;
    let request = api::RemovePodSandboxRequest { pod_sandbox_id: pod.id };
    node.call(async |mut c| c.remove_pod_sandbox(request).await)?;
    Ok(())
}

#[test]
fn a_server_that_is_killed_at_any_of_its_steps_leaves_nothing_that_the_next_cannot_end() {
    killed_at_each_step(&node!(), "");
}

/// Lives of Pods of this handler, the server killed at one more step each time.
pub fn killed_at_each_step(node: &Node, handler: &str) {
    life(node, handler).unwrap();
    for number in 1.. {
        node.end(Signal::TERM);
        node.serve(node.cri(&[]).env("RCRUN_CRI_FAULT", number.to_string()));
        let cut_off = life(node, handler);
        let ended = match cut_off {
            Ok(()) => node.has_ended(),
            // The connection breaks a moment before the process is gone.
            Err(_) => support::wait_for("the server's end", 10, || node.has_ended().then_some(true)),
        };
        if !ended {
            if number == 1 {
                eprintln!("SKIP crash: this build of rcrun-cri has no points where it can be killed");
            } else {
                assert!(number > 15, "only {number} points");
            }
            return;
        }
        node.start();
        for container in node.containers() {
            // One that was killed a moment before the server is listed until its end is known.
            support::wait_for("a container that can be asked, or its end", 10, || {
                let runs = node.status(&container.id).state() == ContainerState::ContainerRunning;
                let asked = || node.try_exec(&container.id, &["true"], 0);
                (!runs || asked().is_ok_and(|answer| answer.exit_code == 0)).then_some(())
            });
        }
        calls::remove_all_pods(node);
        let remaining = node.remaining();
        assert!(remaining.is_empty(), "after point {number}: {remaining:#?}\n{}", node.log());
    }
}
