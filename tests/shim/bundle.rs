//! A bundle of busybox in a temporary directory, held by the shim under test.

use std::fs;
use std::io::Write;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rcrun::monitor::{
    Event, Exit, Monitor, MonitorError, Program, Runtime, SCHEMA, Settings, Started, Watch,
};
use rcrun::spec::default_config;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::{Value, json};

const BUSYBOX: &str = "/bin/busybox";
/// The environment variable that marks a test's processes.
pub const MARKER: &str = "RCRUN_TEST";

/// A bundle, and the container that is made of it.
pub struct Bundle {
    directory: tempfile::TempDir,
    pub config: Value,
    pub settings: Settings,
    pub marker: String,
}

/// Says that the running test was not done and why. Past libtest's capture, so that it is seen.
pub fn skip(reason: &str) {
    let thread = std::thread::current();
    let line = format!("SKIP {}: {reason}\n", thread.name().unwrap_or("?"));
    std::io::stderr().write_all(line.as_bytes()).expect("write to stderr");
}

/// A bundle whose container runs this script, or a return from the test with a SKIP line.
macro_rules! script {
    ($script:expr) => {
        match $crate::bundle::Bundle::script($script) {
            Ok(bundle) => bundle,
            Err(reason) => return $crate::bundle::skip(&reason),
        }
    };
}
pub(crate) use script;

/// So many seconds, times the machine's patience factor.
pub fn seconds(n: u64) -> Duration {
    let factor = std::env::var("RCRUN_TEST_PATIENCE").ok().and_then(|f| f.parse::<u64>().ok());
    Duration::from_secs(n * factor.unwrap_or(1))
}

/// Waits until `condition` gives something; panics with `what` after 20 (patient) seconds.
#[track_caller]
pub fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + seconds(60);
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Waits until `fd` is readable.
#[track_caller]
pub fn wait_readable(what: &str, fd: impl AsFd) {
    let timeout = Timespec { tv_sec: seconds(60).as_secs() as i64, tv_nsec: 0 };
    let ready = poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&timeout)).expect("poll");
    assert_eq!(ready, 1, "waited for {what}");
}

/// The program under test.
pub fn program() -> Program {
    let mut environment = std::env::vars_os();
    if !environment.any(|(name, _)| name == "RCRUN_SHIM") {
        // Beside it cargo has put the tests alone.
        let link = Path::new(env!("CARGO_BIN_EXE_rcrun-shim"));
        let here = std::env::current_exe().expect("own path");
        let beside = here.parent().expect("a directory").join("rcrun-shim");
        if fs::read_link(&beside).ok().as_deref() != Some(link) {
            let new =
                beside.with_extension(format!("{}-{:?}", std::process::id(), std::thread::current().id()));
            let _ = fs::remove_file(&new);
            std::os::unix::fs::symlink(link, &new)
                .and_then(|()| fs::rename(&new, &beside))
                .expect("link the shim");
        }
    }
    Program::find().expect("the shim's program")
}

