//! How the kernel is to treat a process: scheduler, I/O priority, CPUs, memory policy, personality.
//!
//! sched(7), ioprio_set(2), set_mempolicy(2), personality(2). Everything here is inherited by what
//! the process starts.

use std::collections::HashMap;
use std::ffi::CString;
use std::fmt::{self, Display, Formatter};

use oci_spec::runtime::{
    ExecCPUAffinity, IOPriorityClass, Linux, LinuxIOPriority, LinuxMemoryPolicy, LinuxPersonality,
    LinuxPersonalityDomain, LinuxSchedulerFlag, LinuxSchedulerPolicy, LinuxTimeOffset, MemoryPolicyFlagType,
    MemoryPolicyModeType, Process, Scheduler,
};

use super::PlanError;
use super::index_set::IndexSet;
use super::step::Step;
use crate::spec::SpecError;
use crate::sys::tuning::SchedulerAttributes;

/// One property of a process that the kernel keeps through execve(2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tuning {
    /// personality(2).
    Personality {
        /// PER_*.
        persona: u32,
        /// Its name.
        name: &'static str,
    },
    /// sched_setattr(2).
    Scheduler {
        /// What to set.
        attributes: SchedulerAttributes,
        /// The policy's name.
        policy: &'static str,
    },
    /// ioprio_set(2).
    IoPriority {
        /// Class and priority in one number.
        value: u16,
        /// The class's name.
        class: &'static str,
    },
    /// sched_setaffinity(2).
    Affinity(IndexSet),
    /// set_mempolicy(2).
    MemoryPolicy {
        /// MPOL_* with its flags.
        mode: u32,
        /// The mode's name.
        name: &'static str,
        /// The nodes that it is about.
        nodes: Option<IndexSet>,
    },
}

/// The steps for a process object and what `linux` says about every process of the container.
pub(super) fn steps(process: &Process, linux: Option<&Linux>) -> Result<Vec<Step>, PlanError> {
    let mut tunings = Vec::new();
    if let Some(wanted) = process.scheduler() {
        tunings.push(scheduler(wanted)?);
    }
    if let Some(wanted) = process.io_priority() {
        tunings.push(io_priority(wanted)?);
    }
    if let Some(wanted) = linux.and_then(|linux| linux.personality().as_ref()) {
        tunings.push(personality(wanted)?);
    }
    if let Some(wanted) = linux.and_then(|linux| linux.memory_policy().as_ref()) {
        tunings.push(memory_policy(wanted)?);
    }
    Ok(tunings.into_iter().map(|tuning| Step::Tune(Box::new(tuning))).collect())
}

/// The CPUs of a further process: those that it is born with, and those that it gets in its cgroup.
pub(super) fn affinity(process: &Process) -> Result<(Option<IndexSet>, Option<IndexSet>), PlanError> {
    let Some(wanted) = process.exec_cpu_affinity() else { return Ok((None, None)) };
    let initial = list("process.execCPUAffinity.initial", wanted.initial())?;
    let last = list("process.execCPUAffinity.final", ExecCPUAffinity::cpu_affinity_final(wanted))?;
    // Without a final one, all that the cgroup allows: the initial one was for the way there.
    let last = last.or_else(|| initial.as_ref().map(|_| IndexSet::all()));
    Ok((initial, last))
}

fn list(path: &str, text: &Option<String>) -> Result<Option<IndexSet>, PlanError> {
    let Some(text) = text.as_deref().filter(|text| !text.is_empty()) else { return Ok(None) };
    Ok(Some(IndexSet::parse(text).map_err(|reason| SpecError::invalid(path, reason))?))
}

fn refuse<T>(path: &str, reason: impl Into<String>) -> Result<T, PlanError> {
    Err(SpecError::invalid(path, reason).into())
}

