//! What can go wrong with a cgroup: each variant is a failed operation with its object.

use std::fmt;
use std::path::PathBuf;

use rustix::io::Errno;

use super::systemd::Manager;

/// A limit of `linux.resources` that cannot become a write to a cgroup; found without touching the host.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum LimitError {
    /// A field that only cgroup v1 has.
    #[error("{field} is not supported: cgroup v2 has no such limit; remove it from the configuration")]
    VersionOneOnly {
        /// JSON path of the field.
        field: String,
    },
    /// A value that no kernel takes.
    #[error("{field} is {value}: {reason}")]
    Value {
        /// JSON path of the field.
        field: String,
        /// What it holds.
        value: String,
        /// What it should hold.
        reason: &'static str,
    },
    /// The host does not have the limit's controller.
    #[error(
        "cannot apply {field} to cgroup {cgroup}: the controller {controller:?} is missing on this host \
         (cgroup v2 has {available}); enable it for cgroup v2, or leave such limits out with \
         --missing-controllers skip"
    )]
    MissingController {
        /// JSON path of the limit.
        field: String,
        /// The controller that it needs.
        controller: String,
        /// The cgroup that should get it.
        cgroup: String,
        /// The controllers that the host has.
        available: String,
    },
}

/// A failed operation on the cgroup hierarchy.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// Nothing of cgroup v2 on this host.
    #[error(
        "cgroup v1 is not supported: no cgroup2 file system is mounted; mount one (mount -t cgroup2 none \
         /sys/fs/cgroup) or boot with systemd.unified_cgroup_hierarchy=1"
    )]
    NoHierarchy,
    /// A file of procfs that says where cgroups are.
    #[error("cannot read {file}: {}", words(.errno))]
    ReadProc {
        /// The file.
        file: String,
        /// Why.
        errno: Errno,
    },
    /// The kernel names no cgroup v2 of ours.
    #[error("/proc/self/cgroup has no line 0:: for cgroup v2: cgroup v1 is not supported")]
    NoOwnCgroup,
    /// `linux.cgroupsPath` is no path of a cgroup.
    #[error("linux.cgroupsPath {path:?} is not valid: {reason}")]
    Path {
        /// The path.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// An annotation `org.systemd.property.*` that is no property.
    #[error("annotation {key} is {value:?}: {reason}")]
    Annotation {
        /// The annotation's name.
        key: String,
        /// Its value.
        value: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The bus cannot be reached.
    #[error(
        "{manager} cannot be reached over D-Bus: {reason}: leave --systemd-cgroup out, and rcrun makes the cgroup itself"
    )]
    NoSystemd {
        /// Which one.
        manager: Manager,
        /// What the connection said.
        reason: String,
    },
    /// systemd refused.
    #[error("systemd: {operation} of unit {unit}: {reason}")]
    Systemd {
        /// The method.
        operation: &'static str,
        /// The unit.
        unit: String,
        /// systemd's own words.
        reason: String,
    },
    /// A limit that cannot be planned.
    #[error(transparent)]
    Limit(#[from] LimitError),
    /// mkdir(2) of a cgroup.
    #[error("cannot make cgroup {cgroup}: {}{}", words(.errno), create_hint(.errno))]
    Create {
        /// The cgroup.
        cgroup: String,
        /// Why.
        errno: Errno,
    },
    /// open(2) of a cgroup's directory.
    #[error("cannot open cgroup {cgroup}: {}", words(.errno))]
    Open {
        /// The cgroup.
        cgroup: String,
        /// Why.
        errno: Errno,
    },
    /// The container's cgroup belongs to somebody already.
    #[error("cgroup {cgroup} has processes already: choose another linux.cgroupsPath, or end them")]
    Occupied {
        /// The cgroup.
        cgroup: String,
    },
    /// A process born in a frozen cgroup would never run.
    #[error("cgroup {cgroup} is frozen: write 0 to cgroup.freeze of it or of the ancestor that is frozen")]
    FrozenAlready {
        /// The cgroup.
        cgroup: String,
    },
    /// cgroup.subtree_control does not take the controllers.
    #[error("cannot enable {controllers} for the cgroups below {cgroup}: {}{}", words(.errno), enable_hint(.errno))]
    Enable {
        /// As written: `+memory +pids`.
        controllers: String,
        /// The cgroup whose cgroup.subtree_control it was.
        cgroup: String,
        /// Why.
        errno: Errno,
    },
    /// A file of a cgroup cannot be read.
    #[error("cannot read {file} of cgroup {cgroup}: {}", words(.errno))]
    Read {
        /// The file.
        file: String,
        /// The cgroup.
        cgroup: String,
        /// Why.
        errno: Errno,
    },
    /// A file of a cgroup does not take a value that is no limit.
    #[error("cannot write {value:?} to {file} of cgroup {cgroup}: {}", words(.errno))]
    Write {
        /// The file.
        file: String,
        /// The value.
        value: String,
        /// The cgroup.
        cgroup: String,
        /// Why.
        errno: Errno,
    },
    /// A limit that the kernel does not take.
    #[error("cannot set {file} to {value:?} in cgroup {cgroup} ({field}): {}{}", words(.errno), limit_hint(.file, .errno))]
    SetLimit {
        /// The file.
        file: String,
        /// The value.
        value: String,
        /// The cgroup.
        cgroup: String,
        /// JSON path of the limit.
        field: String,
        /// Why.
        errno: Errno,
    },
    /// `checkBeforeUpdate` asked not to kill what runs.
    #[error(
        "{field} of {limit} is not above the {usage} bytes in use by cgroup {cgroup}: not applied (checkBeforeUpdate)"
    )]
    LimitBelowUsage {
        /// JSON path of the limit.
        field: &'static str,
        /// The limit, in bytes.
        limit: i64,
        /// memory.current, in bytes.
        usage: u64,
        /// The cgroup.
        cgroup: String,
    },
    /// BPF_PROG_LOAD of the device program.
    #[error("cannot load the device rules of cgroup {cgroup} as a BPF program: {}{}", words(.errno), bpf_hint(.errno))]
    LoadDevices {
        /// The cgroup.
        cgroup: String,
        /// Why.
        errno: Errno,
    },
    /// BPF_PROG_ATTACH of the device program.
    #[error("cannot attach the device rules to cgroup {cgroup}: {}{}", words(.errno), bpf_hint(.errno))]
    AttachDevices {
        /// The cgroup.
        cgroup: String,
        /// Why.
        errno: Errno,
    },
    /// Some process did not stop in time.
    #[error(
        "cgroup {cgroup} did not freeze within {seconds} seconds: a process in it is in an uninterruptible \
         system call; it was thawed again"
    )]
    FreezeTimeout {
        /// The cgroup.
        cgroup: String,
        /// How long it was waited for.
        seconds: u64,
    },
    /// kill(2) of one process.
    #[error("cannot send signal {signal} to process {pid} of cgroup {cgroup}: {}", words(.errno))]
    Signal {
        /// The signal's number.
        signal: i32,
        /// The process.
        pid: i32,
        /// The cgroup.
        cgroup: String,
        /// Why.
        errno: Errno,
    },
    /// poll(2) on a file of a cgroup.
    #[error("cannot wait for {file} of cgroup {cgroup}: {}", words(.errno))]
    Wait {
        /// The file.
        file: &'static str,
        /// The cgroup.
        cgroup: String,
        /// Why.
        errno: Errno,
    },
    /// Processes outlived the wait for their end.
    #[error("cgroup {cgroup} still has processes after {seconds} seconds: {pids}")]
    StillPopulated {
        /// The cgroup.
        cgroup: String,
        /// How long it was waited for.
        seconds: u64,
        /// The processes, the first few.
        pids: String,
    },
    /// chown(2) of a cgroup's file.
    #[error("cannot give {file} of cgroup {cgroup} to uid {owner}, the container's root: {}{}", words(.errno), delegate_hint(.errno))]
    Delegate {
        /// The file.
        file: String,
        /// The cgroup.
        cgroup: String,
        /// The new owner.
        owner: u32,
        /// Why.
        errno: Errno,
    },
    /// rmdir(2) of a cgroup.
    #[error("cannot remove cgroup {cgroup}: {}", words(.errno))]
    Remove {
        /// The cgroup.
        cgroup: String,
        /// Why.
        errno: Errno,
    },
}

