//! SCMP_ACT_NOTIFY: an agent receives the listener and the state, and answers calls.
#![allow(unsafe_code)]

use std::io::{IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::thread::JoinHandle;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use serde_json::{Value, json};

use crate::support::{Bundle, LONG, busybox, seconds, wait_for};

/// What one connection brought, and how many calls were answered.
struct Served {
    state: Value,
    answered: usize,
}

/// Listens at `path` for one container: lets every notified call fail with EDOM.
fn agent(path: &PathBuf) -> JoinHandle<Served> {
    let listener = UnixListener::bind(path).expect("bind");
    std::thread::spawn(move || {
        let (stream, _) = listener.accept().expect("accept");
        let (state, fd) = receive(stream);
        let answered = answer_all(&fd);
        Served { state, answered }
    })
}

fn receive(mut stream: UnixStream) -> (Value, OwnedFd) {
    let mut bytes = vec![0; 65536];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut parts = [IoSliceMut::new(&mut bytes)];
    let length =
        recvmsg(&stream, &mut parts, &mut ancillary, RecvFlags::CMSG_CLOEXEC).expect("recvmsg").bytes;
    bytes.truncate(length);
    stream.read_to_end(&mut bytes).expect("read");
    let fd = ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    });
    (serde_json::from_slice(&bytes).expect("JSON"), fd.expect("a descriptor"))
}

/// Lets every call fail until there is nobody left who could call; how many were told so.
fn answer_all(listener: &OwnedFd) -> usize {
    let mut answered = 0;
    loop {
        let mut poll = libc::pollfd { fd: listener.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one pollfd, which outlives the call.
        let ready = unsafe { libc::poll(&raw mut poll, 1, seconds(LONG).as_millis() as i32) };
        if ready != 1 || poll.revents & libc::POLLIN == 0 {
            return answered;
        }
        // SAFETY: plain data, for which all zeroes is a value; the kernel asks for zeroes.
        let mut call: libc::seccomp_notif = unsafe { std::mem::zeroed() };
        const RECEIVE: libc::c_ulong = 0xc050_2100;
        // SAFETY: the request takes one seccomp_notif, which it fills.
        if unsafe { libc::ioctl(listener.as_raw_fd(), RECEIVE, &raw mut call) } < 0 {
            // Its caller is gone.
            continue;
        }
        let mut response = libc::seccomp_notif_resp { id: call.id, val: 0, error: -libc::EDOM, flags: 0 };
        const SEND: libc::c_ulong = 0xc018_2101;
        // SAFETY: the request takes one seccomp_notif_resp, which it only reads.
        let sent = unsafe { libc::ioctl(listener.as_raw_fd(), SEND, &raw mut response) };
        answered += usize::from(sent == 0);
    }
}

fn notifying(bundle: Bundle, calls: &[&str]) -> (Bundle, PathBuf) {
    let socket = bundle.file("agent.sock");
    let profile = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "listenerPath": socket,
        "listenerMetadata": "some words",
        "syscalls": [{"names": calls, "action": "SCMP_ACT_NOTIFY"}],
    });
    (bundle.writable().set("/linux/seccomp", profile).set("/annotations", json!({"a": "b"})), socket)
}

const REFUSED: &[&str] = &["/tmp/new", "Numerical argument out of domain"];

#[test]
fn an_agent_gets_the_listener_with_the_state_and_answers() {
    for no_new_privileges in [true, false] {
        let (bundle, socket) = notifying(busybox!().args(["mkdir", "/tmp/new"]), &["mkdir", "mkdirat"]);
        let bundle = bundle.set("/process/noNewPrivileges", json!(no_new_privileges));
        let agent = agent(&socket);
        bundle.run().exits_with(1).explains(REFUSED);
        let served = agent.join().expect("the agent");
        let (state, pid) = (&served.state, served.state["pid"].clone());
        assert!(pid.as_i64().is_some_and(|pid| pid > 1), "{state}");
        assert_eq!(state["fds"], json!(["seccompFd"]));
        assert_eq!(state["metadata"], "some words");
        assert_eq!(state["ociVersion"], "1.3.0");
        assert_eq!(state["state"]["id"], bundle.id());
        assert_eq!(state["state"]["pid"], pid);
        assert_eq!(state["state"]["status"], "creating");
        assert_eq!(state["state"]["bundle"], json!(bundle.path()));
        assert_eq!(state["state"]["annotations"], json!({"a": "b"}));
        assert_eq!(served.answered, 1);
    }
}

#[test]
fn a_listener_takes_every_flag() {
    let all = ["LOG", "SPEC_ALLOW", "TSYNC", "WAIT_KILLABLE_RECV"];
    for flags in [&all[..], &all[3..], &[]] {
        let flags: Vec<_> = flags.iter().map(|flag| format!("SECCOMP_FILTER_FLAG_{flag}")).collect();
        let (bundle, socket) = notifying(busybox!().args(["mkdir", "/tmp/new"]), &["mkdir", "mkdirat"]);
        let agent = agent(&socket);
        bundle.set("/linux/seccomp/flags", json!(flags)).run().exits_with(1).explains(REFUSED);
        assert_eq!(agent.join().expect("the agent").answered, 1);
    }
}

#[test]
fn an_agent_may_answer_for_the_program_before_it_runs() {
    let (bundle, socket) = notifying(busybox!(), &["execve"]);
    let agent = agent(&socket);
    bundle.run().exits_with(1).explains(&["execve", "Numerical argument out of domain"]);
    assert_eq!(agent.join().expect("the agent").answered, 1);
}

#[test]
fn start_and_exec_send_a_listener_each() {
    let script = "mkdir /tmp/new; echo >/tmp/done; sleep 100";
    let (bundle, socket) = notifying(busybox!().script(script), &["mkdir", "mkdirat"]);
    bundle.create().success();
    let first = agent(&socket);
    bundle.start().success();
    // `start` waits for the program to be executed, not for what it does.
    let done = bundle.rootfs().join("tmp/done");
    wait_for("the first call's answer", 15, || done.exists().then_some(()));
    std::fs::remove_file(&socket).expect("unlink");
    let second = agent(&socket);
    bundle.exec(&["mkdir", "/tmp/new"]).exits_with(1).explains(REFUSED);
    let served = second.join().expect("the agent");
    assert_eq!(served.state["state"]["status"], "running");
    assert_eq!(served.state["state"]["pid"], bundle.pid());
    assert_ne!(served.state["pid"], bundle.pid());
    bundle.delete_forced().success();
    let served = first.join().expect("the agent");
    assert_eq!(served.state["state"]["status"], "created");
    assert_eq!(served.answered, 1);
}

#[test]
fn without_an_agent_there_is_no_container() {
    let (bundle, socket) = notifying(busybox!(), &["mkdir"]);
    let path = socket.to_str().expect("UTF-8");
    bundle.run().refused(&["linux.seccomp.listenerPath", path, "connect"]);
    bundle.leaves_nothing();
}
