//! mount_setattr(2) and statmount(2), which rustix does not have.

use std::ffi::{CStr, OsStr};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

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
    set(mount, c"", libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 }, attr)
}

/// Changes the mount of this process's root directory, and none below it.
pub fn mount_setattr_of_root(attr: &MountAttr) -> Result<(), Errno> {
    set(rustix::fs::CWD, c"/", 0, attr)
}

fn set(at: BorrowedFd<'_>, path: &CStr, flags: i32, attr: &MountAttr) -> Result<(), Errno> {
    // SAFETY: the path ends in NUL; pointer and size describe `attr`, a repr(C)
    // struct with the kernel's layout that is only read and outlives the call.
    checked(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            at.as_raw_fd(),
            path.as_ptr(),
            flags,
            std::ptr::from_ref(attr),
            size_of::<MountAttr>(),
        )
    })?;
    Ok(())
}

/// A mount of this mount namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountStatus {
    /// The unique id of the mount that it is on.
    pub parent: u64,
    /// Where it is mounted, as seen from this process's root.
    pub point: PathBuf,
}

/// statmount(2) of Linux 6.8 by a unique id; ENOENT where this mount namespace has no such mount.
pub fn statmount(id: u64) -> Result<MountStatus, Errno> {
    /// `struct mnt_id_req` of linux/mount.h, first version.
    #[repr(C)]
    struct Request {
        size: u32,
        spare: u32,
        id: u64,
        param: u64,
    }
    const SYS_STATMOUNT: libc::c_long = 457;
    const STATMOUNT_MNT_BASIC: u64 = 2;
    const STATMOUNT_MNT_POINT: u64 = 0x10;
    // `struct statmount` by its words: mnt_parent_id, the word of which mnt_point is the second half, str.
    const PARENT: usize = 6;
    const ROOT_AND_POINT: usize = 13;
    const TEXT: usize = 64;
    let param = STATMOUNT_MNT_BASIC | STATMOUNT_MNT_POINT;
    let request = Request { size: size_of::<Request>() as u32, spare: 0, id, param };
    let mut words = [0_u64; TEXT + libc::PATH_MAX as usize / 8];
    // SAFETY: `request` is a repr(C) struct with the kernel's layout that is only read; pointer and size
    // describe `words`, which is writable and aligned for the kernel's struct; both outlive the call.
    checked(unsafe {
        libc::syscall(SYS_STATMOUNT, &raw const request, words.as_mut_ptr(), size_of_val(&words), 0)
    })?;
    let parent = words[PARENT];
    let [.., a, b, c, d] = words[ROOT_AND_POINT].to_ne_bytes();
    let text: Vec<u8> = words[TEXT..].iter().flat_map(|word| word.to_ne_bytes()).collect();
    let point = text.get(u32::from_ne_bytes([a, b, c, d]) as usize..).unwrap_or_default();
    let point = CStr::from_bytes_until_nul(point).unwrap_or_default();
    Ok(MountStatus { parent, point: OsStr::from_bytes(point.to_bytes()).into() })
}

/// Held for reading by tests of locks and of listening sockets: a process of [`in_namespaces`] has theirs, too,
/// until its end.
#[cfg(test)]
pub static FORKS: std::sync::RwLock<()> = std::sync::RwLock::new(());

/// Runs `body` in a process of its own, in new namespaces of the kinds in `flags`, and returns its
/// exit status. For tests: what they mount is gone with them.
#[cfg(test)]
pub fn in_namespaces(flags: rustix::thread::UnshareFlags, body: impl FnOnce() -> i32) -> i32 {
    static HARNESS: std::sync::OnceLock<u32> = std::sync::OnceLock::new();
    // In a child of such a process the lock is as it was at the fork.
    let forks = *HARNESS.get_or_init(std::process::id) == std::process::id();
    let _forks = forks.then(|| FORKS.write().unwrap_or_else(std::sync::PoisonError::into_inner));
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