fn scheduler(wanted: &Scheduler) -> Result<Tuning, PlanError> {
    use LinuxSchedulerPolicy as P;
    let (number, policy) = match wanted.policy() {
        P::SchedOther => (0, "SCHED_OTHER"),
        P::SchedFifo => (1, "SCHED_FIFO"),
        P::SchedRr => (2, "SCHED_RR"),
        P::SchedBatch => (3, "SCHED_BATCH"),
        P::SchedIso => {
            return refuse("process.scheduler.policy", "SCHED_ISO is a name that no Linux kernel implements");
        }
        P::SchedIdle => (5, "SCHED_IDLE"),
        P::SchedDeadline => (6, "SCHED_DEADLINE"),
    };
    let real_time = matches!(wanted.policy(), P::SchedFifo | P::SchedRr);
    let nice = wanted.nice().unwrap_or(0);
    if !(-20..=19).contains(&nice) {
        return refuse("process.scheduler.nice", format!("{nice} is outside of -20..19"));
    }
    let priority = wanted.priority().unwrap_or(0);
    match (real_time, priority) {
        (true, 1..=99) | (false, 0) => {}
        (true, _) => {
            return refuse(
                "process.scheduler.priority",
                format!("{priority}: {policy} needs a priority of 1 to 99"),
            );
        }
        (false, _) => {
            let reason = format!("{policy} has no priority: it is for SCHED_FIFO and SCHED_RR");
            return refuse("process.scheduler.priority", reason);
        }
    }
    let times = [("runtime", wanted.runtime()), ("deadline", wanted.deadline()), ("period", wanted.period())];
    if let Some((name, _)) = times.iter().find(|(_, time)| time.is_some_and(|time| time != 0))
        && number != 6
    {
        return refuse(
            &format!("process.scheduler.{name}"),
            format!("{policy} has none: it is for SCHED_DEADLINE"),
        );
    }
    let flags = wanted.flags().iter().flatten().fold(0, |flags, flag| flags | scheduler_flag(*flag));
    let attributes = SchedulerAttributes {
        policy: number,
        flags,
        nice,
        // From 1 to 99, or 0.
        priority: priority.unsigned_abs(),
        runtime: wanted.runtime().unwrap_or(0),
        deadline: wanted.deadline().unwrap_or(0),
        period: wanted.period().unwrap_or(0),
    };
    Ok(Tuning::Scheduler { attributes, policy })
}

/// SCHED_FLAG_* of linux/sched.h.
fn scheduler_flag(flag: LinuxSchedulerFlag) -> u64 {
    use LinuxSchedulerFlag as F;
    match flag {
        F::SchedResetOnFork => 0x01,
        F::SchedFlagReclaim => 0x02,
        F::SchedFlagDLOverrun => 0x04,
        F::SchedFlagKeepPolicy => 0x08,
        F::SchedFlagKeepParams => 0x10,
        F::SchedFlagUtilClampMin => 0x20,
        F::SchedFlagUtilClampMax => 0x40,
    }
}

fn io_priority(wanted: &LinuxIOPriority) -> Result<Tuning, PlanError> {
    let (number, class) = match wanted.class() {
        IOPriorityClass::IoprioClassRt => (1, "IOPRIO_CLASS_RT"),
        IOPriorityClass::IoprioClassBe => (2, "IOPRIO_CLASS_BE"),
        IOPriorityClass::IoprioClassIdle => (3, "IOPRIO_CLASS_IDLE"),
    };
    match u16::try_from(wanted.priority()) {
        Ok(priority @ 0..=7) => Ok(Tuning::IoPriority { value: number << 13 | priority, class }),
        _ => refuse("process.ioPriority.priority", format!("{} is outside of 0..7", wanted.priority())),
    }
}

fn personality(wanted: &LinuxPersonality) -> Result<Tuning, PlanError> {
    if let Some(flag) = wanted.flags().iter().flatten().next() {
        return refuse("linux.personality.flags", format!("{flag:?}: the specification knows no flag yet"));
    }
    Ok(match wanted.domain() {
        LinuxPersonalityDomain::PerLinux => Tuning::Personality { persona: 0, name: "LINUX" },
        LinuxPersonalityDomain::PerLinux32 => Tuning::Personality { persona: 8, name: "LINUX32" },
    })
}

/// The modes of linux.memoryPolicy, by name.
pub const MEMORY_POLICY_MODES: [&str; 7] = [
    "MPOL_DEFAULT",
    "MPOL_BIND",
    "MPOL_INTERLEAVE",
    "MPOL_WEIGHTED_INTERLEAVE",
    "MPOL_PREFERRED",
    "MPOL_PREFERRED_MANY",
    "MPOL_LOCAL",
];

/// The flags of linux.memoryPolicy, by name.
pub const MEMORY_POLICY_FLAGS: [&str; 3] =
    ["MPOL_F_NUMA_BALANCING", "MPOL_F_RELATIVE_NODES", "MPOL_F_STATIC_NODES"];

