//! The options of `checkpoint` and `restore` that change what CRIU takes along, and where memory goes.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::fs::{FileType, Mode};

use crate::checkpoint::{
    COUNT, checkpoint, counting, counts_beyond, criu, images, numbers, restore, restore_command, with_data,
};
use crate::support::{Bundle, LONG, Pty, Running, busybox, require, seconds, skip, wait_for};

/// A port that nobody listens on.
fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
    listener.local_addr().expect("address").port()
}

/// Does somebody listen on this port?
fn listens(port: u16) -> bool {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|file| fs::read_to_string(file).unwrap_or_default());
    let (local, listening) = (format!(":{port:04X} "), ":0000 0A ");
    tables
        .iter()
        .flat_map(|table| table.lines())
        .any(|line| line.contains(&local) && line.contains(listening))
}

/// Does somebody listen at a Unix socket of this name? Its file alone is there before anybody does.
fn listens_at(name: &str) -> bool {
    let table = fs::read_to_string("/proc/net/unix").unwrap_or_default();
    table.lines().any(|line| line.ends_with(name) && line.contains(" 00010000 "))
}

/// A process of CRIU's own beside the container, ended when dropped.
struct Helper(Child);

impl Helper {
    fn new(args: &[&str]) -> Self {
        let mut command = Command::new("criu");
        command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().expect("start criu"))
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The bytes that the images' memory takes on the disk.
fn pages_on_disk(directory: &Path) -> u64 {
    let entries = fs::read_dir(directory).expect("images").map(|entry| entry.expect("entry"));
    let pages = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("pages-"));
    pages.map(|entry| entry.metadata().expect("metadata").blocks() * 512).sum()
}

/// Restores, and sees the numbers go on from where they were.
#[track_caller]
fn goes_on(bundle: &Bundle, data: &Path, options: &[&str]) {
    let before = numbers(data).len() as u64;
    restore(bundle, &[&["--detach"], options].concat()).success();
    let all = counts_beyond(data, before + 2);
    assert_eq!(all, (1..=all.len() as u64).collect::<Vec<_>>(), "each number once, in order");
    bundle.delete_forced().success();
}

#[test]
fn memory_can_go_to_a_page_server() {
    let (bundle, data) = require!(counting());
    bundle.run_detached();
    counts_beyond(&data, 5);
    let images = images(&bundle);
    fs::create_dir_all(&images).expect("mkdir");
    let port = free_port();
    let number = port.to_string();
    let mut server =
        Helper::new(&["page-server", "--images-dir", &images, "--address", "127.0.0.1", "--port", &number]);
    wait_for("the page server", 20, || listens(port).then_some(()));
    checkpoint(&bundle, &["--page-server", &format!("127.0.0.1:{port}")]).success();
    assert!(server.0.wait().expect("page server").success());
    assert!(pages_on_disk(Path::new(&images)) > 0, "written by the server");
    goes_on(&bundle, &data, &[]);
}

#[test]
fn without_its_page_server_a_checkpoint_fails_and_the_container_runs_on() {
    let (bundle, data) = require!(counting());
    bundle.run_detached();
    let server = format!("127.0.0.1:{}", free_port());
    checkpoint(&bundle, &["--page-server", &server]).refused(&["criu dump failed", "dump.log"]);
    let last = numbers(&data).last().copied().unwrap_or(0);
    counts_beyond(&data, last + 2);
    bundle.delete_forced().success();
}

