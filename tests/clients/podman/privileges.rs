//! Capabilities, seccomp, users and namespaces, --privileged.

use serde_json::json;

use super::Podman;
use crate::support::require;

/// The bit of CAP_NET_BIND_SERVICE.
const NET_BIND_SERVICE: u64 = 1 << 10;
/// The bit of CAP_NET_ADMIN.
const NET_ADMIN: u64 = 1 << 12;

/// The effective capabilities of a container with these options.
#[track_caller]
fn effective(podman: &Podman, options: &[&str]) -> u64 {
    let outcome = podman.once(options, &["sh", "-c", "sed -n 's/^CapEff:.//p' /proc/self/status"]).success();
    u64::from_str_radix(outcome.stdout.trim(), 16).unwrap_or_else(|_| panic!("a mask: {outcome}"))
}

#[test]
fn capabilities_are_added_and_dropped() {
    let podman = require!(Podman::new());
    let default = effective(&podman, &[]);
    assert_eq!(default & (NET_ADMIN | NET_BIND_SERVICE), NET_BIND_SERVICE);
    assert_eq!(effective(&podman, &["--cap-add", "net_admin"]), default | NET_ADMIN);
    assert_eq!(effective(&podman, &["--cap-drop", "net_bind_service"]), default & !NET_BIND_SERVICE);
    assert_eq!(effective(&podman, &["--cap-drop", "all", "--cap-add", "net_bind_service"]), NET_BIND_SERVICE);
}

#[test]
fn a_privileged_container_has_all_capabilities_and_devices() {
    let podman = require!(Podman::new());
    let own = crate::support::process_status_field(std::process::id() as i32, "CapBnd");
    assert_eq!(effective(&podman, &["--privileged"]), u64::from_str_radix(&own, 16).expect("a mask"));
    podman
        .once(&["--privileged"], &["sh", "-c", "test -c /dev/kmsg && head -c 0 /dev/kmsg && echo yes"])
        .prints("yes");
}

#[test]
fn the_default_seccomp_profile_is_loaded() {
    let podman = require!(Podman::new());
    podman.once(&[], &["grep", "^Seccomp:", "/proc/self/status"]).prints("Seccomp:\t2");
}

#[test]
fn a_seccomp_profile_of_the_callers_forbids_its_calls() {
    let podman = require!(Podman::new());
    let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}]});
    podman.view.write("/run/profile.json", &profile.to_string());
    let options = ["--security-opt", "seccomp=/run/profile.json"];
    let outcome = podman.once(&options, &["mkdir", "/tmp/d"]).exits_with(1);
    // EOPNOTSUPP, which nothing else answers to mkdir(2).
    assert!(
        outcome.stderr.contains("Operation not supported") || outcome.stderr.contains("Not supported"),
        "{outcome}"
    );
}

#[test]
fn an_unconfined_container_has_no_filter() {
    let podman = require!(Podman::new());
    let options = ["--security-opt", "seccomp=unconfined"];
    podman.once(&options, &["grep", "^Seccomp:", "/proc/self/status"]).prints("Seccomp:\t0");
}

#[test]
fn no_new_privileges_is_set() {
    let podman = require!(Podman::new());
    let options = ["--security-opt", "no-new-privileges"];
    podman.once(&options, &["grep", "^NoNewPrivs:", "/proc/self/status"]).prints("NoNewPrivs:\t1");
}

#[test]
fn a_user_is_found_by_name_and_has_no_capabilities() {
    let podman = require!(Podman::new());
    let script = "id -un; id -g; sed -n 's/^CapEff:.//p' /proc/self/status";
    podman.once(&["--user", "user"], &["sh", "-c", script]).prints("user\n1000\n0000000000000000");
}

#[test]
fn automatic_user_namespaces_do_not_share_ids() {
    let podman = require!(Podman::new());
    for file in ["/etc/subuid", "/etc/subgid"] {
        podman.view.write(file, "containers:200000:200000\n");
    }
    podman.start_sleeping(&["--userns=auto:size=2000"]);
    let map =
        |text: &str| text.split_whitespace().map(|n| n.parse().expect("a number")).collect::<Vec<u32>>();
    let first = map(&podman.exec(&["cat", "/proc/self/uid_map"]).success().stdout);
    let second =
        map(&podman.once(&["--userns=auto:size=3000"], &["cat", "/proc/self/uid_map"]).success().stdout);
    assert_eq!((first[0], first[2], second[0], second[2]), (0, 2000, 0, 3000));
    assert!(first[1] >= 200_000 && second[1] >= first[1] + first[2], "{first:?} {second:?}");
    // The image's files are root's there, and no file of the host can be changed.
    podman.exec(&["stat", "-c", "%u:%g", "/etc/passwd"]).prints("0:0");
    podman.remove();
}

#[test]
fn namespaces_of_the_host_are_shared_where_asked() {
    let podman = require!(Podman::new());
    let links = "for n in pid ipc uts; do readlink /proc/self/ns/$n; done";
    let outside = podman.view.run(&["sh", "-c", links]).success().stdout;
    podman
        .once(&["--pid", "host", "--ipc", "host", "--uts", "host"], &["sh", "-c", links])
        .prints(outside.trim());
    let inside = podman.once(&[], &["sh", "-c", links]).success().stdout;
    assert!(inside.lines().zip(outside.lines()).all(|(inner, outer)| inner != outer), "{inside}{outside}");
}

#[test]
fn a_container_without_cgroups_stays_in_its_callers() {
    let podman = require!(Podman::new());
    podman.start_sleeping(&["--cgroups", "disabled"]);
    let pid = podman.inspect(".State.Pid");
    // podman's own process, and so its children, are in "main".
    podman.view.run(&["grep", "^0::", &format!("/proc/{pid}/cgroup")]).prints("0::/main");
    podman.remove();
}

#[test]
fn an_init_process_reaps() {
    let podman = require!(Podman::new());
    // The directory of a process stays until somebody has waited for it.
    let script = "orphan=$(sleep 0.1 >/dev/null & echo $!); while [ -e /proc/$orphan ]; do sleep 0.1; done; \
                  readlink /proc/1/exe";
    podman.once(&["--init"], &["sh", "-c", script]).prints("/run/podman-init");
}

#[test]
fn two_containers_reach_each_other_over_a_bridge() {
    let podman = require!(Podman::new());
    // Without NAT, which takes modules that a kernel may lack.
    podman.run(&["network", "create", "--disable-dns", "--internal", "link"]).success();
    let server = ["run", "--detach", "--network", "link", "--name", super::NAME, super::IMAGE];
    podman.run(&[&server[..], &["nc", "-l", "-p", "7000", "-e", "echo", "hello"]].concat()).success();
    let address = podman.inspect(".NetworkSettings.Networks.link.IPAddress");
    let client = format!("while ! nc -w 30 {address} 7000 </dev/null; do sleep 0.1; done");
    podman.run(&["run", "--rm", "--network", "link", super::IMAGE, "sh", "-c", &client]).prints("hello");
    podman.remove();
    podman.run(&["network", "rm", "link"]).success();
}
