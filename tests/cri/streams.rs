//! Exec, Attach and PortForward of real containers, by Kubernetes' own client code (streamer/). The protocols in detail are
//! streaming.rs' matter.

use std::path::Path;

use rcrun_cri::api;
use rustix::process::{Pid, Signal, kill_process};
use tonic::{Code, Status};

use crate::calls::{Pod, container_config};
use crate::node::Node;
use crate::streamer;
use crate::support::{self, Invocation, require};

const PROTOCOLS: [&str; 2] = ["spdy", "websocket"];

/// An exec of `script`.
fn shell(id: &str, script: &str) -> api::ExecRequest {
    let cmd = ["sh", "-c", script].map(String::from).to_vec();
    api::ExecRequest { container_id: id.into(), cmd, stdout: true, stderr: true, ..Default::default() }
}

/// The same on a terminal.
fn terminal(id: &str, script: &str) -> api::ExecRequest {
    api::ExecRequest { tty: true, stderr: false, ..shell(id, script) }
}

impl Node {
    fn try_exec_url(&self, request: api::ExecRequest) -> Result<String, Status> {
        Ok(self.call(async |mut c| c.exec(request).await)?.url)
    }

    fn try_attach_url(&self, request: api::AttachRequest) -> Result<String, Status> {
        Ok(self.call(async |mut c| c.attach(request).await)?.url)
    }

    fn try_port_forward_url(&self, pod: &str, port: Vec<i32>) -> Result<String, Status> {
        let request = api::PortForwardRequest { pod_sandbox_id: pod.into(), port };
        Ok(self.call(async |mut c| c.port_forward(request).await)?.url)
    }

    /// `streamer` on the node.
    fn streamer(&self, program: &Path, what: &str, protocol: &str, rest: &[&str]) -> Invocation {
        let program = program.to_str().expect("a path in UTF-8");
        self.command(&[&[program, what, "-protocol", protocol], rest].concat())
    }

    fn run_exec(
        &self,
        program: &Path,
        protocol: &str,
        flags: &[&str],
        request: api::ExecRequest,
    ) -> Invocation {
        let url = self.try_exec_url(request).expect("Exec");
        self.streamer(program, "command", protocol, &[flags, &[&url]].concat())
    }
}

fn idle(node: &Node) -> (Pod, String) {
    let pod = node.pod("streams");
    let id = node.container(&pod, "idle", &["sleep", "3600"]);
    (pod, id)
}

#[test]
fn an_exec_has_its_streams_and_its_exit_status() {
    let program = require!(streamer::build());
    let node = node!();
    let (_pod, id) = idle(&node);
    for protocol in PROTOCOLS {
        let request = api::ExecRequest { stdin: true, ..shell(&id, "wc -c; echo wrong >&2; exit 3") };
        let input = "x".repeat(1_000_000);
        let ran = node.run_exec(&program, protocol, &["-stdin"], request).stdin(&input).wait();
        assert_eq!(
            (ran.code(), ran.stdout.as_str(), ran.stderr.as_str()),
            (3, "1000000\n", "wrong\n"),
            "{protocol}"
        );
        let ran = node
            .run_exec(&program, protocol, &[], shell(&id, "head -c 5000000 /dev/zero | tr '\\0' x"))
            .wait();
        assert_eq!((ran.code(), ran.stdout.len()), (0, 5_000_000), "{protocol}");
    }
}

#[test]
fn an_execs_terminal_has_a_size_and_hangs_up_with_its_client() {
    let program = require!(streamer::build());
    let node = node!();
    let (_pod, id) = idle(&node);
    for protocol in PROTOCOLS {
        let flags = ["-tty", "-columns", "77"];
        // A program does not wait for a client that is late with its size.
        let script = "until [ \"$(stty size)\" = '24 77' ]; do sleep 0.05; done; echo it is; exit 4";
        let ran = node.run_exec(&program, protocol, &flags, terminal(&id, script)).wait();
        assert_eq!((ran.code(), ran.stdout.as_str()), (4, "it is\r\n"), "{protocol}");
        let script = "trap 'echo hung up >/hung; exit' HUP; echo ready; while :; do sleep 0.1; done";
        let mut running = node.run_exec(&program, protocol, &["-tty"], terminal(&id, script)).spawn();
        running.wait_for_output("ready");
        // nsenter's child is the client.
        let children = format!("/proc/{0}/task/{0}/children", running.pid());
        let client = std::fs::read_to_string(children).expect("nsenter's children");
        let client = client.trim().parse().ok().and_then(Pid::from_raw).expect("a pid");
        kill_process(client, Signal::KILL).expect("kill");
        support::wait_for("SIGHUP in the container", 10, || {
            let seen = node.try_exec(&id, &["rm", "/hung"], 0).expect("ExecSync");
            (seen.exit_code == 0).then_some(())
        });
    }
}

#[test]
fn a_program_that_cannot_be_run_is_named() {
    let program = require!(streamer::build());
    let node = node!();
    let (_pod, id) = idle(&node);
    let request = api::ExecRequest { cmd: vec!["/no/such".into()], ..shell(&id, "") };
    let ran = node.run_exec(&program, "spdy", &[], request).wait();
    assert_eq!(ran.code(), 125);
    assert!(ran.stderr.contains("/no/such") && ran.stderr.contains("no such file"), "{}", ran.stderr);
}

