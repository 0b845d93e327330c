//! The commands on a bundle's container, each with the test's own `--root`.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::process::Command;
use std::sync::atomic::Ordering;

use serde_json::Value;

use super::bundle::{Bundle, as_user};
use super::command::{Invocation, Outcome};
use super::leaks::MARKER;

impl Bundle {
    /// Writes config.json.
    pub fn write_config(&self) {
        let text = match &self.raw_config {
            Some(text) => text.clone(),
            None => serde_json::to_string_pretty(&self.config).expect("JSON"),
        };
        fs::write(self.path().join("config.json"), text).expect("write config.json");
    }

    /// `rcrun --root ... ARGS`, ready to start.
    pub fn invocation<S: AsRef<OsStr>>(&self, args: &[S]) -> Invocation {
        let mut command = self.command();
        command.args(self.global_options()).args(args);
        self.prepared(command)
    }

    /// `rcrun ARGS` without `--root`.
    pub fn invocation_with_default_root<S: AsRef<OsStr>>(&self, args: &[S]) -> Invocation {
        let mut command = self.command();
        command.args(args);
        self.prepared(command)
    }

    fn command(&self) -> Command {
        match &self.unprivileged {
            Some(binary) => as_user(binary),
            None => Command::new(super::binary()),
        }
    }

    /// `sh -c SCRIPT sh rcrun --root ... ARGS`: the script ends in `exec "$@"`.
    pub fn invocation_in_shell<S: AsRef<OsStr>>(&self, script: &str, args: &[S]) -> Invocation {
        let mut command = Command::new("sh");
        let rcrun = self.command();
        command.args(["-c", script, "sh"]).arg(rcrun.get_program()).args(rcrun.get_args());
        command.args(self.global_options()).args(args);
        self.prepared(command)
    }

    fn prepared(&self, mut command: Command) -> Invocation {
        command.env(MARKER, &self.marker);
        for variable in
            ["NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "RCRUN_MISSING_CONTROLLERS"]
        {
            command.env_remove(variable);
        }
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        let number = self.invocations.fetch_add(1, Ordering::Relaxed);
        Invocation::new(command, &self.directory.path().join("io").join(number.to_string()))
    }

    fn global_options(&self) -> Vec<OsString> {
        let mut options = vec!["--root".into(), self.state_directory().into_os_string()];
        options.extend(self.global.iter().cloned());
        options
    }

    /// `rcrun ARGS` to its end.
    pub fn rcrun<S: AsRef<OsStr>>(&self, args: &[S]) -> Outcome {
        self.invocation(args).wait()
    }

    /// `rcrun run OPTIONS --bundle BUNDLE ID`, ready to start.
    pub fn run_invocation(&self, options: &[&str]) -> Invocation {
        self.write_config();
        self.invocation(&self.bundle_command("run", options))
    }

    /// The arguments of `create` and `run` with their options, the bundle and the id.
    pub fn bundle_command(&self, command: &str, options: &[&str]) -> Vec<OsString> {
        let mut args: Vec<OsString> = vec![command.into()];
        args.extend(options.iter().map(Into::into));
        args.extend(["--bundle".into(), self.path().into_os_string(), self.id.clone().into()]);
        args
    }

    /// `rcrun run` in the foreground.
    pub fn run(&self) -> Outcome {
        self.run_with(&[])
    }

    /// `rcrun run OPTIONS`.
    pub fn run_with(&self, options: &[&str]) -> Outcome {
        self.run_invocation(options).wait()
    }

    /// `rcrun create`.
    pub fn create(&self) -> Outcome {
        self.create_with(&[])
    }

    /// `rcrun create OPTIONS`.
    pub fn create_with(&self, options: &[&str]) -> Outcome {
        self.write_config();
        self.rcrun(&self.bundle_command("create", options))
    }

    /// `rcrun start`.
    pub fn start(&self) -> Outcome {
        self.rcrun(&["start", &self.id])
    }

    /// `rcrun run --detach`, which must succeed; the running container's pid.
    #[track_caller]
    pub fn run_detached(&self) -> i32 {
        self.run_with(&["--detach"]).success();
        self.pid()
    }

    /// `rcrun exec ID ARGS`.
    pub fn exec(&self, args: &[&str]) -> Outcome {
        self.exec_with(&[], args)
    }

    /// `rcrun exec OPTIONS ID ARGS`.
    pub fn exec_with(&self, options: &[&str], args: &[&str]) -> Outcome {
        self.rcrun(&[&["exec"], options, &[self.id.as_str()], args].concat())
    }

    /// `rcrun state`, which must succeed, as JSON.
    #[track_caller]
    pub fn state(&self) -> Value {
        self.rcrun(&["state", &self.id]).success().json()
    }

    /// The container's status.
    #[track_caller]
    pub fn status(&self) -> String {
        self.state()["status"].as_str().expect("a status").to_owned()
    }

    /// Waits for a status.
    #[track_caller]
    pub fn wait_for_status(&self, status: &str) {
        super::wait_for(&format!("status {status}"), 10, || (self.status() == status).then_some(()));
    }

    /// The container's pid. A program that runs in the foreground may be ahead of its state.
    #[track_caller]
    pub fn pid(&self) -> i32 {
        let pid = || self.state()["pid"].as_i64().filter(|pid| *pid > 0);
        super::wait_for("a pid in the state", 5, pid) as i32
    }

    /// `rcrun kill ID SIGNAL`.
    pub fn kill(&self, signal: &str) -> Outcome {
        self.rcrun(&["kill", &self.id, signal])
    }

    /// `rcrun delete`.
    pub fn delete(&self) -> Outcome {
        self.rcrun(&["delete", &self.id])
    }

    /// `rcrun delete --force`.
    pub fn delete_forced(&self) -> Outcome {
        self.rcrun(&["delete", "--force", &self.id])
    }
}
