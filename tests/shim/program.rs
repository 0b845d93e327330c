//! Containers that another runtime makes: runc and crun, where they are.

use std::path::{Path, PathBuf};
use std::process::Command;

use rcrun::monitor::Runtime;
use rustix::mount::{MountPropagationFlags, UnmountFlags, mount, mount_change, unmount};
use rustix::thread::UnshareFlags;
use serde_json::json;

use crate::bundle::{Bundle, program, script, skip, wait_for};
use crate::exec::{pipes, process, read, wait};

/// One of the peers that `make bench-peers` has made, or an installed one. Err is a reason to skip.
fn peer(name: &str) -> Result<PathBuf, String> {
    let made = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/peers").join(name);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut found = std::env::split_paths(&path).map(|directory| directory.join(name));
    let found = Some(made).filter(|made| made.is_file()).or_else(|| found.find(|file| file.is_file()));
    let found = found.ok_or_else(|| format!("{name} is neither installed nor made by make bench-peers"))?;
    match Command::new(&found).arg("--version").output() {
        Ok(output) if output.status.success() => Ok(found),
        _ => Err(format!("{found:?} does not run here")),
    }
}

/// Does `body` in a thread whose /sys/fs/cgroup is cgroup2 alone: what runc and crun would do in the hierarchies of version 1 is
/// nobody's wish.
fn in_unified_view(body: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name(std::thread::current().name().unwrap_or("?").into());
        let viewed = thread.spawn_scoped(scope, || {
            rcrun::sys::process::unshare(UnshareFlags::NEWNS).expect("unshare");
            mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
                .expect("private mounts");
            while unmount("/sys/fs/cgroup", UnmountFlags::DETACH).is_ok() {}
            mount("none", "/sys/fs/cgroup", "cgroup2", rustix::mount::MountFlags::empty(), None)
                .expect("cgroup2");
            body();
        });
        if let Err(panic) = viewed.expect("thread").join() {
            std::panic::resume_unwind(panic);
        }
    });
}

fn made_by(mut bundle: Bundle, program: PathBuf) -> Bundle {
    bundle.settings.runtime = Runtime::Program { program, state: bundle.file("state") };
    bundle.set("/linux/resources", json!({})).set("/hooks", json!({}))
}

fn lives(name: &str) {
    let peer = match peer(name) {
        Ok(peer) => peer,
        Err(reason) => return skip(&reason),
    };
    let bundle = script!("echo hello; echo oops >&2; read word; echo $word; exit 7").stdin(true);
    let bundle = made_by(bundle, peer);
    in_unified_view(|| {
        bundle.launch();
        let monitor = bundle.monitor();
        let mut watch = monitor.watch().unwrap();
        let pipes = pipes();
        let wanted = process(&bundle, &["sh", "-c", "echo from exec; exit 5"]);
        let mut execution = monitor.exec(&wanted, Some(pipes.theirs)).unwrap();
        assert_eq!(wait(&mut execution), 5);
        assert_eq!(read(pipes.stdout), "from exec\n");
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        let _attached = monitor.attach(Some(reader), None, None).unwrap();
        rustix::io::write(&writer, b"typed\n").unwrap();
        assert_eq!(bundle.end(&mut watch).code, Some(7));
        let mut lines = bundle.log();
        lines.sort();
        assert_eq!(lines, ["stderr F oops", "stdout F hello", "stdout F typed"]);
    });
}

#[test]
fn runc_makes_a_container() {
    lives("runc");
}

#[test]
fn crun_makes_a_container() {
    lives("crun");
}

#[test]
fn a_terminal_of_runcs_and_one_of_its_exec() {
    let peer = match peer("runc") {
        Ok(peer) => peer,
        Err(reason) => return skip(&reason),
    };
    let bundle = made_by(script!("stty size; read end").terminal().stdin(false), peer);
    in_unified_view(|| {
        bundle.launch();
        bundle.monitor().resize(80, 24).unwrap();
        let mut wanted = process(&bundle, &["sh", "-c", "tty; exit 6"]);
        wanted["terminal"] = json!(true);
        let mut execution = bundle.monitor().exec(&wanted, None).unwrap();
        assert!(execution.master.is_some());
        assert_eq!(wait(&mut execution), 6);
        assert_eq!(bundle.kill().code, Some(137));
    });
}

#[test]
fn what_runc_refuses_is_said_in_its_words_and_leaves_nothing() {
    let peer = match peer("runc") {
        Ok(peer) => peer,
        Err(reason) => return skip(&reason),
    };
    let bundle = made_by(script!(""), peer).set("/process/args", json!(["nothing-here"]));
    in_unified_view(|| {
        let error = bundle.try_launch().unwrap_err().to_string();
        assert!(error.starts_with("runc run: ") && error.contains("not found in $PATH"), "{error}");
    });
}

#[test]
fn a_container_of_runcs_outlives_its_shim() {
    let peer = match peer("runc") {
        Ok(peer) => peer,
        Err(reason) => return skip(&reason),
    };
    let bundle = made_by(script!("while :; do echo on; sleep 0.01; done"), peer);
    in_unified_view(|| {
        bundle.launch();
        crate::adopt::kill_shim(&bundle);
        program().adopt(&bundle.settings.bundle).unwrap();
        let seen = bundle.log().len();
        wait_for("more lines", || (bundle.log().len() > seen + 3).then_some(()));
        assert!(matches!(bundle.kill().code, Some(137) | None));
    });
}
