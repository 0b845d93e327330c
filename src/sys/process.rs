//! The calls of a process about itself on its way to execve(2).

use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::{Errno, FdFlags};

use super::checked;

/// A NULL-terminated array of strings for execve(2), made before the clone.
#[derive(Debug)]
pub struct StringArray {
    strings: Vec<CString>,
    pointers: Vec<*const libc::c_char>,
}

impl StringArray {
    /// Takes the strings and lays out the pointers to them.
    pub fn new(strings: Vec<CString>) -> Self {
        let pointers = strings.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect();
        Self { strings, pointers }
    }

    /// The strings.
    pub fn strings(&self) -> &[CString] {
        &self.strings
    }

    /// What execve(2) takes.
    pub(super) fn pointers(&self) -> *const *mut libc::c_char {
        self.pointers.as_ptr().cast()
    }
}

/// execve(2); returns only to tell why it did not happen.
pub fn execve(path: &CStr, argv: &StringArray, envp: &StringArray) -> Errno {
    // SAFETY: `path` ends in NUL; both arrays end in NULL and point into the CStrings that their
    // StringArray owns and never changes.
    let result = unsafe { libc::execve(path.as_ptr(), argv.pointers.as_ptr(), envp.pointers.as_ptr()) };
    checked(result.into()).err().unwrap_or(Errno::INVAL)
}

/// _exit(2): no destructors, no buffers flushed; for children that share the parent's buffers.
pub fn exit_now(status: i32) -> ! {
    // SAFETY: _exit has no preconditions.
    unsafe { libc::_exit(status) }
}

/// close_range(2) with CLOSE_RANGE_CLOEXEC: every descriptor from `first` on closes at execve.
pub fn close_on_exec_from(first: u32) -> Result<(), Errno> {
    const CLOSE_RANGE_CLOEXEC: libc::c_uint = 4;
    // SAFETY: only flags of descriptors change; ownership stays where it is.
    checked(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, CLOSE_RANGE_CLOEXEC) }).map(drop)
}

/// close_range(2): closes every descriptor from `first` on but those in `keep`, which comes back sorted.
/// For a child of [`super::clone::spawn`] that has forgotten what owned them in its copy of the memory.
pub fn close_all_but(first: u32, keep: &mut [u32]) -> Result<(), Errno> {
    keep.sort_unstable();
    let mut from = first;
    for end in keep.iter().copied().chain([u32::MAX]) {
        if end > from {
            // SAFETY: the owners of these descriptors live in the parent's memory or were forgotten;
            // this process ends in execve or _exit and uses none of the numbers again.
            checked(unsafe { libc::syscall(libc::SYS_close_range, from, end - 1, 0) })?;
        }
        from = from.max(end.saturating_add(1));
    }
    Ok(())
}

/// setrlimit(2) by number, for this process or (`pid`) another.
pub fn set_resource_limit(pid: i32, resource: u32, soft: u64, hard: u64) -> Result<(), Errno> {
    let limit = libc::rlimit64 { rlim_cur: soft, rlim_max: hard };
    // SAFETY: `limit` is valid for reading; the old limit is not asked for.
    checked(unsafe {
        libc::syscall(
            libc::SYS_prlimit64,
            pid,
            resource,
            &raw const limit,
            std::ptr::null_mut::<libc::rlimit64>(),
        )
    })
    .map(drop)
}

/// Brings up `lo` in this process's network namespace: netdevice(7), SIOCSIFFLAGS.
pub fn bring_up_loopback() -> Result<(), super::Failure> {
    use super::During;
    let socket = rustix::net::socket_with(
        rustix::net::AddressFamily::INET,
        rustix::net::SocketType::DGRAM,
        rustix::net::SocketFlags::CLOEXEC,
        None,
    )
    .during("socket")?;
    // SAFETY: an ifreq of zeroes is a valid one.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(c"lo".to_bytes()) {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = libc::IFF_UP as libc::c_short;
    // SAFETY: the request is an ifreq with a name that ends in NUL, only read, and outlives the call.
    let set = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) };
    checked(set.into()).map(drop).during("ioctl SIOCSIFFLAGS")
}

/// keyctl(2) KEYCTL_JOIN_SESSION_KEYRING: the session keyring of this name, a new one where this process
/// may search none; its serial number.
pub fn join_session_keyring(name: &CStr) -> Result<i32, Errno> {
    const KEYCTL_JOIN_SESSION_KEYRING: libc::c_int = 1;
    // SAFETY: `name` ends in NUL and is only read.
    checked(unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, name.as_ptr()) })
        .map(|serial| serial as i32)
}

/// keyctl(2) KEYCTL_SETPERM: who may do what with a key, keyrings(7).
pub fn set_key_permissions(serial: i32, permissions: u32) -> Result<(), Errno> {
    const KEYCTL_SETPERM: libc::c_int = 5;
    // SAFETY: numbers only.
    checked(unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_SETPERM, serial, permissions) }).map(drop)
}

/// Gives SIGPIPE its default action back, which Rust's start-up code has set to ignore, and unblocks
/// every signal: what a new program expects.
pub fn default_signals() {
    // SAFETY: SIG_DFL needs no handler; the set is initialised by sigemptyset before it is used.
    unsafe {
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &none, std::ptr::null_mut());
    }
}

/// Gives SIGCHLD its default action back: a caller that ignores it hands that down through execve(2),
/// and waitid(2) would know no child's status.
pub fn default_sigchld() {
    // SAFETY: SIG_DFL needs no handler.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
}

