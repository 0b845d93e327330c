//! Namespaces with a name, for which no process has to live: mounts. Network namespaces are named in `/run/netns`, where ip(8) and
//! others look.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rustix::fs::{FlockOperation, Mode, OFlags, flock, fstatfs};
use rustix::io::Errno;
use rustix::mount::{
    MountPropagationFlags, UnmountFlags, mount_bind, mount_bind_recursive, mount_change, unmount,
};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};

use super::{NetworkError, failed};
use crate::namespaces::Kind;
use crate::netlink::Socket;
use crate::sys::process::{namespace_kind, unshare};

/// Enough for what a thread does in a namespace.
const STACK: usize = 256 << 10;

/// A network namespace that lives as long as its name.
#[derive(Debug)]
pub struct NetworkNamespace {
    path: PathBuf,
    file: OwnedFd,
    /// A socket of it, where this process made it.
    socket: OnceLock<Socket>,
}

impl NetworkNamespace {
    /// Makes one with its loopback device up, and names it `DIRECTORY/NAME`. Works in a process with threads: one of its own does it.
    ///
    /// # Errors
    /// A name that a namespace has already; one that is left of before a reboot is used again.
    pub fn make(directory: &Path, name: &str) -> Result<Self, NetworkError> {
        Self::make_with(directory, name, &[], || Ok(()))
    }

    /// The same together with namespaces of other kinds, at the cost of one thread and one unshare(2): `pins` says where each is
    /// named. `work` runs in all of them (its IPC and UTS namespaces, sysctls of the network) before the first has its name.
    /// A failure leaves no name.
    pub fn make_with(
        directory: &Path,
        name: &str,
        pins: &[(Kind, &Path)],
        work: impl FnOnce() -> Result<(), NetworkError> + Send,
    ) -> Result<Self, NetworkError> {
        share(directory)?;
        let path = directory.join(name);
        let all: Vec<_> = [(Kind::Network, path.as_path())].into_iter().chain(pins.iter().copied()).collect();
        let socket = make_all(&all, || {
            // Before any device is there: it then has no address to ask others about, and takes no stranger for its router.
            for setting in ["accept_dad", "accept_ra"] {
                let _ = std::fs::write(format!("/proc/sys/net/ipv6/conf/default/{setting}"), "0");
            }
            let socket = Socket::open().map_err(|error| failed("open a netlink socket", error))?;
            let lo = 1;
            socket.set_up(lo, true).map_err(|error| failed("set lo up", error))?;
            work()?;
            Ok(socket)
        })?;
        let made = Self::open(&path)?;
        let made = made.ok_or_else(|| failed(format!("open {}", path.display()), Errno::NOENT))?;
        Ok(Self { socket: socket.into(), ..made })
    }

    /// The one of this path; None where nothing is there, or no namespace any more (after a reboot).
    pub fn open(path: &Path) -> Result<Option<Self>, NetworkError> {
        let named = |operation: &str, error| failed(format!("{operation} {}", path.display()), error);
        let file = match rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
            result => result.map_err(|error| named("open", error))?,
        };
        let is_one = is_namespace(file.as_fd()).map_err(|error| named("statfs", error))?
            && namespace_kind(file.as_fd()).is_ok_and(|kind| u64::from(kind) == Kind::Network.flag());
        Ok(is_one.then(|| Self { path: path.into(), file, socket: OnceLock::new() }))
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes the name away. What is gone already is fine.
    pub fn remove(path: &Path) -> Result<(), NetworkError> {
        unpin(path)
    }

    /// Runs `work` in a thread that is in this namespace.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, NetworkError> {
        in_thread(|| {
            move_into_link_name_space(self.as_fd(), Some(LinkNameSpaceType::Network))
                .map_err(|error| failed(format!("enter {}", self.path.display()), error))?;
            Ok(work())
        })
    }

    /// A socket of this namespace.
    pub(super) fn socket(&self) -> Result<&Socket, NetworkError> {
        if let Some(socket) = self.socket.get() {
            return Ok(socket);
        }
        let socket = self.enter(Socket::open)?.map_err(|error| failed("open a netlink socket", error))?;
        Ok(self.socket.get_or_init(|| socket))
    }
}

