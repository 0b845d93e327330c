//! The container's root becomes the process's root, and the host's tree goes away.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{CWD, Mode, OFlags, open};
use rustix::io::Errno;
use rustix::mount::{MoveMountFlags, UnmountFlags, move_mount, unmount};
use rustix::process::{
    PidfdFlags, chdir, chroot as change_root, fchdir, getpid, pidfd_open, pivot_root as pivot,
};

use super::{mount, release};
use crate::namespaces::Kind;
use crate::process::join;
use crate::sys::mount::{MountAttr, mount_setattr_of_root};
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

/// Takes the host's tree away from this mount namespace, before the container's root is attached. What is left as
/// the namespace's root is the file system that the kernel has below the host's. The container's root comes to
/// lie directly on that, which is what pivot_root(2) does in the end; but it also looks at every process
/// of the machine for one that has the old root.
///
/// False where the host's root cannot be taken away, being none of the namespace's mounts or locked: nothing has
/// changed then.
pub fn leave_host() -> Result<bool, Failure> {
    let own = pidfd_open(getpid(), PidfdFlags::empty()).during("pidfd_open")?;
    // Nothing in it is shared since Step::Propagation: what goes away here stays on the host.
    let left = match unmount(c"/", UnmountFlags::DETACH) {
        Err(Errno::INVAL | Errno::PERM) => false,
        gone => {
            gone.during("umount2")?;
            // To the namespace's root, as whoever joins it.
            join::container(own.as_fd(), Kind::Mount.flag())?;
            true
        }
    };
    release(own);
    Ok(left)
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

/// Takes a mount of the host's copy away, or covers it where it is locked in its place. One that went
/// away with another one is gone.
pub fn drop_mount(path: &CStr) -> Result<(), Failure> {
    match unmount(path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(Errno::INVAL | Errno::PERM) => {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let target = match open(path, flags, Mode::empty()) {
                Err(Errno::NOENT) => return Ok(()),
                target => target.during("openat")?,
            };
            let cover = mount::new_file_system(c"tmpfs", Some(c"tmpfs"), None, &[], mount::READ_ONLY)?;
            mount::attach(cover.as_fd(), target.as_fd())?;
            release(cover);
            release(target);
            Ok(())
        }
        Err(error) => Err(error).during("umount2"),
    }
}

/// Makes the mount at `/` read-only, and none below it.
pub fn readonly_root() -> Result<(), Failure> {
    let read_only = MountAttr { set: mount::READ_ONLY, ..MountAttr::default() };
    mount_setattr_of_root(&read_only).during("mount_setattr")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::ErrorKind;

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
            perform_at(root.as_fd(), &new(c"proc", "/proc"), None).unwrap();
            pivot_root(root.as_fd()).unwrap();
            only_the_root_is_left();
            assert_eq!(fs::read_to_string("/proc/self/mountinfo").unwrap().lines().count(), 2);
            readonly_root().unwrap();
            assert_eq!(fs::write("/new", "").unwrap_err().kind(), ErrorKind::ReadOnlyFilesystem);
        });
    }

    #[test]
    fn who_has_left_the_host_finds_the_root_alone() {
        play(|_| {
            fs::write("/tmp/root/in_root", "").unwrap();
            fs::create_dir("/tmp/root/proc").unwrap();
            let root = tree(ROOT);
            assert!(leave_host().unwrap());
            assert!(!fs::exists("/tmp").unwrap() && !fs::exists("/proc/self").unwrap());
            let slave = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
            mount::attach_root(root.as_fd(), slave).unwrap();
            perform_at(root.as_fd(), &new(c"proc", "/proc"), None).unwrap();
            chroot(root.as_fd(), false).unwrap();
            only_the_root_is_left();
            assert_eq!(fs::read_to_string("/proc/self/mountinfo").unwrap().lines().count(), 2);
        });
    }

    #[test]
    fn the_host_is_not_left_from_below_its_root() {
        play(|root| {
            fs::write("/tmp/root/in_root", "").unwrap();
            fchdir(root).unwrap();
            change_root(c".").unwrap();
            assert!(!leave_host().unwrap());
            assert!(fs::exists("/in_root").unwrap());
        });
        // What came along into a user namespace's mount namespace is locked.
        play_unprivileged(|_| assert!(!leave_host().unwrap() && fs::exists("/tmp/root").unwrap()));
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
            for early in [false, true] {
                run(UnshareFlags::NEWNS, || {
                    assert!(mountinfo("/tmp/outside").unwrap().contains(" shared:"));
                    let slave = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
                    mount::set_propagation(slave).unwrap();
                    if early {
                        assert!(leave_host().unwrap());
                        return;
                    }
                    let root = attach();
                    pivot_root(root.as_fd()).unwrap();
                    only_the_root_is_left();
                });
                assert!(mountinfo("/tmp/outside").is_some());
                assert!(mountinfo("/tmp/outside/below").is_some());
            }
        });
    }

    #[test]
    fn a_host_mount_is_dropped_or_covered() {
        play(|_| {
            tmpfs_on(path_fd("/tmp/outside").as_fd());
            drop_mount(c"/tmp/outside").unwrap();
            assert_eq!(mountinfo("/tmp/outside"), None);
            drop_mount(c"/tmp/nowhere").unwrap();
            assert_eq!(mountinfo("/tmp/nowhere"), None);
        });
        // What came along into a user namespace's mount namespace is locked.
        play(|_| {
            tmpfs_on(path_fd("/tmp/outside").as_fd());
            fs::write("/tmp/outside/seen", "").unwrap();
            run(UnshareFlags::NEWUSER | UnshareFlags::NEWNS, || {
                assert_eq!(unmount(c"/tmp/outside", UnmountFlags::DETACH), Err(Errno::INVAL));
                drop_mount(c"/tmp/outside").unwrap();
                assert!(!fs::exists("/tmp/outside/seen").unwrap());
            });
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