/// A checkpoint whose memory waits to be fetched from `server`. None where CRIU has failed, as it does now and then on a busy machine;
/// the container runs on then.
fn lazy_dump(bundle: &Bundle, images: &str, server: &str) -> Option<Running> {
    let status = bundle.file("status");
    let _ = fs::remove_file(&status);
    rustix::fs::mknodat(rustix::fs::CWD, &status, FileType::Fifo, Mode::RWXU, 0).expect("mkfifo");
    let shell = format!("exec 9> {}; exec \"$@\"", status.display());
    let waits = ["checkpoint", "--lazy-pages", "--page-server", server, "--status-fd", "9"];
    let rest = ["--image-path", images, "--manage-cgroups-mode", "ignore", bundle.id()];
    let dump = bundle.invocation_in_shell(&shell, &[&waits[..], &rest].concat()).limit(60).spawn();
    let (heard, hears) = std::sync::mpsc::channel();
    std::thread::spawn(move || heard.send(fs::read(status)));
    let word = hears.recv_timeout(seconds(LONG)).expect("an end of the status").expect("read");
    if word.is_empty() {
        let outcome = dump.wait().refused(&["criu dump failed"]);
        eprintln!("{outcome}");
        return None;
    }
    assert_eq!(word, [0], "a zero byte, and no more, while memory waits to be fetched");
    Some(dump)
}

#[test]
fn memory_is_fetched_when_it_is_touched() {
    let bundle = busybox!().script(COUNT);
    require!(criu());
    require!(feature("uffd-noncoop", "userfaultfd(2) as CRIU needs it"));
    let (bundle, data) = with_data(bundle);
    bundle.run_detached();
    counts_beyond(&data, 5);
    let (images, port) = (images(&bundle), free_port().to_string());
    let server = format!("127.0.0.1:{port}");
    let dump = (0..3).find_map(|_| lazy_dump(&bundle, &images, &server));
    let dump = dump.expect("a dump that says that memory waits to be fetched");
    let before = numbers(&data).len() as u64;
    let daemon = Helper::new(&[
        "lazy-pages",
        "--page-server",
        "--address",
        "127.0.0.1",
        "--port",
        &port,
        "--images-dir",
        &images,
    ]);
    wait_for("the daemon", 20, || listens_at("lazy-pages.socket").then_some(()));
    // The first one is there until its last page is fetched.
    let id = format!("{}-restored", bundle.id());
    let mut line = restore_command(&bundle, &["--detach", "--lazy-pages", "--manage-cgroups-mode", "ignore"]);
    *line.last_mut().expect("an id") = id.clone().into();
    let restored = bundle.invocation(&line).limit(60).spawn();
    let log = Path::new(&images).join("dump.log");
    let moving = || numbers(&data).len() as u64 > before + 2;
    // CRIU 4.2.1 does so by itself, too.
    let broken = || fs::read_to_string(&log).is_ok_and(|log| log.contains("page-pipe: splice: -1: Bad file"));
    wait_for("the memory", 60, || (moving() || broken()).then_some(()));
    if broken() {
        drop((restored, daemon, dump));
        bundle.rcrun(&["delete", "--force", &id]).success();
        bundle.delete_forced().success();
        return skip("this CRIU's page server fails: splice: Bad file descriptor");
    }
    restored.wait().success();
    let all = counts_beyond(&data, before + 2);
    assert_eq!(all, (1..=all.len() as u64).collect::<Vec<_>>());
    dump.wait().success();
    drop(daemon);
    bundle.rcrun(&["state", bundle.id()]).refused(&["does not exist"]);
    bundle.rcrun(&["delete", "--force", &id]).success();
}

#[test]
fn a_status_descriptor_must_be_one_that_can_be_written() {
    let bundle = busybox!().script("sleep 1000");
    bundle.run_detached();
    let (images, id) = (images(&bundle), bundle.id().to_owned());
    let checkpoint = |redirection: &str, number: &str| {
        let args = ["checkpoint", "--lazy-pages", "--status-fd", number, "--image-path", &images, &id];
        bundle.invocation_in_shell(&format!("exec {redirection}; exec \"$@\""), &args).wait()
    };
    checkpoint("9<&-", "9").refused(&["--status-fd 9", "Bad file descriptor"]);
    checkpoint("9</dev/null", "9").refused(&["--status-fd 9", "not open for writing"]);
    bundle.delete_forced().success();
}

