//! The only unsafe code: system calls that neither rustix nor nix offers, each behind a safe door.
//!
//! What is called between clone3(2) and execve(2) neither allocates nor takes a lock.
#![allow(unsafe_code)]

pub mod bpf;
pub mod clone;
pub mod detached;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod entry;
pub mod memory;
pub mod mount;
pub mod names;
pub mod pidfd;
pub mod process;
pub mod seccomp;
pub mod spawn;
pub mod start;
pub mod tuning;

use rustix::io::Errno;

/// Why a step of the child failed, small enough to cross a fork and a socket unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The operation, as its man page is called: `move_mount`, `mkdirat`, ...
    pub operation: &'static str,
    /// What the kernel said.
    pub errno: Errno,
    /// What it said in words, where it did.
    pub note: Note,
}

/// The kernel's own words on a failure: the message log of fsopen(2). Empty for most.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Note {
    bytes: [[u8; 16]; 5],
}

impl Note {
    /// The first line of `text`, as much of it as there is room for.
    pub fn from(text: &[u8]) -> Self {
        let line = text.split(|&byte| byte == b'\n' || byte == 0).next().unwrap_or_default();
        let mut note = Self::default();
        for (to, &from) in note.bytes.as_flattened_mut().iter_mut().zip(line) {
            *to = if from.is_ascii_graphic() || from == b' ' { from } else { b'?' };
        }
        note
    }

    /// Printable ASCII, perhaps empty.
    pub fn as_str(&self) -> &str {
        let bytes = self.bytes.as_flattened();
        let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
        bytes.get(..end).and_then(|line| str::from_utf8(line).ok()).unwrap_or_default()
    }
}

impl std::fmt::Debug for Note {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

/// Names the operation of a failed system call.
pub trait During<T> {
    /// `result` with `operation` beside its errno.
    fn during(self, operation: &'static str) -> Result<T, Failure>;
}

impl<T> During<T> for Result<T, Errno> {
    fn during(self, operation: &'static str) -> Result<T, Failure> {
        self.map_err(|errno| Failure { operation, errno, note: Note::default() })
    }
}

/// The result of a raw system call as rustix has it.
pub(crate) fn checked(result: libc::c_long) -> Result<libc::c_long, Errno> {
    if result < 0 {
        // SAFETY: __errno_location has no preconditions; it points to this thread's errno, which the
        // failed call through libc::syscall has just set.
        return Err(Errno::from_raw_os_error(unsafe { *libc::__errno_location() }));
    }
    Ok(result)
}

/// Fills `bytes` from getrandom(2).
pub fn random(bytes: &mut [u8]) {
    // SAFETY: the pointer and length describe `bytes`, which is writable for the whole call.
    let got = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
    assert_eq!(got, bytes.len() as isize, "getrandom(2) gives up to 256 bytes whole");
}
