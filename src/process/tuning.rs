//! Scheduler, I/O priority, CPUs, memory policy, personality: see [`crate::plan::Tuning`].

use rustix::io::Errno;

use crate::plan::Tuning;
use crate::sys::{During, Failure, tuning};

/// Applies one property to this process.
pub fn apply(wanted: &Tuning) -> Result<(), Failure> {
    match wanted {
        Tuning::Personality { persona, .. } => tuning::set_personality(*persona).during("personality"),
        Tuning::Scheduler { attributes, .. } => match tuning::set_scheduler(attributes) {
            Err(Errno::PERM) => Err(Errno::PERM).during(
                "sched_setattr (it needs CAP_SYS_NICE; SCHED_DEADLINE also all CPUs of its root domain)",
            ),
            Err(Errno::BUSY) => {
                Err(Errno::BUSY).during("sched_setattr (the CPUs have no such bandwidth to give)")
            }
            result => result.during("sched_setattr"),
        },
        Tuning::IoPriority { value, .. } => match tuning::set_io_priority(*value) {
            Err(Errno::PERM) => Err(Errno::PERM).during("ioprio_set (IOPRIO_CLASS_RT needs CAP_SYS_NICE)"),
            result => result.during("ioprio_set"),
        },
        Tuning::Affinity(cpus) => match tuning::set_affinity(cpus.words()) {
            Err(Errno::INVAL) => {
                Err(Errno::INVAL).during("sched_setaffinity (no such CPU, or not in the cgroup's cpuset)")
            }
            result => result.during("sched_setaffinity"),
        },
        Tuning::MemoryPolicy { mode, nodes, .. } => {
            let nodes = nodes.as_ref().map_or(&[][..], |nodes| nodes.words());
            match tuning::set_memory_policy(*mode, nodes) {
                Err(Errno::NOSYS) => Err(Errno::NOSYS).during("set_mempolicy (a kernel without NUMA)"),
                Err(Errno::INVAL) => Err(Errno::INVAL).during(
                    "set_mempolicy (a mode or flag newer than the kernel, or no such node with memory)",
                ),
                result => result.during("set_mempolicy"),
            }
        }
    }
}