/// Is the working directory below the root? getcwd(2) answers "(unreachable)..." where it is not.
/// Not inlined: the buffer is on the stack only here.
#[inline(never)]
pub fn working_directory_is_reachable() -> Result<bool, Errno> {
    let mut buffer = [0u8; libc::PATH_MAX as usize];
    // SAFETY: the pointer and length describe `buffer`, which is writable for the whole call.
    checked(unsafe { libc::syscall(libc::SYS_getcwd, buffer.as_mut_ptr(), buffer.len()) })?;
    Ok(buffer[0] == b'/')
}

/// Is descriptor `number` open? fcntl(2) F_GETFD.
pub fn descriptor_is_open(number: u32) -> bool {
    // SAFETY: F_GETFD only reads the flags of whatever the number names.
    unsafe { libc::fcntl(number as libc::c_int, libc::F_GETFD) >= 0 }
}

/// Takes over descriptor `number` as this process's caller has passed it; execve(2) closes it from now
/// on. EBADF where it is not open, or is one of this process's own.
pub fn take_passed(number: i32) -> Result<OwnedFd, Errno> {
    // SAFETY: for the two calls that follow. This process's own descriptors are CLOEXEC from birth, those
    // that came through execve(2) are not.
    let passed = unsafe { BorrowedFd::borrow_raw(if number < 0 { return Err(Errno::BADF) } else { number }) };
    if rustix::io::fcntl_getfd(passed)?.contains(FdFlags::CLOEXEC) {
        return Err(Errno::BADF);
    }
    if number <= libc::STDERR_FILENO {
        // The standard library goes on using these.
        return rustix::io::fcntl_dupfd_cloexec(passed, 3);
    }
    rustix::io::fcntl_setfd(passed, FdFlags::CLOEXEC)?;
    // SAFETY: by its flags until now it is nobody's in this process, and from now on it is not taken again.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// close(2) of this process's copy of a descriptor that its parent goes on owning: for the child of
/// [`super::clone::spawn`], which never returns to the frames that hold the owner.
pub fn close_inherited(descriptor: BorrowedFd<'_>) {
    // SAFETY: the owner lives in the parent's copy of the memory; in this process nobody uses or
    // closes the number again, since the process ends in execve or _exit.
    unsafe { libc::close(descriptor.as_raw_fd()) };
}

/// unshare(2) of namespaces; not of anything that other code of this process relies on.
pub fn unshare(flags: rustix::thread::UnshareFlags) -> Result<(), Errno> {
    debug_assert!(!flags.intersects(rustix::thread::UnshareFlags::FILES));
    // SAFETY: what rustix warns of is CLONE_FILES, under which descriptors of other threads stop being
    // ours; namespaces do not touch descriptors.
    unsafe { rustix::thread::unshare_unsafe(flags) }
}

/// ioctl_ns(2) NS_GET_NSTYPE: the CLONE_NEW* flag of a namespace file.
pub fn namespace_kind(file: BorrowedFd<'_>) -> Result<u32, Errno> {
    const NS_GET_NSTYPE: libc::c_ulong = 0xb703;
    // SAFETY: NS_GET_NSTYPE takes no argument and returns the flag.
    let kind = checked(unsafe { libc::syscall(libc::SYS_ioctl, file.as_raw_fd(), NS_GET_NSTYPE) })?;
    Ok(kind as u32)
}

/// ioctl_ns(2) NS_GET_USERNS: the user namespace that a namespace belongs to; EPERM where that is not this
/// process's own or one below it.
pub fn owner_of_namespace(file: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    const NS_GET_USERNS: libc::c_ulong = 0xb701;
    // SAFETY: NS_GET_USERNS takes no argument and returns a new descriptor.
    let fd = checked(unsafe { libc::syscall(libc::SYS_ioctl, file.as_raw_fd(), NS_GET_USERNS) })?;
    // SAFETY: the kernel has just made it, close-on-exec, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// pidfd_send_signal(2) by number, real-time signals included.
pub fn send_signal(pidfd: BorrowedFd<'_>, number: u32) -> Result<(), Errno> {
    let info = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: without a siginfo the kernel fills in its own, as for kill(2).
    checked(unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), number, info, 0) })
        .map(drop)
}

/// kill(2) by number, real-time signals included; `pid` above 0 only, so never a group.
pub fn kill(pid: i32, number: i32) -> Result<(), Errno> {
    if pid <= 0 {
        return Err(Errno::SRCH);
    }
    // SAFETY: a signal to another process touches no memory of this one.
    checked(unsafe { libc::syscall(libc::SYS_kill, pid, number) }).map(drop)
}

#[cfg(test)]
mod tests {
    use std::os::fd::IntoRawFd;

    use super::*;

    #[test]
    fn only_what_the_caller_has_passed_is_taken_over() {
        let own = tempfile::tempfile().unwrap();
        for number in [-1, 1 << 20, own.as_raw_fd()] {
            assert_eq!(take_passed(number).unwrap_err(), Errno::BADF, "{number}");
        }
        let passed = rustix::io::dup(&own).unwrap().into_raw_fd();
        let taken = take_passed(passed).unwrap();
        assert_eq!(taken.as_raw_fd(), passed);
        assert!(rustix::io::fcntl_getfd(&taken).unwrap().contains(FdFlags::CLOEXEC));
        assert_ne!(take_passed(2).unwrap().as_raw_fd(), 2, "stderr stays");
    }
}
