//! How the kernel treats this process: calls that rustix does not have.

use rustix::io::Errno;

use super::checked;

/// What sched_setattr(2) sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SchedulerAttributes {
    /// SCHED_* number.
    pub policy: u32,
    /// SCHED_FLAG_* bits.
    pub flags: u64,
    /// For SCHED_OTHER and SCHED_BATCH.
    pub nice: i32,
    /// For SCHED_FIFO and SCHED_RR.
    pub priority: u32,
    /// Nanoseconds, for SCHED_DEADLINE.
    pub runtime: u64,
    /// Nanoseconds, for SCHED_DEADLINE.
    pub deadline: u64,
    /// Nanoseconds, for SCHED_DEADLINE.
    pub period: u64,
}

/// `struct sched_attr` of linux/sched/types.h, with the clamps of Linux 5.3.
#[repr(C)]
struct SchedAttr {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
    util_min: u32,
    util_max: u32,
}

/// sched_setattr(2) of this process.
pub fn set_scheduler(attributes: &SchedulerAttributes) -> Result<(), Errno> {
    let SchedulerAttributes { policy, flags, nice, priority, runtime, deadline, period } = *attributes;
    let size = size_of::<SchedAttr>() as u32;
    let attr = SchedAttr {
        size,
        policy,
        flags,
        nice,
        priority,
        runtime,
        deadline,
        period,
        util_min: 0,
        util_max: 0,
    };
    // SAFETY: `attr` is a sched_attr of the size that it says, and is only read.
    checked(unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attr, 0) }).map(drop)
}

/// ioprio_set(2) of this process: class and priority in one number.
pub fn set_io_priority(value: u16) -> Result<(), Errno> {
    const IOPRIO_WHO_PROCESS: libc::c_int = 1;
    // SAFETY: numbers only.
    checked(unsafe { libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, libc::c_int::from(value)) })
        .map(drop)
}

/// sched_setaffinity(2) of this process: a bit a CPU.
pub fn set_affinity(mask: &[u64]) -> Result<(), Errno> {
    // SAFETY: the length in bytes is that of `mask`, which is only read.
    checked(unsafe { libc::syscall(libc::SYS_sched_setaffinity, 0, size_of_val(mask), mask.as_ptr()) })
        .map(drop)
}

/// sched_getaffinity(2) of this process; `mask` must have room for all CPUs that the kernel may have.
pub fn affinity(mask: &mut [u64]) -> Result<(), Errno> {
    // SAFETY: the length in bytes is that of `mask`, which is writable for the whole call.
    checked(unsafe { libc::syscall(libc::SYS_sched_getaffinity, 0, size_of_val(mask), mask.as_mut_ptr()) })
        .map(drop)
}

/// set_mempolicy(2) of this process: MPOL_* with flags, a bit a node.
pub fn set_memory_policy(mode: u32, nodes: &[u64]) -> Result<(), Errno> {
    // The kernel looks at one bit less than it is told of.
    let bits = if nodes.is_empty() { 0 } else { nodes.len() * 64 + 1 };
    // SAFETY: the kernel reads at most `bits` - 1 bits, and `nodes` has as many; none where it is empty.
    checked(unsafe { libc::syscall(libc::SYS_set_mempolicy, mode, nodes.as_ptr(), bits) }).map(drop)
}

/// personality(2) of this process.
pub fn set_personality(persona: u32) -> Result<(), Errno> {
    // SAFETY: a number only.
    checked(unsafe { libc::syscall(libc::SYS_personality, libc::c_ulong::from(persona)) }).map(drop)
}
