//! PIDFD_GET_INFO of linux/pidfd.h: how a process ended that is nobody's child here.

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;

/// `struct pidfd_info` of linux/pidfd.h, as of 6.15.
#[repr(C)]
#[derive(Default)]
struct Info {
    mask: u64,
    cgroup: u64,
    pid: u32,
    tgid: u32,
    ppid: u32,
    ids: [u32; 8],
    exit_code: i32,
    coredump_mask: u32,
    spare: u32,
}

/// PIDFD_INFO_EXIT: the exit status, once the process was waited for.
const EXIT: u64 = 1 << 3;

/// How a process ended that was waited for by whoever its parent is: its exit status, or 128 and the number of the signal that ended it.
/// None where it was not yet.
/// Linux 6.15; ENOTTY or EINVAL before.
pub fn exit_code(pidfd: BorrowedFd<'_>) -> Result<Option<i32>, Errno> {
    // _IOWR(PIDFS_IOCTL_MAGIC, 11, struct pidfd_info)
    let request = (3_u64 << 30) | ((size_of::<Info>() as u64) << 16) | (0xff << 8) | 11;
    let mut info = Info { mask: EXIT, ..Info::default() };
    // SAFETY: the request's size is that of `info`, a repr(C) struct with the kernel's layout, which is writable for the whole call.
    match super::checked(unsafe { libc::syscall(libc::SYS_ioctl, pidfd.as_raw_fd(), request, &raw mut info) })
    {
        Ok(_) => Ok((info.mask & EXIT != 0).then(|| match info.exit_code & 0x7f {
            0 => info.exit_code >> 8 & 0xff,
            signal => 128 + signal,
        })),
        // Nothing is known of a process that is gone and that nobody had a descriptor of in time.
        Err(Errno::SRCH) => Ok(None),
        Err(errno) => Err(errno),
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;
    use crate::sys::clone::{CloneArguments, spawn};

    #[test]
    fn a_status_is_known_once_somebody_has_waited() {
        let child = spawn(CloneArguments::default(), || 7).unwrap();
        let before = exit_code(child.pidfd.as_fd());
        child.wait().unwrap();
        match (before, exit_code(child.pidfd.as_fd())) {
            (Err(_), after) => assert!(after.is_err(), "an old kernel"),
            (Ok(before), after) => assert_eq!((before, after), (None, Ok(Some(7)))),
        }
    }
}