#[test]
fn attach_joins_a_container_until_its_end() {
    let program = require!(streamer::build());
    let node = node!();
    let pod = node.pod("attach");
    for protocol in PROTOCOLS {
        let mut config =
            container_config(protocol, &["sh", "-c", "while read l; do echo \"<$l>\"; done; echo ended >&2"]);
        (config.stdin, config.stdin_once) = (true, true);
        let id = node.run_container(&pod, &config);
        let request = api::AttachRequest {
            container_id: id.clone(),
            stdin: true,
            stdout: true,
            stderr: true,
            ..Default::default()
        };
        let url = node.try_attach_url(request).expect("Attach");
        let ran = node.streamer(&program, "command", protocol, &["-stdin", &url]).stdin("one\ntwo\n").wait();
        assert_eq!(
            (ran.code(), ran.stdout.as_str(), ran.stderr.as_str()),
            (0, "<one>\n<two>\n", "ended\n"),
            "{protocol}"
        );
        assert_eq!(node.exited(&id).exit_code, 0);
    }
}

#[test]
fn ports_of_a_pod_are_reached_on_both_loopback_addresses() {
    let program = require!(streamer::build());
    let node = node!();
    let pod = node.pod("ports");
    let script =
        "echo hello >/index; httpd -p 127.0.0.1:81 -h /; httpd -p '[::1]:82' -h /; echo ready; sleep 3600";
    let id = node.container(&pod, "web", &["sh", "-c", script]);
    support::wait_for("the servers", 10, || (node.output(&id) == "ready\n").then_some(()));
    for protocol in PROTOCOLS {
        let url = node.try_port_forward_url(&pod.id, Vec::new()).expect("PortForward");
        let arguments = ["-connections", "5", &url, "83", "81", "82"];
        let request = "GET /index HTTP/1.0\r\n\r\n";
        let ran = node.streamer(&program, "forward", protocol, &arguments).stdin(request).wait();
        let refused = format!("error: port 83 of Pod sandbox {}", pod.id);
        assert_eq!(ran.stdout.matches(&refused).count(), 5, "{protocol}: {ran}");
        assert_eq!(ran.stdout.matches("200 OK").count(), 10, "{protocol}: {ran}");
        assert_eq!(ran.stdout.matches("\r\nhello\n").count(), 10, "{protocol}: {ran}");
    }
}

#[test]
fn what_cannot_be_streamed_is_refused_with_a_reason() {
    let node = node!();
    let (pod, id) = idle(&node);
    let ended = node.container(&pod, "ended", &["true"]);
    node.exited(&ended);
    let created = node.create(&pod, &container_config("created", &["true"]));
    let none = api::ExecRequest { stdout: false, stderr: false, ..shell(&id, "true") };
    let both = api::ExecRequest { tty: true, ..shell(&id, "true") };
    for (request, code, word) in [
        (none, Code::InvalidArgument, "none of stdin, stdout and stderr"),
        (both, Code::InvalidArgument, "a terminal has one output"),
        (shell("", "true"), Code::InvalidArgument, "container_id"),
        (api::ExecRequest { cmd: Vec::new(), ..shell(&id, "") }, Code::InvalidArgument, "cmd"),
        (shell("0123", "true"), Code::NotFound, "0123"),
        (shell(&ended, "true"), Code::FailedPrecondition, "exited"),
        (shell(&created, "true"), Code::FailedPrecondition, "created"),
    ] {
        let error = node.try_exec_url(request).unwrap_err();
        assert!(error.code() == code && error.message().contains(word), "{word}: {error}");
    }
    let attach =
        |id: &str| api::AttachRequest { container_id: id.into(), stdout: true, ..Default::default() };
    assert_eq!(node.try_attach_url(attach("0123")).unwrap_err().code(), Code::NotFound);
    assert_eq!(node.try_attach_url(attach(&ended)).unwrap_err().code(), Code::FailedPrecondition);
    let nothing = api::AttachRequest { stdout: false, ..attach(&id) };
    assert_eq!(node.try_attach_url(nothing).unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(node.try_port_forward_url("0123", Vec::new()).unwrap_err().code(), Code::NotFound);
    assert_eq!(node.try_port_forward_url(&pod.id, vec![0]).unwrap_err().code(), Code::InvalidArgument);
    node.stop_pod(&pod.id);
    let error = node.try_port_forward_url(&pod.id, Vec::new()).unwrap_err();
    assert_eq!(error.code(), Code::FailedPrecondition, "{error}");
}

#[test]
fn a_thousand_urls_wait_at_most() {
    // None expires meanwhile.
    let node = require!(Node::configured(|config| config.streaming.token_lifetime = 3600));
    let (_pod, id) = idle(&node);
    for _ in 0..1000 {
        node.try_exec_url(shell(&id, "true")).expect("Exec");
    }
    let error = node.try_exec_url(shell(&id, "true")).unwrap_err();
    assert_eq!(error.code(), Code::ResourceExhausted, "{error}");
}

#[test]
fn a_killed_server_leaves_what_it_streamed_to_its_end() {
    let program = require!(streamer::build());
    let node = node!();
    let (_pod, id) = idle(&node);
    let request = shell(&id, "echo $$; trap '' PIPE; sleep 1; echo done >/done; exit 0");
    let mut running = node.run_exec(&program, "spdy", &[], request).spawn();
    running.wait_for_output("\n");
    node.restart();
    drop(running);
    support::wait_for("the process' end", 20, || {
        let seen = node.try_exec(&id, &["cat", "/done"], 0).expect("ExecSync");
        (seen.exit_code == 0).then_some(())
    });
    assert_eq!(node.run_exec(&program, "spdy", &[], shell(&id, "echo again")).wait().stdout, "again\n");
}
