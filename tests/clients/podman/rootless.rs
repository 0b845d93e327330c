//! podman of a user, with the ids that /etc/subuid gives.

use super::{NAME, Podman};
use crate::support::require;
use crate::view::View;

const UID: &str = "4711";

impl Podman {
    /// A user's. Err is a reason to skip the test.
    fn rootless() -> Result<Self, String> {
        let mut view = View::new("podman")?;
        let script = format!(
            "echo client:x:{UID}:{UID}::/home/client:/bin/sh >>/etc/passwd
             echo client:x:{UID}: >>/etc/group
             for f in subuid subgid; do echo client:100000:65536 >/etc/$f; done
             mkdir -p /home/client /run/user/{UID} && chown {UID}:{UID} /home/client /run/user/{UID}"
        );
        view.run(&["sh", "-ec", &script]).success();
        view.watch("/run/user/4711/rcrun");
        let user = ["setpriv", &format!("--reuid={UID}"), &format!("--regid={UID}"), "--clear-groups"];
        let home =
            ["--inh-caps=-all", "env", "HOME=/home/client", &format!("XDG_RUNTIME_DIR=/run/user/{UID}")];
        Ok(Self::with(view, [user, home].concat().into_iter().map(str::to_owned).collect()))
    }

    /// From now on the user has a cgroup to make others in, as from systemd.
    fn delegate(&mut self) {
        let script = format!(
            "cd /sys/fs/cgroup; mkdir -p user/main
             for f in . main cgroup.procs cgroup.subtree_control cgroup.threads main/cgroup.procs; do
                 chown {UID}:{UID} user/$f
             done"
        );
        self.view.run(&["sh", "-ec", &script]).success();
        self.view.accept_present();
        let enter = "echo 0 >/sys/fs/cgroup/user/main/cgroup.procs && exec \"$@\"";
        self.user.splice(0..0, ["sh", "-c", enter, "sh"].map(str::to_owned));
    }
}

#[test]
fn root_in_a_users_container_is_that_user() {
    let podman = require!(Podman::rootless());
    podman.start_sleeping(&[]);
    podman.exec(&["id", "-u"]).prints("0");
    let pid = podman.inspect(".State.Pid");
    podman.view.run(&["stat", "-c", "%u", &format!("/proc/{pid}")]).prints(UID);
    podman.remove();
}

#[test]
fn other_ids_of_a_users_container_are_subordinate() {
    let podman = require!(Podman::rootless());
    podman.start_sleeping(&["--user", "1000:1000"]);
    let pid = podman.inspect(".State.Pid");
    podman.view.run(&["stat", "-c", "%u:%g", &format!("/proc/{pid}")]).prints("100999:100999");
    podman.remove();
}

#[test]
fn a_user_keeps_its_id_where_asked() {
    let podman = require!(Podman::rootless());
    podman.once(&["--userns=keep-id"], &["id", "-u"]).prints(UID);
}

#[test]
fn a_users_container_lives_from_run_to_rm() {
    let podman = require!(Podman::rootless());
    podman.start(&[], &["sh", "-c", "trap 'exit 5' TERM; echo ready; while :; do sleep 0.1; done"]);
    crate::support::wait_for("the program", 10, || {
        podman.run(&["logs", NAME]).success().stdout.contains("ready").then_some(())
    });
    podman.exec(&["sh", "-c", "exit 3"]).exits_with(3);
    podman.run(&["stop", "--time", "60", NAME]).success();
    assert_eq!(podman.inspect(".State.ExitCode"), "5");
    podman.run(&["rm", NAME]).success();
}

#[test]
fn a_users_container_is_paused_where_the_user_has_a_cgroup() {
    let mut podman = require!(Podman::rootless());
    podman.delegate();
    podman.start_sleeping(&[]);
    let pid = podman.inspect(".State.Pid");
    let cgroup = podman.view.run(&["sed", "-n", "s/^0:://p", &format!("/proc/{pid}/cgroup")]).success();
    let cgroup = cgroup.stdout.trim();
    assert!(cgroup.starts_with("/user/rcrun-"), "{cgroup}");
    podman.run(&["pause", NAME]).success();
    assert_eq!(podman.view.read(&format!("/sys/fs/cgroup{cgroup}/cgroup.freeze")), "1\n");
    podman.run(&["unpause", NAME]).success();
    podman.exec(&["true"]).success();
    podman.remove();
}

#[test]
fn a_users_container_without_a_cgroup_is_not_paused_and_the_error_says_why() {
    let podman = require!(Podman::rootless());
    podman.start_sleeping(&[]);
    let outcome = podman.run(&["pause", NAME]).exits_with(125);
    assert!(outcome.stderr.contains("has no cgroup"), "{outcome}");
    podman.remove();
}

#[test]
fn the_containers_of_a_users_pod_share_namespaces() {
    let podman = require!(Podman::rootless());
    podman.run(&["pod", "create", "--network", "none", "--name", "pod"]).success();
    let links = "readlink /proc/self/ns/net; readlink /proc/self/ns/ipc";
    let one = ["run", "--rm", "--pod", "pod", super::IMAGE, "sh", "-c", links];
    let (first, second) = (podman.run(&one).success().stdout, podman.run(&one).success().stdout);
    assert_eq!((first.lines().count(), &first), (2, &second));
    podman.remove_pod();
}
