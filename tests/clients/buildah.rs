//! `buildah bud --runtime rcrun`: each RUN is a container.

use crate::support::{Outcome, require};
use crate::view::{RCRUN, ROOTFS, View};

/// buildah in a view of its own, with an image made of busybox.
struct Buildah {
    view: View,
}

impl Buildah {
    /// Err is a reason to skip the test.
    fn new() -> Result<Self, String> {
        let view = View::new("podman")?;
        view.write("/run/base/Dockerfile", "FROM scratch\nADD rootfs.tar /\n");
        std::fs::copy(view.path(ROOTFS), view.path("/run/base/rootfs.tar")).expect("copy");
        let mut buildah = Self { view };
        buildah.run(&["bud", "--quiet", "--tag", "localhost/base", "/run/base"]).success();
        // What buildah makes for its first container and keeps.
        buildah.build("RUN true").success();
        buildah.view.accept_present();
        buildah.view.expect(&["/var/lib/containers/storage/overlay"]);
        Ok(buildah)
    }

    fn run(&self, args: &[&str]) -> Outcome {
        self.view.run(&[&["buildah"], args].concat())
    }

    /// Builds an image from the base and these lines; its context has a file `word`, which says hello.
    fn build(&self, lines: &str) -> Outcome {
        self.view.write("/run/context/word", "hello\n");
        self.view.write("/run/context/Dockerfile", &format!("FROM localhost/base\n{lines}\n"));
        let options = ["--runtime", RCRUN, "--network", "none", "--no-cache", "--tag", "localhost/built"];
        self.run(&[&["bud"], &options[..], &["/run/context"]].concat())
    }

    /// The text of a file of the image that was built.
    #[track_caller]
    fn file(&self, path: &str) -> String {
        let container = self.run(&["from", "localhost/built"]).success();
        let container = container.stdout.trim();
        let mount = self.run(&["mount", container]).success();
        let text = self.view.read(&format!("{}{path}", mount.stdout.trim()));
        self.run(&["umount", container]).success();
        self.run(&["rm", container]).success();
        text
    }
}

#[test]
fn what_run_steps_write_is_in_the_image() {
    let buildah = require!(Buildah::new());
    let lines = "ARG WHO=world\nENV WORD=hello\nWORKDIR /work\nCOPY word /work/word\n\
                 RUN cat word > out && echo $WORD $WHO >> out\nRUN [\"sh\", \"-c\", \"pwd >> out; id -u >> out\"]";
    buildah.build(lines).success();
    assert_eq!(buildah.file("/work/out"), "hello\nhello world\n/work\n0\n");
}

#[test]
fn a_run_step_of_a_user_is_that_users() {
    let buildah = require!(Buildah::new());
    let lines =
        "RUN chmod 1777 /tmp\nUSER user\nRUN id -u > /tmp/out; grep ^CapEff: /proc/self/status >> /tmp/out";
    buildah.build(lines).success();
    assert_eq!(buildah.file("/tmp/out"), "1000\nCapEff:\t0000000000000000\n");
}

#[test]
fn mounts_of_a_run_step_are_not_in_the_image() {
    let buildah = require!(Buildah::new());
    let lines = "RUN --mount=type=bind,source=.,target=/bound --mount=type=tmpfs,target=/scratch \
                 cp /bound/word /out && touch /scratch/x && ls /scratch >> /out && ! touch /bound/new\n\
                 RUN test ! -e /bound/word && test ! -e /scratch/x";
    buildah.build(lines).success();
    assert_eq!(buildah.file("/out"), "hello\nx\n");
}

#[test]
fn a_failing_run_step_fails_the_build_with_its_status() {
    let buildah = require!(Buildah::new());
    let outcome = buildah.build("RUN exit 3").exits_with(3);
    assert!(outcome.stderr.contains("exit status 3"), "{outcome}");
}

#[test]
fn a_run_step_without_its_program_names_it() {
    let buildah = require!(Buildah::new());
    let outcome = buildah.build("RUN [\"/no/such\"]");
    assert!(!outcome.status.success() && outcome.stderr.contains("/no/such"), "{outcome}");
}

#[test]
fn a_container_of_buildahs_runs_a_command() {
    let buildah = require!(Buildah::new());
    let container = buildah.run(&["from", "localhost/base"]).success();
    let container = container.stdout.trim();
    buildah.run(&["run", "--runtime", RCRUN, container, "--", "cat", "/etc/passwd"]).success();
    buildah.run(&["rm", container]).success();
}
