//! One test's view of this machine (tests/clients/enter), where the Debian packages of a client are as if installed, and
//! everything that the client and rcrun do is gone with it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::support::{self, Invocation, Outcome, Running};

/// rcrun's path in the view.
pub const RCRUN: &str = "/run/bin/rcrun";
/// A tar archive of a root file system made of busybox, in the view.
pub const ROOTFS: &str = "/run/rootfs.tar";

/// A view that lives as long as this value.
///
/// Dropping it checks that nothing is left in it but what [`View::expect`] has named, and fails the test otherwise.
pub struct View {
    name: String,
    outputs: tempfile::TempDir,
    invocations: AtomicU32,
    /// `enter`, which ends the view when `alive` is closed.
    enter: Option<Running>,
    alive: Option<ChildStdin>,
    /// One of the view's processes, in all of its namespaces.
    pid: i32,
    cgroup: PathBuf,
    before: BTreeSet<String>,
    expected: Vec<&'static str>,
    /// Directories of rcrun's state, whose entries are counted.
    watched: Vec<&'static str>,
}

impl View {
    /// A view with the packages of `client`. Err is a reason to skip the test.
    pub fn new(client: &str) -> Result<Self, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("not root".into());
        }
        let tmp = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let unpacked =
            tmp.ancestors().map(|a| a.join("clients").join(client)).find(|d| d.join("done").exists());
        let unpacked = unpacked.ok_or(format!("{client} was not fetched: make test-clients does it"))?;
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let name = format!("{}-{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed));
        let cgroup = support::cgroup_mount()?.join(format!("rcrun-clients-{name}"));
        let outputs = tempfile::tempdir().expect("make a directory");
        let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/enter"));
        command.arg(unpacked).arg(&name).args(["sh", "-c", "echo ready; exec cat"]);
        let enter = Invocation::new(command, &outputs.path().join("enter")).stdin_from(Stdio::piped());
        // It lives as long as the test.
        let mut enter = enter.limit(3600).spawn();
        enter.wait_for_output("ready");
        let alive = enter.child.stdin.take();
        let main = cgroup.join("main");
        let pid = support::wait_for("cat in the view", 10, || {
            processes_of(&main).into_iter().find(|pid| comm(*pid) == "cat")
        });
        let mut view = Self {
            name,
            outputs,
            invocations: AtomicU32::new(0),
            enter: Some(enter),
            alive,
            pid,
            cgroup,
            before: BTreeSet::new(),
            expected: Vec::new(),
            watched: vec!["/run/rcrun", "/dev/shm"],
        };
        view.install();
        view.before = view.things();
        Ok(view)
    }

    /// Puts the binary under test and the root file system into the view.
    fn install(&self) {
        let copy = |from: &Path, to: &str, mode: &str| {
            let mut command = Command::new("install");
            command.args(["-D", "-m", mode]).arg(from).arg(self.path(to));
            assert!(command.status().expect("start install").success(), "{command:?}");
        };
        copy(&support::binary(), RCRUN, "755");
        let rootfs = self.outputs.path().join("rootfs");
        support::busybox_rootfs(&rootfs);
        let mut command = Command::new("tar");
        command.arg("-C").arg(&rootfs).arg("-cf").arg(self.path(ROOTFS)).arg(".");
        assert!(command.status().expect("start tar").success(), "{command:?}");
    }

    /// The view's `file`, as this process can open it.
    pub fn path(&self, file: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{file}", self.pid))
    }

    /// Writes a file of the view, with the directories on its way.
    pub fn write(&self, file: &str, text: &str) {
        let path = self.path(file);
        fs::create_dir_all(path.parent().expect("a directory")).expect("mkdir");
        fs::write(path, text).unwrap_or_else(|e| panic!("write {file}: {e}"));
    }

    /// The text of a file of the view.
    #[track_caller]
    pub fn read(&self, file: &str) -> String {
        fs::read_to_string(self.path(file)).unwrap_or_else(|e| panic!("read {file}: {e}"))
    }

    /// A command in the view, in its root directory.
    pub fn command(&self, args: &[&str]) -> Invocation {
        // The cgroup first: a process moves itself by the machine's path of it.
        let mut command = Command::new("sh");
        let script = r#"echo 0 >"$1/cgroup.procs" && shift && exec nsenter "$@""#;
        command.args(["-c", script, "sh"]).arg(self.cgroup.join("main"));
        command.args(["-t", &self.pid.to_string(), "-m", "-C", "-p", "-n", "-i", "-u", "--wdns=/", "--"]);
        command.args(args).env("HOME", "/root").env("TMPDIR", "/tmp").env_remove("XDG_RUNTIME_DIR");
        let number = self.invocations.fetch_add(1, Ordering::Relaxed);
        Invocation::new(command, &self.outputs.path().join(number.to_string())).limit(60)
    }

    /// Runs a command in the view.
    pub fn run(&self, args: &[&str]) -> Outcome {
        self.command(args).wait()
    }

    /// Paths (and what is below them) of mounts, cgroups and files that the client makes and keeps for itself.
    pub fn expect(&mut self, paths: &[&'static str]) {
        self.expected.extend(paths);
    }

    /// One more directory (`--root`) where rcrun's state is.
    pub fn watch(&mut self, directory: &'static str) {
        self.watched.push(directory);
    }

    /// From now on what is here belongs here: a daemon, what a client makes once.
    pub fn accept_present(&mut self) {
        self.before = self.things();
    }

    /// The cgroup controllers that the view has.
    pub fn controllers(&self) -> String {
        self.read("/sys/fs/cgroup/cgroup.controllers")
    }

    /// What is in the view now that was not at its start, one sentence each; waits a little for what ends by itself.
    pub fn remaining(&self) -> Vec<String> {
        let deadline = std::time::Instant::now() + support::seconds(30);
        loop {
            let found: Vec<String> = self.things().difference(&self.before).cloned().collect();
            if found.is_empty() || std::time::Instant::now() > deadline {
                return found;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }

    /// Asserts that nothing is left in the view.
    #[track_caller]
    pub fn leaves_nothing(&self) {
        let remaining = self.remaining();
        assert!(remaining.is_empty(), "left behind: {remaining:#?}");
    }

    /// Mounts, processes, cgroups, and files of rcrun's state.
    fn things(&self) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        let expected = |path: &str| {
            self.expected
                .iter()
                .any(|e| path.strip_prefix(e).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
        };
        let mut add = |kind: &str, path: &str| {
            if !expected(path) {
                found.insert(format!("{kind} {path}"));
            }
        };
        let mounts =
            fs::read_to_string(format!("/proc/{}/mountinfo", self.pid)).expect("the view's mountinfo");
        mounts.lines().filter_map(|line| line.split(' ').nth(4)).for_each(|mount| add("mount", mount));
        let namespace = |pid: i32| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
        let own = namespace(self.pid);
        // A process in a PID namespace of its own is in the view's cgroup, one that left the cgroup in its namespace.
        let mut processes: BTreeSet<i32> = all_processes().filter(|pid| namespace(*pid) == own).collect();
        let mut directories = vec![self.cgroup.clone()];
        while let Some(directory) = directories.pop() {
            processes.extend(processes_of(&directory));
            let path = directory.strip_prefix(&self.cgroup).expect("below the view's cgroup");
            add("cgroup", &Path::new("/").join(path).to_string_lossy());
            // cgroups come and go.
            let entries = fs::read_dir(&directory).into_iter().flatten().flatten();
            directories
                .extend(entries.map(|e| e.path()).filter(|p| p.symlink_metadata().is_ok_and(|m| m.is_dir())));
        }
        for pid in processes {
            add("process", &format!("{pid} {}", comm(pid)));
        }
        for directory in &self.watched {
            let entries = fs::read_dir(self.path(directory)).into_iter().flatten().flatten();
            for entry in entries.filter(|entry| !support::holds_kept_filters(&entry.path())) {
                add("file", &format!("{directory}/{}", entry.file_name().to_string_lossy()));
            }
        }
        found
    }

    /// Ends the view; `enter`'s own clean-up removes the cgroup.
    fn end(&mut self) {
        drop(self.alive.take());
        let Some(enter) = self.enter.take() else { return };
        let ended = enter.wait();
        assert!(ended.status.success() && !self.cgroup.exists(), "view {}: {ended}", self.name);
    }
}

impl Drop for View {
    fn drop(&mut self) {
        if std::thread::panicking() {
            drop(self.alive.take());
            if let Some(enter) = self.enter.take() {
                // Nothing may panic now.
                let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| enter.wait()));
            }
            return;
        }
        let remaining = self.remaining();
        self.end();
        assert!(remaining.is_empty(), "left behind: {remaining:#?}");
    }
}

fn all_processes() -> impl Iterator<Item = i32> {
    let names = fs::read_dir("/proc").expect("/proc").flatten();
    names.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn processes_of(cgroup: &Path) -> Vec<i32> {
    let text = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid != 0).collect()
}

fn comm(pid: i32) -> String {
    fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().to_owned()
}
