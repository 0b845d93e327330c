//! `podman --runtime rcrun`, as root.

use crate::support::{Invocation, Outcome, require};
use crate::view::{RCRUN, ROOTFS, View};

/// The image of every container.
const IMAGE: &str = "busybox";

/// podman in a view of its own, with an image made of busybox.
struct Podman {
    view: View,
}

impl Podman {
    /// Err is a reason to skip the test.
    fn new() -> Result<Self, String> {
        let mut view = View::new("podman")?;
        view.write("/etc/containers/containers.conf", CONFIGURATION);
        view.expect(&[
            "/libpod_parent",
            "/var/lib/containers/storage/overlay",
            "/run/netns",
            "/dev/shm/libpod_lock",
        ]);
        let podman = Self { view };
        podman.run(&["import", "--quiet", ROOTFS, IMAGE]).success();
        Ok(podman)
    }

    fn command(&self, args: &[&str]) -> Invocation {
        self.view.command(&[&["podman", "--runtime", RCRUN], args].concat())
    }

    fn run(&self, args: &[&str]) -> Outcome {
        self.command(args).wait()
    }
}

/// What podman must be told here: there is no systemd, perhaps no pids controller, and what rcrun can do.
const CONFIGURATION: &str = r#"
[containers]
pids_limit = 0
default_sysctls = []
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime_supports_json = ["rcrun"]
runtime_supports_nocgroups = ["rcrun"]
"#;

#[test]
fn run_passes_output_and_exit_status_on() {
    let podman = require!(Podman::new());
    podman.run(&["run", "--rm", "--network", "none", IMAGE, "sh", "-c", "echo hello; exit 7"]).exits_with(7);
}
