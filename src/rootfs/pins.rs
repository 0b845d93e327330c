//! The procfs and sysfs that were mounted last and the tmpfs of /dev, by descriptor: what is to be masked,
//! made read-only, mounted or made in them is looked for from there.
//!
//! Who shares the root file system or the directory that holds a mount point may rename it meanwhile:
//! `/proc/kcore` would lead somewhere else or nowhere, and the procfs stay as it is. Beside that, what is made
//! in /dev is found at once.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::path::trimmed;
use super::{Place, release};
use crate::plan::step::{MountFrom, MountStep};

/// Room for the procfs and sysfs mounts of an ordinary configuration.
const MOST: usize = 4;

/// Is what this step mounts pinned? Not what an image's links have been copied into: they are not to be
/// followed from there.
pub(super) fn are_for(step: &MountStep) -> bool {
    kind_of(step).is_some()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Kernels,
    Tmpfs,
}

fn kind_of(step: &MountStep) -> Option<Kind> {
    match &step.from {
        MountFrom::New { fstype, .. } if **fstype == *c"proc" || **fstype == *c"sysfs" => Some(Kind::Kernels),
        MountFrom::New { fstype, .. } if **fstype == *c"tmpfs" && !step.copy_up => Some(Kind::Tmpfs),
        _ => None,
    }
}

/// Mounts by the targets that the configuration gave them.
#[derive(Default)]
pub struct Pins<'plan> {
    mounts: [Option<(&'plan CStr, OwnedFd)>; MOST],
    /// The last one that is not below another.
    tmpfs: Option<(&'plan CStr, OwnedFd)>,
}

impl<'plan> Pins<'plan> {
    /// Notes what a step mounted: what was pinned there or below is covered. Past the room for them the
    /// oldest goes.
    pub fn mounted(&mut self, step: &'plan MountStep, mount: Option<OwnedFd>) {
        let target = step.target.as_c_str();
        self.cover(target);
        match (mount, kind_of(step)) {
            (Some(mount), Some(Kind::Kernels)) => {
                self.mounts.rotate_right(1);
                self.mounts[0] = Some((target, mount));
            }
            (Some(mount), _) => match &self.tmpfs {
                Some((known, _)) if below(known, target).is_some() => release(mount),
                _ => self.tmpfs = Some((target, mount)),
            },
            (None, _) => {}
        }
    }

    /// Forgets what is pinned at `target` and below: something else covers it.
    pub fn cover(&mut self, target: &CStr) {
        for slot in self.mounts.iter_mut().chain([&mut self.tmpfs]) {
            if slot.as_ref().is_some_and(|(pinned, _)| below(target, pinned).is_some()) {
                *slot = None;
            }
        }
    }

    /// Where to look for `path`: from a pinned mount, or else from `root`.
    pub fn place<'a>(&'a self, root: BorrowedFd<'a>, path: &'a CStr) -> Place<'a> {
        let pinned = self.mounts.iter().chain([&self.tmpfs]).flatten();
        let found = pinned.filter_map(|(target, mount)| Some((mount.as_fd(), below(target, path)?)));
        found.min_by_key(|(_, rest)| rest.count_bytes()).unwrap_or((root, path))
    }
}

/// What of `path` is below `target`: `.` for the target itself. A path with `..` could lead out again.
fn below<'a>(target: &CStr, path: &'a CStr) -> Option<&'a CStr> {
    let slash = |byte: &u8| *byte == b'/';
    let bytes = path.to_bytes_with_nul();
    if path.to_bytes().split(slash).any(|name| name == b"..") {
        return None;
    }
    let bytes = after_slashes(bytes);
    let target = trimmed(target);
    let target = target.iter().rposition(|byte| *byte != b'/').map_or(&target[..0], |last| &target[..=last]);
    let rest = bytes.strip_prefix(target)?;
    match rest.first() {
        Some(0) => Some(c"."),
        Some(byte) if slash(byte) || target.is_empty() => {
            let rest = CStr::from_bytes_with_nul(after_slashes(rest)).ok()?;
            Some(if rest.is_empty() { c"." } else { rest })
        }
        _ => None,
    }
}

fn after_slashes(bytes: &[u8]) -> &[u8] {
    let slashes = bytes.iter().take_while(|byte| **byte == b'/').count();
    bytes.get(slashes..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::playground::{bind, new};
    use super::*;

    #[test]
    fn what_is_below_is_looked_for_from_the_mount() {
        assert_eq!(below(c"/proc", c"/proc/kcore"), Some(c"kcore"));
        assert_eq!(below(c"/proc/", c"/proc/sys/kernel"), Some(c"sys/kernel"));
        assert_eq!(below(c"/proc", c"/proc"), Some(c"."));
        assert_eq!(below(c"/proc", c"/proc/"), Some(c"."));
        assert_eq!(below(c"/proc", c"/process"), None);
        assert_eq!(below(c"/proc", c"/proc/../etc"), None);
        assert_eq!(below(c"/proc", c"/sys"), None);
    }

    #[test]
    fn what_is_covered_is_not_pinned_any_more() {
        let open = |path| Some(std::fs::File::open(path).map(OwnedFd::from).unwrap());
        let root = open("/").unwrap();
        let [proc, sys] = [new(c"proc", "/proc"), new(c"sysfs", "/sys")];
        let [cgroup, over] = [new(c"cgroup2", "/sys/fs/cgroup"), bind("/sys")];
        let mut pins = Pins::default();
        pins.mounted(&proc, open("/proc"));
        pins.mounted(&sys, open("/sys"));
        pins.mounted(&cgroup, None);
        assert_eq!(pins.place(root.as_fd(), c"/proc/keys").1, c"keys");
        assert_eq!(pins.place(root.as_fd(), c"/sys/firmware").1, c"firmware");
        pins.mounted(&over, None);
        assert_eq!(pins.place(root.as_fd(), c"/sys/firmware").1, c"/sys/firmware");
        pins.cover(c"/");
        assert_eq!(pins.place(root.as_fd(), c"/proc/keys").1, c"/proc/keys");
    }

    #[test]
    fn one_tmpfs_is_pinned_and_never_in_the_place_of_a_procfs() {
        let open = |path| Some(std::fs::File::open(path).map(OwnedFd::from).unwrap());
        let root = open("/").unwrap();
        let [proc, dev, shm] = [new(c"proc", "/proc"), new(c"tmpfs", "/dev"), new(c"tmpfs", "/dev/shm")];
        let others: Vec<_> = (0..9).map(|number| new(c"tmpfs", &format!("/run/{number}"))).collect();
        let mut pins = Pins::default();
        pins.mounted(&proc, open("/proc"));
        pins.mounted(&dev, open("/dev"));
        pins.mounted(&shm, open("/tmp"));
        assert_eq!(pins.place(root.as_fd(), c"/dev/shm/x").1, c"shm/x");
        for other in &others {
            pins.mounted(other, open("/tmp"));
        }
        assert_eq!(pins.place(root.as_fd(), c"/run/8/x").1, c"x");
        assert_eq!(pins.place(root.as_fd(), c"/dev/null").1, c"/dev/null");
        assert_eq!(pins.place(root.as_fd(), c"/proc/keys").1, c"keys");
    }

    #[test]
    fn what_links_were_copied_into_is_not_pinned() {
        let mut run = new(c"tmpfs", "/run");
        assert!(are_for(&run));
        run.copy_up = true;
        assert!(!are_for(&run));
        assert!(!are_for(&new(c"devpts", "/dev/pts")) && !are_for(&bind("/proc")));
    }
}
