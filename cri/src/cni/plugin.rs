//! One call of one plugin: a program that reads its configuration from stdin and answers on stdout. CNI specification 1.1, section 2.

use std::fs::File;
use std::io::{ErrorKind, Read as _, Seek as _, Write as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use serde_json::Value;

/// As much of a plugin's output as is read.
const LONGEST: u64 = 1 << 20;
/// As much of a plugin's stderr as an error has.
const LONGEST_REASON: usize = 1024;

/// What is the same for all plugins of one call.
#[derive(Debug)]
pub struct Call<'a> {
    /// ADD, DEL, CHECK, STATUS, GC.
    pub command: &'static str,
    /// CNI_CONTAINERID, the Pod's id.
    pub id: &'a str,
    /// CNI_NETNS; None where it is gone.
    pub namespace: Option<&'a Path>,
    /// CNI_IFNAME.
    pub interface: &'a str,
    /// CNI_ARGS.
    pub args: &'a str,
    /// CNI_PATH, where plugins look for others.
    pub directories: &'a [PathBuf],
    /// How long a plugin may take; it is killed then.
    pub timeout: Duration,
}

impl Call<'_> {
    /// Runs `program` with its configuration; what it answers, if it answers. The error says why it failed, without naming it.
    pub fn run(&self, program: &Path, configuration: &Value) -> Result<Option<Value>, String> {
        // Files, not pipes: neither can a plugin wait for us, nor can what it leaves running keep us waiting.
        let input =
            memory(configuration.to_string().as_bytes()).map_err(|error| format!("stdin: {error}"))?;
        let mut output = memory(b"").map_err(|error| format!("stdout: {error}"))?;
        let mut errors = memory(b"").map_err(|error| format!("stderr: {error}"))?;
        let copy = |file: &File| file.try_clone().map_err(|error| error.to_string());
        let mut command = self.command(program);
        command.stdin(input).stdout(copy(&output)?).stderr(copy(&errors)?);
        let mut child =
            spawn(&mut command).map_err(|error| format!("execute {}: {error}", program.display()))?;
        let status = self.wait(&mut child)?;
        let answer = read(&mut output);
        if !status.success() {
            return Err(reason(&answer, &read(&mut errors), status));
        }
        if answer.iter().all(u8::is_ascii_whitespace) {
            return Ok(None);
        }
        serde_json::from_slice(&answer).map(Some).map_err(|error| format!("its answer is no JSON: {error}"))
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env("CNI_COMMAND", self.command);
        let directories = std::env::join_paths(self.directories).unwrap_or_default();
        command.env("CNI_PATH", directories);
        if !self.id.is_empty() {
            command
                .env("CNI_CONTAINERID", self.id)
                .env("CNI_NETNS", self.namespace.unwrap_or(Path::new("")))
                .env("CNI_IFNAME", self.interface)
                .env("CNI_ARGS", self.args);
        }
        // A group of its own: it ends as a whole where it takes too long.
        command.process_group(0);
        command
    }

    fn wait(&self, child: &mut Child) -> Result<ExitStatus, String> {
        let waited = |error: std::io::Error| format!("wait for it: {error}");
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or("it has no pid")?;
        let ended = pidfd_open(pid, PidfdFlags::empty()).and_then(|pidfd| {
            let deadline = Instant::now() + self.timeout;
            loop {
                let left = deadline.saturating_duration_since(Instant::now());
                let left = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
                match poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&left)) {
                    Err(Errno::INTR) => {}
                    result => return result.map(|ready| ready > 0),
                }
            }
        });
        if ended == Ok(true) {
            return child.wait().map_err(waited);
        }
        let _ = kill_process_group(pid, Signal::KILL);
        child.wait().map_err(waited)?;
        Err(match ended {
            Err(errno) => waited(errno.into()),
            Ok(_) => format!("it took longer than {} s and was killed", self.timeout.as_secs()),
        })
    }
}

/// Starts it, again and again for a second where somebody writes the file at this moment: a plugin that is being updated in place.
fn spawn(command: &mut Command) -> std::io::Result<Child> {
    for _ in 0..20 {
        match command.spawn() {
            Err(error) if error.kind() == ErrorKind::ExecutableFileBusy => {
                std::thread::sleep(Duration::from_millis(50));
            }
            result => return result,
        }
    }
    command.spawn()
}

