//! Attaching to a container's streams, terminals, standard input.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};

use rustix::pipe::{PipeFlags, pipe_with};
use serde_json::json;

use crate::bundle::{script, wait_for, wait_readable};

fn pipe() -> (File, OwnedFd) {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    (reader.into(), writer)
}

/// A pipe that the shim reads from.
fn typing() -> (File, OwnedFd) {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    (writer.into(), reader)
}

/// Reads until `text` has come.
#[track_caller]
fn read_until(file: &mut File, text: &str) -> String {
    let mut all = Vec::new();
    let mut bytes = [0; 4096];
    while !String::from_utf8_lossy(&all).contains(text) {
        wait_readable(&format!("{text:?} after {:?}", String::from_utf8_lossy(&all)), file.as_fd());
        let length = file.read(&mut bytes).unwrap();
        assert!(length > 0, "{text:?} does not come after {:?}", String::from_utf8_lossy(&all));
        all.extend_from_slice(&bytes[..length]);
    }
    String::from_utf8(all).unwrap()
}

#[test]
fn two_clients_see_what_is_written_and_both_streams_apart() {
    let bundle = script!("read go; echo out; echo err >&2; read stop").stdin(false);
    bundle.launch();
    let monitor = bundle.monitor();
    let ((mut one, out_one), (mut err, err_one), (mut two, out_two)) = (pipe(), pipe(), pipe());
    let (mut keys, stdin) = typing();
    let _first = monitor.attach(Some(stdin), Some(out_one), Some(err_one)).unwrap();
    let second = monitor.attach(None, Some(out_two), None).unwrap();
    keys.write_all(b"go\n").unwrap();
    assert_eq!(read_until(&mut one, "\n"), "out\n");
    assert_eq!(read_until(&mut two, "\n"), "out\n");
    assert_eq!(read_until(&mut err, "\n"), "err\n");
    drop(second);
    let mut watch = monitor.watch().unwrap();
    keys.write_all(b"stop\n").unwrap();
    assert_eq!(bundle.end(&mut watch).code, Some(0));
    assert_eq!(one.read(&mut [0; 8]).unwrap(), 0, "the stream ends with the container");
}

#[test]
fn a_client_that_never_reads_delays_nobody() {
    let bundle = script!("read go; yes 0123456789 | head -n 1000000; echo done").stdin(false);
    bundle.launch();
    let monitor = bundle.monitor();
    let (_unread, out) = pipe();
    let (mut keys, stdin) = typing();
    let _lazy = monitor.attach(None, Some(out), None).unwrap();
    let _typist = monitor.attach(Some(stdin), None, None).unwrap();
    let mut watch = monitor.watch().unwrap();
    keys.write_all(b"go\n").unwrap();
    assert_eq!(bundle.end(&mut watch).code, Some(0));
    let lines = bundle.log();
    assert_eq!(lines.len(), 1_000_001);
    assert_eq!(lines.last().unwrap(), "stdout F done");
}

#[test]
fn input_that_is_for_one_client_ends_with_it() {
    let bundle = script!("cat; echo over").stdin(true);
    bundle.launch();
    let monitor = bundle.monitor();
    let mut watch = monitor.watch().unwrap();
    let (mut keys, stdin) = typing();
    let attached = monitor.attach(Some(stdin), None, None).unwrap();
    keys.write_all(b"typed\n").unwrap();
    drop((keys, attached));
    assert_eq!(bundle.end(&mut watch).code, Some(0));
    assert_eq!(bundle.log(), ["stdout F typed", "stdout F over"]);
}

#[test]
fn input_that_is_for_all_clients_outlives_each() {
    let bundle = script!("read a; echo $a; read b; echo $b").stdin(false);
    bundle.launch();
    let monitor = bundle.monitor();
    let mut watch = monitor.watch().unwrap();
    for word in ["one", "two"] {
        let (mut keys, stdin) = typing();
        let attached = monitor.attach(Some(stdin), None, None).unwrap();
        writeln!(keys, "{word}").unwrap();
        drop((keys, attached));
        if word == "one" {
            wait_for("the first word", || (!bundle.log().is_empty()).then_some(()));
        }
    }
    assert_eq!(bundle.end(&mut watch).code, Some(0));
    assert_eq!(bundle.log(), ["stdout F one", "stdout F two"]);
}

