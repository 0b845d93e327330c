//! What the container sees of the file system: --read-only, -v, --tmpfs, --device.

use super::Podman;
use crate::support::require;

#[test]
fn a_read_only_container_can_write_its_tmpfs_alone() {
    let podman = require!(Podman::new());
    let outcome = podman.once(&["--read-only"], &["sh", "-c", "touch /tmp/x && touch /x"]).exits_with(1);
    assert!(outcome.stderr.contains("/x: Read-only file system"), "{outcome}");
    podman.once(&["--read-only", "--read-only-tmpfs=false"], &["touch", "/tmp/x"]).exits_with(1);
}

#[test]
fn a_volume_is_a_directory_of_the_host() {
    let podman = require!(Podman::new());
    podman.view.write("/run/data/word", "hello\n");
    podman
        .once(&["-v", "/run/data:/data"], &["sh", "-c", "cat /data/word; echo back > /data/answer"])
        .prints("hello");
    assert_eq!(podman.view.read("/run/data/answer"), "back\n");
}

#[test]
fn a_read_only_volume_cannot_be_written() {
    let podman = require!(Podman::new());
    podman.view.write("/run/data/word", "hello\n");
    let outcome =
        podman.once(&["-v", "/run/data:/data:ro"], &["sh", "-c", "echo x > /data/word"]).exits_with(1);
    assert!(outcome.stderr.contains("Read-only file system"), "{outcome}");
    assert_eq!(podman.view.read("/run/data/word"), "hello\n");
}

#[test]
fn a_named_volume_outlives_its_container() {
    let podman = require!(Podman::new());
    podman.once(&["-v", "kept:/data"], &["sh", "-c", "echo kept > /data/word"]).success();
    podman.once(&["-v", "kept:/data"], &["cat", "/data/word"]).prints("kept");
    podman.run(&["volume", "rm", "kept"]).success();
}

#[test]
fn a_volume_over_a_missing_path_makes_its_mount_point() {
    let podman = require!(Podman::new());
    podman.view.write("/run/word", "hello\n");
    podman.once(&["-v", "/run/word:/no/such/word"], &["cat", "/no/such/word"]).prints("hello");
}

#[test]
fn a_tmpfs_has_its_size_and_mode() {
    let podman = require!(Podman::new());
    let script = "stat -c %a /scratch; df -k /scratch | tail -n 1 | { read -r _ size _; echo $size; }; mount | grep ' /scratch '";
    let outcome =
        podman.once(&["--tmpfs", "/scratch:size=1m,mode=1770,noexec"], &["sh", "-c", script]).success();
    let lines: Vec<&str> = outcome.stdout.lines().collect();
    assert_eq!(lines[..2], ["1770", "1024"], "{outcome}");
    assert!(lines[2].contains("noexec"), "{outcome}");
}

#[test]
fn a_device_can_be_used_as_it_was_given() {
    let podman = require!(Podman::new());
    // Opening it takes CAP_SYSLOG, too.
    let options = ["--device", "/dev/kmsg:/own:r", "--cap-add", "syslog"];
    podman.once(&options, &["sh", "-c", "head -c 0 /own && echo read"]).prints("read");
    let outcome = podman.once(&options, &["sh", "-c", "echo x > /own"]).exits_with(1);
    assert!(outcome.stderr.contains("Operation not permitted"), "{outcome}");
}

#[test]
fn a_device_that_was_not_given_cannot_be_used_through_a_node_of_its_number() {
    let podman = require!(Podman::new());
    let options = ["--cap-add", "syslog", "--cap-add", "mknod"];
    let script = "mknod -m 666 /other c 1 11 && echo made; head -c 0 /other";
    let outcome = podman.once(&options, &["sh", "-c", script]).exits_with(1);
    assert_eq!(outcome.stdout, "made\n", "{outcome}");
    assert!(outcome.stderr.contains("Operation not permitted"), "{outcome}");
}
