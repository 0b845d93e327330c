//! `checkpoint` and `restore`, with a CRIU that works on this kernel: what ran goes on where it was.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::json;

use crate::support::{
    Bundle, ConsoleSocket, NamespaceHolder, Outcome, busybox, process_exists, require, wait_for,
};

/// Writes the numbers from 1 on, a line each, into /data/numbers.
pub const COUNT: &str = "i=0; while :; do i=$((i+1)); echo $i >> /data/numbers; sleep 0.02; done";

/// Can CRIU work here? Err is a reason to skip.
pub fn criu() -> Result<(), String> {
    static CHECKED: OnceLock<Result<(), String>> = OnceLock::new();
    let check = || {
        crate::support::program("criu")?;
        let output = Command::new("criu").arg("check").output().map_err(|e| format!("criu: {e}"))?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        match output.status.success() {
            true => Ok(()),
            false => {
                Err(format!("criu check: {}", said.lines().rfind(|l| l.contains("Error")).unwrap_or("fails")))
            }
        }
    };
    CHECKED.get_or_init(check).clone()
}

/// A container with /data, a directory of the test's.
pub fn with_data(bundle: Bundle) -> (Bundle, PathBuf) {
    let data = bundle.data();
    (bundle.bind(&data, "/data", &["rbind", "rw"]), data)
}

/// A container that writes numbers into /data. Err is a reason to skip.
pub fn counting() -> Result<(Bundle, PathBuf), String> {
    let bundle = Bundle::busybox()?.script(COUNT);
    criu()?;
    Ok(with_data(bundle))
}

pub fn images(bundle: &Bundle) -> String {
    bundle.file("images").to_str().expect("UTF-8").to_owned()
}

pub fn checkpoint(bundle: &Bundle, options: &[&str]) -> Outcome {
    let images = images(bundle);
    let args = [&["checkpoint", "--image-path", images.as_str()], options, &[bundle.id()]].concat();
    bundle.invocation(&args).limit(60).wait()
}

pub fn restore_command(bundle: &Bundle, options: &[&str]) -> Vec<std::ffi::OsString> {
    let images = images(bundle);
    bundle.bundle_command("restore", &[&["--image-path", images.as_str()], options].concat())
}

pub fn restore(bundle: &Bundle, options: &[&str]) -> Outcome {
    bundle.invocation(&restore_command(bundle, options)).limit(60).wait()
}

pub fn numbers(data: &Path) -> Vec<u64> {
    let text = fs::read_to_string(data.join("numbers")).unwrap_or_default();
    // The last line may be half written.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(|line| line.parse().expect("a number")).collect()
}

#[track_caller]
pub fn counts_beyond(data: &Path, number: u64) -> Vec<u64> {
    wait_for("more numbers", 20, || Some(numbers(data)).filter(|n| n.last().is_some_and(|l| *l > number)))
}

#[track_caller]
fn is_gone(bundle: &Bundle) {
    bundle.rcrun(&["state", bundle.id()]).refused(&["does not exist"]);
}

#[test]
fn a_restored_process_goes_on_with_its_memory() {
    let (bundle, data) = require!(counting());
    bundle.run_detached();
    counts_beyond(&data, 5);
    checkpoint(&bundle, &[]).success();
    is_gone(&bundle);
    bundle.leaves_nothing();
    let before = numbers(&data).len() as u64;
    let pid_file = bundle.file("pid");
    restore(&bundle, &["--detach", "--pid-file", pid_file.to_str().expect("UTF-8")]).success();
    assert_eq!(fs::read_to_string(&pid_file).expect("pid file"), bundle.pid().to_string());
    let all = counts_beyond(&data, before + 5);
    assert_eq!(all, (1..=all.len() as u64).collect::<Vec<_>>(), "each number once, in order");
    assert_eq!(bundle.status(), "running");
    // Exec enters the namespaces that CRIU has made.
    bundle.exec(&["sh", "-c", "kill -0 1 && cat /data/word"]).prints("hello");
    bundle.kill("KILL").success();
    bundle.wait_for_status("stopped");
    bundle.delete().success();
}

