//! Entering and making namespaces, setns(2) and unshare(2).

use std::os::fd::BorrowedFd;

use rustix::thread::{
    LinkNameSpaceType, ThreadNameSpaceType, UnshareFlags, move_into_link_name_space,
    move_into_thread_name_spaces,
};

use crate::namespaces::Kind;
use crate::sys::{During, Failure};

/// Joins the namespace behind a descriptor of its file.
pub fn namespace(file: BorrowedFd<'_>, kind: Kind) -> Result<(), Failure> {
    let typ = match kind {
        Kind::User => LinkNameSpaceType::User,
        Kind::Ipc => LinkNameSpaceType::InterProcessCommunication,
        Kind::Uts => LinkNameSpaceType::HostNameAndNISDomainName,
        Kind::Network => LinkNameSpaceType::Network,
        Kind::Pid => LinkNameSpaceType::ProcessID,
        Kind::Mount => LinkNameSpaceType::Mount,
        Kind::Cgroup => LinkNameSpaceType::ControlGroup,
        Kind::Time => LinkNameSpaceType::Time,
    };
    move_into_link_name_space(file, Some(typ)).during("setns")
}

/// Joins several namespaces of the process behind a pidfd at once.
pub fn container(pidfd: BorrowedFd<'_>, flags: u64) -> Result<(), Failure> {
    let flags = ThreadNameSpaceType::from_bits_retain(flags as u32);
    move_into_thread_name_spaces(pidfd, flags).during("setns")
}

/// Makes a namespace of this kind and enters it.
pub fn unshare(kind: Kind) -> Result<(), Failure> {
    crate::sys::process::unshare(UnshareFlags::from_bits_retain(kind.flag() as u32)).during("unshare")
}
