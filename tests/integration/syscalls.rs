//! What a start costs, counted by strace(1): one clone3, one exec of the sealed binary before anything
//! else, at most 340 system calls.

use std::collections::HashSet;
use std::fs;

use serde_json::json;

use crate::support::{Bundle, Pty, busybox, program, require};

/// Under 300 for a program that is named by its path in a root file system without /etc/passwd: `make bench`.
const AT_MOST: usize = 340;

/// System calls of rcrun's own.
struct Trace {
    /// The parent's to its end, the child's until it executes the program.
    calls: Vec<String>,
    /// How many of them came before the program was executed.
    before_program: usize,
    executed: usize,
}

impl Trace {
    fn parse(text: &str) -> Self {
        let parent = text.split_whitespace().next().expect("an empty trace");
        let (mut calls, mut before_program, mut executed) = (Vec::new(), 0, 0);
        let mut containers = HashSet::new();
        for line in text.lines() {
            let (pid, call) = line.split_once(' ').expect("PID CALL");
            let call = call.trim_start();
            // Signals and ends of processes; the container's program and what it starts.
            if call.starts_with(['-', '+']) || containers.contains(pid) {
                continue;
            }
            // In a debug build std asks of each descriptor whether it is open before it closes it.
            if cfg!(debug_assertions) && call.contains("F_GETFD)") {
                continue;
            }
            let resumed = call.starts_with("<... ");
            let name = call.trim_start_matches("<... ").split(['(', ' ']).next().expect("a name");
            if !resumed {
                calls.push(name.to_owned());
            }
            if name.starts_with("execve") && call.ends_with("= 0") {
                executed += 1;
                if pid != parent {
                    containers.insert(pid);
                    before_program = calls.len();
                }
            }
        }
        Self { calls, before_program, executed }
    }

    fn count(&self, names: &[&str]) -> usize {
        self.calls.iter().filter(|call| names.contains(&call.as_str())).count()
    }

    #[track_caller]
    fn check(&self) {
        assert_eq!(self.count(&["clone3"]), 1, "{:?}", self.calls);
        assert_eq!(self.count(&["clone", "fork", "vfork"]), 0, "{:?}", self.calls);
        // rcrun, itself once more from where no container can write, and the container's program.
        assert_eq!(self.calls.iter().position(|call| call == "execveat"), Some(5), "{:?}", self.calls);
        assert_eq!(self.executed, 3, "{:?}", self.calls);
        assert!(self.before_program <= AT_MOST, "{} system calls: {:?}", self.before_program, self.calls);
        // The numbers to watch, with --show-output.
        println!("{} system calls until execve, {} in all", self.before_program, self.calls.len());
    }
}

fn traced(bundle: &Bundle, prefix: &str) -> (String, Vec<std::ffi::OsString>) {
    bundle.write_config();
    let script = format!("exec {prefix}strace -f -o '{}' \"$@\"", bundle.file("trace").display());
    let command = vec!["run".into(), format!("{}/", bundle.path().display()).into()];
    (script, command)
}

#[test]
fn a_run_of_the_default_configuration_is_one_clone_and_at_most_340_system_calls() {
    require!(program("strace"));
    let bundle = busybox!().args(["sh"]);
    let (script, command) = traced(&bundle, "");
    bundle.invocation_in_shell(&script, &command).limit(60).wait().success();
    let trace = Trace::parse(&fs::read_to_string(bundle.file("trace")).expect("the trace"));
    trace.check();
    // Waiting and cleaning up included, unless the kernel has kept the cgroup busy for a while.
    let waited = trace.count(&["nanosleep", "clock_nanosleep"]) > 0;
    assert!(waited || trace.calls.len() <= AT_MOST, "{} system calls: {:?}", trace.calls.len(), trace.calls);
}

#[test]
fn so_is_a_run_on_a_terminal() {
    require!(program("strace"));
    require!(program("setsid"));
    let bundle = busybox!().script("exit").set("/process/terminal", json!(true));
    let (script, command) = traced(&bundle, "setsid --ctty ");
    let (_pty, slave) = Pty::open();
    bundle.invocation_in_shell(&script, &command).on_terminal(&slave).limit(60).wait().success();
    Trace::parse(&fs::read_to_string(bundle.file("trace")).expect("the trace")).check();
}
