//! Runs one hook: config.md, "POSIX-platform Hooks".
//!
//! Used by the parent for hooks of the runtime's namespaces and by the child for those of the
//! container's, so nothing here allocates once a [`Hook`] is made. A hook gets the container's state
//! on standard input, its own process group, and its timeout; its output is kept for the message.

use std::fmt::{self, Display, Formatter, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Access, AtFlags, CWD, MemfdFlags, SealFlags, SeekFrom};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process_group, setpgid};

use super::Signals;
use super::timings::now;
use crate::plan::step::HookStep;
use crate::sys::clone::{CloneArguments, spawn};
use crate::sys::process::{StringArray, default_signals, execve};
use crate::sys::{During, Failure};
use crate::text::{FixedText, Text};

/// How many bytes of a failed hook's output its message quotes.
const OUTPUT_SIZE: usize = 240;

/// In nanoseconds.
const SECOND: u64 = 1_000_000_000;

/// A hook whose arguments are laid out for execve(2).
#[derive(Debug)]
pub struct Hook<'plan> {
    step: &'plan HookStep,
    args: StringArray,
    env: StringArray,
}

/// Why a hook failed.
#[derive(Debug)]
pub struct HookError {
    stage: &'static str,
    index: usize,
    reason: Reason,
    output: [u8; OUTPUT_SIZE],
    length: usize,
}

#[derive(Debug)]
enum Reason {
    Operation(Failure),
    Exited(i32),
    Killed(i32),
    TimedOut(u32),
    Interrupted,
}

impl<'plan> Hook<'plan> {
    /// Lays out the hook's arguments.
    pub fn new(step: &'plan HookStep) -> Self {
        Self { step, args: StringArray::new(step.args.clone()), env: StringArray::new(step.env.clone()) }
    }

    /// Runs the hook with `state` (a [`state_file`]) on its standard input and waits for it.
    /// A signal of `interrupt` that ends a command ends the wait, and the hook.
    pub fn run(&self, state: BorrowedFd<'_>, interrupt: Option<&Signals>) -> Result<(), HookError> {
        let output = rustix::fs::memfd_create(c"hook output", MemfdFlags::CLOEXEC).during("memfd_create");
        let output = output.map_err(|failure| self.error(Reason::Operation(failure), None))?;
        let result = self.run_into(&output, state, interrupt);
        result.map_err(|reason| self.error(reason, Some(&output)))
    }