impl Bundle {
    /// A container that runs this script. Err is a reason to skip the test.
    pub fn script(script: &str) -> Result<Self, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("not root".into());
        }
        rcrun::cgroups::Hierarchy::find().map_err(|error| error.to_string())?;
        if !Path::new(BUSYBOX).exists() {
            return Err(format!("no {BUSYBOX}: install busybox-static"));
        }
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let marker = format!("s{}x{number}", std::process::id());
        let directory = tempfile::Builder::new().prefix(&marker).tempdir().expect("make a directory");
        let path = directory.path().to_owned();
        let bundle = path.join("bundle");
        fs::create_dir_all(bundle.join("rootfs")).expect("mkdir");
        busybox(&bundle.join("rootfs"));
        let mut config = serde_json::from_str::<Value>(&default_config()).expect("JSON");
        config["process"]["terminal"] = json!(false);
        config["process"]["args"] = json!(["sh", "-c", script]);
        config["process"]["env"].as_array_mut().expect("env").push(json!(format!("{MARKER}={marker}")));
        config["linux"]["cgroupsPath"] = json!(format!("/{marker}/{marker}"));
        let settings = Settings {
            schema: SCHEMA,
            id: marker.clone(),
            runtime: Runtime::Own { state: path.join("state") },
            bundle,
            run: path.join("run").join(&marker),
            root: None,
            directory: None,
            stdin: false,
            stdin_once: false,
            terminal: false,
            log: Some(path.join("logs/0.log")),
            max_log_line: 16384,
            missing_controllers: Default::default(),
            systemd_cgroup: false,
            loopback: false,
        };
        Ok(Self { directory, config, settings, marker })
    }

    /// A path of the test's own.
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Sets the value at a JSON pointer.
    pub fn set(mut self, pointer: &str, value: Value) -> Self {
        let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
        self.config.pointer_mut(parent).expect("a parent")[key] = value;
        self
    }

    /// With a terminal.
    pub fn terminal(mut self) -> Self {
        self.settings.terminal = true;
        self.set("/process/terminal", json!(true))
    }

    /// With an open standard input.
    pub fn stdin(mut self, once: bool) -> Self {
        (self.settings.stdin, self.settings.stdin_once) = (true, once);
        self
    }

    /// Starts it.
    pub fn try_launch(&self) -> Result<Started, MonitorError> {
        self.write_config();
        program().launch(&self.settings, None)
    }

    /// Writes config.json.
    pub fn write_config(&self) {
        let text = serde_json::to_string_pretty(&self.config).expect("JSON");
        fs::write(self.settings.bundle.join("config.json"), text).expect("write config.json");
    }

    /// Starts it, and it must run.
    #[track_caller]
    pub fn launch(&self) -> Started {
        self.try_launch().expect("launch")
    }

    /// Its shim.
    pub fn monitor(&self) -> Monitor {
        Monitor::of(&self.settings.run)
    }

    /// Waits for the end that `watch` tells; how it was.
    #[track_caller]
    pub fn end(&self, watch: &mut Watch) -> Exit {
        loop {
            wait_readable("the container's end", &*watch);
            if watch.next().expect("an event") == Some(Event::Ended) {
                return self.exit().expect("exit.json before the end is seen");
            }
        }
    }

    /// Runs it to its end.
    #[track_caller]
    pub fn run(&self) -> Exit {
        self.launch();
        match self.monitor().watch() {
            Ok(mut watch) => self.end(&mut watch),
            Err(MonitorError::Gone { .. }) => self.exit().expect("exit.json before the end is seen"),
            Err(error) => panic!("{error}"),
        }
    }

    /// exit.json.
    pub fn exit(&self) -> Option<Exit> {
        Exit::read(&self.settings.bundle).expect("exit.json")
    }

    /// The log's lines without their times.
    pub fn log(&self) -> Vec<String> {
        log_lines(self.settings.log.as_deref().expect("a log"))
    }

    /// Kills it and waits for the end.
    #[track_caller]
    pub fn kill(&self) -> Exit {
        let mut watch = self.monitor().watch().expect("watch");
        self.monitor().kill(9, false).expect("kill");
        self.end(&mut watch)
    }

    /// The pid of its shim.
    #[track_caller]
    pub fn shim(&self) -> i32 {
        self.find_shim().expect("a shim")
    }

    /// The same, if there is one by now.
    pub fn find_shim(&self) -> Option<i32> {
        let mine = |pid: &i32| {
            let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let words: Vec<_> = command.split(|byte| *byte == 0).collect();
            words.first() == Some(&b"rcrun-shim".as_slice())
                && words.get(2) == Some(&self.settings.bundle.as_os_str().as_encoded_bytes())
        };
        pids().find(mine)
    }

    /// What is there of it beside its bundle.
    pub fn leftovers(&self) -> Vec<String> {
        let mut found = Vec::new();
        let needle = format!("{MARKER}={}", self.marker);
        let bundle = self.settings.bundle.to_string_lossy().into_owned();
        for pid in pids() {
            let of = |file| fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
            let marked = of("environ").split(|&byte| byte == 0).any(|variable| variable == needle.as_bytes());
            let command = String::from_utf8_lossy(&of("cmdline")).into_owned();
            if marked || command.contains(&bundle) {
                found.push(format!("process {pid} {command:?}"));
            }
        }
        for path in [&self.settings.run, &self.file("state").join(&self.marker)] {
            if path.exists() {
                found.push(format!("{path:?}"));
            }
        }
        let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
        found.extend(mounts.lines().filter(|line| line.contains(&self.marker)).map(String::from));
        let cgroup = rcrun::cgroups::Hierarchy::find().expect("cgroups").mount_point().join(&self.marker);
        if cgroup.exists() {
            found.push(format!("{cgroup:?}"));
        }
        found
    }
}

/// Every process.
pub fn pids() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").expect("/proc").filter_map(Result::ok);
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// A log's lines without their times.
pub fn log_lines(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    // What is being written at this moment is no line yet.
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    whole.lines().map(|line| line.split_once(' ').expect("a time").1.to_owned()).collect()
}

/// Copies a program in a process of its own: here every child of another test's thread has this process's descriptors until its execve(2),
/// and what anybody has open for writing cannot be executed (ETXTBSY).
pub fn copy_program(from: &Path, to: &Path) {
    let copied = Command::new("install").args(["-m", "755"]).args([from, to]).status();
    assert!(copied.expect("start install").success());
}

fn busybox(rootfs: &Path) {
    for directory in ["bin", "proc", "sys", "dev", "tmp", "etc"] {
        fs::create_dir(rootfs.join(directory)).expect("mkdir");
    }
    let busybox = rootfs.join("bin/busybox");
    copy_program(Path::new(BUSYBOX), &busybox);
    for applet in [
        "sh", "cat", "dd", "echo", "false", "id", "kill", "ls", "head", "seq", "sleep", "stty", "tr", "true",
        "wc", "yes",
    ] {
        fs::hard_link(&busybox, rootfs.join("bin").join(applet)).expect("link");
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        if matches!(self.settings.runtime, Runtime::Program { .. }) {
            // runc and crun leave the directories above a cgroup.
            let above = rcrun::cgroups::Hierarchy::find().expect("cgroups").mount_point().join(&self.marker);
            let _ = fs::remove_dir(above);
        }
        let deadline = Instant::now() + seconds(30);
        let mut found = self.leftovers();
        while !found.is_empty() && !std::thread::panicking() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
            found = self.leftovers();
        }
        if found.is_empty() {
            return;
        }
        let _ = program().discard(&self.settings.bundle);
        match std::thread::panicking() {
            true => eprintln!("left behind: {found:#?}"),
            false => panic!("left behind: {found:#?}"),
        }
    }
}
