//! The procfs and sysfs that were mounted last, by descriptor: what is to be masked or made read-only
//! in them is looked for from there.
//!
//! Who shares the root file system or the directory that holds a mount point may rename it meanwhile:
//! `/proc/kcore` would lead somewhere else or nowhere, and the procfs stay as it is.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::path::trimmed;

/// Room for the mounts of an ordinary configuration.
const MOST: usize = 4;

/// Mounts by the targets that the configuration gave them.
#[derive(Default)]
pub struct Pins<'plan> {
    mounts: [Option<(&'plan CStr, OwnedFd)>; MOST],
}

impl<'plan> Pins<'plan> {
    /// Notes that something was mounted at `target`: what was pinned there or below is covered. `mount`
    /// is pinned where it is of a kind that is protected; past the room for it the oldest goes.
    pub fn mounted(&mut self, target: &'plan CStr, mount: Option<OwnedFd>) {
        for slot in &mut self.mounts {
            if slot.as_ref().is_some_and(|(pinned, _)| below(target, pinned).is_some()) {
                *slot = None;
            }
        }
        if let Some(mount) = mount {
            self.mounts.rotate_right(1);
            self.mounts[0] = Some((target, mount));
        }
    }

    /// Where to look for `path`: from a pinned mount, or else from `root`.
    pub fn base<'a>(&'a self, root: BorrowedFd<'a>, path: &'a CStr) -> (BorrowedFd<'a>, &'a CStr) {
        let pinned = self.mounts.iter().flatten();
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
        let open = |path| std::fs::File::open(path).map(OwnedFd::from).unwrap();
        let (root, proc, sys) = (open("/"), open("/proc"), open("/sys"));
        let mut pins = Pins::default();
        pins.mounted(c"/proc", Some(proc));
        pins.mounted(c"/sys", Some(sys));
        pins.mounted(c"/sys/fs/cgroup", None);
        assert_eq!(pins.base(root.as_fd(), c"/proc/keys").1, c"keys");
        assert_eq!(pins.base(root.as_fd(), c"/sys/firmware").1, c"firmware");
        pins.mounted(c"/sys", None);
        assert_eq!(pins.base(root.as_fd(), c"/sys/firmware").1, c"/sys/firmware");
        pins.mounted(c"/", None);
        assert_eq!(pins.base(root.as_fd(), c"/proc/keys").1, c"/proc/keys");
    }
}
