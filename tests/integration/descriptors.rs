//! What descriptors and sockets of the caller a container gets: those that were asked for.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use crate::support::{Bundle, ConsoleSocket, LONG, busybox, require, seconds};

/// Lists the descriptors of a shell, without the one that a listing itself needs.
const LIST: &str = "for fd in /proc/$$/fd/*; do if [ -e $fd ]; then echo ${fd##*/}; fi; done";

/// Opens descriptors 3 to 5 on a file of the test and executes the command.
fn shell_with_descriptors(bundle: &Bundle, rest: &str) -> String {
    let file = bundle.file("passed");
    fs::write(&file, "from the host\n").expect("write");
    format!("f='{}'; exec 3<$f 4<$f 5<$f; {rest}exec \"$@\"", file.display())
}

#[test]
fn the_process_has_only_its_three_streams() {
    // `ls` reads the directory through one descriptor more, number 3.
    let bundle = busybox!().args(["ls", "/proc/self/fd"]);
    bundle.run().prints("0\n1\n2\n3");
    let bundle = bundle.script("sleep 100");
    bundle.run_detached();
    bundle.exec(&["ls", "/proc/self/fd"]).prints("0\n1\n2\n3");
    bundle.delete_forced().success();
}

#[test]
fn descriptors_of_the_caller_do_not_leak_into_the_container() {
    let bundle = busybox!().args(["ls", "/proc/self/fd"]);
    bundle.write_config();
    let script = shell_with_descriptors(&bundle, "");
    bundle.invocation_in_shell(&script, &bundle.bundle_command("run", &[])).wait().prints("0\n1\n2\n3");
    let bundle = bundle.script("sleep 100");
    bundle.run_detached();
    let command = ["exec", bundle.id(), "ls", "/proc/self/fd"];
    bundle.invocation_in_shell(&script, &command).wait().prints("0\n1\n2\n3");
    bundle.delete_forced().success();
}

#[test]
fn no_directory_of_the_host_is_reachable_through_the_process() {
    let script = "readlink /proc/self/cwd; ls -d /proc/self/root/bin; ls -l /proc/self/fd";
    let outcome = busybox!().script(script).run().success();
    assert!(outcome.stdout.starts_with("/\n"), "{outcome}");
    assert!(!outcome.stdout.contains("rootfs"), "{outcome}");
}

#[test]
fn a_created_container_holds_nothing_of_the_host() {
    let bundle = busybox!().script("sleep 100");
    bundle.create().success();
    // Directories and the like: what is left are streams and sockets.
    let find = "for fd in /proc/1/fd/*; do if [ -d $fd ]; then readlink $fd; fi; done; echo end";
    bundle.exec(&["sh", "-c", find]).prints("end");
    bundle.delete_forced().success();
}

#[test]
fn preserved_descriptors_are_passed_in_order() {
    let bundle = busybox!().script(&format!("cat <&4; {LIST}"));
    bundle.write_config();
    let script = shell_with_descriptors(&bundle, "");
    let command = bundle.bundle_command("run", &["--preserve-fds", "2"]);
    bundle.invocation_in_shell(&script, &command).wait().prints("from the host\n0\n1\n2\n3\n4");
}

#[test]
fn exec_passes_preserved_descriptors_too() {
    let bundle = busybox!().script("sleep 100");
    bundle.run_detached();
    let script = shell_with_descriptors(&bundle, "");
    let command = ["exec", "--preserve-fds", "1", bundle.id(), "sh", "-c", "cat <&3"];
    bundle.invocation_in_shell(&script, &command).wait().prints("from the host");
    bundle.delete_forced().success();
}

#[test]
fn a_descriptor_to_preserve_that_is_not_open_is_named() {
    let bundle = busybox!();
    bundle.write_config();
    let command = bundle.bundle_command("run", &["--preserve-fds", "9"]);
    bundle.invocation(&command).wait().refused(&["preserve-fds", "descriptor"]);
    bundle.leaves_nothing();
}

#[test]
fn listen_fds_are_handed_on_with_the_environment_of_socket_activation() {
    let bundle = busybox!().script(&format!("echo $LISTEN_FDS $LISTEN_PID; cat <&3; {LIST}"));
    bundle.write_config();
    let script = shell_with_descriptors(&bundle, "export LISTEN_FDS=2 LISTEN_PID=$$; ");
    let command = bundle.bundle_command("run", &[]);
    let outcome = bundle.invocation_in_shell(&script, &command).wait();
    outcome.prints("2 1\nfrom the host\n0\n1\n2\n3\n4");
}

