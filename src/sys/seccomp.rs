//! seccomp(2): a finished filter, loaded by the process that it is for.

use std::os::fd::{FromRawFd, OwnedFd};

use rustix::io::Errno;

use super::checked;

/// One instruction of classic BPF, `struct sock_filter` of linux/filter.h.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// Operation, BPF_*.
    pub code: u16,
    /// Instructions to skip where a comparison holds.
    pub jump_true: u8,
    /// The same where it does not.
    pub jump_false: u8,
    /// Constant operand.
    pub constant: u32,
}

/// Every later thread and the calling process's others too.
pub const FLAG_TSYNC: u32 = 1;
/// Log actions but ALLOW.
pub const FLAG_LOG: u32 = 1 << 1;
/// Leave speculative store bypass alone.
pub const FLAG_SPEC_ALLOW: u32 = 1 << 2;
/// Give back a listener.
pub const FLAG_NEW_LISTENER: u32 = 1 << 3;
/// TSYNC's failure is ESRCH: it may go together with a listener then.
pub const FLAG_TSYNC_ESRCH: u32 = 1 << 4;
/// A notified call that was received waits killably.
pub const FLAG_WAIT_KILLABLE_RECV: u32 = 1 << 5;

/// Loads a filter of at most 4096 instructions into this process; with [`FLAG_NEW_LISTENER`] comes its
/// listener. Allocates nothing.
pub fn load(program: &[Instruction], flags: u32) -> Result<Option<OwnedFd>, Errno> {
    const SECCOMP_SET_MODE_FILTER: libc::c_uint = 1;
    let length = u16::try_from(program.len()).map_err(|_| Errno::INVAL)?;
    let filter = libc::sock_fprog { len: length, filter: program.as_ptr().cast_mut().cast() };
    // SAFETY: `filter` describes `program`, whose elements have the layout of sock_filter; the kernel
    // only reads both, and both outlive the call.
    let result = checked(unsafe {
        libc::syscall(libc::SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &raw const filter)
    })?;
    if flags & FLAG_NEW_LISTENER == 0 {
        return match result {
            0 => Ok(None),
            // TSYNC: the thread that could not be brought along.
            _ => Err(Errno::SRCH),
        };
    }
    // SAFETY: with NEW_LISTENER a result that is no error is a new descriptor, which nobody else owns.
    Ok(Some(unsafe { OwnedFd::from_raw_fd(result as i32) }))
}
