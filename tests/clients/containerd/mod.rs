//! `ctr run --runc-binary rcrun`, with containerd started by the test.

mod in_vm;
mod run;
mod tasks;

use serde_json::{Value, json};

use crate::daemon::Daemon;
use crate::image;
use crate::support::{Invocation, Outcome, Pty, require, wait_for};
use crate::view::{RCRUN, View};

/// The image of every container, unless the test makes another.
const IMAGE: &str = "localhost/busybox:latest";

/// What containerd must be told here: CRI wants plugins of its own, and memory is not to be spent on others.
const CONFIGURATION: &str = r#"version = 2
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.snapshotter.v1.devmapper"]
"#;

/// A script that counts in the file /n until it is killed.
const COUNTING: &str = "n=0; while sleep 0.1; do n=$((n + 1)); echo $n >/n; done";

/// A script that says the terminal's size once ctr has set it, which it does when the process runs.
const SIZE: &str = "until stty size | grep '33 99'; do sleep 0.1; done";

struct Containerd {
    daemon: Daemon,
}

impl Containerd {
    /// Err is a reason to skip the test.
    fn new() -> Result<Self, String> {
        let mut view = View::new("containerd")?;
        view.write("/etc/containerd/config.toml", CONFIGURATION);
        view.watch("/run/containerd/runc/default");
        let daemon = Daemon::start(view, &["containerd", "--log-level", "warn"], &["ctr", "version"]);
        let containerd = Self { daemon };
        containerd.import(IMAGE, &json!({"Env": ["PATH=/bin", "FROM=image"]}));
        Ok(containerd)
    }

    /// Makes an image whose containers get `config`.
    fn import(&self, name: &str, config: &Value) {
        let file = "/run/image.tar";
        image::write(&self.daemon.view, file, name, config);
        self.ctr(&["image", "import", file]).success();
    }

    fn command(&self, args: &[&str]) -> Invocation {
        self.daemon.view.command(&[&["ctr"], args].concat())
    }

    fn ctr(&self, args: &[&str]) -> Outcome {
        self.command(args).wait()
    }

    /// `ctr run OPTIONS IMAGE ID ARGS`, ready to start.
    fn run_command(&self, options: &[&str], id: &str, args: &[&str]) -> Invocation {
        self.command(&[&["run", "--runc-binary", RCRUN], options, &[IMAGE, id], args].concat())
    }

    /// `ctr run --rm OPTIONS IMAGE one ARGS`.
    fn run(&self, options: &[&str], args: &[&str]) -> Outcome {
        self.run_command(&[&["--rm"], options].concat(), "one", args).wait()
    }

    /// `ctr run --detach`, which must succeed.
    fn run_detached(&self, id: &str, script: &str) {
        self.run_command(&["--detach"], id, &["sh", "-c", script]).wait().success();
    }

    /// `ctr task exec OPTIONS ID ARGS`, ready to start.
    fn exec_command(&self, options: &[&str], id: &str, args: &[&str]) -> Invocation {
        self.command(&[&["task", "exec", "--exec-id", "another"], options, &[id], args].concat())
    }

    /// `ctr task exec OPTIONS ID ARGS`.
    fn exec(&self, options: &[&str], id: &str, args: &[&str]) -> Outcome {
        self.exec_command(options, id, args).wait()
    }

    /// The status of a task: RUNNING, PAUSED, STOPPED, or empty where there is none.
    fn status(&self, id: &str) -> String {
        self.listed(id, 2)
    }

    /// The pid of a task.
    fn pid(&self, id: &str) -> String {
        self.listed(id, 1)
    }

    /// A column of `ctr task ls`: id, pid, status.
    fn listed(&self, id: &str, column: usize) -> String {
        let listed = self.ctr(&["task", "ls"]).success();
        let mut lines = listed.stdout.lines().map(|line| line.split_whitespace());
        let line = lines.find(|line| line.clone().next() == Some(id));
        line.and_then(|mut line| line.nth(column)).unwrap_or_default().to_owned()
    }

    #[track_caller]
    fn wait_for_status(&self, id: &str, status: &str) {
        wait_for(&format!("status {status}"), 15, || (self.status(id) == status).then_some(()));
    }

    /// Waits until a counting container has counted on.
    fn wait_for_counting(&self, id: &str) {
        let count = || self.exec(&[], id, &["cat", "/n"]).stdout.trim().parse::<u32>().ok();
        let first = wait_for("a number", 15, count);
        wait_for("the next number", 15, || count().filter(|n| *n > first));
    }

    fn wait_for_file(&self, id: &str, file: &str) {
        wait_for(file, 15, || self.exec(&[], id, &["test", "-e", file]).status.success().then_some(()));
    }

    /// Deletes a task that has ended, and its container; what ctr says of the exit status is on stderr.
    fn delete(&self, id: &str) -> Outcome {
        let outcome = self.ctr(&["task", "delete", id]);
        self.ctr(&["container", "delete", id]).success();
        outcome
    }

    /// Kills a task and deletes it.
    fn end(&self, id: &str) {
        self.ctr(&["task", "kill", "--signal", "KILL", id]).success();
        self.wait_for_status(id, "STOPPED");
        let outcome = self.delete(id);
        assert!(outcome.stderr.contains("exit code 137"), "{outcome}");
    }
}
