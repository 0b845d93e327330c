//! A program in a process that is nobody's child here: clone(2), then posix_spawn(3) in the clone, which ends.

use std::ffi::{CStr, CString};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;

use super::process::StringArray;

/// Room for posix_spawn(3) in the process between, which takes a stack of its own for what follows.
const STACK: usize = 64 << 10;
/// Above all numbers that are passed on.
const OUT_OF_THE_WAY: i32 = 64;

/// What the process between is to do, and how that went.
struct Order<'a> {
    path: &'a CStr,
    argv: &'a StringArray,
    env: &'a StringArray,
    actions: *const libc::posix_spawn_file_actions_t,
    attributes: *const libc::posix_spawnattr_t,
    result: libc::c_int,
    pid: libc::pid_t,
}

/// Executes the file that `program` has open in a session of its own, with /dev/null as its standard streams and copies of `passed` as
/// descriptors 3, 4 and so on; of the caller's others it gets those that are not close-on-exec. Whoever reaps
/// orphans here is its parent: the caller need not wait for it, and has its pid to send a signal to. Works in a process with threads, and copies no memory.
pub fn spawn(
    program: BorrowedFd<'_>,
    argv: &StringArray,
    env: &StringArray,
    passed: &[BorrowedFd<'_>],
) -> Result<i32, Errno> {
    let program = rustix::io::fcntl_dupfd_cloexec(program, OUT_OF_THE_WAY)?;
    let path = CString::new(format!("/proc/self/fd/{}", program.as_raw_fd())).unwrap_or_default();
    let passed = passed.iter().map(|fd| rustix::io::fcntl_dupfd_cloexec(fd, OUT_OF_THE_WAY));
    let passed = passed.collect::<Result<Vec<_>, Errno>>()?;
    let mut actions = MaybeUninit::<libc::posix_spawn_file_actions_t>::uninit();
    let mut attributes = MaybeUninit::<libc::posix_spawnattr_t>::uninit();
    let mut signals = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: each object is initialised by its call before any other use. What glibc can refuse here is memory alone: then
    // the action is missing, and the program says that it was passed nothing.
    unsafe {
        libc::posix_spawn_file_actions_init(actions.as_mut_ptr());
        let null = c"/dev/null".as_ptr();
        libc::posix_spawn_file_actions_addopen(actions.as_mut_ptr(), 0, null, libc::O_RDWR, 0);
        libc::posix_spawn_file_actions_adddup2(actions.as_mut_ptr(), 0, 1);
        libc::posix_spawn_file_actions_adddup2(actions.as_mut_ptr(), 0, 2);
        for (fd, number) in passed.iter().zip(3..) {
            libc::posix_spawn_file_actions_adddup2(actions.as_mut_ptr(), fd.as_raw_fd(), number);
        }
        libc::posix_spawnattr_init(attributes.as_mut_ptr());
        libc::sigemptyset(signals.as_mut_ptr());
        libc::posix_spawnattr_setsigmask(attributes.as_mut_ptr(), signals.as_ptr());
        libc::sigfillset(signals.as_mut_ptr());
        libc::posix_spawnattr_setsigdefault(attributes.as_mut_ptr(), signals.as_ptr());
        let flags = libc::POSIX_SPAWN_SETSIGMASK as i16
            | libc::POSIX_SPAWN_SETSIGDEF as i16
            | libc::POSIX_SPAWN_SETSID;
        libc::posix_spawnattr_setflags(attributes.as_mut_ptr(), flags);
    }
    let mut order = Order {
        path: &path,
        argv,
        env,
        actions: actions.as_ptr(),
        attributes: attributes.as_ptr(),
        result: 0,
        pid: 0,
    };
    let cloned = run_between(&mut order);
    // SAFETY: both are initialised, and used no more.
    unsafe {
        libc::posix_spawn_file_actions_destroy(actions.as_mut_ptr());
        libc::posix_spawnattr_destroy(attributes.as_mut_ptr());
    }
    cloned?;
    match order.result {
        0 => Ok(order.pid),
        errno => Err(Errno::from_raw_os_error(errno)),
    }
}

/// Has `order` executed by a process that shares this one's memory, while this thread stands still.
fn run_between(order: &mut Order<'_>) -> Result<(), Errno> {
    let mut stack = vec![0_u128; STACK / size_of::<u128>()];
    let mut all = MaybeUninit::<libc::sigset_t>::uninit();
    let mut before = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: the stack is aligned, and stays until the process between is gone: CLONE_VFORK returns after that, for its
    // function executes nothing. Sharing the memory it writes to its own stack and to `order` alone; with all signals
    // blocked no handler of this process runs in it. Without an exit signal it is no business of who waits for children here.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr());
        let top = stack.as_mut_ptr().add(stack.len());
        let flags = libc::CLONE_VM | libc::CLONE_VFORK;
        let pid = libc::clone(between, top.cast(), flags, std::ptr::from_mut(order).cast());
        let cloned = super::checked(pid.into());
        libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), std::ptr::null_mut());
        cloned?;
        while super::checked(libc::waitpid(pid, std::ptr::null_mut(), libc::__WALL).into())
            == Err(Errno::INTR)
        {}
    }
    Ok(())
}

extern "C" fn between(order: *mut libc::c_void) -> libc::c_int {
    // SAFETY: it is the order of `run_between`, whose thread stands still meanwhile; its pointers are valid until that goes on.
    unsafe {
        let order = &mut *order.cast::<Order<'_>>();
        order.result = libc::posix_spawn(
            &raw mut order.pid,
            order.path.as_ptr(),
            order.actions,
            order.attributes,
            order.argv.pointers(),
            order.env.pointers(),
        );
    }
    0
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::{AsFd, OwnedFd};

    use super::*;

    fn strings(strings: &[&CStr]) -> StringArray {
        StringArray::new(strings.iter().map(|s| (*s).to_owned()).collect())
    }

    fn open(path: &str) -> OwnedFd {
        std::fs::File::open(path).unwrap().into()
    }

    #[test]
    fn the_program_gets_what_is_passed_and_is_an_orphan() {
        let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
        let argv = strings(&[c"sh", c"-c", c"echo $WORD $PPID $$ $(cut -d' ' -f6 /proc/$$/stat) >&3"]);
        let env = strings(&[c"WORD=hello", c"PATH=/usr/bin:/bin"]);
        spawn(open("/bin/sh").as_fd(), &argv, &env, &[writer.as_fd()]).unwrap();
        drop(writer);
        let mut text = String::new();
        std::fs::File::from(reader).read_to_string(&mut text).unwrap();
        let words: Vec<&str> = text.split_whitespace().collect();
        assert_eq!(words[0], "hello");
        assert_ne!(words[1], std::process::id().to_string());
        assert_eq!(words[2], words[3], "it leads a session");
    }

    #[test]
    fn a_file_that_is_no_program_is_an_error() {
        let none = strings(&[]);
        assert_eq!(spawn(open("/etc/passwd").as_fd(), &strings(&[c"x"]), &none, &[]), Err(Errno::ACCESS));
    }
}