impl CgroupError {
    /// What the kernel said, where it was the kernel.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::ReadProc { errno, .. }
            | Self::Create { errno, .. }
            | Self::Open { errno, .. }
            | Self::Enable { errno, .. }
            | Self::Read { errno, .. }
            | Self::Write { errno, .. }
            | Self::SetLimit { errno, .. }
            | Self::LoadDevices { errno, .. }
            | Self::AttachDevices { errno, .. }
            | Self::Signal { errno, .. }
            | Self::Wait { errno, .. }
            | Self::Delegate { errno, .. }
            | Self::Remove { errno, .. } => Some(*errno),
            _ => None,
        }
    }

    /// Is the cgroup gone (or was it never there)?
    pub fn is_missing(&self) -> bool {
        matches!(self.errno(), Some(Errno::NOENT | Errno::NODEV))
            && !matches!(self, Self::SetLimit { .. } | Self::Enable { .. })
    }

    /// Was it refused for want of privilege?
    pub fn is_permission(&self) -> bool {
        matches!(self.errno(), Some(Errno::PERM | Errno::ACCESS | Errno::ROFS))
    }
}

/// An errno in words alone, without its number.
fn words(errno: &Errno) -> impl fmt::Display + use<> {
    let text = std::io::Error::from(*errno).to_string();
    match text.rfind(" (os error ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

const NOT_OURS: &str = "; run as root, or have the parent cgroup delegated to this user";

fn delegate_hint(errno: &Errno) -> &'static str {
    match *errno {
        Errno::PERM => "; CAP_CHOWN is needed: mount the cgroup file system with the option ro",
        _ => "",
    }
}

fn create_hint(errno: &Errno) -> &'static str {
    match *errno {
        Errno::PERM | Errno::ACCESS => NOT_OURS,
        Errno::ROFS => "; the cgroup2 file system is mounted read-only here",
        Errno::AGAIN => "; cgroup.max.descendants or cgroup.max.depth of an ancestor is reached",
        _ => "",
    }
}

