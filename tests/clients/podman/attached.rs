//! `run` in the foreground: output, exit status, terminal, standard input, and what is said about errors.

use super::{IMAGE, Podman};
use crate::support::{Pty, require, wait_for};

#[test]
fn run_passes_output_and_exit_status_on() {
    let podman = require!(Podman::new());
    let outcome = podman.once(&[], &["sh", "-c", "echo out; echo err >&2; exit 7"]).exits_with(7);
    assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), ("out\n", "err\n"));
}

#[test]
fn run_with_a_terminal_relays_keys_sizes_and_the_exit_status() {
    let podman = require!(Podman::new());
    let (mut pty, slave) = Pty::open();
    pty.resize(33, 77);
    // With a session of its own, in which the terminal's size is signalled.
    let args = ["run", "-it", "--rm", "--network", "none", IMAGE, "sh"];
    let running = podman.command_under(&["setsid", "--ctty", "--wait"], &args).on_terminal(&slave).spawn();
    drop(slave);
    pty.wait_for("/ # ");
    pty.write("tty\n");
    pty.wait_for("/dev/pts/0");
    pty.write("while ! stty size | grep -q '33 77'; do sleep 0.1; done; echo first$((1 + 1))\n");
    pty.wait_for("first2");
    pty.resize(22, 66);
    pty.write("while ! stty size | grep -q '22 66'; do sleep 0.1; done; echo then$((1 + 1))\n");
    pty.wait_for("then2");
    pty.write("exit 9\n");
    running.wait().exits_with(9);
}

#[test]
fn exec_with_a_terminal_has_one_of_its_own() {
    let podman = require!(Podman::new());
    podman.start_sleeping(&[]);
    let (mut pty, slave) = Pty::open();
    let running = podman.command(&["exec", "-it", super::NAME, "sh"]).on_terminal(&slave).spawn();
    drop(slave);
    pty.wait_for("/ # ");
    pty.write("tty; exit 4\n");
    pty.wait_for("/dev/pts/0");
    running.wait().exits_with(4);
    podman.remove();
}

#[test]
fn run_passes_standard_input_on() {
    let podman = require!(Podman::new());
    let args = ["run", "--rm", "-i", "--network", "none", IMAGE, "cat"];
    podman.command(&args).stdin("one\ntwo\n").wait().prints("one\ntwo");
}

#[test]
fn a_program_that_is_not_there_exits_with_127_and_is_named() {
    let podman = require!(Podman::new());
    let outcome = podman.once(&[], &["/no/such"]).exits_with(127);
    outcome.explains(&["/no/such", "No such file or directory"]);
}

#[test]
fn a_program_that_is_not_executable_exits_with_126_and_is_named() {
    let podman = require!(Podman::new());
    podman.once(&[], &["/etc/passwd"]).exits_with(126).explains(&["/etc/passwd", "Permission denied"]);
}

#[test]
fn a_signal_to_podman_reaches_the_program() {
    let podman = require!(Podman::new());
    let script = "trap 'echo heard' USR1; trap 'echo got; exit 6' TERM; echo ready; \
                  while :; do sleep 0.1; done";
    let args = ["run", "--rm", "--network", "none", IMAGE, "sh", "-c", script];
    let mut running = podman.command_under(&["sh", "-c", "echo $$; exec \"$@\"", "sh"], &args).spawn();
    running.wait_for_output("ready");
    let pid = running.stdout().lines().next().expect("podman's pid").to_owned();
    let kill = |signal: &str| drop(podman.view.run(&["kill", signal, &pid]).success());
    // podman passes signals on a little after the program has begun; until then it ignores this one.
    wait_for("a signal that arrives", 10, || {
        kill("-USR1");
        running.stdout().contains("heard").then_some(())
    });
    kill("-TERM");
    let stdout = running.wait().exits_with(6).stdout;
    let begins = stdout.starts_with(&format!("{pid}\nready\nheard\n"));
    assert!(begins && stdout.ends_with("\ngot\n"), "{stdout}");
}
