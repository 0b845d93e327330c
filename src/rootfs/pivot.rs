//! The container's root becomes the process's root, and the host's tree goes away.

use std::os::fd::BorrowedFd;

use rustix::fs::{CWD, Mode, OFlags, open};
use rustix::mount::{MoveMountFlags, UnmountFlags, move_mount, unmount};
use rustix::process::{chdir, chroot as change_root, fchdir, pivot_root as pivot};

use super::{mount, release};
use crate::sys::{During, Failure};

/// pivot_root(2) into `root`, without a directory for the old root: it is stacked over the new one
/// and taken away from there.
pub fn pivot_root(root: BorrowedFd<'_>) -> Result<(), Failure> {
    fchdir(root).during("fchdir")?;
    pivot(c".", c".").during("pivot_root")?;
    // Nothing in the old root is shared since Step::Propagation: what goes away here stays on the host.
    unmount(c".", UnmountFlags::DETACH).during("umount2")?;
    chdir(c"/").during("chdir")
}

/// chroot(2) into `root` instead; with `move_mount`, which needs `root` to be a mount, it lies over
/// the host's `/` first.
pub fn chroot(root: BorrowedFd<'_>, move_over: bool) -> Result<(), Failure> {
    fchdir(root).during("fchdir")?;
    if move_over {
        move_mount(root, c"", CWD, c"/", MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH).during("move_mount")?;
    }
    change_root(c".").during("chroot")?;
    chdir(c"/").during("chdir")
}

/// Makes the mount at `/` read-only, and none below it.
pub fn readonly_root() -> Result<(), Failure> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = open(c"/", flags, Mode::empty()).during("openat")?;
    mount::make_read_only(std::os::fd::AsFd::as_fd(&root), false)?;
    release(root);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::ErrorKind;
    use std::os::fd::AsFd;

    use rustix::mount::{MountPropagationFlags, mount_change};
    use rustix::thread::UnshareFlags;

    use super::super::playground::*;
    use super::*;

    fn attach() -> std::os::fd::OwnedFd {
        fs::write("/tmp/root/in_root", "").unwrap();
        std::env::set_current_dir(ROOT).unwrap();
        let root = tree(ROOT);
        let slave = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
        mount::attach_root(root.as_fd(), slave).unwrap();
        root
    }

    fn only_the_root_is_left() {
        assert!(fs::exists("/in_root").unwrap() && fs::exists("in_root").unwrap());
        assert!(!fs::exists("/tmp").unwrap() && !fs::exists("../tmp").unwrap());
    }

    #[test]
    fn pivot_root_leaves_nothing_of_the_host() {
        play(|_| {
            let root = attach();
            fs::create_dir("/tmp/root/proc").unwrap();
            mount::perform(root.as_fd(), &new(c"proc", "/proc"), None).unwrap();
            pivot_root(root.as_fd()).unwrap();
            only_the_root_is_left();
            assert_eq!(fs::read_to_string("/proc/self/mountinfo").unwrap().lines().count(), 2);
            readonly_root().unwrap();
            assert_eq!(fs::write("/new", "").unwrap_err().kind(), ErrorKind::ReadOnlyFilesystem);
        });
    }

    #[test]
    fn pivot_root_works_in_a_user_namespace() {
        play_unprivileged(|_| {
            let root = attach();
            pivot_root(root.as_fd()).unwrap();
            only_the_root_is_left();
            readonly_root().unwrap();
            assert_eq!(fs::write("/new", "").unwrap_err().kind(), ErrorKind::ReadOnlyFilesystem);
        });
    }

    #[test]
    fn what_goes_away_stays_on_the_host() {
        play(|_| {
            tmpfs_on(path_fd("/tmp/outside").as_fd());
            mount_change(c"/tmp/outside", MountPropagationFlags::SHARED).unwrap();
            fs::create_dir("/tmp/outside/below").unwrap();
            tmpfs_on(path_fd("/tmp/outside/below").as_fd());
            run(UnshareFlags::NEWNS, || {
                assert!(mountinfo("/tmp/outside").unwrap().contains(" shared:"));
                let slave = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
                mount::set_propagation(slave).unwrap();
                let root = attach();
                pivot_root(root.as_fd()).unwrap();
                only_the_root_is_left();
            });
            assert!(mountinfo("/tmp/outside").is_some());
            assert!(mountinfo("/tmp/outside/below").is_some());
        });
    }

    #[test]
    fn chroot_enters_the_root_with_and_without_moving_it() {
        for move_over in [false, true] {
            play(|_| {
                let root = attach();
                chroot(root.as_fd(), move_over).unwrap();
                only_the_root_is_left();
            });
        }
    }
}
