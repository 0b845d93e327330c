//! Id-mapped mounts: a detached mount whose files have other owners, mount_setattr(2) MOUNT_ATTR_IDMAP.
//!
//! The kernel takes a mapping as a user namespace. One is made by a child that does nothing but wait
//! in it until its file is open; mounts with the same mapping share it.

use std::cell::RefCell;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};

use crate::namespaces::Kind;
use crate::plan::step::{IdMap, UserNamespace};
use crate::sys::clone::{CloneArguments, spawn};
use crate::sys::mount::{MountAttr, mount_setattr};
use crate::sys::process::close_inherited;
use crate::sys::{During, Failure};

const MOUNT_ATTR_IDMAP: u64 = 0x10_0000;

/// The user namespaces of one launch's id-mapped mounts.
#[derive(Default)]
pub struct IdMaps<'plan> {
    open: RefCell<Vec<(&'plan UserNamespace, OwnedFd)>>,
}

impl<'plan> IdMaps<'plan> {
    /// Maps the ids of a detached tree or a new mount, of its top or of all of it.
    pub fn apply(&self, tree: BorrowedFd<'_>, map: &'plan IdMap) -> Result<(), Failure> {
        let mut open = self.open.borrow_mut();
        if !open.iter().any(|(known, _)| **known == map.namespace) {
            open.push((&map.namespace, namespace(&map.namespace)?));
        }
        let found = open.iter().find(|(known, _)| **known == map.namespace);
        let (_, file) = found.ok_or(Errno::BADF).during("mount_setattr")?;
        let attr = MountAttr {
            set: MOUNT_ATTR_IDMAP,
            userns_fd: std::os::fd::AsRawFd::as_raw_fd(file) as u64,
            ..MountAttr::default()
        };
        mount_setattr(tree, map.recursive, &attr).map_err(|errno| match errno {
            Errno::INVAL => Failure {
                operation: "mount_setattr (its file system cannot be id-mapped on this kernel: leave its mappings \
                            out)",
                ..failure(errno)
            },
            Errno::PERM => Failure {
                operation: "mount_setattr (it is id-mapped already, or another user namespace owns its file \
                            system)",
                ..failure(errno)
            },
            errno => failure(errno),
        })
    }
}

fn failure(errno: Errno) -> Failure {
    Failure { operation: "mount_setattr", errno, note: crate::sys::Note::default() }
}

fn namespace(wanted: &UserNamespace) -> Result<OwnedFd, Failure> {
    match wanted {
        UserNamespace::Existing(path) => {
            let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
            let file = rustix::fs::open(path, flags, Mode::empty());
            let file = file.during("open the user namespace of its mapping")?;
            match crate::sys::process::namespace_kind(file.as_fd()) {
                Ok(flag) if u64::from(flag) == Kind::User.flag() => Ok(file),
                _ => Err(Errno::INVAL).during("ioctl NS_GET_NSTYPE (the file is no user namespace)"),
            }
        }
        UserNamespace::New { uids, gids } => make(uids, gids),
    }
}

/// A new user namespace with this mapping. It lives on in what is mapped with it.
fn make(uids: &str, gids: &str) -> Result<OwnedFd, Failure> {
    let (waits, ends) = pipe_with(PipeFlags::CLOEXEC).during("pipe2")?;
    let arguments = CloneArguments { flags: Kind::User.flag(), cgroup: None };
    let child = spawn(arguments, || {
        close_inherited(ends.as_fd());
        // Whatever comes, even the parent's death, reads as the end.
        let _ = rustix::io::read(&waits, &mut [0u8; 1]);
        0
    })
    .during("clone3 (a user namespace for its mapping)")?;
    let open = || {
        let write = |file: &str, text: &str, operation| {
            let wrote = std::fs::write(format!("/proc/{}/{file}", child.pid), text);
            wrote.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO)).during(operation)
        };
        write("uid_map", uids, "write uid_map (the ranges of its mapping)")?;
        write("gid_map", gids, "write gid_map (the ranges of its mapping)")?;
        let path = format!("/proc/{}/ns/user", child.pid);
        rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).during("open ns/user")
    };
    let file = open();
    drop(ends);
    let ended = child.wait().during("waitid");
    let file = file?;
    ended.map(|_| file)
}