    fn run_into(
        &self,
        output: &OwnedFd,
        state: BorrowedFd<'_>,
        interrupt: Option<&Signals>,
    ) -> Result<(), Reason> {
        let path = self.step.path.as_c_str();
        let checked = rustix::fs::accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS);
        checked.during("execve").map_err(Reason::Operation)?;
        rustix::fs::seek(state, SeekFrom::Start(0)).during("lseek").map_err(Reason::Operation)?;
        let child = spawn(CloneArguments::default(), || self.become_hook(output, state));
        let child = child.during("clone3").map_err(Reason::Operation)?;
        let group = Pid::from_raw(child.pid);
        // The hook does the same: whoever comes first, from here on it has a group to be killed with.
        let _ = setpgid(group, group);
        let ended = self.await_end(child.pidfd.as_fd(), interrupt);
        if ended.is_err() {
            // The whole group: a shell's children must not outlive their hook.
            let _ = group.map(|group| kill_process_group(group, Signal::KILL));
        }
        let status = child.wait();
        ended?;
        let status = status.during("waitid").map_err(Reason::Operation)?;
        match (status.exit_status(), status.terminating_signal()) {
            (Some(0), _) => Ok(()),
            (Some(code), _) => Err(Reason::Exited(code)),
            (None, signal) => Err(Reason::Killed(signal.unwrap_or_default())),
        }
    }

    /// In the hook's process.
    fn become_hook(&self, output: &OwnedFd, state: BorrowedFd<'_>) -> i32 {
        let _ = setpgid(None, None);
        let ready = rustix::stdio::dup2_stdin(state)
            .and_then(|()| rustix::stdio::dup2_stdout(output))
            .and_then(|()| rustix::stdio::dup2_stderr(output))
            .and_then(|()| crate::sys::process::close_on_exec_from(3));
        default_signals();
        let errno = match ready {
            Ok(()) => execve(&self.step.path, &self.args, &self.env),
            Err(errno) => errno,
        };
        let mut text = FixedText::new();
        let _ = write!(text, "not executed, errno {}", errno.raw_os_error());
        let _ = rustix::io::write(output, text.as_bytes());
        255
    }

    fn await_end(&self, pidfd: BorrowedFd<'_>, interrupt: Option<&Signals>) -> Result<(), Reason> {
        let deadline = self.step.timeout.map(|seconds| now().saturating_add(u64::from(seconds) * SECOND));
        let signals = interrupt.map_or(pidfd, Signals::as_fd);
        let mut fds = [
            PollFd::from_borrowed_fd(pidfd, PollFlags::IN),
            PollFd::from_borrowed_fd(signals, PollFlags::IN),
        ];
        loop {
            let left = deadline.map(|deadline| {
                let left = deadline.saturating_sub(now());
                Timespec { tv_sec: (left / SECOND) as i64, tv_nsec: (left % SECOND) as i64 }
            });
            match poll(&mut fds, left.as_ref()) {
                Ok(0) => return Err(Reason::TimedOut(self.step.timeout.unwrap_or_default())),
                Ok(_) if !fds[0].revents().is_empty() => return Ok(()),
                Ok(_) if interrupt.is_some_and(|signals| signals.ending().is_none()) => {}
                Ok(_) => return Err(Reason::Interrupted),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno).during("poll").map_err(Reason::Operation),
            }
        }
    }

    fn error(&self, reason: Reason, output: Option<&OwnedFd>) -> HookError {
        let mut error = HookError {
            stage: self.step.stage,
            index: self.step.index,
            reason,
            output: [0; OUTPUT_SIZE],
            length: 0,
        };
        if let Some(file) = output {
            let size = rustix::fs::fstat(file).map_or(0, |stat| stat.st_size as u64);
            let from = size.saturating_sub(OUTPUT_SIZE as u64);
            error.length = rustix::io::pread(file, &mut error.output, from).unwrap_or(0);
        }
        error
    }
}

impl HookError {
    /// The errno behind the failure, 0 where there is none.
    pub fn errno(&self) -> i32 {
        match self.reason {
            Reason::Operation(failure) => failure.errno.raw_os_error(),
            _ => 0,
        }
    }

    /// What failed, without the errno's words and without the hook's own.
    pub fn write_reason(&self, f: &mut impl Write) -> fmt::Result {
        match self.reason {
            Reason::Operation(failure) => f.write_str(failure.operation),
            Reason::Exited(code) => write!(f, "exit status {code}"),
            Reason::Killed(signal) => write!(f, "killed by signal {signal}"),
            Reason::TimedOut(seconds) => write!(f, "killed after its timeout of {seconds} s"),
            Reason::Interrupted => f.write_str("interrupted"),
        }?;
        let output = self.output.get(..self.length).unwrap_or_default().trim_ascii();
        if !output.is_empty() {
            f.write_str(": ")?;
        }
        for chunk in output.utf8_chunks() {
            for c in chunk.valid().chars() {
                f.write_char(if c.is_control() { ' ' } else { c })?;
            }
        }
        Ok(())
    }
}

impl Display for HookError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} hook {}: ", self.stage, self.index)?;
        self.write_reason(f)?;
        match self.reason {
            Reason::Operation(failure) => write!(f, ": {}", failure.errno),
            _ => Ok(()),
        }
    }
}

impl std::error::Error for HookError {}

