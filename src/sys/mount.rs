//! mount_setattr(2), which rustix does not have.

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;

use super::checked;

/// `struct mount_attr` of linux/mount.h, first version.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MountAttr {
    /// `MOUNT_ATTR_*` to set.
    pub set: u64,
    /// `MOUNT_ATTR_*` to clear first.
    pub clear: u64,
    /// One of MS_SHARED, MS_SLAVE, MS_PRIVATE, MS_UNBINDABLE; 0 leaves it.
    pub propagation: u64,
    /// The user namespace of an idmapped mount.
    pub userns_fd: u64,
}

/// Changes the mount that `mount` is the root of; with `recursive`, everything mounted below too.
pub fn mount_setattr(mount: BorrowedFd<'_>, recursive: bool, attr: &MountAttr) -> Result<(), Errno> {
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is a NUL-terminated constant; pointer and size describe `attr`, a repr(C)
    // struct with the kernel's layout that is only read and outlives the call.
    checked(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            std::ptr::from_ref(attr),
            size_of::<MountAttr>(),
        )
    })?;
    Ok(())
}

/// Runs `body` in a process of its own, in new namespaces of the kinds in `flags`, and returns its
/// exit status. For tests: what they mount is gone with them.
#[cfg(test)]
pub fn in_namespaces(flags: rustix::thread::UnshareFlags, body: impl FnOnce() -> i32) -> i32 {
    // SAFETY: fork(2) has no preconditions; the child goes on with one thread, as copied, and leaves
    // through _exit without returning into the test harness. glibc keeps malloc usable there.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "fork(2)");
    if pid == 0 {
        // SAFETY: no namespace of files is split from the threads that use it: this process has one.
        let status = match unsafe { rustix::thread::unshare_unsafe(flags) } {
            Ok(()) => body(),
            Err(_) => 99,
        };
        // SAFETY: _exit(2) has no preconditions.
        unsafe { libc::_exit(status) };
    }
    let mut status = 0;
    // SAFETY: `status` is writable for the call; `pid` is a child of ours that nobody else waits for.
    let waited = unsafe { libc::waitpid(pid, &mut status, 0) };
    assert_eq!(waited, pid, "waitpid(2)");
    if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { 128 + libc::WTERMSIG(status) }
}
