//! `docker run --runtime rcrun`, with dockerd started by the test.

mod in_vm;
mod life;
mod run;

use serde_json::{Value, json};

use crate::daemon::Daemon;
use crate::image;
use crate::support::{Invocation, Outcome, Pty, require, wait_for};
use crate::view::{RCRUN, View};

/// The image of every container.
const IMAGE: &str = "localhost/busybox:latest";

struct Docker {
    daemon: Daemon,
}

impl Docker {
    /// A daemon with the network `bridge`. Err is a reason to skip the test.
    fn new() -> Result<Self, String> {
        Self::with_options(&[])
    }

    /// A daemon that makes no network.
    fn without_network() -> Result<Self, String> {
        Self::with_options(&["--bridge", "none", "--iptables=false", "--ip6tables=false"])
    }

    fn with_options(options: &[&str]) -> Result<Self, String> {
        let mut view = View::new("docker")?;
        // The alternatives of an installed iptables; the other one wants modules that a kernel may lack.
        for name in ["iptables", "ip6tables"] {
            let link = format!("/run/bin/{name}");
            std::os::unix::fs::symlink("/usr/sbin/xtables-nft-multi", view.path(&link)).expect("symlink");
        }
        // dockerd raises the whole machine's limit of keys where that is low.
        view.run(&["mount", "--bind", "-o", "ro", "/proc/sys/kernel/keys", "/proc/sys/kernel/keys"])
            .success();
        view.watch("/run/docker/runtime-runc/moby"); // whatever the runtime is called
        view.expect(&["/run/docker/netns"]);
        image::write(&view, "/run/image.tar", IMAGE, &json!({"Env": ["PATH=/bin", "FROM=image"]}));
        let runtime = format!("rcrun={RCRUN}");
        let args = ["dockerd", "--log-level", "warn", "--add-runtime", &runtime];
        let common = ["--exec-opt", "native.cgroupdriver=cgroupfs", "--storage-driver", "overlay2"];
        let daemon =
            Daemon::start(view, &[&args, &common[..], options].concat(), &["/usr/bin/docker", "version"]);
        let docker = Self { daemon };
        docker.docker(&["load", "--input", "/run/image.tar"]).success();
        Ok(docker)
    }

    fn command(&self, args: &[&str]) -> Invocation {
        // Debian's, whatever else is in PATH.
        self.daemon.view.command(&[&["/usr/bin/docker"], args].concat())
    }

    fn docker(&self, args: &[&str]) -> Outcome {
        self.command(args).wait()
    }

    /// `docker run --runtime rcrun OPTIONS IMAGE ARGS`, ready to start.
    fn run_command(&self, options: &[&str], args: &[&str]) -> Invocation {
        self.command(&[&["run", "--runtime", "rcrun"], options, &[IMAGE], args].concat())
    }

    /// `docker run --rm OPTIONS IMAGE ARGS`.
    fn run(&self, options: &[&str], args: &[&str]) -> Outcome {
        self.run_command(&[&["--rm"], options].concat(), args).wait()
    }

    /// `docker run --detach --name one OPTIONS`, which must succeed.
    fn run_detached(&self, options: &[&str], script: &str) {
        let options = [&["--detach", "--name", "one"], options].concat();
        self.run_command(&options, &["sh", "-c", script]).wait().success();
    }

    /// What `docker inspect` says of the container `one` at a JSON pointer.
    fn inspect(&self, pointer: &str) -> Value {
        let all = self.docker(&["inspect", "one"]).success().json();
        all[0].pointer(pointer).unwrap_or_else(|| panic!("no {pointer} in {all}")).clone()
    }

    fn remove(&self) {
        self.docker(&["rm", "--force", "one"]).success();
    }
}
