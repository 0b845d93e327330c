//! `rcrun run` in the foreground: signals, and the caller's terminal.

use rustix::process::Signal;
use rustix::termios::tcgetattr;
use serde_json::json;

use crate::support::{Bundle, Pty, Running, busybox, program, require, wait_for};

#[test]
fn signals_are_forwarded_to_the_process() {
    let cases = [
        ("TERM", Signal::TERM),
        ("INT", Signal::INT),
        ("HUP", Signal::HUP),
        ("QUIT", Signal::QUIT),
        ("USR1", Signal::USR1),
        ("USR2", Signal::USR2),
        ("CONT", Signal::CONT),
        ("WINCH", Signal::WINCH),
    ];
    for (name, signal) in cases {
        let script =
            format!("trap 'echo got {name}; exit 7' {name}; echo ready; while :; do sleep 0.1; done");
        let bundle = busybox!().script(&script);
        let mut running = bundle.run_invocation(&[]).spawn();
        running.wait_for_output("ready");
        running.signal(signal);
        let outcome = running.wait().exits_with(7);
        assert_eq!(outcome.stdout, format!("ready\ngot {name}\n"));
    }
}

#[test]
fn a_signal_that_the_process_ignores_ends_nothing() {
    let bundle =
        busybox!().script("trap '' TERM; echo ready; while ! [ -e /tmp/go ]; do sleep 0.1; done; echo end");
    let bundle = bundle.writable();
    let mut running = bundle.run_invocation(&[]).spawn();
    running.wait_for_output("ready");
    running.signal(Signal::TERM);
    std::fs::write(bundle.rootfs().join("tmp/go"), "").expect("write");
    assert_eq!(running.wait().success().stdout, "ready\nend\n");
}

#[test]
fn input_and_output_may_be_pipes() {
    use std::io::{Read, Write};
    let bundle = busybox!().args(["cat"]);
    let mut running = bundle.run_invocation(&[]).piped().spawn();
    let mut stdin = running.child.stdin.take().expect("stdin");
    let mut stdout = running.child.stdout.take().expect("stdout");
    stdin.write_all(b"ping").expect("write");
    let mut answer = [0; 4];
    stdout.read_exact(&mut answer).expect("read");
    assert_eq!(&answer, b"ping");
    drop(stdin);
    running.wait().success();
}

#[test]
fn a_terminal_that_is_fed_by_a_pipe_ends_with_its_input() {
    let bundle = busybox!().args(["cat"]).set("/process/terminal", json!(true));
    let outcome = bundle.run_invocation(&[]).stdin("ping\n").wait().success();
    assert!(outcome.stdout.matches("ping").count() == 2, "once echoed, once by cat: {}", outcome.stdout);
}

#[test]
fn a_paste_larger_than_the_terminals_buffers_goes_through() {
    let bundle = busybox!().args(["cat"]).set("/process/terminal", json!(true));
    let paste: String = (0..20_000).map(|line| format!("this is line {line:6}\n")).collect();
    let outcome = bundle.run_invocation(&[]).stdin(&paste).wait().success();
    // The kernel may drop echoes when there are too many; what cat wrote it may not.
    let last = outcome.stdout.lines().rev().find(|line| !line.is_empty());
    assert_eq!(last, Some("this is line  19999"));
}

/// `run` on a terminal of the test's, as a shell would start it.
fn on_terminal(bundle: &Bundle, size: (u16, u16)) -> (Pty, std::fs::File, Running) {
    bundle.write_config();
    let (pty, slave) = Pty::open();
    pty.resize(size.0, size.1);
    let command = bundle.bundle_command("run", &[]);
    let invocation = bundle.invocation_in_shell("exec setsid --ctty \"$@\"", &command);
    let running = invocation.on_terminal(&slave).spawn();
    (pty, slave, running)
}

fn with_terminal(script: &str) -> Result<Bundle, String> {
    program("setsid")?;
    Ok(Bundle::busybox()?.script(script).set("/process/terminal", json!(true)))
}

#[test]
fn a_terminal_is_handed_through() {
    let bundle = require!(with_terminal(
        "tty; test -t 0 && test -t 1 && test -t 2 && echo terminals; read x; echo got $x"
    ));
    let (mut pty, _slave, running) = on_terminal(&bundle, (24, 80));
    pty.wait_for("terminals");
    assert!(pty.text().contains("/dev/pts/0"), "{:?}", pty.text());
    pty.write("word\n");
    pty.wait_for("got word");
    running.wait().success();
}

