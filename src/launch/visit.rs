//! A visit to a running container's namespaces by a process of rcrun's that mounts or unmounts there
//! and ends; it never executes anything.
//!
//! What it mounts was opened and detached by the parent, with the host's view. Paths are resolved inside
//! the container's root, which may be hostile. The visitor stays in the host's PID namespace and cannot be
//! traced or looked into. Like the child of a launch it does not allocate, lock, log or panic.

use std::cell::OnceCell;
use std::fmt::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::{DumpableBehavior, set_dumpable_behavior, umask};

use super::error::ChildError;
use super::protocol::{self, Message, Received};
use super::{LaunchError, open};
use crate::namespaces::Kind;
use crate::plan::step::{MountFrom, Source, Step};
use crate::process;
use crate::rootfs::{links, mount, unmount};
use crate::sys::clone::{CloneArguments, spawn};
use crate::sys::process::close_inherited;
use crate::sys::{During, Failure};
use crate::text::FixedText;

/// The container that is visited.
pub struct Visit<'a> {
    /// Its first process.
    pub init: BorrowedFd<'a>,
    /// That process's root, where it is not the root of its mount namespace.
    pub root: Option<BorrowedFd<'a>>,
    /// CLONE_NEW* flags of the namespaces to enter.
    pub flags: u64,
    /// Its cgroup.
    pub cgroup: Option<BorrowedFd<'a>>,
}

impl Visit<'_> {
    /// Opens the sources and performs the steps in the container: all of them, or, where one fails,
    /// as good as none; mount points and links that were made stay.
    pub fn perform(&self, sources: &[Source], steps: &[Step]) -> Result<(), LaunchError> {
        let sources = open::sources(sources, (None, None), self.cgroup)?;
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
                .during("socketpair")?;
        let child = spawn(CloneArguments::default(), || {
            close_inherited(ours.as_fd());
            i32::from(visitor(self, &sources, steps, theirs.as_fd()).is_err())
        })
        .map_err(|error| LaunchError::Clone { error })?;
        drop(theirs);
        let answer = protocol::receive(ours.as_fd());
        let status = child.wait().during("waitid")?;
        match answer.map_err(|error| LaunchError::Protocol { error })? {
            Received::Message(Message::Proceed, _) => Ok(()),
            Received::Failed { errno, text } => Err(LaunchError::Child(ChildError { errno, text })),
            Received::Message(..) => Err(LaunchError::Protocol { error: Errno::PROTO }),
            Received::End => Err(LaunchError::Died {
                how: match status.terminating_signal() {
                    Some(signal) => format!("killed by signal {signal}"),
                    None => format!("exit status {}", status.exit_status().unwrap_or_default()),
                },
            }),
        }
    }
}

fn visitor(
    visit: &Visit<'_>,
    sources: &[OnceCell<OwnedFd>],
    steps: &[Step],
    socket: BorrowedFd<'_>,
) -> Result<(), Errno> {
    umask(Mode::empty());
    let mut text = FixedText::new();
    let failure = match enter(visit) {
        Err(failure) => {
            let _ = text.write_str("enter the container");
            failure
        }
        Ok((root, descriptors)) => match all(root.as_fd(), descriptors.as_fd(), sources, steps) {
            Ok(()) => return protocol::send(socket, Message::Proceed),
            Err((step, failure)) => {
                let _ = write!(text, "{step}");
                failure
            }
        },
    };
    let _ = write!(text, ": {}", failure.operation);
    if !failure.note.as_str().is_empty() {
        let _ = write!(text, ": {}", failure.note.as_str());
    }
    protocol::send_failure(socket, failure.errno.raw_os_error(), &text)
}

/// The container's root and this process's own descriptors in the host's procfs.
fn enter(visit: &Visit<'_>) -> Result<(OwnedFd, OwnedFd), Failure> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable).during("prctl PR_SET_DUMPABLE")?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let descriptors =
        rustix::fs::open(c"/proc/self/fd", flags, Mode::empty()).during("open /proc/self/fd")?;
    process::join::container(visit.init, visit.flags)?;
    if visit.flags & Kind::User.flag() != 0 {
        process::credentials::become_namespace_root()?;
    }
    if let Some(root) = visit.root {
        rustix::process::fchdir(root).during("fchdir")?;
        rustix::process::chroot(c".").during("chroot")?;
    }
    let root = rustix::fs::open(c"/", flags, Mode::empty()).during("openat")?;
    Ok((root, descriptors))
}

fn all<'plan>(
    root: BorrowedFd<'_>,
    descriptors: BorrowedFd<'_>,
    sources: &[OnceCell<OwnedFd>],
    steps: &'plan [Step],
) -> Result<(), (&'plan Step, Failure)> {
    for (index, step) in steps.iter().enumerate() {
        if let Err(failure) = one(root, descriptors, sources, step) {
            for done in steps.iter().take(index).rev() {
                if let Step::Mount(done) = done
                    && !matches!(done.from, MountFrom::Existing | MountFrom::Reconfigured(_))
                {
                    let _ = unmount::at(root, descriptors, &done.target);
                }
            }
            return Err((step, failure));
        }
    }
    Ok(())
}

fn one(
    root: BorrowedFd<'_>,
    descriptors: BorrowedFd<'_>,
    sources: &[OnceCell<OwnedFd>],
    step: &Step,
) -> Result<(), Failure> {
    match step {
        Step::Mount(step) => {
            let slot = step.from.source().and_then(|source| sources.get(source.0));
            let tree = slot.and_then(OnceCell::get).map(|tree| tree.as_fd());
            mount::perform((root, &step.target), step, tree).map(drop)
        }
        Step::CopySymlink(target, path) => links::copy(root, target, path),
        Step::Unmount(path) => unmount::at(root, descriptors, path),
        _ => Err(Errno::NOSYS).during("visit"),
    }
}
