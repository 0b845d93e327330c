//! The container's root file system: what the child does to its mount namespace.
//!
//! Enters: a descriptor of the root, steps of the plan, trees that the parent detached.
//! Leaves: mounts, devices, masks, and a process that sees nothing else ([`pivot`]).
//!
//! Runs in the child between clone3(2) and execve(2), with the capabilities of the namespaces it
//! is in: no allocation, no lock, no panic. Every path that comes from the bundle is resolved by
//! [`resolve`] and used through a descriptor afterwards, never by its string a second time.

mod copy_up;
pub mod devices;
pub mod links;
mod long_options;
pub mod mask;
pub mod mount;
mod path;
pub mod pins;
pub mod pivot;
#[cfg(test)]
mod playground;
pub mod resolve;
pub mod terminal;
pub mod unmount;
mod xattr;

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

/// Where something is: a path below a directory of the container. See [`pins::Pins::place`].
pub type Place<'a> = (BorrowedFd<'a>, &'a CStr);

/// Descriptors from this number on are closed as soon as they are not needed.
const FEW: i32 = 192;

/// This process is a container's child that becomes its program.
static EXECUTES: AtomicBool = AtomicBool::new(false);

/// Says that execve(2) follows in this process: [`release`] may leave descriptors to it. Not for processes that stay, such as a server
/// whose every mount would keep a file system busy.
pub fn execve_follows() {
    EXECUTES.store(true, Ordering::Relaxed);
}

/// Lets go of a descriptor of which execve(2) closes what is left: closing the few of an ordinary
/// container one by one would be a quarter of the system calls here. What a plan with hundreds
/// of mounts opens is closed, so that RLIMIT_NOFILE is never in the way, and so is what a process opens that stays.
pub fn release(descriptor: OwnedFd) {
    if EXECUTES.load(Ordering::Relaxed) && descriptor.as_raw_fd() < FEW {
        std::mem::forget(descriptor);
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use super::*;

    #[test]
    fn a_process_that_stays_keeps_nothing() {
        let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
        release(writer);
        let mut byte = [0];
        assert_eq!(rustix::io::read(reader.as_fd(), &mut byte), Ok(0), "the writer is closed");
    }
}