#[test]
fn a_terminal_that_nobody_has_open_for_a_while_is_still_relayed() {
    let script = "echo first; trap '' HUP; exec </dev/null >/dev/null 2>&1; sleep 1; exec <>/dev/console >&0 \
                  2>&0; echo again; read x; echo got $x";
    let bundle = require!(with_terminal(script));
    let (mut pty, _slave, running) = on_terminal(&bundle, (24, 80));
    pty.wait_for("again");
    pty.write("word\n");
    pty.wait_for("got word");
    running.wait().success();
}

#[test]
fn dev_console_is_the_terminal() {
    let bundle = require!(with_terminal("echo to the console >/dev/console; ls -l /dev/console | cut -c 1"));
    let (mut pty, _slave, running) = on_terminal(&bundle, (24, 80));
    let text = pty.wait_for("\r\nc");
    assert!(text.contains("to the console"), "{text:?}");
    running.wait().success();
}

#[test]
fn the_window_size_is_taken_over_and_followed() {
    let bundle = require!(with_terminal("while :; do stty size; sleep 0.1; done"));
    let (mut pty, _slave, running) = on_terminal(&bundle, (33, 99));
    pty.wait_for("33 99");
    pty.resize(40, 120);
    pty.wait_for("40 120");
    bundle.kill("KILL").success();
    running.wait().exits_with(137);
}

#[test]
fn the_configured_console_size_is_set_where_no_terminal_says_otherwise() {
    let bundle = busybox!().script("stty size; sleep 100").set("/process/terminal", json!(true));
    let bundle = bundle.set("/process/consoleSize", json!({"height": 41, "width": 142}));
    let path = bundle.file("console");
    let socket = crate::support::ConsoleSocket::bind(&path);
    bundle.run_with(&["--detach", "--console-socket", path.to_str().expect("UTF-8")]).success();
    let (mut pty, _) = socket.receive();
    pty.wait_for("41 142");
    assert_eq!(pty.size(), (41, 142));
    bundle.delete_forced().success();
}

#[test]
fn control_c_reaches_the_process_and_not_rcrun() {
    let bundle = require!(with_terminal(
        "trap 'echo interrupted; exit 9' INT; echo ready; while :; do sleep 0.1; done"
    ));
    let (mut pty, _slave, running) = on_terminal(&bundle, (24, 80));
    pty.wait_for("ready");
    pty.write("\x03");
    pty.wait_for("interrupted");
    running.wait().exits_with(9);
}

#[test]
fn the_callers_terminal_is_as_it_was_afterwards() {
    let bundle = require!(with_terminal("echo ready; read line"));
    let (mut pty, slave, running) = on_terminal(&bundle, (24, 80));
    let raw = |slave: &std::fs::File| {
        let modes = tcgetattr(slave).expect("tcgetattr").local_modes;
        !modes.contains(rustix::termios::LocalModes::ICANON)
    };
    pty.wait_for("ready");
    wait_for("raw mode", 5, || raw(&slave).then_some(()));
    pty.write("\n");
    running.wait().success();
    let modes = tcgetattr(&slave).expect("tcgetattr").local_modes;
    assert!(modes.contains(rustix::termios::LocalModes::ECHO | rustix::termios::LocalModes::ICANON));
}

#[test]
fn much_output_comes_out_of_a_terminal_whole() {
    let bundle = require!(with_terminal("seq 20000; echo the end"));
    let (mut pty, _slave, running) = on_terminal(&bundle, (24, 80));
    let text = pty.wait_for("the end");
    running.wait().success();
    let expected: String = (1..=20000).map(|n| format!("{n}\r\n")).collect();
    assert!(text.contains(&expected), "{} bytes of {}", text.len(), expected.len());
}

#[test]
fn exec_hands_a_terminal_through() {
    let bundle = require!(with_terminal("")).set("/process/terminal", json!(false)).script("sleep 100");
    bundle.run_detached();
    let (mut pty, slave) = Pty::open();
    pty.resize(21, 84);
    let command = ["exec", "--tty", bundle.id(), "sh", "-c", "tty; stty size; read x; echo got $x; exit 6"];
    let invocation = bundle.invocation_in_shell("exec setsid --ctty \"$@\"", &command);
    let running = invocation.on_terminal(&slave).spawn();
    assert!(pty.wait_for("21 84").contains("/dev/pts/0"));
    pty.write("word\n");
    pty.wait_for("got word");
    running.wait().exits_with(6);
    bundle.delete_forced().success();
}
