//! containerd on a node, with runc and the CNI plugins of `make bench-peers`: the agent's other runtime.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::Signal;

use crate::fixtures::Image;
use crate::node::{BUSYBOX, Node};
use crate::support::{self, Running};

/// Its socket, on the node.
pub const SOCKET: &str = "unix:///run/containerd/containerd.sock";
/// What holds a Pod's namespaces there.
const PAUSE: &str = "docker.io/library/pause:1";

/// A containerd that runs.
pub struct Containerd {
    process: Running,
}

impl Containerd {
    /// Starts it. Err is a reason to skip the test: its programs are not there.
    pub fn start(node: &Node) -> Result<Self, String> {
        let peers = peers();
        for program in [
            "containerd",
            "containerd-shim-runc-v2",
            "ctr",
            "runc",
            "cni/bridge",
            "cni/host-local",
            "cni/loopback",
        ] {
            let path = peers.join(program);
            fs::metadata(&path).map_err(|_| format!("no {}: make bench-peers", path.display()))?;
        }
        support::program("python3")?;
        write_settings(node, &peers);
        // As machines have it from their start. Where the CNI plugins of several Pods do it at once, it may be lost: docs/network.md.
        node.in_network(|| fs::write("/proc/sys/net/ipv4/ip_forward", "1")).expect("a sysctl");
        let path = format!("{}:{}", peers.display(), std::env::var("PATH").unwrap_or_default());
        let program = peers.join("containerd");
        let command = [
            program.to_str().expect("UTF-8"),
            "--config",
            "/run/node/containerd.toml",
            "--log-level",
            "warn",
        ];
        let mut process = node.command(&command).env("PATH", path).limit(3600).spawn();
        support::wait_for("containerd", 60, || {
            if let Some(status) = process.child.try_wait().expect("wait") {
                panic!("containerd ended with {status}: {}", process.stderr());
            }
            ctr(node, &["version"]).status.success().then_some(())
        });
        import(node, BUSYBOX, Image::busybox());
        import(
            node,
            PAUSE,
            Image::busybox()
                .config(|config| config["config"]["Cmd"] = ["sleep", "1000000"].as_slice().into()),
        );
        Ok(Self { process })
    }

    /// Ends it; what it said.
    pub fn end(self, node: &Node) -> String {
        let pid = rustix::process::Pid::from_raw(node.child_of(self.process.pid())).expect("a pid");
        rustix::process::kill_process(pid, Signal::TERM).expect("kill");
        self.process.wait().stderr
    }
}

/// The names of its containers, sandboxes too.
pub fn containers(node: &Node) -> String {
    ctr(node, &["containers", "ls", "-q"]).success().stdout
}

fn peers() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let target = target.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"));
    fs::canonicalize(target.join("peers")).unwrap_or_else(|_| target.join("peers"))
}

fn ctr(node: &Node, args: &[&str]) -> support::Outcome {
    let program = peers().join("ctr");
    node.run(&[&[program.to_str().expect("UTF-8"), "-n", "k8s.io"], args].concat())
}

fn import(node: &Node, name: &str, image: Image) {
    let layout = node.file("layout");
    image.build().write_layout(&layout, name);
    node.run(&["tar", "-C", "/run/node/layout", "-cf", "/run/node/image.tar", "."]).success();
    ctr(node, &["images", "import", "--local", "/run/node/image.tar"]).success();
    fs::remove_dir_all(layout).expect("remove");
}

/// Limits are left out where the host has no controllers for them, which runc does not do by itself.
const RUNC: &str = r#"#!/usr/bin/env python3
import json, os, sys
words = sys.argv[1:]
if "create" in words and "--bundle" in words:
    path = words[words.index("--bundle") + 1] + "/config.json"
    config = json.load(open(path))
    config["linux"].pop("resources", None)
    json.dump(config, open(path, "w"))
os.execv("RUNC", ["runc"] + words)
"#;

fn write_settings(node: &Node, peers: &Path) {
    let text = node.file("runc.py");
    fs::write(&text, RUNC.replace("RUNC", peers.join("runc").to_str().expect("UTF-8"))).expect("write");
    support::copy_program(&text, &node.file("runc"), 0o755);
    fs::create_dir_all(node.file("net.d")).expect("mkdir");
    let network = r#"{"cniVersion": "1.0.0", "name": "pods", "plugins": [
      {"type": "bridge", "bridge": "pods0", "isGateway": true, "ipMasq": false, "hairpinMode": true,
       "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.99.0.0/16"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
      {"type": "portmap", "capabilities": {"portMappings": true}}]}"#;
    fs::write(node.file("net.d/10-pods.conflist"), network).expect("write");
    let settings = format!(
        r#"version = 3
root = "/run/node/containerd"
state = "/run/containerd-state"
disabled_plugins = ["io.containerd.nri.v1.nri", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.erofs", "io.containerd.snapshotter.v1.blockfile"]
[grpc]
address = "/run/containerd/containerd.sock"
[plugins."io.containerd.cri.v1.images".pinned_images]
sandbox = "{PAUSE}"
[plugins."io.containerd.cri.v1.runtime"]
restrict_oom_score_adj = true
disable_apparmor = true
[plugins."io.containerd.cri.v1.runtime".cni]
bin_dirs = ["{cni}"]
conf_dir = "/run/node/net.d"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
BinaryName = "/run/node/runc"
"#,
        cni = peers.join("cni").display()
    );
    fs::write(node.file("containerd.toml"), settings).expect("write");
}
