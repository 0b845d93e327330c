//! Commands under a time limit, with their output in files: a container that outlives its
//! command and keeps the descriptors cannot make a test hang.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

/// A command that is ready to start.
pub struct Invocation {
    command: Command,
    stdout: PathBuf,
    stderr: PathBuf,
    limit: Duration,
}

impl Invocation {
    /// `command` with stdin from /dev/null and its output in `stem`.out and `stem`.err.
    pub fn new(command: Command, stem: &Path) -> Self {
        let (stdout, stderr) = (stem.with_extension("out"), stem.with_extension("err"));
        let mut new = Self { command, stdout, stderr, limit: super::seconds(super::LONG) };
        new.command.stdin(Stdio::null());
        new.command.stdout(File::create(&new.stdout).expect("make a file for stdout"));
        new.command.stderr(File::create(&new.stderr).expect("make a file for stderr"));
        new
    }

    /// Sets an environment variable of the command itself.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Starts it in `directory`.
    pub fn current_dir(mut self, directory: &Path) -> Self {
        self.command.current_dir(directory);
        self
    }

    /// Gives it `text` on stdin.
    pub fn stdin(mut self, text: &str) -> Self {
        let file = self.stdout.with_extension("in");
        fs::write(&file, text).expect("write the file for stdin");
        self.command.stdin(File::open(file).expect("open the file for stdin"));
        self
    }

    /// Anything as stdin: a terminal's slave, a pipe.
    pub fn stdin_from(mut self, stdin: impl Into<Stdio>) -> Self {
        self.command.stdin(stdin);
        self
    }

    /// The same terminal as stdin, stdout and stderr.
    pub fn on_terminal(mut self, slave: &File) -> Self {
        self.command.stdin(slave.try_clone().expect("dup"));
        self.command.stdout(slave.try_clone().expect("dup"));
        self.command.stderr(slave.try_clone().expect("dup"));
        self
    }

    /// stdin, stdout as pipes, taken from [`Running::child`].
    pub fn piped(mut self) -> Self {
        self.command.stdin(Stdio::piped()).stdout(Stdio::piped());
        self
    }

    /// Another time limit, in seconds.
    pub fn limit(mut self, n: u64) -> Self {
        self.limit = super::seconds(n);
        self
    }

    /// Starts it.
    pub fn spawn(mut self) -> Running {
        let line =
            format!("{:?} {:?}", self.command.get_program(), self.command.get_args().collect::<Vec<_>>());
        let child = self.command.spawn().unwrap_or_else(|e| panic!("start {line}: {e}"));
        Running {
            child,
            line,
            stdout: self.stdout,
            stderr: self.stderr,
            deadline: Instant::now() + self.limit,
            waited: false,
        }
    }

    /// Starts it and waits for its end.
    pub fn wait(self) -> Outcome {
        self.spawn().wait()
    }
}

/// A command that has started; killed when dropped before its end.
pub struct Running {
    /// The process itself.
    pub child: Child,
    line: String,
    stdout: PathBuf,
    stderr: PathBuf,
    deadline: Instant,
    waited: bool,
}

impl Running {
    /// Its process id.
    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    /// Sends a signal to it.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.pid()).expect("a pid"), signal).expect("kill");
    }

    /// What it has written to stdout so far.
    pub fn stdout(&self) -> String {
        text(&self.stdout)
    }

    /// What it has written to stderr so far.
    pub fn stderr(&self) -> String {
        text(&self.stderr)
    }

    /// Waits until its stdout contains `fragment`.
    pub fn wait_for_output(&mut self, fragment: &str) {
        let what = format!("{fragment:?} on stdout of {}", self.line);
        super::wait_for(&what, 15, || {
            if self.stdout().contains(fragment) {
                return Some(());
            }
            if let Some(status) = self.child.try_wait().expect("wait") {
                self.waited = true;
                let stdout = self.stdout();
                assert!(stdout.contains(fragment), "{status} before {what}: {stdout}{}", self.stderr());
            }
            None
        });
    }

    /// Waits for its end; past the time limit it is killed and the test fails.
    pub fn wait(mut self) -> Outcome {
        let Some(status) = self.end_before_deadline() else {
            let around = super::scene::around(self.pid());
            self.child.kill().expect("kill");
            self.child.wait().expect("wait");
            self.waited = true;
            panic!(
                "no end in time: {}\nstdout: {}\nstderr: {}\n{around}",
                self.line,
                self.stdout(),
                self.stderr()
            );
        };
        self.waited = true;
        Outcome { status, line: self.line.clone(), stdout: self.stdout(), stderr: self.stderr() }
    }

    fn end_before_deadline(&mut self) -> Option<ExitStatus> {
        if self.waited {
            return self.child.try_wait().expect("wait");
        }
        let pid = Pid::from_raw(self.pid()).expect("a pid");
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).expect("pidfd_open");
        // Whatever the test has done since the start, from now on there is time for what comes at all.
        let left = self.deadline.saturating_duration_since(Instant::now()).max(super::seconds(super::LONG));
        let timeout = Timespec::try_from(left).expect("a time");
        poll(&mut [PollFd::from_borrowed_fd(pidfd.as_fd(), PollFlags::IN)], Some(&timeout)).expect("poll");
        self.child.try_wait().expect("wait")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.waited {
            // Both fail only if it has ended meanwhile.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

fn text(file: &Path) -> String {
    String::from_utf8_lossy(&fs::read(file).expect("read a command's output")).into_owned()
}

/// How a command ended and what it said.
#[derive(Debug)]
pub struct Outcome {
    /// As wait(2) has it.
    pub status: ExitStatus,
    /// All of its standard output.
    pub stdout: String,
    /// All of its standard error.
    pub stderr: String,
    line: String,
}

impl Outcome {
    /// Its exit code; panics where a signal ended it.
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| panic!("ended by a signal: {self}"))
    }

    /// Asserts exit code 0.
    #[track_caller]
    pub fn success(self) -> Self {
        assert!(self.status.success(), "{self}");
        self
    }

    /// Asserts this exit code.
    #[track_caller]
    pub fn exits_with(self, code: i32) -> Self {
        assert_eq!(self.status.code(), Some(code), "{self}");
        self
    }

    /// Asserts exit code 0 and this standard output, without its last newline.
    #[track_caller]
    pub fn prints(self, stdout: &str) -> Self {
        assert!(self.status.success(), "{self}");
        assert_eq!(self.stdout.trim_end_matches('\n'), stdout, "{self}");
        self
    }

    /// Asserts exit code 1, nothing on stdout, and one line on stderr with all these fragments
    /// (in any case of letters).
    #[track_caller]
    pub fn refused(self, fragments: &[&str]) -> Self {
        assert_eq!(self.status.code(), Some(1), "{self}");
        assert_eq!(self.stdout, "", "{self}");
        self.explains(fragments)
    }

    /// Asserts exactly one line on stderr, with all these fragments (in any case of letters).
    #[track_caller]
    pub fn explains(self, fragments: &[&str]) -> Self {
        assert_eq!(self.stderr.matches('\n').count(), 1, "one line expected: {self}");
        assert!(self.stderr.ends_with('\n'), "a whole line expected: {self}");
        let line = self.stderr.to_lowercase();
        for fragment in fragments {
            assert!(line.contains(&fragment.to_lowercase()), "no {fragment:?}: {self}");
        }
        self
    }

    /// The standard output as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("not JSON: {e}: {self}"))
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}\n{}\nstdout: {}\nstderr: {}", self.line, self.status, self.stdout, self.stderr)
    }
}
