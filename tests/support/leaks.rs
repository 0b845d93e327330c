//! The check at the end of each test: mounts, cgroups, processes and files that carry the test's
//! name. Tests run side by side, so that nothing global can be counted; instead every trace of a
//! test has its marker in it: the id, the temporary directory, or an environment variable that
//! rcrun, its children and the container's processes inherit.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{Pid, Signal, kill_process};

/// The environment variable that marks a test's processes.
pub const MARKER: &str = "RCRUN_TEST";

/// Where rcrun keeps compiled seccomp filters below its `--root`, for the next container.
pub const KEPT_FILTERS: &str = "@seccomp";

/// What to look for.
pub struct Traces {
    /// Value of [`MARKER`], part of the temporary directory's name and of most ids.
    pub marker: String,
    /// The container's id, where the test chose one.
    pub id: String,
    /// The test's temporary directory.
    pub directory: PathBuf,
    /// The state directory (`--root`).
    pub root: PathBuf,
    /// The bundle: only config.json and rootfs may be there.
    pub bundle: PathBuf,
}

impl Traces {
    /// Everything that is still there, one sentence each; waits a little for what ends by itself.
    pub fn remaining(&self) -> Vec<String> {
        let deadline = Instant::now() + super::seconds(super::LONG);
        loop {
            let found = self.find();
            if found.is_empty() || Instant::now() > deadline {
                return found;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn find(&self) -> Vec<String> {
        let mut found = Vec::new();
        found.extend(self.mounts().iter().map(|m| format!("mount {}", m.display())));
        found.extend(self.cgroups().iter().map(|c| format!("cgroup {}", c.display())));
        found.extend(self.processes().iter().map(|&pid| format!("process {}", describe(pid))));
        found.extend(self.files().iter().map(|f| format!("file {}", f.display())));
        found
    }

    /// Mount points of the host's table that lie in the test's directory or carry its name.
    pub fn mounts(&self) -> Vec<PathBuf> {
        let table = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
        table
            .lines()
            .filter(|line| self.mine(line))
            .filter_map(|line| line.split(' ').nth(4))
            .map(|point| PathBuf::from(point.replace("\\040", " ")))
            .collect()
    }

    /// cgroups of the test, deepest first.
    pub fn cgroups(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        if let Ok(mount) = super::cgroup_mount() {
            self.cgroups_below(&mount, &mut found);
        }
        found
    }

    fn cgroups_below(&self, directory: &Path, found: &mut Vec<PathBuf>) {
        for path in entries(directory) {
            // cgroups come and go while other tests run.
            if path.symlink_metadata().is_ok_and(|m| m.is_dir()) {
                self.cgroups_below(&path, found);
                if self.mine(&path.to_string_lossy()) {
                    found.push(path);
                }
            }
        }
    }

    /// Processes with the marker in their environment.
    pub fn processes(&self) -> Vec<i32> {
        let needle = format!("{MARKER}={}", self.marker);
        let marked = |pid: &i32| {
            fs::read(format!("/proc/{pid}/environ"))
                .is_ok_and(|environ| environ.split(|&b| b == 0).any(|v| v == needle.as_bytes()))
        };
        let names = entries(Path::new("/proc")).into_iter();
        names.filter_map(|p| p.file_name()?.to_str()?.parse().ok()).filter(marked).collect()
    }

    /// Files in the state directory, in the bundle, and of the test's name where sockets, locks
    /// and temporary files might lie.
    pub fn files(&self) -> Vec<PathBuf> {
        // crun keeps a directory to mask with, which serves its next container too.
        let of_container = |p: &PathBuf| !p.ends_with(".empty-directory") && !holds_kept_filters(p);
        let mut found: Vec<_> = entries(&self.root).into_iter().filter(of_container).collect();
        let expected = ["config.json", "rootfs"];
        let of_bundle = |p: &PathBuf| !expected.iter().any(|name| p.ends_with(name));
        found.extend(entries(&self.bundle).into_iter().filter(of_bundle));
        for directory in ["/run", "/run/rcrun", "/tmp", "/var/tmp", "/dev/shm", "/var/run", "/run/lock"] {
            let strange = |p: &PathBuf| self.mine(&p.to_string_lossy()) && *p != self.directory;
            found.extend(entries(Path::new(directory)).into_iter().filter(strange));
        }
        found
    }

    fn mine(&self, text: &str) -> bool {
        text.contains(&self.marker) || text.contains(&self.id)
    }

    /// Removes all of it, for a test that failed: the next one shall not suffer.
    pub fn sweep(&self) {
        for cgroup in self.cgroups() {
            let _ = fs::write(cgroup.join("cgroup.kill"), "1");
            let _ = fs::write(cgroup.join("cgroup.freeze"), "0");
        }
        for pid in self.processes() {
            let _ = kill_process(Pid::from_raw(pid).expect("a pid"), Signal::KILL);
        }
        for point in self.mounts().iter().rev() {
            let _ = unmount(point, UnmountFlags::DETACH);
        }
        let deadline = Instant::now() + super::seconds(30);
        while !(self.cgroups().is_empty() && self.processes().is_empty()) && Instant::now() < deadline {
            for cgroup in self.cgroups() {
                let _ = fs::remove_dir(cgroup);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Is this the directory of compiled filters, with no more than there may be in it?
pub fn holds_kept_filters(path: &Path) -> bool {
    path.ends_with(KEPT_FILTERS) && entries(path).len() <= 16
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    entries.filter_map(|entry| Some(entry.ok()?.path())).collect()
}

fn describe(pid: i32) -> String {
    let cmdline = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    format!("{pid} {}", String::from_utf8_lossy(&cmdline).replace('\0', " "))
}