#[test]
fn a_container_can_run_on_after_its_checkpoint_and_come_back_later() {
    // It stands still for the checkpoint: a file that is open then must be as it was at the restore.
    let script = "i=0; while :; do while test -e /data/hold; do mkdir -p /data/held; sleep 0.02; done; \
        i=$((i+1)); echo $i >> /data/numbers; sleep 0.02; done";
    let bundle = busybox!().script(script);
    require!(criu());
    let (bundle, data) = with_data(bundle);
    let pid = bundle.run_detached();
    counts_beyond(&data, 5);
    let hold = data.join("hold");
    fs::write(&hold, "").expect("write");
    wait_for("a pause", 20, || data.join("held").exists().then_some(()));
    checkpoint(&bundle, &["--leave-running"]).success();
    assert_eq!((bundle.status().as_str(), bundle.pid()), ("running", pid));
    let last = *numbers(&data).last().expect("numbers");
    fs::remove_file(&hold).expect("remove");
    counts_beyond(&data, last + 5);
    bundle.delete_forced().success();
    fs::remove_file(data.join("numbers")).expect("remove");
    restore(&bundle, &["--detach"]).success();
    let first = wait_for("a number", 20, || numbers(&data).first().copied());
    assert!(first > 1 && first <= last + 1, "{first} after a checkpoint at about {last}");
    bundle.delete_forced().success();
}

#[test]
fn memory_is_written_ahead_of_the_checkpoint() {
    let bundle = busybox!().script(COUNT);
    require!(criu());
    require!(memory_tracking());
    let (bundle, data) = with_data(bundle);
    bundle.run_detached();
    counts_beyond(&data, 5);
    let ahead = bundle.file("ahead");
    let args = ["checkpoint", "--pre-dump", "--image-path", ahead.to_str().expect("UTF-8"), bundle.id()];
    bundle.invocation(&args).limit(60).wait().success();
    assert_eq!(bundle.status(), "running");
    checkpoint(&bundle, &["--parent-path", "../ahead"]).success();
    assert!(Path::new(&images(&bundle)).join("parent").exists(), "the images continue others");
    let before = numbers(&data).len() as u64;
    restore(&bundle, &["--detach"]).success();
    let all = counts_beyond(&data, before + 5);
    assert_eq!(all, (1..=all.len() as u64).collect::<Vec<_>>());
    bundle.delete_forced().success();
}

fn memory_tracking() -> Result<(), String> {
    let output = Command::new("criu").args(["check", "--feature", "mem_dirty_track"]).output();
    match output.map_err(|e| format!("criu: {e}"))?.status.success() {
        true => Ok(()),
        false => Err("this kernel does not track which memory is written (soft-dirty)".into()),
    }
}

#[test]
fn an_established_tcp_connection_is_taken_along() {
    let bundle = busybox!();
    require!(criu());
    require!(crate::support::program("ip"));
    require!(crate::support::program("nsenter"));
    let script = "nc -l -p 1234 -e cat & \
        until grep -qs ' 0A ' /proc/net/tcp /proc/net/tcp6; do sleep 0.02; done; \
        i=0; (while :; do i=$((i+1)); echo $i; sleep 0.02; done) | nc 127.0.0.1 1234 >> /data/numbers";
    // CRIU leaves the network's contents to the hooks, which run at a restore as well.
    let up = "pid=$(sed 's/.*\"pid\":\\([0-9]*\\).*/\\1/'); nsenter -t $pid -n ip link set lo up";
    let (bundle, data) = with_data(bundle.script(script).hook("createRuntime", up));
    bundle.run_detached();
    counts_beyond(&data, 5);
    checkpoint(&bundle, &[]).refused(&["criu dump failed", "tcp-established", "dump.log"]);
    assert_eq!(bundle.status(), "running");
    checkpoint(&bundle, &["--tcp-established"]).success();
    let before = *numbers(&data).last().expect("numbers");
    restore(&bundle, &["--detach", "--tcp-established"]).success();
    let all = counts_beyond(&data, before + 5);
    assert_eq!(all, (1..=all.len() as u64).collect::<Vec<_>>());
    bundle.delete_forced().success();
}

