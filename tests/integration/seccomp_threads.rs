//! Whom a filter kills: the thread that makes the call, or its process.

use std::path::Path;

use rustix::fs::Mode;
use serde_json::json;

use crate::support::{Bundle, busybox};

/// Set where this test binary is a container's program.
const INSIDE: &str = "RCRUN_THREADS";
/// SIGSYS.
const KILLED: i32 = 128 + 31;

/// This test binary with two threads, one of which makes a call that `action` is for.
fn two_threads(bundle: Bundle, action: &str) -> Bundle {
    let program = std::env::current_exe().expect("the test binary");
    let rules = json!([{"names": ["mkdir", "mkdirat"], "action": action}]);
    bundle
        .writable()
        .bind(program, "/bin/threads", &["bind", "ro"])
        .args(["/bin/threads", "--exact", "--ignored", "--nocapture", "seccomp_threads::inside_a_container"])
        .edit(|config| {
            config["process"]["env"].as_array_mut().expect("env").push(json!(format!("{INSIDE}=1")));
        })
        .set("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules}))
}

#[test]
fn a_thread_is_killed_and_the_others_go_on() {
    for action in ["SCMP_ACT_KILL_THREAD", "SCMP_ACT_KILL"] {
        let bundle = two_threads(busybox!(), action);
        let outcome = bundle.run().exits_with(0);
        assert!(outcome.stdout.contains("the thread is gone"), "{action}: {outcome}");
        assert!(!bundle.rootfs().join("tmp/new").exists());
    }
}

#[test]
fn a_process_is_killed_with_all_of_its_threads() {
    let outcome = two_threads(busybox!(), "SCMP_ACT_KILL_PROCESS").run().exits_with(KILLED);
    assert!(!outcome.stdout.contains("the thread is gone"), "{outcome}");
}

/// Not a test: what the bundles above execute.
#[test]
#[ignore = "is a program with two threads, started inside of containers"]
fn inside_a_container() {
    if std::env::var_os(INSIDE).is_none() {
        return;
    }
    let (send, receive) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        send.send(rustix::thread::gettid()).expect("send");
        rustix::fs::mkdir("/tmp/new", Mode::RWXU)
    });
    let task = format!("/proc/self/task/{}", receive.recv().expect("its id"));
    crate::support::wait_for("the thread's end", 30, || (!Path::new(&task).exists()).then_some(()));
    // A killed thread cannot be joined: it has left no result.
    std::mem::forget(thread);
    println!("the thread is gone");
}
