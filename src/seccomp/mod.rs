//! linux.seccomp: a profile in, a finished filter out, and what its agent is told. Pure: no effects.
//!
//! What it means is what libseccomp makes of it under runc: rules of the default's action say nothing,
//! an unconditional rule covers conditional ones, unknown names are passed over, calls newer than the
//! profile get ENOSYS. The filter is written before the clone; the child loads it last.

mod action;
mod arch;
mod assembler;
mod default;
#[cfg(test)]
mod interpreter;
mod kept;
mod multiplex;
mod notify;
mod order;
mod program;
mod rules;
mod syscalls;

use std::path::PathBuf;

use oci_spec::runtime::{LinuxSeccomp, LinuxSeccompFilterFlag as Flag};

pub use arch::Arch;
pub use default::default_profile;
pub use kept::Key;
pub use notify::process_state;
use rules::Profile;

use crate::spec::SpecError;
use crate::sys::seccomp::{self as own, Instruction};

/// The most instructions that the kernel takes, BPF_MAXINSNS.
const MOST: usize = 4096;

/// Names for `rcrun features`.
pub const ACTIONS: [&str; 9] = [
    "SCMP_ACT_ALLOW",
    "SCMP_ACT_ERRNO",
    "SCMP_ACT_KILL",
    "SCMP_ACT_KILL_PROCESS",
    "SCMP_ACT_KILL_THREAD",
    "SCMP_ACT_LOG",
    "SCMP_ACT_NOTIFY",
    "SCMP_ACT_TRACE",
    "SCMP_ACT_TRAP",
];
/// Names for `rcrun features`.
pub const OPERATORS: [&str; 7] = [
    "SCMP_CMP_EQ",
    "SCMP_CMP_GE",
    "SCMP_CMP_GT",
    "SCMP_CMP_LE",
    "SCMP_CMP_LT",
    "SCMP_CMP_MASKED_EQ",
    "SCMP_CMP_NE",
];
/// Names for `rcrun features`.
pub const ARCHITECTURES: [&str; 4] =
    ["SCMP_ARCH_AARCH64", "SCMP_ARCH_X32", "SCMP_ARCH_X86", "SCMP_ARCH_X86_64"];
/// Names for `rcrun features`.
pub const FLAGS: [&str; 4] = [
    "SECCOMP_FILTER_FLAG_LOG",
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
    "SECCOMP_FILTER_FLAG_TSYNC",
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
];

/// A filter, ready to load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// Its program.
    pub program: Vec<Instruction>,
    /// SECCOMP_FILTER_FLAG_* as bits.
    pub flags: u32,
    /// Who is to get its listener.
    pub listener: Option<Listener>,
}

/// The agent that answers the calls of SCMP_ACT_NOTIFY.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Its socket.
    pub path: PathBuf,
    /// What it is told beside the container's state.
    pub metadata: String,
}

/// Compiles a profile for this machine.
pub fn compile(seccomp: &LinuxSeccomp) -> Result<Filter, SpecError> {
    let native = Arch::native().ok_or_else(|| {
        let reason = format!("rcrun has no table of system calls for {}", std::env::consts::ARCH);
        SpecError::invalid("linux.seccomp", reason)
    })?;
    compile_for(seccomp, native)
}

/// Compiles a profile for machines of `native`.
pub fn compile_for(seccomp: &LinuxSeccomp, native: Arch) -> Result<Filter, SpecError> {
    let profile = Profile::new(seccomp, native)?;
    let listener = listener(seccomp, profile.notifies)?;
    let program = program::write(&profile);
    if program.len() > MOST {
        return Err(too_large(program.len()));
    }
    let flags = flags(seccomp, listener.is_some())?;
    Ok(Filter { program, flags, listener })
}

fn too_large(instructions: usize) -> SpecError {
    let reason = format!(
        "its filter needs {instructions} instructions or more, the kernel takes {MOST}: use fewer rules"
    );
    SpecError::invalid("linux.seccomp.syscalls", reason)
}

fn listener(seccomp: &LinuxSeccomp, notifies: bool) -> Result<Option<Listener>, SpecError> {
    let path = seccomp.listener_path().as_ref().filter(|path| !path.as_os_str().is_empty());
    let field = "linux.seccomp.listenerPath";
    match path {
        None if notifies => {
            Err(SpecError::invalid(field, "missing: SCMP_ACT_NOTIFY needs the socket of the one who answers"))
        }
        None if seccomp.listener_metadata().as_ref().is_some_and(|metadata| !metadata.is_empty()) => {
            Err(SpecError::invalid("linux.seccomp.listenerMetadata", format!("needs {field}")))
        }
        Some(path) if !path.is_absolute() => {
            Err(SpecError::invalid(field, format!("{path:?} is not an absolute path")))
        }
        Some(path) if notifies => Ok(Some(Listener {
            path: path.clone(),
            metadata: seccomp.listener_metadata().clone().unwrap_or_default(),
        })),
        _ => Ok(None),
    }
}

/// Without a word about flags it is SPEC_ALLOW, as runc has it.
fn flags(seccomp: &LinuxSeccomp, notifies: bool) -> Result<u32, SpecError> {
    let Some(named) = seccomp.flags() else {
        return Ok(own::FLAG_SPEC_ALLOW | if notifies { own::FLAG_NEW_LISTENER } else { 0 });
    };
    let mut flags = 0;
    for flag in named {
        flags |= match flag {
            Flag::SeccompFilterFlagLog => own::FLAG_LOG,
            Flag::SeccompFilterFlagTsync => own::FLAG_TSYNC,
            Flag::SeccompFilterFlagSpecAllow => own::FLAG_SPEC_ALLOW,
            // It says something of a listener alone; without one the kernel refuses it.
            Flag::SeccompFilterFlagWaitKillableRecv if !notifies => 0,
            Flag::SeccompFilterFlagWaitKillableRecv => own::FLAG_WAIT_KILLABLE_RECV,
        };
    }
    if notifies {
        flags |= own::FLAG_NEW_LISTENER;
        if flags & own::FLAG_TSYNC != 0 {
            flags |= own::FLAG_TSYNC_ESRCH;
        }
    }
    Ok(flags)
}

#[cfg(test)]
mod tests;
