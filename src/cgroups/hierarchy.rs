//! Where cgroup v2 is mounted, and what it offers.

use std::cell::OnceCell;
use std::ffi::OsString;
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{CWD, Mode, OFlags, fstatfs, openat};
use rustix::io::Errno;

use super::{CgroupError, CgroupPath, files};
use crate::host;
use crate::text::mounts_in;

/// Where nearly every host has it: on a unified host, then on systemd's hybrid one.
const USUAL_PLACES: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];

/// `f_type` of cgroup v2, statfs(2).
const CGROUP2_SUPER_MAGIC: u64 = 0x6367_7270;

/// The cgroup2 file system of this mount namespace.
#[derive(Clone, Debug)]
pub struct Hierarchy {
    mount_point: PathBuf,
    directory: Arc<OwnedFd>,
    /// Which directory of the file system is mounted: `/` but in odd containers.
    mounted_root: String,
    controllers: OnceCell<Controllers>,
}

/// The names of a set of controllers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Controllers(Vec<String>);

impl Hierarchy {
    /// Finds the mounted cgroup2 file system; an error where the host has cgroup v1 alone.
    pub fn find() -> Result<Self, CgroupError> {
        for place in USUAL_PLACES {
            if let Some(directory) = open_cgroup2(Path::new(place)) {
                return Ok(Self::new(place.into(), directory, "/".into()));
            }
        }
        let file = "/proc/self/mountinfo";
        let mountinfo = std::fs::read(file)
            .map_err(|error| CgroupError::ReadProc { file: file.into(), errno: errno_of(&error) })?;
        for mount in cgroup2_mounts(&mountinfo) {
            // A mount can be covered by a later one: only what the path leads to counts.
            if let Some(directory) = open_cgroup2(&mount.mount_point) {
                return Ok(Self::new(mount.mount_point, directory, mount.root));
            }
        }
        Err(CgroupError::NoHierarchy)
    }

    fn new(mount_point: PathBuf, directory: OwnedFd, mounted_root: String) -> Self {
        Self { mount_point, directory: Arc::new(directory), mounted_root, controllers: OnceCell::new() }
    }

    /// Where it is mounted.
    pub fn mount_point(&self) -> &Path {
        &self.mount_point
    }

    /// Its root directory, opened with O_PATH.
    pub fn directory(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    pub(super) fn shared_directory(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.directory)
    }

    /// The cgroup that this process is in.
    pub fn own_path(&self) -> Result<CgroupPath, CgroupError> {
        self.path_in("/proc/self/cgroup")
    }

    /// The cgroup that process `pid` is in.
    pub fn path_of(&self, pid: i32) -> Result<CgroupPath, CgroupError> {
        self.path_in(&format!("/proc/{pid}/cgroup"))
    }

    fn path_in(&self, file: &str) -> Result<CgroupPath, CgroupError> {
        let text = host::read_proc(file)
            .and_then(|bytes| String::from_utf8(bytes).map_err(|_| Errno::ILSEQ))
            .map_err(|errno| CgroupError::ReadProc { file: file.into(), errno })?;
        let own = text.lines().find_map(|line| line.strip_prefix("0::")).ok_or(CgroupError::NoOwnCgroup)?;
        let below = own.strip_prefix(self.mounted_root.as_str()).unwrap_or(own);
        CgroupPath::parse(Path::new(below))
    }

    /// The controllers that the root offers; read on the first call.
    pub fn controllers(&self) -> Result<&Controllers, CgroupError> {
        if let Some(known) = self.controllers.get() {
            return Ok(known);
        }
        let file = "cgroup.controllers";
        let text = files::read(self.directory(), file).map_err(|errno| CgroupError::Read {
            file: file.into(),
            cgroup: "/".into(),
            errno,
        })?;
        Ok(self.controllers.get_or_init(|| Controllers::parse(&text)))
    }
}

impl Controllers {
    /// The names in a line of cgroup.controllers or cgroup.subtree_control.
    pub fn parse(line: &str) -> Self {
        Self(line.split_whitespace().map(String::from).collect())
    }

    /// Is `name` among them?
    pub fn contains(&self, name: &str) -> bool {
        self.0.iter().any(|known| known == name)
    }

    /// Adds `name`, once.
    pub fn insert(&mut self, name: &str) {
        if !self.contains(name) {
            self.0.push(name.into());
        }
    }

    /// None at all?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Their names, in the order that they came in.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

impl fmt::Display for Controllers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() { f.write_str("none") } else { f.write_str(&self.0.join(", ")) }
    }
}

/// The directory at `path` if that is a cgroup2 file system.
fn open_cgroup2(path: &Path) -> Option<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = openat(CWD, path, flags, Mode::empty()).ok()?;
    (fstatfs(&directory).ok()?.f_type as u64 == CGROUP2_SUPER_MAGIC).then_some(directory)
}

struct Mount {
    root: String,
    mount_point: PathBuf,
}

/// The cgroup2 mounts of a mountinfo, proc_pid_mountinfo(5): those of the whole hierarchy first.
fn cgroup2_mounts(mountinfo: &[u8]) -> Vec<Mount> {
    let mut mounts: Vec<Mount> = mounts_in(mountinfo)
        .filter(|mount| mount.fstype == b"cgroup2")
        .map(|mount| Mount {
            root: String::from_utf8_lossy(&mount.root).into_owned(),
            mount_point: OsString::from_vec(mount.point).into(),
        })
        .collect();
    mounts.sort_by_key(|mount| mount.root != "/");
    mounts
}

fn errno_of(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mounts_of_the_whole_hierarchy_come_first() {
        let mountinfo = b"31 1 0:27 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
            32 31 0:28 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
            40 31 0:38 /docker/1 /mnt/part rw,relatime - cgroup2 cgroup2 rw\n\
            41 31 0:38 / /mnt/a\\040b\\134c rw,relatime shared:9 master:3 - cgroup2 cgroup2 rw\n\
            broken line\n";
        let found: Vec<_> = cgroup2_mounts(mountinfo)
            .into_iter()
            .map(|m| (m.root, m.mount_point.display().to_string()))
            .collect();
        assert_eq!(found, [("/".into(), "/mnt/a b\\c".into()), ("/docker/1".into(), "/mnt/part".to_owned())]);
    }

    #[test]
    fn a_host_with_cgroup_v1_alone_has_none() {
        assert!(cgroup2_mounts(b"32 31 0:28 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n").is_empty());
        let error = CgroupError::NoHierarchy.to_string();
        assert!(error.contains("cgroup v1 is not supported") && !error.contains('\n'), "{error}");
    }

    #[test]
    fn a_directory_of_another_file_system_is_no_hierarchy() {
        assert!(open_cgroup2(Path::new("/proc")).is_none());
        assert!(open_cgroup2(Path::new("/does/not/exist")).is_none());
    }

    #[test]
    fn controllers_are_a_set_in_order() {
        let mut set = Controllers::parse("cpuset cpu io\n");
        set.insert("memory");
        set.insert("cpu");
        assert_eq!(set.to_string(), "cpuset, cpu, io, memory");
        assert!(set.contains("io") && !set.contains("i"));
        assert_eq!(Controllers::default().to_string(), "none");
    }
}