#[test]
fn every_clients_input_arrives() {
    let bundle = script!("read a; echo $a; read b; echo $b").stdin(false);
    bundle.launch();
    let monitor = bundle.monitor();
    let mut watch = monitor.watch().unwrap();
    let ((mut first, one), (mut second, two)) = (typing(), typing());
    let _idle = monitor.attach(Some(one), None, None).unwrap();
    let attached = monitor.attach(Some(two), None, None).unwrap();
    second.write_all(b"second\n").unwrap();
    wait_for("the second's word", || (!bundle.log().is_empty()).then_some(()));
    drop((second, attached));
    first.write_all(b"first\n").unwrap();
    assert_eq!(bundle.end(&mut watch).code, Some(0));
    assert_eq!(bundle.log(), ["stdout F second", "stdout F first"]);
}

#[test]
fn what_a_client_has_typed_arrives_though_it_has_left() {
    // More than the container's FIFO holds, and no more than fits into that and the client's pipe.
    const BYTES: usize = 120_000;
    for (once, command, said) in
        [(true, "wc -c".into(), "120000"), (false, format!("head -c {} | tr -d x", BYTES + 4), "more")]
    {
        let script = format!("while ! [ -e /go ]; do sleep 0.02; done; echo $({command})");
        let bundle = script!(&script).stdin(once);
        bundle.launch();
        let monitor = bundle.monitor();
        let mut watch = monitor.watch().unwrap();
        let typed = ["x".repeat(BYTES), "more".to_owned()];
        // What one client types comes after what the one before it has.
        for words in &typed[..if once { 1 } else { 2 }] {
            let (mut keys, stdin) = typing();
            let attached = monitor.attach(Some(stdin), None, None).unwrap();
            keys.write_all(words.as_bytes()).unwrap();
            drop((keys, attached));
        }
        fs::write(bundle.settings.bundle.join("rootfs/go"), "").unwrap();
        assert_eq!(bundle.end(&mut watch).code, Some(0));
        assert_eq!(bundle.log(), [format!("stdout F {said}")]);
    }
}

#[test]
fn much_input_arrives_whole() {
    let bundle = script!("wc -c").stdin(true);
    bundle.launch();
    let monitor = bundle.monitor();
    let mut watch = monitor.watch().unwrap();
    let (mut keys, stdin) = typing();
    let attached = monitor.attach(Some(stdin), None, None).unwrap();
    keys.write_all(&vec![b'x'; 1 << 20]).unwrap();
    drop(keys);
    assert_eq!(bundle.end(&mut watch).code, Some(0));
    assert_eq!(bundle.log(), [format!("stdout F {}", 1 << 20)]);
    drop(attached);
}

#[test]
fn a_terminal_has_a_size_takes_keys_and_is_logged() {
    let bundle = script!("stty size; read go; stty size; read end").terminal().stdin(false);
    bundle.launch();
    let monitor = bundle.monitor();
    let (mut out, output) = pipe();
    let (mut keys, stdin) = typing();
    let _attached = monitor.attach(Some(stdin), Some(output), None).unwrap();
    monitor.resize(132, 43).unwrap();
    keys.write_all(b"go\n").unwrap();
    read_until(&mut out, "43 132");
    let mut watch = monitor.watch().unwrap();
    keys.write_all(b"end\n").unwrap();
    assert_eq!(bundle.end(&mut watch).code, Some(0));
    assert!(bundle.log().contains(&"stdout F 43 132".to_owned()), "{:?}", bundle.log());
}

#[test]
fn ten_thousand_sizes_are_no_trouble() {
    let bundle = script!("read end").terminal().stdin(false);
    bundle.launch();
    let monitor = bundle.monitor();
    for number in 0..10_000_u32 {
        monitor.resize(1 + (number % 500) as u16, 1 + (number % 200) as u16).unwrap();
    }
    assert_eq!(bundle.kill().code, Some(137));
}

#[test]
fn a_size_needs_a_terminal() {
    let bundle = script!("read end").stdin(false);
    bundle.launch();
    let error = bundle.monitor().resize(1, 1).unwrap_err().to_string();
    assert_eq!(error, format!("container {} has no terminal to resize", bundle.marker));
    bundle.kill();
}

#[test]
fn who_is_not_root_can_open_its_streams_anew() {
    let bundle =
        script!("echo out > /dev/stdout; echo err > /dev/stderr; read word < /dev/stdin; echo $word")
            .stdin(false)
            .set("/process/user", json!({"uid": 1000, "gid": 1000}));
    bundle.launch();
    let monitor = bundle.monitor();
    let mut watch = monitor.watch().unwrap();
    let (mut keys, stdin) = typing();
    let _attached = monitor.attach(Some(stdin), None, None).unwrap();
    keys.write_all(b"in\n").unwrap();
    assert_eq!(bundle.end(&mut watch).code, Some(0));
    let mut lines = bundle.log();
    lines.sort();
    assert_eq!(lines, ["stderr F err", "stdout F in", "stdout F out"]);
}
