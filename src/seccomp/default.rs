//! The profile of containers that are made from images: what Docker documents of its own default ("Seccomp security
//! profiles for Docker"): a list of what is allowed, the rest fails with EPERM.
//!
//! In: the capabilities that the container may have; what is the kernel's to refuse without one of them is allowed
//! with it. Out: linux.seccomp, as JSON, with the names of this machine's architectures alone.

use serde_json::{Value, json};

/// Allowed to everyone.
const ALLOWED: &str = "
    accept accept4 access adjtimex alarm bind brk cachestat capget capset chdir chmod chown chown32 clock_adjtime
    clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64 clock_nanosleep
    clock_nanosleep_time64 close close_range connect copy_file_range creat dup dup2 dup3 epoll_create epoll_create1
    epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd eventfd2 execve execveat
    exit exit_group faccessat faccessat2 fadvise64 fadvise64_64 fallocate fanotify_mark fchdir fchmod fchmodat
    fchmodat2 fchown fchown32 fchownat fcntl fcntl64 fdatasync fgetxattr flistxattr flock fork fremovexattr
    fsetxattr fstat fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64 futex futex_requeue futex_time64
    futex_wait futex_waitv futex_wake futimesat getcpu getcwd getdents getdents64 getegid getegid32 geteuid
    geteuid32 getgid getgid32 getgroups getgroups32 getitimer getpeername getpgid getpgrp getpid getppid getpriority
    getrandom getresgid getresgid32 getresuid getresuid32 getrlimit get_robust_list getrusage getsid getsockname
    getsockopt get_thread_area gettid gettimeofday getuid getuid32 getxattr getxattrat inotify_add_watch
    inotify_init inotify_init1 inotify_rm_watch io_cancel ioctl io_destroy io_getevents io_pgetevents
    io_pgetevents_time64 ioprio_get ioprio_set io_setup io_submit ipc kill landlock_add_rule
    landlock_create_ruleset landlock_restrict_self lchown lchown32 lgetxattr link linkat listen listmount listxattr
    listxattrat llistxattr _llseek lremovexattr lseek lsetxattr lstat lstat64 madvise map_shadow_stack membarrier
    memfd_create memfd_secret mincore mkdir mkdirat mknod mknodat mlock mlock2 mlockall mmap mmap2 mprotect
    mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64
    mq_unlink mremap mseal msgctl msgget msgrcv msgsnd msync munlock munlockall munmap name_to_handle_at nanosleep
    newfstatat _newselect open openat openat2 pause pidfd_open pidfd_send_signal pipe pipe2 pkey_alloc pkey_free
    pkey_mprotect poll ppoll ppoll_time64 prctl pread64 preadv preadv2 prlimit64 process_mrelease
    process_vm_readv process_vm_writev pselect6 pselect6_time64 ptrace pwrite64 pwritev pwritev2 read readahead
    readlink readlinkat readv recv recvfrom recvmmsg recvmmsg_time64 recvmsg remap_file_pages removexattr
    removexattrat rename renameat renameat2 restart_syscall rmdir rseq rt_sigaction rt_sigpending rt_sigprocmask
    rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo
    sched_getaffinity sched_getattr sched_getparam sched_get_priority_max sched_get_priority_min sched_getscheduler
    sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity sched_setattr sched_setparam
    sched_setscheduler sched_yield seccomp select semctl semget semop semtimedop semtimedop_time64 send sendfile
    sendfile64 sendmmsg sendmsg sendto setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups setgroups32
    setitimer setpgid setpriority setregid setregid32 setresgid setresgid32 setresuid setresuid32 setreuid
    setreuid32 setrlimit set_robust_list setsid setsockopt set_thread_area set_tid_address setuid setuid32 setxattr
    setxattrat shmat shmctl shmdt shmget shutdown sigaltstack signalfd signalfd4 sigprocmask sigreturn socketcall
    socketpair splice stat stat64 statfs statfs64 statmount statx symlink symlinkat sync sync_file_range syncfs
    sysinfo tee tgkill time timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64 timer_settime
    timer_settime64 timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64 times tkill
    truncate truncate64 ugetrlimit umask uname unlink unlinkat utime utimensat utimensat_time64 utimes vfork
    vmsplice wait4 waitid waitpid write writev";

/// Allowed on x86-64 and its relatives.
const OF_X86: &str = "arch_prctl modify_ldt";

/// Allowed on 64-bit ARM.
const OF_ARM: &str = "arm_fadvise64_64 arm_sync_file_range sync_file_range2 breakpoint cacheflush set_tls";

/// What a capability allows in addition.
const WITH_CAPABILITY: [(&str, &str); 14] = [
    ("CAP_DAC_READ_SEARCH", "open_by_handle_at"),
    (
        "CAP_SYS_ADMIN",
        "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie mount mount_setattr move_mount \
         open_tree perf_event_open quotactl quotactl_fd setdomainname sethostname setns syslog umount umount2 unshare",
    ),
    ("CAP_SYS_BOOT", "reboot"),
    ("CAP_SYS_CHROOT", "chroot"),
    ("CAP_SYS_MODULE", "delete_module finit_module init_module"),
    ("CAP_SYS_PACCT", "acct"),
    ("CAP_SYS_PTRACE", "kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev ptrace"),
    ("CAP_SYS_RAWIO", "ioperm iopl"),
    ("CAP_SYS_TIME", "settimeofday stime clock_settime clock_settime64"),
    ("CAP_SYS_TTY_CONFIG", "vhangup"),
    ("CAP_SYS_NICE", "get_mempolicy mbind set_mempolicy set_mempolicy_home_node"),
    ("CAP_SYSLOG", "syslog"),
    ("CAP_BPF", "bpf"),
    ("CAP_PERFMON", "perf_event_open"),
];

/// CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET: a new namespace takes CAP_SYS_ADMIN.
const NAMESPACES: u64 = 0x7e02_0000;
/// socket(2)'s address family that reaches the host of a virtual machine, past every network namespace.
const AF_VSOCK: u64 = 40;
/// personality(2): Linux, Linux in 32 bits, each with UNAME26, and the question which one it is.
const PERSONALITIES: [u64; 5] = [0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];
const EPERM: u32 = 1;
const ENOSYS: u32 = 38;

/// The profile for a container whose bounding set has `capabilities` (`CAP_...`).
pub fn default_profile(capabilities: &[impl AsRef<str>]) -> Value {
    let has = |name: &str| capabilities.iter().any(|capability| capability.as_ref() == name);
    let allowed =
        |names: Vec<&str>, args: Value| json!({"names": names, "action": "SCMP_ACT_ALLOW", "args": args});
    let compared = |index: u32, op: &str, value: u64| json!({"index": index, "op": op, "value": value});
    let mut names: Vec<&str> = ALLOWED.split_whitespace().collect();
    let (architectures, own) = match std::env::consts::ARCH {
        "aarch64" => (vec!["SCMP_ARCH_AARCH64"], OF_ARM),
        _ => (vec!["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"], OF_X86),
    };
    names.extend(own.split_whitespace());
    for (capability, more) in WITH_CAPABILITY {
        if has(capability) {
            names.extend(more.split_whitespace());
        }
    }
    let mut rules = vec![
        allowed(names, json!([])),
        allowed(vec!["socket"], json!([compared(0, "SCMP_CMP_NE", AF_VSOCK)])),
    ];
    let personality = |value| allowed(vec!["personality"], json!([compared(0, "SCMP_CMP_EQ", value)]));
    rules.extend(PERSONALITIES.map(personality));
    if !has("CAP_SYS_ADMIN") {
        let none = json!([{"index": 0, "op": "SCMP_CMP_MASKED_EQ", "value": NAMESPACES, "valueTwo": 0}]);
        rules.push(allowed(vec!["clone"], none));
        // Its flags are behind a pointer, where no filter can look: as if the kernel had none, libraries use clone.
        rules.push(json!({"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": ENOSYS}));
    }
    json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": EPERM,
        "architectures": architectures,
        "syscalls": rules,
    })
}

#[cfg(test)]
mod tests {
    use super::super::interpreter::{Call, run};
    use super::super::{Arch, compile_for};
    use super::*;

    const ALLOW: u32 = 0x7fff_0000;
    const REFUSED: u32 = 0x0005_0001;

    /// The verdict on a call of x86-64.
    fn verdict(capabilities: &[&str], number: u32, first: u64) -> u32 {
        let mut profile = default_profile(capabilities);
        profile["architectures"] = json!(["SCMP_ARCH_X86_64"]);
        let filter = compile_for(&serde_json::from_value(profile).unwrap(), Arch::X86_64).unwrap();
        let program: Vec<_> =
            filter.program.iter().map(|i| (i.code, i.jump_true, i.jump_false, i.constant)).collect();
        run(&program, &Call { number, arch: 0xc000_003e, arguments: [first, 0, 0, 0, 0, 0] })
    }

    #[test]
    fn ordinary_calls_are_allowed_and_those_that_change_the_host_are_not() {
        for (number, first, expected) in [
            (0, 0, ALLOW),              // read
            (101, 0, ALLOW),            // ptrace
            (165, 0, REFUSED),          // mount
            (169, 0, REFUSED),          // reboot
            (175, 0, REFUSED),          // init_module
            (250, 0, REFUSED),          // keyctl
            (425, 0, REFUSED),          // io_uring_setup
            (41, 2, ALLOW),             // socket AF_INET
            (41, 40, REFUSED),          // socket AF_VSOCK
            (135, 0, ALLOW),            // personality PER_LINUX
            (135, 4, REFUSED),          // personality PER_BSD
            (56, 0x1200011, ALLOW),     // clone, as fork
            (56, 0x1000_0000, REFUSED), // clone with CLONE_NEWUSER
            (435, 0, 0x0005_0026),      // clone3
        ] {
            assert_eq!(verdict(&[], number, first), expected, "{number} {first:#x}");
        }
    }

    #[test]
    fn a_capability_allows_what_it_is_for() {
        for (capability, number, first) in [
            ("CAP_SYS_ADMIN", 165, 0),
            ("CAP_SYS_ADMIN", 56, 0x1000_0000),
            ("CAP_SYS_ADMIN", 435, 0),
            ("CAP_SYS_CHROOT", 161, 0),
            ("CAP_SYS_TIME", 164, 0),
        ] {
            assert_ne!(verdict(&[], number, first), ALLOW, "{number}");
            assert_eq!(verdict(&[capability], number, first), ALLOW, "{number}");
        }
    }
}