#[test]
fn listen_fds_come_before_preserved_descriptors() {
    let bundle = busybox!().script(LIST);
    bundle.write_config();
    let script = shell_with_descriptors(&bundle, "export LISTEN_FDS=1 LISTEN_PID=$$; ");
    let command = bundle.bundle_command("run", &["--preserve-fds", "2"]);
    bundle.invocation_in_shell(&script, &command).wait().prints("0\n1\n2\n3\n4\n5");
}

#[test]
fn a_caller_without_streams_gives_the_process_empty_ones() {
    let bundle = busybox!().writable().script(&format!("cat; exec >/tmp/list; {LIST}"));
    bundle.write_config();
    let command = bundle.bundle_command("run", &[]);
    bundle.invocation_in_shell("exec 0<&- 1>&- 2>&-; exec \"$@\"", &command).wait().success();
    let list = fs::read_to_string(bundle.rootfs().join("tmp/list")).expect("the list");
    assert_eq!(list, "0\n1\n2\n");
}

#[test]
fn a_pidfd_of_the_process_is_sent_where_asked() {
    let bundle = busybox!().script("sleep 100");
    let path = bundle.file("pidfd");
    let socket = ConsoleSocket::bind(&path);
    bundle.run_with(&["--detach", "--pidfd-socket", path.to_str().expect("UTF-8")]).success();
    let (pidfd, _) = socket.receive_descriptor();
    rustix::process::pidfd_send_signal(&pidfd, rustix::process::Signal::KILL).expect("kill by pidfd");
    bundle.wait_for_status("stopped");
    bundle.delete().success();
}

/// Sends READY=1 as sd_notify(3) does. perl is part of every Debian; busybox knows no datagrams
/// on Unix sockets.
const NOTIFY: &str = "use Socket; socket(S, AF_UNIX, SOCK_DGRAM, 0) or die; \
    send(S, qq(READY=1\\nSTATUS=up\\n), 0, sockaddr_un($ENV{NOTIFY_SOCKET})) or die $!;";

fn notifying(bundle: Bundle) -> Result<Bundle, String> {
    if !Path::new("/usr/bin/perl").exists() || !fs::symlink_metadata("/lib").is_ok_and(|m| m.is_symlink()) {
        return Err("needs /usr/bin/perl and a merged /usr".into());
    }
    for name in ["lib", "lib64"] {
        std::os::unix::fs::symlink(format!("usr/{name}"), bundle.rootfs().join(name)).expect("symlink");
    }
    Ok(bundle
        .bind("/usr", "/usr", &["rbind", "ro"])
        .script(&format!("echo $NOTIFY_SOCKET; /usr/bin/perl -e '{NOTIFY}' && sleep 100")))
}

fn receive(socket: &UnixDatagram) -> String {
    let mut text = [0; 4096];
    let length = socket.recv(&mut text).expect("a message at NOTIFY_SOCKET");
    String::from_utf8_lossy(&text[..length]).into_owned()
}

#[test]
fn readiness_passes_through_to_the_callers_notify_socket() {
    let bundle = require!(notifying(busybox!()));
    let path = bundle.file("notify");
    let socket = UnixDatagram::bind(&path).expect("bind");
    socket.set_read_timeout(Some(seconds(LONG))).expect("timeout");
    let mut running = bundle.run_invocation(&[]).env("NOTIFY_SOCKET", &path).spawn();
    running.wait_for_output("/run/notify/notify.sock\n");
    assert!(receive(&socket).contains("READY=1"));
    bundle.kill("KILL").success();
    running.wait().exits_with(137);
}

#[test]
fn a_detached_run_returns_after_readiness_and_names_the_main_process() {
    let bundle = require!(notifying(busybox!()));
    let path = bundle.file("notify");
    let socket = UnixDatagram::bind(&path).expect("bind");
    socket.set_read_timeout(Some(seconds(LONG))).expect("timeout");
    bundle.run_invocation(&["--detach"]).env("NOTIFY_SOCKET", &path).wait().success();
    let main_process = format!("MAINPID={}", bundle.pid());
    let mut messages = receive(&socket);
    // In the same message or in one that follows.
    while !messages.contains(&main_process) {
        messages.push_str(&receive(&socket));
    }
    assert!(messages.contains("READY=1"), "{messages:?}");
    bundle.delete_forced().success();
}

#[test]
fn without_a_notify_socket_the_container_sees_none() {
    busybox!().script("echo \"[$NOTIFY_SOCKET]\"; ls /run").run().prints("[]");
}
