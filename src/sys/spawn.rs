//! posix_spawn(3), wait4(2) and fork(2), for programs whose cost is measured.

use std::ffi::CStr;
use std::mem::MaybeUninit;

use rustix::io::Errno;

use super::process::StringArray;

/// What wait4(2) tells of a process that has ended.
#[derive(Clone, Copy, Debug, Default)]
pub struct Waited {
    /// Which one.
    pub pid: i32,
    /// Its status, as wait(2) has it.
    pub status: i32,
    /// Microseconds in user mode, of it and all that it waited for.
    pub user: u64,
    /// Microseconds in the kernel, the same.
    pub system: u64,
    /// The largest resident set of one of them, in KiB. execve(2) hands down the mark of the memory that
    /// it replaces: with posix_spawn(3) that is the spawning process's own.
    pub peak: u64,
}

/// posix_spawn(3) of `path`, which stops the caller until execve(2): its memory is not copied. The
/// program gets the caller's descriptors, environment and directory, no blocked signal, and SIGPIPE's default.
pub fn spawn(path: &CStr, argv: &StringArray) -> Result<i32, Errno> {
    let mut attributes = MaybeUninit::<libc::posix_spawnattr_t>::uninit();
    let mut signals = MaybeUninit::<libc::sigset_t>::uninit();
    let mut pid = 0;
    // SAFETY: attributes and set are initialised by the calls that are made for it before any other use,
    // and these cannot fail in glibc but for an unknown flag. `path` ends in NUL, the array in NULL;
    // environ is read while no other thread of this process can change it (the spawner has one).
    let result = unsafe {
        libc::posix_spawnattr_init(attributes.as_mut_ptr());
        libc::sigemptyset(signals.as_mut_ptr());
        libc::posix_spawnattr_setsigmask(attributes.as_mut_ptr(), signals.as_ptr());
        libc::sigaddset(signals.as_mut_ptr(), libc::SIGPIPE);
        libc::posix_spawnattr_setsigdefault(attributes.as_mut_ptr(), signals.as_ptr());
        let flags = libc::POSIX_SPAWN_SETSIGMASK | libc::POSIX_SPAWN_SETSIGDEF;
        libc::posix_spawnattr_setflags(attributes.as_mut_ptr(), flags as libc::c_short);
        let result = libc::posix_spawn(
            &raw mut pid,
            path.as_ptr(),
            std::ptr::null(),
            attributes.as_ptr(),
            argv.pointers(),
            environ.cast_const().cast(),
        );
        libc::posix_spawnattr_destroy(attributes.as_mut_ptr());
        result
    };
    match result {
        0 => Ok(pid),
        errno => Err(Errno::from_raw_os_error(errno)),
    }
}

unsafe extern "C" {
    /// environ(7).
    static mut environ: *mut *mut libc::c_char;
}

/// wait4(2) for the end of any child.
pub fn wait_any() -> Result<Waited, Errno> {
    let mut status = 0;
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: both places are writable for the whole call; an rusage of zeros is a valid one.
    let (pid, usage) = unsafe {
        let pid = libc::wait4(-1, &raw mut status, 0, usage.as_mut_ptr());
        (super::checked(pid.into())?, usage.assume_init())
    };
    Ok(Waited { pid: pid as i32, status, ..Waited::of(&usage) })
}

/// The high-water mark of this process's own resident set, in KiB.
pub fn own_peak() -> u64 {
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the place is writable for the whole call; an rusage of zeros is a valid one.
    let usage = unsafe {
        libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr());
        usage.assume_init()
    };
    Waited::of(&usage).peak
}

impl Waited {
    fn of(usage: &libc::rusage) -> Self {
        let microseconds = |time: libc::timeval| time.tv_sec as u64 * 1_000_000 + time.tv_usec as u64;
        Self {
            user: microseconds(usage.ru_utime),
            system: microseconds(usage.ru_stime),
            peak: usage.ru_maxrss as u64,
            ..Self::default()
        }
    }
}

/// fork(2): runs `body` in a copy of this process, which ends with its result as exit status; the pid
/// of the copy. `body` may allocate, for glibc keeps its allocator whole in the copy; it must not take a
/// lock that another thread may have held, and must not print.
pub fn fork(body: impl FnOnce() -> i32) -> Result<i32, Errno> {
    // SAFETY: the copy has this thread alone; it leaves through exit_now and never returns into the
    // caller's frames.
    match unsafe { libc::fork() } {
        0 => super::process::exit_now(body()),
        pid => super::checked(pid.into()).map(|pid| pid as i32),
    }
}
