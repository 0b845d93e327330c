//! Security contexts, mounts and devices: what a container really has of what CreateContainer was told.

use rcrun_cri::api::{self, ContainerConfig, KeyValue, Mount, MountPropagation, SecurityProfile};
use tonic::Code;

use crate::calls::{Pod, container_config, pod_config, security};
use crate::node::Node;

/// A container that runs a script; what it says stands in the order in which it says it.
fn script(name: &str, script: &str) -> ContainerConfig {
    container_config(name, &["sh", "-c", &format!("exec 2>&1; {script}")])
}

fn privileged_pod(node: &Node) -> Pod {
    let mut config = pod_config("privileged");
    config.linux.as_mut().unwrap().security_context.as_mut().unwrap().privileged = true;
    node.run_pod(&config)
}

/// What a container in this Pod writes until it ends, which it does well.
fn ran_in(node: &Node, pod: &Pod, config: &ContainerConfig) -> String {
    let id = node.run_container(pod, config);
    let status = node.exited(&id);
    let output = node.output(&id);
    assert_eq!(status.exit_code, 0, "{output}");
    output
}

fn profile(kind: api::security_profile::ProfileType, localhost_ref: &str) -> Option<SecurityProfile> {
    Some(SecurityProfile { profile_type: kind.into(), localhost_ref: localhost_ref.into() })
}

#[test]
fn a_container_and_its_execs_have_the_credentials_that_were_asked_for() {
    let node = node!();
    let pod = node.pod("p");
    let mut config = container_config("c", &["sleep", "1000"]);
    *security(&mut config) = api::LinuxContainerSecurityContext {
        run_as_user: Some(api::Int64Value { value: 1000 }),
        supplemental_groups: vec![1234],
        no_new_privs: true,
        readonly_rootfs: true,
        capabilities: Some(api::Capability {
            drop_capabilities: vec!["ALL".into()],
            add_ambient_capabilities: vec!["NET_ADMIN".into()],
            ..Default::default()
        }),
        seccomp: profile(api::security_profile::ProfileType::RuntimeDefault, ""),
        ..security(&mut config).clone()
    };
    let id = node.run_container(&pod, &config);
    let groups = node.exec(&id, &["id", "-G"]);
    let mut groups: Vec<&str> = groups.split_whitespace().collect();
    groups.sort_unstable();
    // Of the image's /etc/group, too.
    assert_eq!(groups, ["1000", "1234", "50"]);
    assert_eq!(node.exec(&id, &["id", "-u"]), "1000\n");
    for file in ["/proc/1/status", "/proc/self/status"] {
        let status = node.exec(&id, &["cat", file]);
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"));
            line.unwrap_or_else(|| panic!("{status}"))
        };
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            assert_eq!(field(set), "0000000000001000", "{file} {set}");
        }
        assert_eq!((field("NoNewPrivs"), field("Seccomp")), ("1", "2"), "{file}");
    }
    let written = node.try_exec(&id, &["touch", "/x"], 0).unwrap();
    assert_eq!(String::from_utf8_lossy(&written.stderr), "touch: /x: Read-only file system\n");
}

#[test]
fn a_container_that_says_nothing_is_unconfined_by_seccomp_and_has_dockers_capabilities() {
    let node = node!();
    let output = node.ran(&script("c", "grep -E '^(CapEff|Seccomp):' /proc/self/status")).0;
    assert_eq!(output, "CapEff:\t00000000a80425fb\nSeccomp:\t0\n");
}

#[test]
fn paths_are_masked_and_read_only_as_asked_for() {
    let node = node!();
    let mut config = script("c", "cat /etc/passwd; touch /tmp/x; cat /proc/version >/dev/null && echo seen");
    security(&mut config).masked_paths = vec!["/etc/passwd".into(), "/nonesuch".into()];
    security(&mut config).readonly_paths = vec!["/tmp".into()];
    let (output, _) = node.ran(&config);
    assert_eq!(output, "touch: /tmp/x: Read-only file system\nseen\n");
}

