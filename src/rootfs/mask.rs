//! Masked and read-only paths.
//!
//! A path is opened once and covered through that descriptor: it cannot be swapped in between.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, fstat, major, minor};
use rustix::io::Errno;
use rustix::mount::{OpenTreeFlags, open_tree};

use super::{Place, mount, release, resolve};
use crate::plan::step::FsOption;
use crate::sys::{During, Failure};

/// Read-only, no set-user-ID, no devices, no execution: `MOUNT_ATTR_*`.
const HIDDEN: u64 = 0xf;

/// What covers masked paths: one empty, read-only tmpfs for all directories, the container's own
/// /dev/null for all files.
#[derive(Default)]
pub struct Masks {
    directory: Option<OwnedFd>,
    file: Option<OwnedFd>,
}

impl Masks {
    /// Hides what is at a place; a missing one is skipped. `null` is where the container's /dev/null is,
    /// `options` are those of the tmpfs: the same for each path.
    pub fn mask(&mut self, at: Place<'_>, null: Place<'_>, options: &[FsOption]) -> Result<(), Failure> {
        let Some(pinned) = pin(at)? else {
            return Ok(());
        };
        if FileType::from_raw_mode(fstat(&pinned).during("fstat")?.st_mode).is_dir() {
            self.cover_directory(pinned.as_fd(), options)?;
        } else {
            self.cover_file(null, pinned.as_fd())?;
        }
        release(pinned);
        Ok(())
    }

    fn cover_directory(&mut self, pinned: BorrowedFd<'_>, options: &[FsOption]) -> Result<(), Failure> {
        if let Some(first) = &self.directory {
            return cover(clone_of(first.as_fd(), false)?, pinned);
        }
        // Attached before the first clone: until Linux 6.15 a detached mount cannot be cloned.
        let first = mount::new_file_system(c"tmpfs", Some(c"tmpfs"), None, options, HIDDEN)?;
        mount::attach(first.as_fd(), pinned)?;
        self.directory = Some(first);
        Ok(())
    }

    fn cover_file(&mut self, null: Place<'_>, pinned: BorrowedFd<'_>) -> Result<(), Failure> {
        let null = match &self.file {
            Some(null) => null,
            None => self.file.insert(null_device(null)?),
        };
        cover(clone_of(null.as_fd(), false)?, pinned)
    }
}

/// Makes what is at a place read-only, with all that is mounted there; a missing one is skipped.
pub fn readonly(at: Place<'_>) -> Result<(), Failure> {
    let Some(pinned) = pin(at)? else {
        return Ok(());
    };
    let tree = clone_of(pinned.as_fd(), true)?;
    mount::make_read_only(tree.as_fd(), true)?;
    cover(tree, pinned.as_fd())?;
    release(pinned);
    Ok(())
}

fn pin((root, path): Place<'_>) -> Result<Option<OwnedFd>, Failure> {
    match resolve::open(root, path) {
        Err(Failure { errno: Errno::NOENT | Errno::NOTDIR, .. }) => Ok(None),
        found => found.map(Some),
    }
}

fn cover(mask: OwnedFd, pinned: BorrowedFd<'_>) -> Result<(), Failure> {
    mount::attach(mask.as_fd(), pinned)?;
    release(mask);
    Ok(())
}

/// A detached copy of an attached mount, from what `of` is a descriptor of.
pub(super) fn clone_of(of: BorrowedFd<'_>, recursive: bool) -> Result<OwnedFd, Failure> {
    let mut flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    open_tree(of, c"", flags).during("open_tree")
}

/// The container's /dev/null, if it is that and nothing that an image has put in its place.
fn null_device((root, path): Place<'_>) -> Result<OwnedFd, Failure> {
    let null = resolve::open(root, path).map_err(|failure| Failure {
        operation: "open /dev/null of the container, to mask files with",
        ..failure
    })?;
    let stat = fstat(&null).during("fstat")?;
    let is_null = (major(stat.st_rdev), minor(stat.st_rdev)) == (1, 3);
    if !is_null || !FileType::from_raw_mode(stat.st_mode).is_char_device() {
        return Err(Errno::NODEV).during("mask a file (/dev/null of the container is not the null device)");
    }
    Ok(null)
}

#[cfg(test)]
mod tests {
    use std::ffi::CStr;
    use std::fs;
    use std::io::ErrorKind;
    use std::os::unix::fs::{MetadataExt, symlink};

    use rustix::fs::{CWD, Mode, makedev, mknodat};

    use super::super::playground::*;
    use super::*;
    use crate::plan::step::{DeviceStep, SourceId};

    const NULL: &CStr = c"/dev/null";

    fn make_null() {
        fs::create_dir("/tmp/root/dev").unwrap();
        let mode = Mode::from_raw_mode(0o666);
        mknodat(CWD, "/tmp/root/dev/null", FileType::CharacterDevice, mode, makedev(1, 3)).unwrap();
    }

    fn make_secrets() {
        for directory in ["one", "two"] {
            fs::create_dir(format!("{ROOT}/{directory}")).unwrap();
            fs::write(format!("{ROOT}/{directory}/secret"), "secret").unwrap();
        }
        fs::write("/tmp/root/a", "secret").unwrap();
        fs::write("/tmp/root/b", "secret").unwrap();
    }