/// The path of a hook for messages.
pub fn name(step: &HookStep) -> impl Display + '_ {
    Text(&step.path)
}

/// A container's state as hooks read it: an unchangeable file of these bytes.
pub fn state_file(json: &[u8]) -> Result<OwnedFd, Failure> {
    let file = empty_state_file()?;
    fill_state_file(file.as_fd(), json)?;
    Ok(file)
}

/// A state file without contents: the pid is known only after the clone, and the child inherits the
/// descriptor before that.
pub fn empty_state_file() -> Result<OwnedFd, Failure> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    rustix::fs::memfd_create(c"state", flags).during("memfd_create")
}

/// Writes and seals a state file that was made empty.
pub fn fill_state_file(file: BorrowedFd<'_>, json: &[u8]) -> Result<(), Failure> {
    let mut rest = json;
    while !rest.is_empty() {
        let written = rustix::io::write(file, rest).during("write")?;
        rest = rest.get(written..).unwrap_or_default();
    }
    let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
    rustix::fs::fcntl_add_seals(file, seals).during("fcntl F_ADD_SEALS")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hook(script: &str, timeout: Option<u32>) -> HookStep {
        HookStep {
            stage: "prestart",
            index: 0,
            path: c"/bin/sh".into(),
            args: ["sh", "-c", script].map(|s| std::ffi::CString::new(s).unwrap()).into(),
            env: vec![c"A=b".into()],
            timeout,
        }
    }

    fn run(step: &HookStep) -> Result<(), String> {
        let state = state_file(b"{\"id\":\"c1\"}").unwrap();
        Hook::new(step).run(state.as_fd(), None).map_err(|e| e.to_string())
    }

    #[test]
    fn a_hook_reads_the_state_and_sees_its_environment_only() {
        run(&hook("read s; test \"$s\" = '{\"id\":\"c1\"}' -a \"$A\" = b -a -z \"$HOME\"", None)).unwrap();
    }

    #[test]
    fn two_hooks_read_the_same_state() {
        let state = state_file(b"abc").unwrap();
        for _ in 0..2 {
            let step = hook("test \"$(cat)\" = abc", None);
            Hook::new(&step).run(state.as_fd(), None).unwrap();
        }
    }

    #[test]
    fn a_failure_quotes_status_and_output() {
        let error = run(&hook("echo no luck >&2; exit 3", None)).unwrap_err();
        assert_eq!(error, "prestart hook 0: exit status 3: no luck");
        assert_eq!(run(&hook("kill -9 $$", None)).unwrap_err(), "prestart hook 0: killed by signal 9");
    }

    #[test]
    fn a_hanging_hook_is_killed_with_its_children() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pid");
        let script = format!("sleep 1000 & echo $! > {}; wait", file.display());
        // A busy machine may need longer for what comes before the wait.
        let pid = [3, 30].into_iter().find_map(|timeout| {
            let error = run(&hook(&script, Some(timeout))).unwrap_err();
            assert_eq!(error, format!("prestart hook 0: killed after its timeout of {timeout} s"));
            std::fs::read_to_string(&file).ok().filter(|pid| pid.ends_with('\n'))
        });
        let pid = pid.expect("the child's pid");
        let lives = || match std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())) {
            Ok(stat) => !stat.contains(") Z "),
            Err(_) => false,
        };
        // A kill is on its way when kill(2) returns.
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while lives() {
            assert!(std::time::Instant::now() < deadline, "the hook's child lives on");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }

    #[test]
    fn a_missing_program_is_told_apart_from_a_failing_one() {
        let step = HookStep { path: c"/no/hook".into(), ..hook("", None) };
        let error = run(&step).unwrap_err();
        assert!(error.starts_with("prestart hook 0: execve: No such file"), "{error}");
    }

    #[test]
    fn hooks_cannot_change_the_state() {
        let state = state_file(b"abc").unwrap();
        assert!(rustix::io::write(&state, b"x").is_err());
    }
}
