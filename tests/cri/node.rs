//! A node: namespaces of its own (tests/cri/enter), a store with busybox in it, and `rcrun-cri` serving there.

use std::collections::BTreeSet;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use rcrun::cgroups::MissingControllers;
use rcrun_cri::api;
use rcrun_cri::config::Config;
use rustix::process::{Pid, Signal, kill_process};

use crate::fixtures::{self, Built, Image};
use crate::support::{self, Invocation, Outcome, Running};
use crate::{calls, programs};

/// The image that every node has: Debian's static busybox, its applets as hard links.
pub const BUSYBOX: &str = "docker.io/library/busybox:1";
/// The socket, in the node.
pub const SOCKET: &str = "/run/rcrun/cri.sock";

/// A node that lives as long as this value.
///
/// Dropping it stops and removes all Pods, checks that nothing is left, and fails the test otherwise.
pub struct Node {
    name: String,
    directory: tempfile::TempDir,
    invocations: AtomicU32,
    /// `enter`, which ends the node when `alive` is closed.
    enter: Option<Running>,
    alive: Option<ChildStdin>,
    /// One of the node's processes, in all of its namespaces.
    pid: i32,
    cgroup: PathBuf,
    server: Mutex<Option<Running>>,
    before: BTreeSet<String>,
    pub(crate) tokio: tokio::runtime::Runtime,
    pub(crate) channel: Mutex<Option<tonic::transport::Channel>>,
}

impl Node {
    /// A node where rcrun-cri serves with its default configuration, but skips limits that this host lacks controllers for
    /// (outside of the VM). Err is a reason to skip the test.
    pub fn new() -> Result<Self, String> {
        Self::configured(|_| {})
    }

    /// The same with another configuration.
    pub fn configured(change: impl FnOnce(&mut Config)) -> Result<Self, String> {
        let mut node = Self::without_server()?;
        node.configure(change);
        node.start();
        node.before = node.things();
        Ok(node)
    }

