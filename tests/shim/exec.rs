//! Further processes in a container.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;

use rcrun::monitor::Execution;
use rustix::pipe::{PipeFlags, pipe_with};
use serde_json::{Value, json};

use crate::bundle::{Bundle, script, wait_for, wait_readable};

pub fn process(bundle: &Bundle, args: &[&str]) -> Value {
    let mut process = bundle.config["process"].clone();
    process["args"] = json!(args);
    process
}

/// Its exit status, however long that takes.
#[track_caller]
pub fn wait(execution: &mut Execution) -> i32 {
    loop {
        wait_readable("the process's end", &*execution);
        if let Some(code) = execution.try_wait().unwrap() {
            return code;
        }
    }
}

pub struct Pipes {
    pub stdin: File,
    pub stdout: File,
    pub stderr: File,
    pub theirs: [OwnedFd; 3],
}

pub fn pipes() -> Pipes {
    let pipe = || pipe_with(PipeFlags::CLOEXEC).unwrap();
    let ((stdin, keys), (out, stdout), (err, stderr)) = (pipe(), pipe(), pipe());
    Pipes { stdin: keys.into(), stdout: out.into(), stderr: err.into(), theirs: [stdin, stdout, stderr] }
}

pub fn read(mut file: File) -> String {
    let mut text = String::new();
    file.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn a_process_has_streams_and_an_exit_code() {
    let bundle = script!("read end").stdin(false);
    bundle.launch();
    let Pipes { mut stdin, stdout, stderr, theirs } = pipes();
    let wanted = process(&bundle, &["sh", "-c", "read word; echo got $word; echo oops >&2; exit 5"]);
    let mut execution = bundle.monitor().exec(&wanted, Some(theirs)).unwrap();
    assert!(execution.master.is_none());
    assert_eq!(execution.try_wait().unwrap(), None);
    stdin.write_all(b"hello\n").unwrap();
    assert_eq!(wait(&mut execution), 5);
    assert_eq!((read(stdout).as_str(), read(stderr).as_str()), ("got hello\n", "oops\n"));
    assert_eq!(bundle.kill().code, Some(137));
    assert_eq!(bundle.log(), [""; 0], "nothing of it is the container's own output");
}

#[test]
fn a_program_that_is_missing_is_refused_in_the_librarys_words() {
    let bundle = script!("read end").stdin(false);
    bundle.launch();
    for (args, words) in [
        (["nothing-here"], "exec \"nothing-here\": executable file not found in $PATH"),
        (["/etc"], "exec \"/etc\": permission denied"),
    ] {
        let error = bundle.monitor().exec(&process(&bundle, &args), Some(pipes().theirs)).unwrap_err();
        assert_eq!(error.to_string(), words);
    }
    bundle.kill();
}

#[test]
fn a_process_can_be_killed() {
    let bundle = script!("read end").stdin(false);
    bundle.launch();
    let mut execution =
        bundle.monitor().exec(&process(&bundle, &["sleep", "1000"]), Some(pipes().theirs)).unwrap();
    execution.kill(9).unwrap();
    assert_eq!(wait(&mut execution), 137);
    bundle.kill();
}

#[test]
fn a_process_has_a_terminal_of_its_own() {
    let bundle = script!("read end").stdin(false);
    bundle.launch();
    let mut wanted = process(&bundle, &["sh", "-c", "stty size; tty -s 2>/dev/null; exit 6"]);
    wanted["terminal"] = json!(true);
    wanted["consoleSize"] = json!({"width": 99, "height": 33});
    let mut execution = bundle.monitor().exec(&wanted, None).unwrap();
    let mut master: File = execution.master.take().expect("a master").into();
    assert_eq!(wait(&mut execution), 6);
    let mut text = Vec::new();
    // EIO: nobody has it open any more.
    let _ = master.read_to_end(&mut text);
    assert_eq!(String::from_utf8_lossy(&text), "33 99\r\n");
    bundle.kill();
}

#[test]
fn arguments_that_fit_no_packet_arrive() {
    let bundle = script!("read end").stdin(false);
    bundle.launch();
    let long = "x".repeat(100 << 10);
    let words: Vec<&str> = ["sh", "-c", "echo $#"].into_iter().chain([long.as_str(); 9]).collect();
    let Pipes { stdout, theirs, .. } = pipes();
    let mut execution = bundle.monitor().exec(&process(&bundle, &words), Some(theirs)).unwrap();
    assert_eq!(wait(&mut execution), 0);
    assert_eq!(read(stdout), "8\n");
    bundle.kill();
}

#[test]
fn many_processes_at_once_have_each_its_own_code() {
    let bundle = script!("read end").stdin(false);
    bundle.launch();
    std::thread::scope(|scope| {
        for code in 1..=20 {
            let bundle = &bundle;
            scope.spawn(move || {
                let wanted = process(bundle, &["sh", "-c", &format!("exit {code}")]);
                let mut execution = bundle.monitor().exec(&wanted, Some(pipes().theirs)).unwrap();
                assert_eq!(wait(&mut execution), code);
            });
        }
    });
    bundle.kill();
}

#[test]
fn a_process_whose_client_left_goes_on_and_ends_with_the_container() {
    let bundle = script!("read end").stdin(false);
    bundle.launch();
    let Pipes { mut stdout, theirs, .. } = pipes();
    let execution = bundle
        .monitor()
        .exec(&process(&bundle, &["sh", "-c", "echo here; sleep 1000"]), Some(theirs))
        .unwrap();
    let pid = execution.pid;
    drop(execution);
    stdout.read_exact(&mut [0; 5]).unwrap();
    assert!(std::path::Path::new(&format!("/proc/{pid}")).exists());
    bundle.kill();
    wait_for("its end", || (!std::path::Path::new(&format!("/proc/{pid}")).exists()).then_some(()));
}