#[test]
fn a_held_file_lock_is_taken_along() {
    let bundle = busybox!().args(["/usr/bin/flock", "/data/lock", "sleep", "1000"]);
    require!(criu());
    require!(crate::support::program("flock"));
    // Debian's busybox has no flock; the host's comes with its libraries.
    let host = ["/usr", "/lib", "/lib64"].into_iter();
    let bundle = host.fold(bundle, |bundle, path| bundle.bind(path, path, &["rbind", "ro"]));
    let (bundle, data) = with_data(bundle);
    let is_free = || {
        let mut probe = Command::new("flock");
        probe.arg("-n").arg(data.join("lock")).arg("true");
        probe.status().expect("flock").success()
    };
    bundle.run_detached();
    wait_for("the lock", 10, || (!is_free()).then_some(()));
    checkpoint(&bundle, &[]).refused(&["criu dump failed", "file-locks"]);
    checkpoint(&bundle, &["--file-locks"]).success();
    assert!(is_free());
    restore(&bundle, &["--detach", "--file-locks"]).success();
    assert!(!is_free());
    bundle.delete_forced().success();
    assert!(is_free());
}

#[test]
fn a_terminal_comes_back_through_the_console_socket() {
    let script = "echo ready; read x; echo got $x; sleep 1000";
    let bundle = busybox!().script(script).set("/process/terminal", json!(true));
    require!(criu());
    let path = bundle.file("console");
    let socket = ConsoleSocket::bind(&path);
    let console = ["--detach", "--console-socket", path.to_str().expect("UTF-8")];
    bundle.run_with(&console).success();
    let (mut pty, _) = socket.receive();
    pty.wait_for("ready");
    checkpoint(&bundle, &[]).success();
    restore(&bundle, &console).success();
    let (mut pty, _) = socket.receive();
    pty.write("word\n");
    pty.wait_for("got word");
    bundle.delete_forced().success();
}

#[test]
fn a_restore_in_the_foreground_ends_with_the_processs_status() {
    let bundle = busybox!().script("while ! test -e /data/go; do sleep 0.02; done; exit 7");
    require!(criu());
    let (bundle, data) = with_data(bundle);
    bundle.run_detached();
    checkpoint(&bundle, &[]).success();
    let running = bundle.invocation(&restore_command(&bundle, &[])).limit(60).spawn();
    wait_for("the container", 20, || {
        let state = bundle.rcrun(&["state", bundle.id()]);
        state.stdout.contains("\"running\"").then_some(())
    });
    fs::write(data.join("go"), "").expect("write");
    running.wait().exits_with(7);
    is_gone(&bundle);
    bundle.leaves_nothing();
}

#[test]
fn who_waits_for_a_checkpointed_container_sees_it_killed() {
    let (bundle, data) = require!(counting());
    let running = bundle.run_invocation(&[]).limit(60).spawn();
    counts_beyond(&data, 5);
    checkpoint(&bundle, &[]).success();
    running.wait().exits_with(137);
    is_gone(&bundle);
}

#[test]
fn a_joined_network_namespace_is_joined_again() {
    let holder = require!(NamespaceHolder::new(&["--net"], "net"));
    let bundle = busybox!().script(COUNT).namespace("network", Some(&holder.path("net")));
    require!(criu());
    let (bundle, data) = with_data(bundle);
    bundle.run_detached();
    counts_beyond(&data, 1);
    checkpoint(&bundle, &[]).success();
    restore(&bundle, &["--detach"]).success();
    let link = fs::read_link(format!("/proc/{}/ns/net", bundle.pid())).expect("namespace");
    assert_eq!(link.to_string_lossy(), holder.link("net"));
    bundle.delete_forced().success();
}

#[test]
fn a_container_in_a_user_namespace_comes_back() {
    let bundle = busybox!().script(COUNT).user_namespace();
    require!(criu());
    let (bundle, data) = with_data(bundle);
    std::os::unix::fs::chown(&data, Some(100_000), Some(100_000)).expect("chown");
    // Streams that the namespace's root may open again, as CRIU does: /dev/null or a pipe, no private file.
    let quiet = "exec \"$@\" > /dev/null 2>&1";
    bundle.write_config();
    bundle.invocation_in_shell(quiet, &bundle.bundle_command("run", &["--detach"])).wait().success();
    counts_beyond(&data, 1);
    checkpoint(&bundle, &[]).success();
    let before = numbers(&data).len() as u64;
    let restore = restore_command(&bundle, &["--detach"]);
    bundle.invocation_in_shell(quiet, &restore).limit(60).wait().success();
    let all = counts_beyond(&data, before);
    assert_eq!(all, (1..=all.len() as u64).collect::<Vec<_>>());
    bundle.exec(&["sh", "-c", "id -u; echo x > /dev/null && echo null"]).prints("0\nnull");
    bundle.delete_forced().success();
}