fn enable_hint(errno: &Errno) -> &'static str {
    match *errno {
        Errno::PERM | Errno::ACCESS => NOT_OURS,
        Errno::ROFS => "; the cgroup2 file system is mounted read-only here",
        Errno::BUSY => {
            "; it has processes of its own, and cgroup v2 limits only the children of a cgroup without: \
             choose another linux.cgroupsPath"
        }
        Errno::NOENT => "; its own parent does not pass that controller on",
        Errno::OPNOTSUPP => "; it is a threaded cgroup",
        _ => "",
    }
}

fn limit_hint(file: &str, errno: &Errno) -> &'static str {
    let controller = file.split('.').next().unwrap_or_default();
    match (*errno, controller) {
        (Errno::NOENT, "hugetlb") => "; this kernel has no huge pages of that size",
        (Errno::NOENT, _) if file.starts_with("memory.swap") => "; this kernel does not account swap",
        (Errno::NOENT, _) if file == "io.weight" => "; this kernel has neither io.cost nor the BFQ scheduler",
        (Errno::NOENT, _) => "; this kernel has no such limit",
        (Errno::PERM | Errno::ACCESS, _) => NOT_OURS,
        (Errno::NODEV, "io") => "; there is no such block device (a partition is none)",
        (Errno::INVAL, "cpuset") => "; give a list such as 0-3,8",
        (Errno::RANGE | Errno::NODEV | Errno::NOSPC, "cpuset") => {
            "; the host or the parent cgroup has no such CPUs or memory nodes"
        }
        (Errno::INVAL, _) if file == "cpu.max" => {
            "; the period goes from 1000 to 1000000 microseconds, the quota from 1000 on, and not below the burst"
        }
        (Errno::INVAL, _) if file == "cpu.max.burst" => "; the burst may not be above the quota",
        (Errno::INVAL, _) if file == "cpu.weight" => "; an idle group (cpu.idle 1) has no weight",
        (Errno::NODEV | Errno::INVAL, "rdma") => "; there is no such RDMA device",
        (Errno::INVAL | Errno::RANGE, _) => "; the value is out of the kernel's range",
        _ => "",
    }
}

fn bpf_hint(errno: &Errno) -> &'static str {
    match *errno {
        Errno::PERM => {
            "; CAP_BPF and CAP_NET_ADMIN (or CAP_SYS_ADMIN) of the initial user namespace are needed"
        }
        Errno::INVAL | Errno::NOSYS => "; the kernel needs CONFIG_CGROUP_BPF",
        Errno::TOOBIG => "; there are too many device rules or programs",
        Errno::NOMEM => "; out of memory, or of RLIMIT_MEMLOCK on kernels before 5.11",
        _ => "",
    }
}
