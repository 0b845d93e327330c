//! The host's side of what tests look at: the cgroup2 tree, /proc, namespaces to join.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Where cgroup2 is mounted, found through mountinfo. Err is a reason to skip.
pub fn cgroup_mount() -> Result<PathBuf, String> {
    let table = fs::read_to_string("/proc/self/mountinfo").map_err(|e| format!("no mountinfo: {e}"))?;
    table
        .lines()
        .filter_map(|line| line.split_once(" - "))
        .filter(|(_, filesystem)| filesystem.starts_with("cgroup2 "))
        .filter_map(|(mount, _)| mount.split(' ').nth(4))
        .map(PathBuf::from)
        .next()
        .ok_or_else(|| "cgroup2 is not mounted".into())
}

/// The controllers at the root of the cgroup2 tree.
pub fn controllers() -> Vec<String> {
    let Ok(mount) = cgroup_mount() else { return Vec::new() };
    let text = fs::read_to_string(mount.join("cgroup.controllers")).unwrap_or_default();
    text.split_whitespace().map(str::to_owned).collect()
}

/// The directory of a process's cgroup in the cgroup2 tree.
pub fn cgroup_of(pid: i32) -> PathBuf {
    let file = format!("/proc/{pid}/cgroup");
    let text = fs::read_to_string(&file).unwrap_or_else(|e| panic!("{file}: {e}"));
    let path = text.lines().find_map(|line| line.strip_prefix("0::/")).expect("a cgroup2 line");
    cgroup_mount().expect("cgroup2").join(path)
}

/// The path of this test process's own cgroup below the cgroup2 mount, with a leading `/`.
pub fn own_cgroup() -> String {
    let text = fs::read_to_string("/proc/self/cgroup").expect("/proc/self/cgroup");
    text.lines().find_map(|line| line.strip_prefix("0::")).expect("a cgroup2 line").to_owned()
}

/// A cgroup file's text, trimmed.
#[track_caller]
pub fn cgroup_text(cgroup: &Path, file: &str) -> String {
    let path = cgroup.join(file);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())).trim().to_owned()
}

/// A field of /proc/PID/status, such as `CapEff`.
#[track_caller]
pub fn process_status_field(pid: i32, field: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).expect("/proc/PID/status");
    let value = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    value.unwrap_or_else(|| panic!("no {field} in {text}")).trim().to_owned()
}

/// Does a process of this id live (a zombie does not)?
pub fn process_exists(pid: i32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// A process in namespaces of its own, there to be joined; it ends with this value.
pub struct NamespaceHolder {
    child: Child,
}

impl NamespaceHolder {
    /// `unshare FLAGS`, ready when `kind` (a file of /proc/PID/ns) differs from the test's own.
    /// Err is a reason to skip.
    pub fn new(flags: &[&str], kind: &str) -> Result<Self, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("not root".into());
        }
        super::program("unshare")?;
        let mut command = Command::new("unshare");
        command.args(flags).args(["sleep", "1000"]).stdin(Stdio::null());
        let holder = Self { child: command.spawn().expect("start unshare") };
        let own = fs::read_link(format!("/proc/self/ns/{kind}")).expect("own namespace");
        super::wait_for("unshare", 10, || {
            let comm = fs::read_to_string(format!("/proc/{}/comm", holder.child.id())).ok()?;
            let theirs = fs::read_link(holder.path(kind)).ok()?;
            // With --fork unshare itself stays, and the sleeping process is its child.
            (theirs != own && (comm.trim() == "sleep" || flags.contains(&"--fork"))).then_some(())
        });
        Ok(holder)
    }

    /// The file of its namespace of this kind (a name in /proc/PID/ns).
    pub fn path(&self, kind: &str) -> String {
        format!("/proc/{}/ns/{kind}", self.child.id())
    }

    /// What the link of its namespace reads, such as `net:[4026531840]`.
    pub fn link(&self, kind: &str) -> String {
        let link = fs::read_link(self.path(kind)).expect("namespace link");
        link.to_string_lossy().into_owned()
    }

    /// Its process id.
    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }
}

impl Drop for NamespaceHolder {
    fn drop(&mut self) {
        // Both fail only if it has ended by itself. With --fork, unshare's --kill-child ends the rest.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The running kernel's version, its first two numbers.
pub fn kernel_version() -> (u32, u32) {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let mut numbers = release.split('.').map_while(|number| number.parse().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}
