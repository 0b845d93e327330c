//! The program's first instructions: where a command is to run from the sealed mount of
//! [`crate::sealed`], it is executed from there before anything else.
//!
//! The second exec would otherwise come after a whole start-up: that of the C library, which asks the
//! processor what it can do (CPUID, which traps to the hypervisor of a virtual machine, a hundred times),
//! and that of Rust. What is refused here is left to [`crate::sealed::seal`], which says why.
//!
//! Before `_start` there is no thread-local storage, and what the C library chooses by processor (memcpy,
//! memset, strlen) cannot be called: hence raw system calls, volatile reads where a compiler would see a
//! loop that it has a function for, and no arrays or structs that are copied. The linker is told of `rcrun_start` by build.rs.

use core::arch::{asm, global_asm};
use core::ffi::CStr;
use core::mem::MaybeUninit;
use core::ptr::read_volatile;

#[cfg(target_arch = "x86_64")]
global_asm!(
    ".pushsection .text.rcrun_start,\"ax\",@progbits",
    ".globl rcrun_start",
    ".type rcrun_start,@function",
    "rcrun_start:",
    "push rdx",
    "lea rdi, [rsp + 8]",
    "sub rsp, 8",
    "call {begin}",
    "add rsp, 8",
    "pop rdx",
    "jmp _start",
    ".size rcrun_start, . - rcrun_start",
    ".popsection",
    begin = sym begin,
);

#[cfg(target_arch = "aarch64")]
global_asm!(
    ".pushsection .text.rcrun_start,\"ax\",@progbits",
    ".globl rcrun_start",
    ".type rcrun_start,@function",
    "rcrun_start:",
    "mov x19, x0",
    "mov x0, sp",
    "bl {begin}",
    "mov x0, x19",
    "b _start",
    ".size rcrun_start, . - rcrun_start",
    ".popsection",
    begin = sym begin,
);

const EXE: &CStr = c"/proc/self/exe";
const NOTHING: &CStr = c"";
/// STATX_NLINK of linux/stat.h; the attributes come unasked.
const STATX_NLINK: usize = 4;
/// STATX_ATTR_MOUNT_ROOT of linux/stat.h, as an attribute bit.
const MOUNT_ROOT: u64 = 0x2000;
/// OPEN_TREE_CLONE and OPEN_TREE_CLOEXEC (O_CLOEXEC) of linux/mount.h.
const CLONE_CLOEXEC: usize = 1 | libc::O_CLOEXEC as usize;
const AT_FDCWD: usize = libc::AT_FDCWD as isize as usize;
const AT_EMPTY_PATH: usize = libc::AT_EMPTY_PATH as usize;

/// `struct statx` of linux/stat.h, as far as it matters.
#[repr(C)]
struct Stat {
    mask: u32,
    block_size: u32,
    attributes: u64,
    links: u32,
    _rest: [u32; 59],
}

/// `struct mount_attr` of linux/mount.h.
#[repr(C)]
struct Attributes {
    set: u64,
    clear: u64,
    propagation: u64,
    userns_fd: u64,
}

/// Not on the stack, where it would be filled by a call of memset.
static READ_ONLY: Attributes = Attributes { set: 1, clear: 0, propagation: 0, userns_fd: 0 };

/// `stack` is what the kernel hands over: argc, argv, NULL, the environment, NULL.
extern "C" fn begin(stack: *const *const u8) {
    // SAFETY: the kernel has laid the stack out so, execve(2).
    unsafe {
        let count = read_volatile(stack) as usize;
        let args = stack.add(1);
        let mut index = 1;
        while index < count {
            let word = read_volatile(args.add(index));
            if is(word, b"run\0") || is(word, b"create\0") || is(word, b"exec\0") {
                return execute_sealed(args, args.add(count + 1));
            }
            index += 1;
        }
    }
}

/// Is this string of C's `name`, which ends in NUL, too?
///
/// # Safety
/// `word` points to a string that ends in NUL.
unsafe fn is(word: *const u8, name: &[u8]) -> bool {
    let mut index = 0;
    while index < name.len() {
        // SAFETY: what was equal so far had no NUL, so the string goes on here.
        let (one, other) =
            unsafe { (read_volatile(word.add(index)), read_volatile(name.as_ptr().add(index))) };
        if one != other {
            return false;
        }
        index += 1;
    }
    true
}

/// Returns if this is the sealed program, or if it cannot be sealed here.
///
/// # Safety
/// Both arrays end in NULL and point to strings that end in NUL.
unsafe fn execute_sealed(args: *const *const u8, env: *const *const u8) {
    let exe = EXE.as_ptr() as usize;
    // SAFETY: pointers to what the kernel reads and writes, for the length of each call.
    unsafe {
        let mut stat = MaybeUninit::<Stat>::uninit();
        let found = stat.as_mut_ptr() as usize;
        if system_call(libc::SYS_statx, AT_FDCWD, exe, 0, STATX_NLINK, found) != 0 || is_sealed(&stat) {
            return;
        }
        let tree = system_call(libc::SYS_open_tree, AT_FDCWD, exe, CLONE_CLOEXEC, 0, 0);
        if tree < 0 {
            return;
        }
        let (tree, nothing) = (tree as usize, NOTHING.as_ptr() as usize);
        let (set, size) = (&raw const READ_ONLY as usize, size_of::<Attributes>());
        if system_call(libc::SYS_mount_setattr, tree, nothing, AT_EMPTY_PATH, set, size) == 0
            // What is not recognised as sealed would be sealed again, without an end.
            && system_call(libc::SYS_statx, tree, nothing, AT_EMPTY_PATH, STATX_NLINK, found) == 0
            && is_sealed(&stat)
        {
            system_call(libc::SYS_execveat, tree, nothing, args as usize, env as usize, AT_EMPTY_PATH);
        }
        system_call(libc::SYS_close, tree, 0, 0, 0, 0);
    }
}

/// A mount of nothing but this file, or a file without a name. Whether the mount is read-only is for
/// [`crate::sealed`] to see.
///
/// # Safety
/// statx(2) has filled it.
unsafe fn is_sealed(stat: &MaybeUninit<Stat>) -> bool {
    // SAFETY: as the caller says.
    let stat = unsafe { stat.assume_init_ref() };
    stat.attributes & MOUNT_ROOT != 0 || stat.links == 0
}

/// # Safety
/// As the system call asks for.
#[inline(always)]
unsafe fn system_call(number: libc::c_long, a: usize, b: usize, c: usize, d: usize, e: usize) -> isize {
    let result: isize;
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the kernel keeps all registers but these.
    unsafe {
        asm!("syscall", inlateout("rax") number as isize => result, in("rdi") a, in("rsi") b, in("rdx") c,
            in("r10") d, in("r8") e, lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: the kernel keeps all registers but these.
    unsafe {
        asm!("svc 0", in("x8") number, inlateout("x0") a as isize => result, in("x1") b, in("x2") c, in("x3") d,
            in("x4") e, options(nostack));
    }
    result
}
