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
}

#[test]
fn root_in_a_users_container_is_that_user() {
    let podman = require!(Podman::rootless());
    podman.once(&[], &["cat", "/proc/self/uid_map"]).success();
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
