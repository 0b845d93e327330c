//! `podman --runtime rcrun`, as root and as a user.

mod attached;
mod files;
mod in_vm;
mod life;
mod pods;
mod privileges;
mod rootless;

use crate::support::{Invocation, Outcome};
use crate::view::{RCRUN, ROOTFS, View};

/// The image of every container.
const IMAGE: &str = "localhost/busybox";
/// The container of tests that need one by name.
const NAME: &str = "it";

/// podman in a view of its own, with an image made of busybox.
struct Podman {
    view: View,
    /// What stands before podman.
    user: Vec<String>,
}

impl Podman {
    /// root's. Err is a reason to skip the test.
    fn new() -> Result<Self, String> {
        Ok(Self::with(View::new("podman")?, vec![]))
    }

    /// podman as `user` starts it.
    fn with(view: View, user: Vec<String>) -> Self {
        view.write("/etc/containers/containers.conf", CONFIGURATION);
        let mut podman = Self { view, user };
        podman.run(&["import", "--quiet", ROOTFS, IMAGE]).success();
        // What podman makes for its first container and keeps: cgroups, storage, locks, a user's namespace.
        podman.once(&[], &["true"]).success();
        podman.view.accept_present();
        podman.view.expect(&["/run/netns", "/var/lib/containers/storage/overlay"]);
        podman
    }

    fn command(&self, args: &[&str]) -> Invocation {
        self.command_under(&[], args)
    }

    /// podman, started by `starter`.
    fn command_under(&self, starter: &[&str], args: &[&str]) -> Invocation {
        let user: Vec<&str> = self.user.iter().map(String::as_str).collect();
        let podman = ["podman", "--runtime", RCRUN, "--cgroup-manager", "cgroupfs"];
        self.view.command(&[&user, starter, &podman, args].concat())
    }

    fn run(&self, args: &[&str]) -> Outcome {
        self.command(args).wait()
    }

    /// `podman run --rm`, without a network.
    fn once(&self, options: &[&str], program: &[&str]) -> Outcome {
        self.run(&[&["run", "--rm", "--network", "none"], options, &[IMAGE], program].concat())
    }

    /// `podman run --detach` of a container with a name, without a network.
    #[track_caller]
    fn start(&self, options: &[&str], program: &[&str]) {
        let start = ["run", "--detach", "--network", "none", "--name", NAME];
        self.run(&[&start, options, &[IMAGE], program].concat()).success();
    }

    /// A container that sleeps until it is removed.
    #[track_caller]
    fn start_sleeping(&self, options: &[&str]) {
        self.start(options, &["sleep", "1000"]);
    }

    /// `podman exec` in that container.
    fn exec(&self, program: &[&str]) -> Outcome {
        self.run(&[&["exec", NAME], program].concat())
    }

    /// A field of `podman inspect` of that container.
    #[track_caller]
    fn inspect(&self, field: &str) -> String {
        let outcome = self.run(&["inspect", "--format", &format!("{{{{{field}}}}}"), NAME]).success();
        outcome.stdout.trim().to_owned()
    }

    /// `podman rm --force` of that container.
    #[track_caller]
    fn remove(&self) {
        self.run_removal(&["rm", "--force", "--time", "0", NAME]);
    }

    /// `podman pod rm --force` of the pod `pod`.
    #[track_caller]
    fn remove_pod(&self) {
        self.run_removal(&["pod", "rm", "--force", "--time", "0", "pod"]);
    }

    #[track_caller]
    fn run_removal(&self, args: &[&str]) {
        crate::support::wait_for("podman rm", 10, || {
            let outcome = self.run(args);
            // podman's own clean-up, which conmon starts when the container ends, may not have unmounted
            // /dev/shm's source yet.
            match outcome.stderr.contains("userdata/shm: device or resource busy") {
                true => None,
                false => Some(outcome.success()),
            }
        });
    }
}

/// What this machine lacks, perhaps a pids controller, and what podman does not know of rcrun: that it can do without
/// cgroups and that its errors are in its log.
const CONFIGURATION: &str = r#"
[containers]
pids_limit = 0
[engine]
runtime_supports_json = ["rcrun"]
runtime_supports_nocgroup = ["rcrun"]
"#;