#[test]
fn a_restore_can_give_the_images_memory_back() {
    let (bundle, data) = require!(counting());
    bundle.run_detached();
    counts_beyond(&data, 5);
    checkpoint(&bundle, &[]).success();
    let images = images(&bundle);
    let before = pages_on_disk(Path::new(&images));
    goes_on(&bundle, &data, &["--auto-dedup"]);
    let after = pages_on_disk(Path::new(&images));
    assert!(after < before, "{after} bytes of {before}");
}

#[test]
fn an_open_file_that_has_lost_its_name_is_found_by_another() {
    let script = "echo > /data/old; ln /data/old /data/new; exec 3>> /data/old; rm /data/old; \
        i=0; while :; do i=$((i+1)); echo $i >&3; echo $i >> /data/numbers; sleep 0.02; done";
    let bundle = busybox!().script(script);
    require!(criu());
    let (bundle, data) = with_data(bundle);
    bundle.run_detached();
    counts_beyond(&data, 1);
    checkpoint(&bundle, &[]).refused(&["criu dump failed", "link-remap"]);
    checkpoint(&bundle, &["--link-remap"]).success();
    let length = || fs::metadata(data.join("new")).expect("metadata").len();
    let before = length();
    goes_on(&bundle, &data, &[]);
    assert!(length() > before, "the descriptor still leads to the file");
    let names: Vec<_> =
        fs::read_dir(&data).expect("data").map(|entry| entry.expect("entry").file_name()).collect();
    assert!(!names.iter().any(|name| name.to_string_lossy().contains("link_remap")), "{names:?}");
}

#[test]
fn a_connection_over_a_unix_socket_to_the_outside_is_made_again() {
    let bundle = busybox!();
    require!(criu());
    let data = bundle.data();
    let log = UnixDatagram::bind(data.join("log")).expect("bind");
    log.set_read_timeout(Some(seconds(LONG))).expect("timeout");
    let heard = || {
        let mut bytes = [0; 512];
        let length = log.recv(&mut bytes).expect("a message");
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    };
    let applets = bundle.rootfs().join("bin");
    fs::hard_link(applets.join("busybox"), applets.join("logger")).expect("link");
    // CRIU connects to the name that the other end has on the outside.
    let place = data.to_str().expect("UTF-8");
    let count = "i=0; while :; do i=$((i+1)); echo number $i; sleep 0.02; done | logger";
    let script = format!("ln -s {place}/log /dev/log; {count}");
    let bundle = bundle.bind(&data, place, &["rbind", "rw"]).script(&script);
    // CRIU sees the other end only in the same network namespace.
    let bundle = bundle.without_namespace("network");
    let _alone = alone_in_the_hosts_network();
    bundle.run_detached();
    assert!(heard().contains("number 1"));
    checkpoint(&bundle, &[]).refused(&["criu dump failed", "ext-unix-sk", "dump.log"]);
    checkpoint(&bundle, &["--ext-unix-sk"]).success();
    log.set_nonblocking(true).expect("nonblocking");
    while log.recv(&mut [0; 512]).is_ok() {}
    log.set_nonblocking(false).expect("blocking");
    restore(&bundle, &["--detach", "--ext-unix-sk"]).success();
    assert!(heard().contains("number "));
    bundle.delete_forced().success();
}

#[test]
fn a_process_on_the_callers_terminal_comes_back_on_the_restorers() {
    let bundle = busybox!().script("i=0; while :; do i=$((i+1)); echo number $i; sleep 0.02; done");
    require!(criu());
    bundle.write_config();
    let (mut terminal, slave) = Pty::open();
    let run = bundle.invocation(&bundle.bundle_command("run", &["--detach"]));
    run.on_terminal(&slave).wait().success();
    terminal.wait_for("number 3");
    checkpoint(&bundle, &[]).refused(&["criu dump failed", "dump.log"]);
    checkpoint(&bundle, &["--shell-job"]).success();
    let (mut other, slave) = Pty::open();
    let restore = bundle.invocation(&restore_command(&bundle, &["--detach", "--shell-job"])).limit(60);
    restore.on_terminal(&slave).wait().success();
    let shown = other.wait_for("number ");
    assert!(!shown.contains("number 1\r"), "it goes on: {shown}");
    bundle.delete_forced().success();
}