    fn mask_all(root: BorrowedFd<'_>) {
        let mut masks = Masks::default();
        let options = [FsOption::Value(c("mode"), c("0711"))];
        for path in [c"/one", c"/a", c"/missing/x", c"/two", c"/b", c"/b/below"] {
            masks.mask((root, path), (root, NULL), &options).unwrap();
        }
        for directory in ["one", "two"] {
            let directory = format!("{ROOT}/{directory}");
            assert_eq!(fs::metadata(&directory).unwrap().mode(), 0o40711);
            assert_eq!(fs::read_dir(&directory).unwrap().count(), 0, "{directory}");
            let refused = fs::write(format!("{directory}/new"), "").unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::ReadOnlyFilesystem);
        }
        for file in ["a", "b"] {
            assert_eq!(fs::read_to_string(format!("{ROOT}/{file}")).unwrap(), "");
        }
        let all = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let device = |point| {
            let line = all.lines().find(|line| line.split(' ').nth(4) == Some(point)).expect("a mount");
            line.split(' ').nth(2).map(str::to_owned)
        };
        assert_eq!(device("/tmp/root/one"), device("/tmp/root/two"), "one tmpfs for all");
    }

    #[test]
    fn masked_paths_are_empty() {
        play(|root| {
            make_null();
            make_secrets();
            mask_all(root);
        });
    }

    #[test]
    fn masked_paths_are_empty_in_a_user_namespace() {
        let null = tree("/dev/null");
        play_unprivileged(|root| {
            let bind = Some(SourceId(0));
            let step = DeviceStep { path: c("/dev/null"), mode: 0o20666, device: 0, uid: 0, gid: 0, bind };
            super::super::devices::Directory::default()
                .make((root, &step.path), &step, Some(null.as_fd()))
                .unwrap();
            make_secrets();
            mask_all(root);
        });
    }

    #[test]
    fn an_images_file_is_no_null_device() {
        play(|root| {
            make_secrets();
            fs::create_dir("/tmp/root/dev").unwrap();
            let mut masks = Masks::default();
            assert_eq!(masks.mask((root, c"/a"), (root, NULL), &[]).unwrap_err().errno, Errno::NOENT);
            fs::write("/tmp/root/dev/null", "not null").unwrap();
            assert_eq!(masks.mask((root, c"/a"), (root, NULL), &[]).unwrap_err().errno, Errno::NODEV);
            fs::remove_file("/tmp/root/dev/null").unwrap();
            symlink("/b", "/tmp/root/dev/null").unwrap();
            assert_eq!(masks.mask((root, c"/a"), (root, NULL), &[]).unwrap_err().errno, Errno::NODEV);
            assert_eq!(mountinfo("/tmp/root/a"), None);
        });
    }

    #[test]
    fn a_masked_link_masks_what_it_leads_to() {
        play(|root| {
            make_null();
            make_secrets();
            symlink("/one/secret", "/tmp/root/link").unwrap();
            symlink("../outside", "/tmp/root/out").unwrap();
            let mut masks = Masks::default();
            masks.mask((root, c"/link"), (root, NULL), &[]).unwrap();
            assert_eq!(fs::read_to_string("/tmp/root/one/secret").unwrap(), "");
            assert_eq!(
                masks.mask((root, c"/out"), (root, NULL), &[]).unwrap_err().operation,
                resolve::LEAVES_ROOT
            );
            assert_eq!(mountinfo("/tmp/outside"), None);
        });
    }

    fn readonly_all(root: BorrowedFd<'_>) {
        fs::create_dir("/tmp/root/one/mount").unwrap();
        tmpfs_on(path_fd("/tmp/root/one/mount").as_fd());
        for path in [c"/one", c"/a", c"/missing", c"/a/below"] {
            readonly((root, path)).unwrap();
        }
        for file in ["one/secret", "one/mount/new", "a"] {
            let refused = fs::write(format!("{ROOT}/{file}"), "changed").unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::ReadOnlyFilesystem, "{file}");
        }
        assert_eq!(fs::read_to_string("/tmp/root/one/secret").unwrap(), "secret");
        fs::write("/tmp/root/b", "changed").unwrap();
    }

    #[test]
    fn readonly_paths_are_read_only_all_the_way_down() {
        play(|root| {
            make_secrets();
            readonly_all(root);
        });
        play_unprivileged(|root| {
            make_secrets();
            readonly_all(root);
        });
    }

    #[test]
    fn readonly_keeps_the_other_attributes() {
        play(|root| {
            fs::create_dir("/tmp/root/proc").unwrap();
            let mount = mount::new_file_system(c"proc", None, None, &[], 0xe).unwrap();
            mount::attach(mount.as_fd(), path_fd("/tmp/root/proc").as_fd()).unwrap();
            readonly((root, c"/proc/sys")).unwrap();
            let line = mountinfo("/tmp/root/proc/sys").unwrap();
            assert!(line.contains(" ro,nosuid,nodev,noexec,relatime "), "{line}");
        });
    }
}
