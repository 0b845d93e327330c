//! Labels of security modules: see [`crate::plan::Label`].

use std::ffi::CStr;
use std::os::fd::BorrowedFd;

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::proc;
use crate::plan::Label;
use crate::sys::{During, Failure};

/// Gives this process a label, in one write. `host` is the host's /proc: what a container mounts over
/// its own gets nothing of it.
pub fn apply(host: Option<BorrowedFd<'_>>, label: &Label) -> Result<(), Failure> {
    match label {
        Label::AppArmor { command, .. } => {
            let file = match proc::open_own(host, c"attr/apparmor/exec", OFlags::WRONLY) {
                // Before Linux 5.8 the files of all modules were one.
                Err(Failure { errno: Errno::NOENT, .. }) => {
                    proc::open_own(host, c"attr/exec", OFlags::WRONLY)
                }
                opened => opened,
            }?;
            match rustix::io::write(&file, command.to_bytes()) {
                Err(Errno::NOENT) => {
                    Err(Errno::NOENT).during("write (no such profile is loaded: apparmor_parser(8))")
                }
                result => result.map(drop).during("write"),
            }
        }
        Label::SeLinux(context) => write(host, c"attr/exec", context),
        Label::SeLinuxKey(context) => write(host, c"attr/keycreate", context),
    }
}

fn write(host: Option<BorrowedFd<'_>>, file: &CStr, context: &CStr) -> Result<(), Failure> {
    let file = proc::open_own(host, file, OFlags::WRONLY)?;
    match rustix::io::write(&file, context.to_bytes()) {
        Err(Errno::INVAL) => Err(Errno::INVAL).during("write (the loaded policy has no such context)"),
        result => result.map(drop).during("write"),
    }
}