#[test]
fn a_seccomp_profile_of_the_nodes_is_in_force() {
    let node = node!();
    let deny = r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls":
        [{"names": ["chmod", "fchmodat", "fchmodat2"], "action": "SCMP_ACT_ERRNO"}]}"#;
    std::fs::write(node.file("deny.json"), deny).unwrap();
    let localhost = api::security_profile::ProfileType::Localhost;
    let mut config = script("c", "chmod 400 /tmp");
    security(&mut config).seccomp = profile(localhost, "/run/node/deny.json");
    let pod = privileged_pod(&node);
    let id = node.run_container(&pod, &config);
    assert_eq!(node.exited(&id).exit_code, 1);
    assert_eq!(node.output(&id), "chmod: /tmp: Operation not permitted\n");
    // Not in a privileged container.
    let mut config = script("all", "chmod 400 /tmp");
    security(&mut config).privileged = true;
    security(&mut config).seccomp = profile(localhost, "/run/node/deny.json");
    ran_in(&node, &pod, &config);
    let mut config = script("none", "true");
    security(&mut config).seccomp = profile(localhost, "/run/node/nonesuch.json");
    let error = node.try_create(&pod, &config).unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
    assert_eq!(
        error.message(),
        "linux.security_context.seccomp.localhost_ref: read \"/run/node/nonesuch.json\": No such file or directory (os \
         error 2): install the profile on this node"
    );
}

#[test]
fn a_privileged_container_may_do_what_root_may() {
    let node = node!();
    let pod = privileged_pod(&node);
    let mut config = script(
        "c",
        "grep -E '^(NoNewPrivs|Seccomp):' /proc/self/status && mount -t tmpfs t /tmp && test -c /dev/null && \
         mkdir /sys/fs/cgroup/rcrun-privileged && rmdir /sys/fs/cgroup/rcrun-privileged && grep -c . /proc/self/cgroup",
    );
    security(&mut config).privileged = true;
    let output = ran_in(&node, &pod, &config);
    assert!(output.starts_with("NoNewPrivs:\t0\nSeccomp:\t0\n"), "{output}");
    let error = node.try_create(&node.pod("plain"), &config).unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
    assert!(error.message().starts_with("linux.security_context.privileged: its Pod sandbox"), "{error}");
}

#[test]
fn a_container_that_is_not_privileged_may_not_write_to_the_kernels_files() {
    let node = node!();
    let mut config =
        script("c", "mkdir /sys/fs/cgroup/x; echo 1 >/proc/sys/kernel/domainname; mount -t tmpfs t /tmp");
    security(&mut config).readonly_paths = vec!["/proc/sys".into()];
    let (output, status) = node.ran(&config);
    assert_ne!(status.exit_code, 0);
    assert!(
        output.contains("mkdir: can't create directory '/sys/fs/cgroup/x': Read-only file system"),
        "{output}"
    );
    assert!(output.contains("/proc/sys/kernel/domainname: Read-only file system"), "{output}");
    assert!(output.contains("mount: permission denied"), "{output}");
}

fn mount(host: &str, target: &str) -> Mount {
    Mount { host_path: host.into(), container_path: target.into(), ..Default::default() }
}

#[test]
fn mounts_are_as_asked_for() {
    let node = node!();
    node.run(&[
        "sh",
        "-ec",
        "mkdir -p /run/v/sub; mount -t tmpfs t /run/v/sub; echo text >/run/v/file; ln -s v /run/link",
    ])
    .success();
    let mut config = script(
        "c",
        "cat /whole/file /link/file; touch /ro/x; touch /ro/sub/x && echo below; touch /whole/sub/y; touch /made/z && echo made; \
         cp /bin/busybox /noexec/sh; /noexec/sh; \
         grep ' /to ' /proc/self/mountinfo | grep -o master; grep ' /both ' /proc/self/mountinfo | grep -o shared",
    );
    let to = MountPropagation::PropagationHostToContainer.into();
    let both = MountPropagation::PropagationBidirectional.into();
    config.mounts = vec![
        Mount { readonly: true, recursive_read_only: true, ..mount("/run/v", "/whole") },
        Mount { readonly: true, ..mount("/run/v", "/ro") },
        mount("/run/link", "/link"),
        mount("/run/gone/deep", "/made"),
        Mount { mount_options: vec!["noexec".into()], ..mount("/run/v", "/noexec") },
        Mount { propagation: to, ..mount("/run/v", "/to") },
        Mount { propagation: both, ..mount("/run/v", "/both") },
    ];
    let (output, _) = node.ran(&config);
    let expected = "text\ntext\ntouch: /ro/x: Read-only file system\nbelow\ntouch: /whole/sub/y: Read-only file system\n\
        made\nsh: /noexec/sh: Permission denied\nmaster\nshared\n";
    assert_eq!(output, expected);
    assert!(node.path("/run/gone/deep/z").exists());
    let mut config = script("bad", "true");
    config.mounts =
        vec![Mount { readonly: true, recursive_read_only: true, propagation: to, ..mount("/run/v", "/x") }];
    let error = node.try_create(&node.pod("other"), &config).unwrap_err();
    assert_eq!(
        (error.code(), error.message()),
        (Code::InvalidArgument, "mounts[0].recursive_read_only: needs propagation PRIVATE")
    );
    node.run(&["umount", "/run/v/sub"]).success();
}