fn memory_policy(wanted: &LinuxMemoryPolicy) -> Result<Tuning, PlanError> {
    use MemoryPolicyFlagType as F;
    use MemoryPolicyModeType as M;
    let (number, name) = match wanted.mode() {
        M::MpolDefault => (0, "MPOL_DEFAULT"),
        M::MpolPreferred => (1, "MPOL_PREFERRED"),
        M::MpolBind => (2, "MPOL_BIND"),
        M::MpolInterleave => (3, "MPOL_INTERLEAVE"),
        M::MpolLocal => (4, "MPOL_LOCAL"),
        M::MpolPreferredMany => (5, "MPOL_PREFERRED_MANY"),
        M::MpolWeightedInterleave => (6, "MPOL_WEIGHTED_INTERLEAVE"),
    };
    let flag = |flag: &F| match flag {
        F::MpolFStaticNodes => 1 << 15,
        F::MpolFRelativeNodes => 1 << 14,
        F::MpolFNumaBalancing => 1 << 13,
    };
    let flags: u32 = wanted.flags().iter().flatten().map(flag).fold(0, |all, one| all | one);
    let nodes = list("linux.memoryPolicy.nodes", wanted.nodes())?;
    match (wanted.mode(), &nodes) {
        (M::MpolDefault | M::MpolLocal, Some(_)) => {
            return refuse("linux.memoryPolicy.nodes", format!("{name} has no nodes: remove them"));
        }
        (M::MpolDefault | M::MpolLocal | M::MpolPreferred, _) | (_, Some(_)) => {}
        (_, None) => {
            return refuse("linux.memoryPolicy.nodes", format!("missing: {name} needs a node at least"));
        }
    }
    const STATIC_AND_RELATIVE: u32 = 3 << 14;
    if flags & STATIC_AND_RELATIVE == STATIC_AND_RELATIVE {
        let reason = "MPOL_F_STATIC_NODES and MPOL_F_RELATIVE_NODES exclude each other";
        return refuse("linux.memoryPolicy.flags", reason);
    }
    Ok(Tuning::MemoryPolicy { mode: number | flags, name, nodes })
}

/// What to write to /proc/PID/timens_offsets, time_namespaces(7).
pub(super) fn time_offsets(offsets: &HashMap<String, LinuxTimeOffset>) -> Result<CString, PlanError> {
    let mut clocks: Vec<_> = offsets.iter().collect();
    clocks.sort_by_key(|(name, _)| *name);
    let mut text = String::new();
    for (clock, offset) in clocks {
        let path = format!("linux.timeOffsets.{clock}");
        if !matches!(clock.as_str(), "monotonic" | "boottime") {
            return refuse(&path, "no such clock: there are monotonic and boottime");
        }
        let nanoseconds = offset.nanosecs().unwrap_or(0);
        if nanoseconds > 999_999_999 {
            return refuse(
                &format!("{path}.nanosecs"),
                format!("{nanoseconds} is a second or more: use secs"),
            );
        }
        text += &format!("{clock} {} {nanoseconds}\n", offset.secs().unwrap_or(0));
    }
    Ok(super::c_text(&text))
}