/// CRIU names sockets of its own after the pids in the container, so two restores in one network namespace can
/// be in each other's way: "Can't bind transport socket: Address already in use".
fn alone_in_the_hosts_network() -> std::sync::MutexGuard<'static, ()> {
    static ALONE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[test]
fn a_connection_that_nobody_has_accepted_is_left_out() {
    let port = free_port();
    let stop = "while ! test -e /data/stop; do sleep 0.02; done; kill -STOP $!";
    let bundle =
        busybox!().script(&format!("nc -l -p {port} & {stop}; {COUNT}")).without_namespace("network");
    require!(criu());
    let _alone = alone_in_the_hosts_network();
    let (bundle, data) = with_data(bundle);
    bundle.run_detached();
    wait_for("the listener", 20, || listens(port).then_some(()));
    fs::write(data.join("stop"), "").expect("write");
    counts_beyond(&data, 1);
    let is_stopped =
        |pid: &i32| fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") T "));
    wait_for("the listener to stand still", 20, || bundle.traces().processes().into_iter().find(is_stopped));
    let client = std::net::TcpStream::connect(("127.0.0.1", port)).expect("connect");
    checkpoint(&bundle, &[]).refused(&["criu dump failed", "In-flight connection"]);
    checkpoint(&bundle, &["--tcp-skip-in-flight"]).success();
    drop(client);
    goes_on(&bundle, &data, &[]);
}

#[test]
fn cgroups_are_restored_in_each_mode_but_strict() {
    let bundle = busybox!().script(COUNT);
    require!(criu());
    let own = fs::read_to_string("/proc/self/cgroup").expect("cgroup");
    let unified =
        if own.lines().count() == 1 { Ok(()) } else { Err("CRIU would write to the host's cgroups v1") };
    require!(unified);
    let (bundle, data) = with_data(bundle);
    for mode in ["ignore", "soft", "full", "strict"] {
        let _ = fs::remove_file(data.join("numbers"));
        let cgroup = crate::support::cgroup_of(bundle.run_detached());
        counts_beyond(&data, 2);
        checkpoint(&bundle, &["--manage-cgroups-mode", mode]).success();
        let restored = restore(&bundle, &["--detach", "--manage-cgroups-mode", mode]);
        if mode == "strict" {
            // It wants no cgroup to be there; rcrun has made the container's before, as runc does.
            restored.refused(&["criu restore failed", "existing cgroups"]);
        } else {
            restored.success();
            assert_eq!(crate::support::cgroup_of(bundle.pid()), cgroup, "{mode}");
        }
        bundle.delete_forced().success();
        fs::remove_dir_all(images(&bundle)).expect("remove the images");
    }
}

#[test]
fn a_profile_of_a_module_that_is_not_on_is_refused() {
    let (bundle, data) = require!(counting());
    bundle.run_detached();
    counts_beyond(&data, 2);
    checkpoint(&bundle, &[]).success();
    let on = fs::read_to_string("/proc/filesystems").is_ok_and(|all| all.contains("selinuxfs"));
    let other = if on { "apparmor:name" } else { "selinux:u:r:t:s0" };
    for (profile, words) in [(other, "not supported"), ("nonsense", "nonsense")] {
        let refused = restore(&bundle, &["--detach", "--lsm-profile", profile]);
        refused.refused(&["criu restore failed", words, "restore.log"]);
    }
    goes_on(&bundle, &data, &[]);
}

fn feature(name: &str, words: &str) -> Result<(), String> {
    let output = Command::new("criu").args(["check", "--feature", name]).output();
    match output.map_err(|e| format!("criu: {e}"))?.status.success() {
        true => Ok(()),
        false => Err(format!("this kernel or CRIU lacks {words}")),
    }
}
