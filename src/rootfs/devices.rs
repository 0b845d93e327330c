//! Device nodes and the links beside them.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Uid, chownat, fstat, mknodat, openat, statat, symlinkat,
};
use rustix::io::Errno;

use super::path::{last_name, split, trimmed};
use super::{Place, mount, release, resolve};
use crate::plan::step::DeviceStep;
use crate::sys::{During, Failure};

/// The directory of the node made last: its path is resolved once for all its nodes.
///
/// A mount step may cover it: start a new one after each.
#[derive(Default)]
pub struct Directory<'plan> {
    open: Option<(&'plan [u8], OwnedFd)>,
}

impl<'plan> Directory<'plan> {
    /// Makes a device node or FIFO; one that is already there as wished is left as it is. Where
    /// the step binds the host's node instead, `tree` is the detached mount of it.
    pub fn make(
        &mut self,
        at: Place<'_>,
        step: &'plan DeviceStep,
        tree: Option<BorrowedFd<'_>>,
    ) -> Result<(), Failure> {
        let (directory, name) = self.holding(at, &step.path)?;
        if step.bind.is_some() {
            let tree = tree.ok_or(Errno::BADF).during("move_mount (no tree was opened)")?;
            return bind(directory, name, tree);
        }
        node(directory, name, step)
    }

    /// Makes a symbolic link; a name that is taken is left as it is.
    pub fn link(&mut self, at: Place<'_>, target: &CStr, path: &'plan CStr) -> Result<(), Failure> {
        let (directory, name) = self.holding(at, path)?;
        match symlinkat(target, directory, name) {
            Err(Errno::EXIST) => Ok(()),
            result => result.during("symlinkat"),
        }
    }

    /// The directory of `path`, of which `at` is the place, and the name in it.
    fn holding<'a>(
        &'a mut self,
        at: Place<'a>,
        path: &'plan CStr,
    ) -> Result<(BorrowedFd<'a>, &'plan CStr), Failure> {
        let name = last_name(path).ok_or(Errno::INVAL);
        let name = name.during("resolve (the path does not end in a name)")?;
        if split(trimmed(at.1)).0.is_empty() {
            return Ok((at.0, name));
        }
        let directory = split(trimmed(path)).0;
        if self.open.as_ref().is_none_or(|(known, _)| *known != directory) {
            self.open = Some((directory, resolve::parent(at.0, at.1)?));
        }
        let (_, open) = self.open.as_ref().ok_or(Errno::BADF).during("resolve")?;
        Ok((open.as_fd(), name))
    }
}

fn node(directory: BorrowedFd<'_>, name: &CStr, step: &DeviceStep) -> Result<(), Failure> {
    let (kind, mode) = (FileType::from_raw_mode(step.mode), Mode::from_raw_mode(step.mode));
    match mknodat(directory, name, kind, mode, step.device) {
        Ok(()) => {}
        Err(Errno::EXIST) => return is_same(directory, name, step),
        // rcrun's own device program allows every node, but those of all ancestors count as well.
        Err(Errno::PERM) => {
            return Err(Errno::PERM)
                .during("mknodat (perhaps a device program of a cgroup above forbids it)");
        }
        Err(error) => return Err(error).during("mknodat"),
    }
    if step.uid == 0 && step.gid == 0 {
        return Ok(());
    }
    let (uid, gid) = (Uid::from_raw(step.uid), Gid::from_raw(step.gid));
    chownat(directory, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW).during("fchownat")
}

/// What is there may be the host's own node, bound in: it is not changed, only compared.
fn is_same(directory: BorrowedFd<'_>, name: &CStr, step: &DeviceStep) -> Result<(), Failure> {
    let found = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW).during("fstatat")?;
    let kind = FileType::from_raw_mode(found.st_mode);
    let same_kind = kind == FileType::from_raw_mode(step.mode);
    if same_kind && (kind == FileType::Fifo || found.st_rdev == step.device) {
        return Ok(());
    }
    Err(Errno::EXIST).during("mknodat (something else is there)")
}