impl Display for Tuning {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Personality { name, .. } => write!(f, "set personality {name}"),
            Self::Scheduler { attributes, policy } => {
                write!(f, "set scheduler {policy}")?;
                match attributes.policy {
                    1 | 2 => write!(f, ", priority {}", attributes.priority),
                    6 => write!(
                        f,
                        ", runtime {}, deadline {}, period {} ns",
                        attributes.runtime, attributes.deadline, attributes.period
                    ),
                    _ => write!(f, ", nice {}", attributes.nice),
                }
            }
            Self::IoPriority { value, class } => write!(f, "set I/O priority {class}, {}", value & 7),
            Self::Affinity(cpus) => write!(f, "set CPUs {cpus}"),
            Self::MemoryPolicy { name, nodes: None, .. } => write!(f, "set memory policy {name}"),
            Self::MemoryPolicy { name, nodes: Some(nodes), .. } => {
                write!(f, "set memory policy {name}, nodes {nodes}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn process(field: &str, value: Value) -> Process {
        let mut process = json!({"user": {"uid": 0, "gid": 0}, "cwd": "/", "args": ["true"]});
        process[field] = value;
        serde_json::from_value(process).unwrap()
    }

    fn words(field: &str, value: Value) -> String {
        match steps(&process(field, value), None) {
            Ok(steps) => steps.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
            Err(error) => error.to_string(),
        }
    }

    fn linux(field: &str, value: Value) -> String {
        let linux: Linux = serde_json::from_value(json!({ field: value })).unwrap();
        match steps(&process("terminal", json!(false)), Some(&linux)) {
            Ok(steps) => steps.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn schedulers_in_words() {
        for (value, expected) in [
            (json!({"policy": "SCHED_BATCH", "nice": 5}), "set scheduler SCHED_BATCH, nice 5"),
            (json!({"policy": "SCHED_FIFO", "priority": 99}), "set scheduler SCHED_FIFO, priority 99"),
            (json!({"policy": "SCHED_RR", "priority": 1}), "set scheduler SCHED_RR, priority 1"),
            (
                json!({"policy": "SCHED_DEADLINE", "runtime": 1, "deadline": 2, "period": 3}),
                "set scheduler SCHED_DEADLINE, runtime 1, deadline 2, period 3 ns",
            ),
        ] {
            assert_eq!(words("scheduler", value), expected);
        }
    }

    #[test]
    fn scheduler_flags_are_bits() {
        let names = ["SCHED_RESET_ON_FORK", "SCHED_FLAG_RECLAIM", "SCHED_FLAG_KEEP_POLICY"];
        let steps =
            steps(&process("scheduler", json!({"policy": "SCHED_OTHER", "flags": names})), None).unwrap();
        let [Step::Tune(tuning)] = steps.as_slice() else { panic!("{steps:?}") };
        let Tuning::Scheduler { attributes, .. } = &**tuning else { panic!("{tuning:?}") };
        assert_eq!(attributes.flags, 0x0b);
    }

    #[test]
    fn schedulers_that_cannot_be_are_refused_by_field() {
        for (value, field) in [
            (json!({"policy": "SCHED_OTHER", "nice": 20}), "nice"),
            (json!({"policy": "SCHED_OTHER", "priority": 1}), "priority"),
            (json!({"policy": "SCHED_FIFO"}), "priority"),
            (json!({"policy": "SCHED_RR", "priority": 100}), "priority"),
            (json!({"policy": "SCHED_RR", "priority": -1}), "priority"),
            (json!({"policy": "SCHED_IDLE", "deadline": 7}), "deadline"),
            (json!({"policy": "SCHED_ISO"}), "policy"),
        ] {
            let error = words("scheduler", value);
            assert!(error.starts_with(&format!("config.json: process.scheduler.{field}: ")), "{error}");
        }
    }

    #[test]
    fn io_priorities() {
        let value = json!({"class": "IOPRIO_CLASS_BE", "priority": 3});
        assert_eq!(words("ioPriority", value), "set I/O priority IOPRIO_CLASS_BE, 3");
        for priority in [-1, 8, 70000] {
            let error = words("ioPriority", json!({"class": "IOPRIO_CLASS_RT", "priority": priority}));
            assert!(error.contains("process.ioPriority.priority"), "{error}");
        }
    }

    #[test]
    fn a_further_process_without_final_cpus_gets_all() {
        let cpus = |value| affinity(&process("execCPUAffinity", value)).unwrap();
        let (initial, last) = cpus(json!({"initial": "0-1"}));
        assert_eq!((initial.unwrap().to_string(), last.unwrap()), ("0-1".to_owned(), IndexSet::all()));
        let (initial, last) = cpus(json!({"final": "3"}));
        assert_eq!((initial, last.unwrap().to_string()), (None, "3".to_owned()));
        let error = affinity(&process("execCPUAffinity", json!({"final": "3-1"}))).unwrap_err().to_string();
        assert!(error.contains("process.execCPUAffinity.final"), "{error}");
    }

    #[test]
    fn memory_policies() {
        let value = json!({"mode": "MPOL_BIND", "nodes": "0-1", "flags": ["MPOL_F_STATIC_NODES"]});
        assert_eq!(linux("memoryPolicy", value), "set memory policy MPOL_BIND, nodes 0-1");
        for (value, field) in [
            (json!({"mode": "MPOL_BIND"}), "nodes"),
            (json!({"mode": "MPOL_LOCAL", "nodes": "0"}), "nodes"),
            (json!({"mode": "MPOL_BIND", "nodes": "x"}), "nodes"),
            (
                json!({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES", "MPOL_F_RELATIVE_NODES"]}),
                "flags",
            ),
        ] {
            let error = linux("memoryPolicy", value);
            assert!(error.contains(&format!("linux.memoryPolicy.{field}")), "{error}");
        }
    }

    #[test]
    fn personalities() {
        assert_eq!(linux("personality", json!({"domain": "LINUX32"})), "set personality LINUX32");
        let error = linux("personality", json!({"domain": "LINUX", "flags": ["ADDR_NO_RANDOMIZE"]}));
        assert!(error.contains("linux.personality.flags"), "{error}");
    }

    #[test]
    fn time_offsets_are_a_line_a_clock() {
        let parse = |value: Value| time_offsets(&serde_json::from_value(value).unwrap());
        let text =
            parse(json!({"monotonic": {"secs": 86400}, "boottime": {"secs": -7, "nanosecs": 5}})).unwrap();
        assert_eq!(text.to_str().unwrap(), "boottime -7 5\nmonotonic 86400 0\n");
        for value in [json!({"realtime": {"secs": 1}}), json!({"boottime": {"nanosecs": 1_000_000_000}})] {
            assert!(parse(value).unwrap_err().to_string().contains("linux.timeOffsets."));
        }
    }
}