#[test]
fn mounts_pass_in_the_direction_that_was_asked_for() {
    let node = node!();
    let pod = privileged_pod(&node);
    node.run(&["sh", "-ec", "mkdir -p /run/v/host /run/v/own; mount -t tmpfs t /run/v; mount --make-shared /run/v; mkdir /run/v/host /run/v/own"])
        .success();
    for (name, propagation, (from_host, to_host)) in [
        ("private", MountPropagation::PropagationPrivate, (false, false)),
        ("to", MountPropagation::PropagationHostToContainer, (true, false)),
        ("both", MountPropagation::PropagationBidirectional, (true, true)),
    ] {
        let mut config = container_config(name, &["sleep", "1000"]);
        security(&mut config).privileged = true;
        config.mounts = vec![Mount { propagation: propagation.into(), ..mount("/run/v", "/v") }];
        let id = node.run_container(&pod, &config);
        node.run(&["mount", "-t", "tmpfs", "host", "/run/v/host"]).success();
        assert_eq!(
            node.exec(&id, &["cat", "/proc/self/mounts"]).contains("host /v/host tmpfs"),
            from_host,
            "{name}"
        );
        node.exec(&id, &["mount", "-t", "tmpfs", "own", "/v/own"]);
        assert_eq!(
            node.run(&["cat", "/proc/self/mounts"]).stdout.contains("own /run/v/own tmpfs"),
            to_host,
            "{name}"
        );
        node.stop(&id, 0);
        node.run(&["sh", "-c", "umount /run/v/host; umount /run/v/own 2>/dev/null; true"]).success();
    }
    node.run(&["umount", "/run/v"]).success();
}

#[test]
fn a_device_can_be_used_with_the_permissions_that_it_was_given() {
    let node = node!();
    let mut config =
        script("c", "head -c 1 /dev/mine | wc -c; echo x >/dev/mine; test -c /dev/mine && echo there");
    config.devices = vec![api::Device {
        host_path: "/dev/zero".into(),
        container_path: "/dev/mine".into(),
        permissions: "rwm".into(),
    }];
    assert_eq!(node.ran(&config).0, "1\nthere\n");
    config.devices[0].host_path = "/dev/nonesuch".into();
    let error = node.try_create(&node.pod("p"), &config).unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
    assert_eq!(
        error.message(),
        "devices[0].host_path: \"/dev/nonesuch\": No such file or directory (os error 2)"
    );
}

#[test]
fn variables_are_bytes_for_container_and_exec() {
    let node = node!();
    let pod = node.pod("web");
    let mut config = container_config("c", &["sleep", "1000"]);
    config.envs = vec![
        KeyValue { key: "SECRET".into(), value: b"\xff\xfe=".to_vec() },
        KeyValue { key: "TEXT".into(), value: "\u{e9}".into() },
    ];
    let id = node.run_container(&pod, &config);
    for file in ["/proc/1/environ", "/proc/self/environ"] {
        let environ = node.try_exec(&id, &["cat", file], 0).unwrap().stdout;
        let all: Vec<&[u8]> = environ.split(|byte| *byte == 0).collect();
        for variable in [&b"SECRET=\xff\xfe="[..], b"TEXT=\xc3\xa9", b"HOSTNAME=web", b"HOME=/root"] {
            assert!(all.contains(&variable), "{file}: {:?}", String::from_utf8_lossy(&environ));
        }
    }
}