/// Mounts the host's node on an empty file, or on what else is there under this name.
pub(super) fn bind(directory: BorrowedFd<'_>, name: &CStr, tree: BorrowedFd<'_>) -> Result<(), Failure> {
    let target = match resolve::create_file(directory, name) {
        Err(Errno::EXIST) => {
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let found = openat(directory, name, flags, Mode::empty()).during("openat")?;
            if FileType::from_raw_mode(fstat(&found).during("fstat")?.st_mode).is_symlink() {
                return Err(Errno::LOOP).during("openat (a symbolic link is in the device's place)");
            }
            found
        }
        made => made.during("openat")?,
    };
    mount::become_slave(tree)?;
    mount::attach(tree, target.as_fd())?;
    release(target);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};

    use rustix::fs::makedev;

    use super::super::playground::{c, play, play_unprivileged, tree};
    use super::*;
    use crate::plan::step::SourceId;

    fn device(path: &str, mode: u32, minor: u32) -> DeviceStep {
        DeviceStep { path: c(path), mode, device: makedev(1, minor), uid: 0, gid: 0, bind: None }
    }

    #[test]
    fn nodes_have_their_mode_and_owner() {
        play(|root| {
            let null = device("/dev/null", 0o20666, 3);
            let zero = DeviceStep { uid: 7, gid: 8, ..device("/dev/zero", 0o20640, 5) };
            let fifo = DeviceStep { device: 0, ..device("/other/below/fifo", 0o10600, 0) };
            let mut directory = Directory::default();
            for step in [&null, &zero, &fifo] {
                directory.make((root, &step.path), step, None).unwrap();
            }
            let stat = |path: &str| fs::metadata(format!("/tmp/root{path}")).unwrap();
            assert_eq!((stat("/dev/null").mode(), stat("/dev/null").rdev()), (0o20666, makedev(1, 3)));
            let zero = stat("/dev/zero");
            assert_eq!((zero.mode(), zero.uid(), zero.gid()), (0o20640, 7, 8));
            assert!(stat("/other/below/fifo").file_type().is_fifo());
        });
    }

    #[test]
    fn a_node_that_is_there_stays_and_anything_else_is_an_error() {
        play(|root| {
            let mut directory = Directory::default();
            let (first, again) = (device("/null", 0o20600, 3), device("/null", 0o20666, 3));
            let zero = device("/null", 0o20666, 5);
            directory.make((root, &first.path), &first, None).unwrap();
            directory.make((root, &again.path), &again, None).unwrap();
            assert_eq!(fs::metadata("/tmp/root/null").unwrap().mode(), 0o20600);
            assert_eq!(directory.make((root, &zero.path), &zero, None).unwrap_err().errno, Errno::EXIST);
            symlink("/null", "/tmp/root/link").unwrap();
            let link = device("/link", 0o20666, 3);
            assert_eq!(directory.make((root, &link.path), &link, None).unwrap_err().errno, Errno::EXIST);
            let above = device("/..", 0o20666, 3);
            assert_eq!(directory.make((root, &above.path), &above, None).unwrap_err().errno, Errno::INVAL);
        });
    }

    #[test]
    fn dev_as_a_link_stays_inside() {
        play(|root| {
            symlink("/real/dev", "/tmp/root/dev").unwrap();
            let null = device("/dev/null", 0o20666, 3);
            Directory::default().make((root, &null.path), &null, None).unwrap();
            assert!(fs::exists("/tmp/root/real/dev/null").unwrap());

            symlink("../outside", "/tmp/root/out").unwrap();
            let out = device("/out/null", 0o20666, 3);
            let failure = Directory::default().make((root, &out.path), &out, None).unwrap_err();
            assert_eq!(failure.operation, resolve::LEAVES_ROOT);
            let failure = Directory::default().link((root, c"/out/x"), c"x", c"/out/x").unwrap_err();
            assert_eq!(failure.operation, resolve::LEAVES_ROOT);
            assert_eq!(fs::read_dir("/tmp/outside").unwrap().count(), 0);
        });
    }

    #[test]
    fn links_are_made_once() {
        play(|root| {
            let mut directory = Directory::default();
            directory.link((root, c"/dev/fd"), c"/proc/self/fd", c"/dev/fd").unwrap();
            directory.link((root, c"/dev/fd"), c"/elsewhere", c"/dev/fd").unwrap();
            assert_eq!(fs::read_link("/tmp/root/dev/fd").unwrap().to_str(), Some("/proc/self/fd"));
        });
    }

    #[test]
    fn a_user_namespace_binds_the_hosts_node() {
        let (null, again, third) = (tree("/dev/null"), tree("/dev/null"), tree("/dev/null"));
        play_unprivileged(|root| {
            let step = DeviceStep { bind: Some(SourceId(0)), ..device("/dev/null", 0o20666, 3) };
            let mut directory = Directory::default();
            let plain = device("/dev/zero", 0o20666, 5);
            assert_eq!(directory.make((root, &plain.path), &plain, None).unwrap_err().errno, Errno::PERM);
            directory.make((root, &step.path), &step, Some(null.as_fd())).unwrap();
            directory.make((root, &step.path), &step, Some(again.as_fd())).unwrap();
            assert_eq!(fs::metadata("/tmp/root/dev/null").unwrap().rdev(), makedev(1, 3));
            symlink("/dev/null", "/tmp/root/dev/link").unwrap();
            let link = DeviceStep { path: c("/dev/link"), ..step.clone() };
            assert_eq!(
                directory.make((root, &link.path), &link, Some(third.as_fd())).unwrap_err().errno,
                Errno::LOOP
            );
        });
    }
}