impl AsFd for NetworkNamespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Makes namespaces of these kinds (no user, PID, mount or time namespace) in a thread of its own, runs `work` in them there, and
/// then names each by a mount on its path. What was mounted by then is unmounted if something fails.
///
/// # Errors
/// unshare(2)'s, `work`'s, mount(2)'s; EEXIST for a path that is a namespace's already.
pub fn make_all<T: Send>(
    pins: &[(Kind, &Path)],
    work: impl FnOnce() -> Result<T, NetworkError> + Send,
) -> Result<T, NetworkError> {
    let kinds = pins.iter().fold(UnshareFlags::empty(), |flags, (kind, _)| {
        flags | UnshareFlags::from_bits_retain(kind.flag() as u32)
    });
    in_thread(|| {
        unshare(kinds).map_err(|error| failed("make namespaces", error))?;
        let value = work()?;
        for (number, (kind, path)) in pins.iter().enumerate() {
            if let Err(error) = pin(*kind, path) {
                for (_, path) in pins.iter().take(number) {
                    let _ = unpin(path);
                }
                return Err(error);
            }
        }
        Ok(value)
    })
}

/// Takes a namespace's name away: its mount, and the file that this was on. What is gone already is fine.
pub fn unpin(path: &Path) -> Result<(), NetworkError> {
    let named = |operation: &str, error| failed(format!("{operation} {}", path.display()), error);
    match unmount(path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
        // EINVAL: no mount, as after a reboot or a crash half way.
        Ok(()) | Err(Errno::INVAL | Errno::NOENT) => {}
        Err(error) => return Err(named("unmount", error)),
    }
    match rustix::fs::unlink(path) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(named("remove", error)),
    }
}

/// Names this thread's namespace.
fn pin(kind: Kind, path: &Path) -> Result<(), NetworkError> {
    let named = |operation: &str, error| failed(format!("{operation} {}", path.display()), error);
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::CREATE | OFlags::NOFOLLOW;
    let file = rustix::fs::open(path, flags, Mode::from_raw_mode(0o444));
    let file = file.map_err(|error| named("create", error))?;
    if is_namespace(file.as_fd()).map_err(|error| named("statfs", error))? {
        return Err(named("name a namespace", Errno::EXIST));
    }
    drop(file);
    mount_bind(format!("/proc/thread-self/ns/{}", kind.file()), path).map_err(|error| {
        let _ = rustix::fs::unlink(path);
        named("mount a namespace on", error)
    })
}

/// Makes the directory a shared mount, as ip-netns(8) does: a name that is given later is then seen in mount namespaces that are
/// there already.
fn share(directory: &Path) -> Result<(), NetworkError> {
    let named = |operation: &str, error| failed(format!("{operation} {}", directory.display()), error);
    let shared = || mount_change(directory, MountPropagationFlags::SHARED | MountPropagationFlags::REC);
    match shared() {
        Ok(()) => return Ok(()),
        Err(Errno::NOENT) => {
            std::fs::create_dir_all(directory).map_err(|error| NetworkError::Call {
                operation: format!("create {}", directory.display()),
                error,
            })?;
        }
        // No mount.
        Err(Errno::INVAL) => {}
        Err(error) => return Err(named("share", error)),
    }
    // One at a time: a second mount would cover what the first has.
    let lock = File::open(directory)
        .map_err(|error| NetworkError::Call { operation: format!("open {}", directory.display()), error })?;
    rustix::io::retry_on_intr(|| flock(&lock, FlockOperation::LockExclusive))
        .map_err(|error| named("lock", error))?;
    if shared().is_ok() {
        return Ok(());
    }
    mount_bind_recursive(directory, directory).map_err(|error| named("mount", error))?;
    shared().map_err(|error| named("share", error))
}

fn is_namespace(file: BorrowedFd<'_>) -> Result<bool, Errno> {
    const NSFS_MAGIC: u64 = 0x6e73_6673;
    Ok(fstatfs(file)?.f_type as u64 == NSFS_MAGIC)
}

/// Runs `work` in a thread of its own, which ends with it.
fn in_thread<T: Send>(work: impl FnOnce() -> Result<T, NetworkError> + Send) -> Result<T, NetworkError> {
    std::thread::scope(|scope| {
        let builder = std::thread::Builder::new().name("namespaces".into()).stack_size(STACK);
        let thread = builder
            .spawn_scoped(scope, work)
            .map_err(|error| NetworkError::Call { operation: "start a thread".into(), error })?;
        match thread.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}