#[test]
fn hooks_run_for_a_restore_and_are_made_up_for_where_it_fails() {
    let (bundle, data) = require!(counting());
    let log = bundle.file("hooks");
    let say = |word: &str| format!("cat > /dev/null; echo {word} >> {}", log.display());
    let bundle = bundle.hook("createRuntime", &say("up")).hook("poststop", &say("down"));
    bundle.run_detached();
    counts_beyond(&data, 1);
    checkpoint(&bundle, &[]).success();
    assert_eq!(fs::read_to_string(&log).expect("log"), "up\ndown\n");
    let failing = format!("{}; exit 3", say("broken"));
    let bundle = bundle.hook("createRuntime", &failing);
    bundle.write_config();
    restore(&bundle, &["--detach"]).refused(&["createRuntime hook 1", "exit status 3"]);
    assert_eq!(fs::read_to_string(&log).expect("log"), "up\ndown\nup\nbroken\ndown\n");
    is_gone(&bundle);
    bundle.leaves_nothing();
}

#[test]
fn a_restored_container_is_in_a_cgroup_of_its_own_again() {
    let (bundle, data) = require!(counting());
    let cgroup = crate::support::cgroup_of(bundle.run_detached());
    counts_beyond(&data, 1);
    checkpoint(&bundle, &["--manage-cgroups-mode", "ignore"]).success();
    assert!(!cgroup.exists());
    restore(&bundle, &["--detach", "--manage-cgroups-mode", "ignore"]).success();
    assert_eq!(crate::support::cgroup_of(bundle.pid()), cgroup);
    bundle.rcrun(&["pause", bundle.id()]).success();
    assert_eq!(bundle.status(), "paused");
    bundle.rcrun(&["resume", bundle.id()]).success();
    bundle.delete_forced().success();
}

#[test]
fn mount_points_that_a_fresh_root_lacks_are_made() {
    let (bundle, data) = require!(counting());
    bundle.run_detached();
    counts_beyond(&data, 1);
    checkpoint(&bundle, &[]).success();
    fs::remove_dir(bundle.rootfs().join("data")).expect("the mount point that create has made");
    let before = *numbers(&data).last().expect("numbers");
    restore(&bundle, &["--detach"]).success();
    counts_beyond(&data, before);
    bundle.delete_forced().success();
}

#[test]
fn a_created_container_is_not_checkpointed() {
    let bundle = busybox!().script("sleep 1000");
    bundle.create().success();
    checkpoint(&bundle, &[]).refused(&["is created", "checkpoint"]);
    assert!(!bundle.file("images").exists());
    bundle.delete_forced().success();
}

#[test]
fn without_criu_the_error_says_what_to_install() {
    let bundle = busybox!().script("sleep 1000");
    let pid = bundle.run_detached();
    let images = images(&bundle);
    let checkpoint = bundle.invocation(&["checkpoint", "--image-path", &images, bundle.id()]);
    checkpoint
        .env("PATH", "/nonexistent")
        .wait()
        .refused(&["criu is not in PATH", "install the package criu"]);
    assert!(process_exists(pid));
    bundle.delete_forced().success();
    fs::create_dir_all(&images).expect("mkdir");
    fs::write(bundle.file("images").join("descriptors.json"), "[]").expect("write");
    let restore = bundle.invocation(&restore_command(&bundle, &["--detach"]));
    restore.env("PATH", "/nonexistent").wait().refused(&["criu is not in PATH"]);
    bundle.leaves_nothing();
}

#[test]
fn a_directory_that_holds_no_checkpoint_is_refused() {
    let bundle = busybox!().script("true");
    bundle.write_config();
    restore(&bundle, &["--detach"]).refused(&["descriptors.json", "--image-path"]);
    bundle.leaves_nothing();
}

#[test]
fn images_that_criu_cannot_read_leave_nothing_behind() {
    let bundle = busybox!().script("true");
    require!(criu());
    bundle.write_config();
    fs::create_dir_all(images(&bundle)).expect("mkdir");
    fs::write(bundle.file("images").join("descriptors.json"), "[]").expect("write");
    restore(&bundle, &["--detach"]).refused(&["criu", "restore.log"]);
    is_gone(&bundle);
    bundle.leaves_nothing();
}

#[test]
fn a_parent_path_is_relative() {
    let bundle = busybox!();
    let args = ["checkpoint", "--parent-path", "/abs", bundle.id()];
    bundle.rcrun(&args).refused(&["--parent-path must be relative"]);
}