fn memory(content: &[u8]) -> std::io::Result<File> {
    let mut file = File::from(memfd_create("cni", MemfdFlags::CLOEXEC)?);
    file.write_all(content)?;
    file.rewind()?;
    Ok(file)
}

fn read(file: &mut File) -> Vec<u8> {
    let mut bytes = Vec::new();
    // The offset is the plugin's, too.
    if file.rewind().is_ok() {
        let _ = file.take(LONGEST).read_to_end(&mut bytes);
    }
    bytes
}

/// Why it failed: its error object's words, what it wrote to stderr, how it ended; as much as there is, in one line.
fn reason(answer: &[u8], errors: &[u8], status: ExitStatus) -> String {
    let object: Value = serde_json::from_slice(answer).unwrap_or_default();
    let text = |key: &str| object.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut parts = vec![text("msg"), text("details"), line(errors)];
    parts.retain(|part| !part.is_empty());
    if parts.is_empty() {
        parts.push(line(answer));
        parts.push(match (status.code(), status.signal()) {
            (Some(code), _) => format!("exit status {code}"),
            (None, signal) => format!("killed by signal {}", signal.unwrap_or_default()),
        });
        parts.retain(|part| !part.is_empty());
    }
    parts.join(": ")
}

/// The end of `text`, where errors are, in one line.
fn line(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let words: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let joined = words.join("; ");
    let start = joined.char_indices().rev().nth(LONGEST_REASON - 1).map_or(0, |(index, _)| index);
    joined[start..].into()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::json;

    use super::*;

    fn run(script: &str, timeout: Duration) -> Result<Option<Value>, String> {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("plugin");
        crate::testing::executable(&program, &format!("#!/bin/sh\n{script}\n"));
        let call = Call {
            command: "ADD",
            id: "pod",
            namespace: Some(Path::new("/run/netns/pod")),
            interface: "eth0",
            args: "IgnoreUnknown=1",
            directories: &["/a".into(), "/b".into()],
            timeout,
        };
        call.run(&program, &json!({"name": "net"}))
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_plugin_reads_its_configuration_and_answers() {
        let script = r#"printf '{"in":%s,"env":"%s"}' "$(cat)" \
            "$CNI_COMMAND $CNI_CONTAINERID $CNI_NETNS $CNI_IFNAME $CNI_ARGS $CNI_PATH""#;
        let answer = run(script, LONG).unwrap().unwrap();
        assert_eq!(answer["in"], json!({"name": "net"}));
        assert_eq!(answer["env"], json!("ADD pod /run/netns/pod eth0 IgnoreUnknown=1 /a:/b"));
        assert_eq!(run("cat > /dev/null", LONG).unwrap(), None);
    }

    #[test]
    fn a_failure_has_the_plugins_words() {
        let script =
            r#"echo 'warning: old' >&2; echo '{"code":7,"msg":"no range","details":"set ranges"}'; exit 1"#;
        assert_eq!(run(script, LONG).unwrap_err(), "no range: set ranges: warning: old");
        assert_eq!(run("echo broken; exit 3", LONG).unwrap_err(), "broken: exit status 3");
        assert_eq!(run("kill -9 $$", LONG).unwrap_err(), "killed by signal 9");
        assert!(run("echo broken", LONG).unwrap_err().starts_with("its answer is no JSON"));
    }

    #[test]
    fn a_plugin_that_takes_too_long_ends_with_what_it_started() {
        let directory = tempfile::tempdir().unwrap();
        let pids = directory.path().join("pid");
        let script = format!("sleep 1000 & echo $! > {}; wait", pids.display());
        // A busy machine may need longer for what comes before the wait.
        let pid = [3, 30].into_iter().find_map(|seconds| {
            let error = run(&script, Duration::from_secs(seconds)).unwrap_err();
            assert_eq!(error, format!("it took longer than {seconds} s and was killed"));
            fs::read_to_string(&pids).ok()?.strip_suffix('\n')?.parse::<i32>().ok()
        });
        let pid = pid.expect("the child's pid");
        let gone = || match rcrun::state::ProcessId::of(pid) {
            None => true,
            Some(process) => !process.is_alive(),
        };
        while !gone() {
            std::thread::yield_now();
        }
    }

    #[test]
    fn what_a_plugin_leaves_running_is_not_waited_for() {
        let before = Instant::now();
        assert_eq!(run("sleep 100 & echo '{}'", LONG).unwrap(), Some(json!({})));
        assert!(before.elapsed() < Duration::from_secs(60));
    }
}