    /// The same, and nothing serves there yet: see [`Node::start`].
    pub fn without_server() -> Result<Self, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("not root".into());
        }
        for name in ["unshare", "nsenter", "findmnt", "ip"] {
            support::program(name)?;
        }
        if !Path::new("/bin/busybox").exists() {
            return Err("no /bin/busybox: install busybox-static".into());
        }
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let name = format!("{}-{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed));
        let cgroup = support::cgroup_mount()?.join(format!("rcrun-node-{name}"));
        let directory = tempfile::Builder::new().prefix("rcrun-node-").tempdir().expect("make a directory");
        fs::create_dir(directory.path().join("io")).expect("mkdir");
        let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/cri/enter"));
        command.arg(directory.path()).arg(&name).args(["sh", "-c", "echo ready; exec cat"]);
        command.env("RCRUN_CRI", programs::cri()).env("RCRUN_SHIM", programs::shim());
        let enter = Invocation::new(command, &directory.path().join("io/enter")).stdin_from(Stdio::piped());
        // It lives as long as the test.
        let mut enter = enter.limit(3600).spawn();
        enter.wait_for_output("ready");
        let alive = enter.child.stdin.take();
        let main = cgroup.join("main");
        let pid = support::wait_for("cat on the node", 10, || {
            processes_of(&main).into_iter().find(|pid| comm(*pid) == "cat")
        });
        let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let node = Self {
            name,
            directory,
            invocations: AtomicU32::new(0),
            enter: Some(enter),
            alive,
            pid,
            cgroup,
            server: Mutex::new(None),
            before: BTreeSet::new(),
            tokio: tokio.expect("threads"),
            channel: Mutex::new(None),
        };
        node.configure(|_| {});
        node.store(BUSYBOX, busybox());
        Ok(node)
    }

    /// Writes the configuration; the server reads it at its start, or on SIGHUP.
    pub fn configure(&self, change: impl FnOnce(&mut Config)) {
        let mut config = Config::default();
        if std::env::var_os("RCRUN_IN_VM").is_none() {
            config.missing_controllers = MissingControllers::Skip;
        }
        change(&mut config);
        self.write_config(&toml::to_string(&config).expect("TOML"));
    }

    /// Writes the configuration as a text.
    pub fn write_config(&self, text: &str) {
        fs::write(self.file("cri.toml"), text).expect("write the configuration");
    }

    /// Puts an image into the store.
    pub fn store(&self, name: &str, built: &Built) {
        fixtures::store(&self.directory.path().join("lib"), name, built);
    }

    // Places.

    /// The node's `file`, as this process can open it.
    pub fn path(&self, file: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{file}", self.pid))
    }

    /// A path for the test's own files, and the same seen from the node: `/run/node/NAME`.
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The node's cgroup, as this process sees it: the root of the cgroup2 tree there.
    pub fn cgroup(&self) -> &Path {
        &self.cgroup
    }

    /// The pid of one of the node's processes, in all of its namespaces.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    // Programs.

    /// A command on the node, in its root directory.
    pub fn command(&self, args: &[&str]) -> Invocation {
        // The cgroup first: a process moves itself by the machine's path of it.
        let mut command = Command::new("sh");
        let script = r#"echo 0 >"$1/cgroup.procs" && shift && exec nsenter "$@""#;
        command.args(["-c", script, "sh"]).arg(self.cgroup.join("main"));
        command.args(["-t", &self.pid.to_string(), "-m", "-C", "-p", "-n", "-i", "-u", "--wdns=/", "--"]);
        command.args(args).env("HOME", "/root").env_remove("XDG_RUNTIME_DIR");
        let number = self.invocations.fetch_add(1, Ordering::Relaxed);
        Invocation::new(command, &self.directory.path().join(format!("io/{number}"))).limit(60)
    }

    /// Runs a command on the node.
    pub fn run(&self, args: &[&str]) -> Outcome {
        self.command(args).wait()
    }

    /// rcrun-cri with the node's configuration and these arguments.
    pub fn cri(&self, args: &[&str]) -> Invocation {
        let base = ["/run/bin/rcrun-cri", "--config", "/run/node/cri.toml", "--log-level", "debug"];
        self.command(&[&base, args].concat()).env("RCRUN_SHIM", "/run/bin/rcrun-shim")
    }

    /// Starts the server, and waits until it answers.
    pub fn start(&self) {
        self.serve(self.cri(&[]));
    }

    /// The same with another command line or environment.
    pub fn serve(&self, server: Invocation) {
        let mut server = server.limit(3600).spawn();
        *self.channel() = None;
        support::wait_for("rcrun-cri's answer", 20, || {
            if let Some(status) = server.child.try_wait().expect("wait") {
                panic!("rcrun-cri ended with {status}: {}", server.stderr());
            }
            if !self.path(SOCKET).exists() {
                return None;
            }
            self.call(async |mut c| c.version(api::VersionRequest::default()).await).ok()
        });
        *self.server() = Some(server);
    }

    /// The server's pid, as this process sees it.
    pub fn server_pid(&self) -> i32 {
        self.child_of(self.server().as_ref().expect("a server").pid())
    }

    /// The pid of what this invocation of [`Node::command`] runs, as this process sees it.
    pub fn child_of(&self, nsenter: i32) -> i32 {
        support::wait_for("a process on the node", 5, || {
            processes_of(&self.cgroup.join("main")).into_iter().find(|pid| parent(*pid) == Some(nsenter))
        })
    }

    /// Sends the server a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.server_pid()).expect("a pid"), signal).expect("kill");
    }

    /// Ends the server with `signal` and waits for that; its log.
    pub fn end(&self, signal: Signal) -> String {
        self.signal(signal);
        let mut server = self.server().take().expect("a server");
        support::wait_for("rcrun-cri's end", 20, || server.child.try_wait().expect("wait"));
        *self.channel() = None;
        server.stderr()
    }

    /// Has the server ended by itself? If so, another one can be started.
    pub fn has_ended(&self) -> bool {
        let mut server = self.server();
        let ended = |server: &mut Running| server.child.try_wait().expect("wait").is_some();
        let gone = server.as_mut().is_none_or(ended);
        if gone {
            drop(server.take());
            *self.channel() = None;
        }
        gone
    }

    /// kill -9, and a new one.
    pub fn restart(&self) {
        self.end(Signal::KILL);
        self.start();
    }

    /// What the server has logged since its start.
    pub fn log(&self) -> String {
        self.server().as_ref().map(Running::stderr).unwrap_or_default()
    }

    fn server(&self) -> MutexGuard<'_, Option<Running>> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn channel(&self) -> MutexGuard<'_, Option<tonic::transport::Channel>> {
        self.channel.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the server has cleaned up after Pods that were being made when the last one was killed: what has a record, is listed.
    #[track_caller]
    pub fn wait_for_clean_up(&self) {
        let records = self.path("/var/lib/rcrun/cri/pods");
        support::wait_for("the clean-up after Pods", 20, || {
            (entries(&records).count() == self.pods().len()).then_some(())
        });
    }

    // What is left.

    /// From now on what is here belongs here.
    pub fn accept_present(&mut self) {
        self.before = self.things();
    }

    /// What is on the node now that was not at its start, one sentence each; waits a little for what ends by itself.
    pub fn remaining(&self) -> Vec<String> {
        let deadline = std::time::Instant::now() + support::seconds(30);
        loop {
            let found: Vec<String> = self.things().difference(&self.before).cloned().collect();
            if found.is_empty() || std::time::Instant::now() > deadline {
                return found;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Mounts, cgroups, processes, files of Pods and containers.
    pub fn things(&self) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        let mounts =
            fs::read_to_string(format!("/proc/{}/mountinfo", self.pid)).expect("the node's mountinfo");
        let mounts = mounts.lines().filter_map(|line| line.split(' ').nth(4));
        // Made shared for the first name in it, as ip-netns(8) does, and left so.
        found.extend(mounts.filter(|mount| *mount != "/run/netns").map(|mount| format!("mount {mount}")));
        let namespace = |pid: i32| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
        let own = namespace(self.pid);
        let server = self.server().as_ref().map(Running::pid);
        // A process in a PID namespace of its own is in the node's cgroup, one that left the cgroup in its namespace.
        let mut processes: BTreeSet<i32> = all_processes().filter(|pid| namespace(*pid) == own).collect();
        let mut directories = vec![self.cgroup.clone()];
        while let Some(directory) = directories.pop() {
            processes.extend(processes_of(&directory));
            let path = directory.strip_prefix(&self.cgroup).expect("below the node's cgroup");
            found.insert(format!("cgroup /{}", path.display()));
            directories
                .extend(entries(&directory).filter(|p| p.symlink_metadata().is_ok_and(|m| m.is_dir())));
        }
        // The server, and what entered the node to start it.
        let ours = |pid: i32| Some(pid) == server || server.is_some() && parent(pid) == server;
        found.extend(
            processes.into_iter().filter(|pid| !ours(*pid)).map(|p| format!("process {p} {}", comm(p))),
        );
        for directory in WATCHED {
            let here = entries(&self.path(directory)).filter(|entry| !support::holds_kept_filters(entry));
            found.extend(here.filter_map(|e| Some(format!("file {directory}/{}", e.file_name()?.display()))));
        }
        found
    }

    /// Without Pods, nothing may be left.
    fn check(&self) -> Vec<String> {
        if self.server().is_none() {
            return Vec::new();
        }
        calls::remove_all_pods(self);
        self.remaining()
    }

    /// Ends the node; `enter`'s own clean-up removes the cgroup.
    fn finish(&mut self) {
        drop(self.alive.take());
        let Some(enter) = self.enter.take() else { return };
        let ended = enter.wait();
        assert!(ended.status.success() && !self.cgroup.exists(), "node {}: {ended}", self.name);
    }
}

/// Where an entry for each Pod, container, lease and name is.
const WATCHED: [&str; 7] = [
    "/run/netns",
    "/run/rcrun/cri/pods",
    "/run/rcrun/cri/shims",
    "/run/rcrun/cri/containers",
    "/var/lib/rcrun/cri/pods",
    "/var/lib/rcrun/cri/containers",
    "/var/lib/rcrun/containers",
];

impl Drop for Node {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("rcrun-cri's log:\n{}", self.log());
            drop(self.alive.take());
            if let Some(enter) = self.enter.take() {
                // Nothing may panic now.
                let _ = catch_unwind(AssertUnwindSafe(|| enter.wait()));
            }
            return;
        }
        let checked = catch_unwind(AssertUnwindSafe(|| self.check()));
        let log = self.log();
        let serves = self.server().is_some();
        let ended = catch_unwind(AssertUnwindSafe(|| serves.then(|| self.end(Signal::TERM))));
        self.finish();
        match checked.and_then(|remaining| ended.map(|_| remaining)) {
            Ok(remaining) => {
                assert!(remaining.is_empty(), "left behind: {remaining:#?}\nrcrun-cri's log:\n{log}");
            }
            Err(panic) => {
                eprintln!("rcrun-cri's log:\n{log}");
                resume_unwind(panic);
            }
        }
    }
}

fn busybox() -> &'static Built {
    static BUILT: OnceLock<Built> = OnceLock::new();
    BUILT.get_or_init(|| Image::busybox().build())
}

fn entries(directory: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    // Everything comes and goes.
    fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path())
}

fn all_processes() -> impl Iterator<Item = i32> {
    entries(Path::new("/proc")).filter_map(|path| path.file_name()?.to_str()?.parse().ok())
}

fn processes_of(cgroup: &Path) -> Vec<i32> {
    let text = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid != 0).collect()
}

fn comm(pid: i32) -> String {
    fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().to_owned()
}

fn parent(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}
