//! `--console-socket`: the terminal's master goes to whoever listens there.

use std::os::unix::net::UnixListener;

use serde_json::json;

use crate::support::{ConsoleSocket, busybox};

#[test]
fn create_sends_the_terminal_to_the_socket() {
    let bundle =
        busybox!().script("tty; read x; echo got $x; sleep 100").set("/process/terminal", json!(true));
    let path = bundle.file("console");
    let socket = ConsoleSocket::bind(&path);
    bundle.create_with(&["--console-socket", path.to_str().expect("UTF-8")]).success();
    let (mut pty, name) = socket.receive();
    assert!(name.contains("/dev/ptmx") || name.contains("/dev/pts"), "{name:?}");
    bundle.start().success();
    pty.wait_for("/dev/pts/0");
    pty.write("word\n");
    pty.wait_for("got word");
    bundle.delete_forced().success();
}

#[test]
fn a_detached_run_sends_the_terminal_to_the_socket() {
    let bundle = busybox!().script("echo hello; sleep 100").set("/process/terminal", json!(true));
    let path = bundle.file("console");
    let socket = ConsoleSocket::bind(&path);
    bundle.run_with(&["--detach", "--console-socket", path.to_str().expect("UTF-8")]).success();
    socket.receive().0.wait_for("hello");
    bundle.delete_forced().success();
}

#[test]
fn the_terminal_belongs_to_the_processs_user() {
    let script = "stat -c '%u %a' $(tty); echo end; sleep 100";
    let bundle = busybox!().script(script).set("/process/terminal", json!(true));
    let bundle = bundle.set("/process/user", json!({"uid": 1000, "gid": 1000}));
    let path = bundle.file("console");
    let socket = ConsoleSocket::bind(&path);
    bundle.run_with(&["--detach", "--console-socket", path.to_str().expect("UTF-8")]).success();
    let (mut pty, _) = socket.receive();
    let text = pty.wait_for("end");
    assert!(text.starts_with("1000 620"), "{text:?}");
    bundle.delete_forced().success();
}

#[test]
fn exec_sends_its_terminal_to_the_socket() {
    let bundle = busybox!().script("sleep 100");
    bundle.run_detached();
    let path = bundle.file("console");
    let socket = ConsoleSocket::bind(&path);
    let options = ["--tty", "--detach", "--console-socket", path.to_str().expect("UTF-8")];
    bundle.exec_with(&options, &["sh", "-c", "tty; test -t 2 && echo terminal; sleep 100"]).success();
    let (mut pty, _) = socket.receive();
    let text = pty.wait_for("terminal");
    assert!(text.contains("/dev/pts/"), "{text:?}");
    bundle.delete_forced().success();
}

#[test]
fn a_socket_path_longer_than_a_socket_address_works() {
    let bundle = busybox!().script("echo hello; sleep 100").set("/process/terminal", json!(true));
    let directory = bundle.file("");
    let deep = bundle.file(&"deep/".repeat(30));
    std::fs::create_dir_all(&deep).expect("mkdir");
    // bind(2) needs a short path, so the socket is made where there is one and moved.
    let short = directory.join("s");
    let socket = ConsoleSocket::bind(&short);
    let path = deep.join("console");
    std::fs::rename(&short, &path).expect("rename");
    bundle.run_with(&["--detach", "--console-socket", path.to_str().expect("UTF-8")]).success();
    socket.receive().0.wait_for("hello");
    bundle.delete_forced().success();
}

#[test]
fn a_console_socket_that_is_not_there_is_named() {
    let bundle = busybox!().set("/process/terminal", json!(true));
    let path = bundle.file("nobody");
    let path = path.to_str().expect("UTF-8");
    bundle.create_with(&["--console-socket", path]).refused(&["console socket", path, "no such file"]);
    bundle.leaves_nothing();
}

#[test]
fn a_console_socket_that_nobody_listens_at_is_named() {
    let bundle = busybox!().set("/process/terminal", json!(true));
    let path = bundle.file("nobody");
    drop(UnixListener::bind(&path).expect("bind"));
    let path = path.to_str().expect("UTF-8");
    bundle.create_with(&["--console-socket", path]).refused(&["console socket", path, "connection refused"]);
    bundle.leaves_nothing();
}

#[test]
fn create_with_a_terminal_and_no_console_socket_is_refused_with_the_cure() {
    let bundle = busybox!().set("/process/terminal", json!(true));
    bundle.create().refused(&["terminal", "--console-socket"]);
    bundle.leaves_nothing();
    bundle.run_with(&["--detach"]).refused(&["terminal", "--console-socket"]);
    bundle.leaves_nothing();
}

#[test]
fn a_console_socket_without_a_terminal_is_refused_with_the_cure() {
    let bundle = busybox!();
    let path = bundle.file("console");
    let _socket = ConsoleSocket::bind(&path);
    let options = ["--console-socket", path.to_str().expect("UTF-8")];
    bundle.create_with(&options).refused(&["--console-socket", "terminal"]);
    bundle.leaves_nothing();
}
