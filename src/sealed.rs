//! Keeps containers from overwriting this program on the host (CVE-2019-5736).
//!
//! What makes a process in a container is that container's process until its program runs, and
//! becomes it again where that program is /proc/self/exe. Others in the container keep a descriptor
//! of its /proc/PID/exe and open it for writing once nobody runs it any more. So this program executes
//! itself once, from where nobody can write: through a read-only mount of its file alone, which
//! belongs to no mount namespace, so that nobody can change it either. The page cache stays shared.
//! Mostly that has happened before `main`, in `src/sys/entry.rs`, and is only recognised here.
//!
//! Who may not mount (an unprivileged user) and could write the file, executes a copy in memory that
//! is sealed, memfd_create(2); who could not, has nothing to protect. docs/decisions/0005 has the cost.

use std::ffi::{CString, OsString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use rustix::fs::{
    Access, AtFlags, CWD, MemfdFlags, Mode, OFlags, SealFlags, StatVfsMountFlags, StatxAttributes, StatxFlags,
};
use rustix::io::Errno;
use rustix::mount::{OpenTreeFlags, open_tree};

use crate::sys::mount::{MountAttr, mount_setattr};
use crate::sys::process::{StringArray, execve};
use crate::sys::{During, Failure};

/// MOUNT_ATTR_RDONLY of linux/mount.h.
const READ_ONLY: u64 = 1;
/// This program.
const EXE: &std::ffi::CStr = c"/proc/self/exe";

/// This program could not be put out of the reach of containers.
#[derive(Debug, thiserror::Error)]
#[error("protect /proc/self/exe, the runtime's own binary, from the container: {0}{hint}", hint = hint(.0))]
pub struct SealError(#[from] Failure);

/// A program that others execute from where no container can write to it: a read-only mount of its file alone, which belongs to no
/// mount namespace; the file itself where this process may not mount, and then the program seals itself.
pub fn open_sealed(program: &std::path::Path) -> Result<OwnedFd, Errno> {
    match read_only_mount_of(CWD, program) {
        Ok(mount) => Ok(mount),
        Err(_) => rustix::fs::open(program, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()),
    }
}

/// Returns in a process that executes this program from where no container can write to it: in this
/// one, or, since `args` and the environment are handed on, in what this one becomes.
pub fn seal(args: &[OsString]) -> Result<(), SealError> {
    if is_sealed(CWD, EXE).during("statx")? {
        // The kernel named it after the descriptor that it was executed by.
        let name = args.first().and_then(|name| name.as_bytes().rsplit(|&byte| byte == b'/').next());
        if let Some(name) = name.and_then(|name| CString::new(name).ok()) {
            let _ = rustix::thread::set_name(&name);
        }
        return Ok(());
    }
    let file = match read_only_mount() {
        Ok(mount) => mount,
        Err(Errno::PERM | Errno::ACCESS) if !could_write().during("stat")? => return Ok(()),
        Err(Errno::PERM | Errno::ACCESS | Errno::INVAL | Errno::NOSYS) => copy()?,
        Err(errno) => return Err(errno).during("open_tree").map_err(SealError),
    };
    Err(execute(file.as_fd(), args)).during("execve").map_err(SealError)
}

/// Read-only, and nothing but this file; or a file without a name, which nobody will execute again.
fn is_sealed(at: BorrowedFd<'_>, path: &std::ffi::CStr) -> Result<bool, Errno> {
    let stat = rustix::fs::statx(at, path, AtFlags::EMPTY_PATH, StatxFlags::NLINK)?;
    if stat.stx_nlink == 0 {
        return Ok(true);
    }
    if !stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT) {
        return Ok(false);
    }
    let flags = match path.is_empty() {
        true => rustix::fs::fstatvfs(at)?.f_flag,
        false => rustix::fs::statvfs(path)?.f_flag,
    };
    Ok(flags.contains(StatVfsMountFlags::RDONLY))
}

fn read_only_mount() -> Result<OwnedFd, Errno> {
    read_only_mount_of(CWD, EXE)
}

fn read_only_mount_of(at: BorrowedFd<'_>, path: impl rustix::path::Arg) -> Result<OwnedFd, Errno> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let mount = open_tree(at, path, flags)?;
    let read_only = MountAttr { set: READ_ONLY, ..MountAttr::default() };
    mount_setattr(mount.as_fd(), false, &read_only)?;
    // What is not recognised as sealed would be sealed again, without an end.
    match is_sealed(mount.as_fd(), c"")? {
        true => Ok(mount),
        false => Err(Errno::INVAL),
    }
}

/// Could the user, or who is mapped to the user in a container, write this program's file?
fn could_write() -> Result<bool, Errno> {
    let owner = rustix::fs::stat(EXE)?.st_uid;
    let user = rustix::process::geteuid();
    Ok(user.is_root() || owner == user.as_raw() || rustix::fs::access(EXE, Access::WRITE_OK).is_ok())
}

fn copy() -> Result<OwnedFd, Failure> {
    let read = OFlags::RDONLY | OFlags::CLOEXEC;
    let original = rustix::fs::open(EXE, read, Mode::empty()).during("open")?;
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // Before Linux 6.3 there is no such flag, and every memfd can be executed.
    let copy = match rustix::fs::memfd_create(c"rcrun", flags | MemfdFlags::EXEC) {
        Err(Errno::INVAL) => rustix::fs::memfd_create(c"rcrun", flags),
        made => made,
    };
    let copy = copy.during("memfd_create")?;
    while rustix::fs::sendfile(&copy, &original, None, 1 << 30).during("sendfile")? > 0 {}
    let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    rustix::fs::fcntl_add_seals(&copy, seals).during("fcntl F_ADD_SEALS")?;
    // Nobody can execute what is open for writing.
    let path = format!("/proc/self/fd/{}", copy.as_raw_fd());
    rustix::fs::open(path, read, Mode::empty()).during("open")
}

/// Executes `file`, which closes on the way: nothing refers to its mount then but this program.
fn execute(file: BorrowedFd<'_>, args: &[OsString]) -> Errno {
    let c_string = |text: Vec<u8>| CString::new(text).unwrap_or_default();
    let args = args.iter().map(|arg| c_string(arg.as_bytes().to_vec())).collect();
    let variable = |(name, value): (OsString, OsString)| {
        let mut variable = name.into_vec();
        variable.push(b'=');
        variable.extend(value.into_vec());
        c_string(variable)
    };
    let env = std::env::vars_os().map(variable).collect();
    let path = c_string(format!("/proc/self/fd/{}", file.as_raw_fd()).into_bytes());
    execve(&path, &StringArray::new(args), &StringArray::new(env))
}

fn hint(failure: &Failure) -> &'static str {
    match failure.errno {
        Errno::NOENT => ": is /proc mounted?",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ordinary_file_is_not_sealed_and_what_is_made_of_it_is() {
        assert!(!is_sealed(CWD, EXE).unwrap());
        let copy = copy().unwrap();
        assert!(is_sealed(copy.as_fd(), c"").unwrap());
        let path = format!("/proc/self/fd/{}", copy.as_raw_fd());
        let written = rustix::fs::open(path, OFlags::WRONLY, Mode::empty())
            .and_then(|file| rustix::io::write(&file, b"overwritten"));
        assert_eq!(written, Err(Errno::PERM));
        if let Ok(mount) = read_only_mount() {
            assert!(is_sealed(mount.as_fd(), c"").unwrap());
        }
    }
}
