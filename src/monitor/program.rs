//! Starting a shim.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, socketpair, sockopt};

use super::wire::{self, WireError};
use super::{Launched, Monitor, MonitorError, Settings};
use crate::sys::detached;
use crate::sys::process::StringArray;
use crate::{host, sealed};

const NAME: &str = "rcrun-shim";
/// Variables that are the caller's own: service manager and socket activation.
const NOT_PASSED_ON: [&str; 6] =
    ["NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "WATCHDOG_USEC", "WATCHDOG_PID"];
/// How long a container's start may take, as long as a kubelet waits for it: its hooks have timeouts of their own, if any.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long a shim may take to clean up.
const LAST_PATIENCE: Duration = Duration::from_secs(10);
const NEW_SETTINGS: &str = "shim.json.new";

/// The shim's program, looked for and sealed ([`crate::sealed`]) once, so that each start is one exec.
#[derive(Debug)]
pub struct Program {
    path: PathBuf,
    file: OwnedFd,
    env: Vec<CString>,
}

/// A container that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Started {
    /// Its init's pid.
    pub pid: i32,
    /// When, in nanoseconds since 1970.
    pub at: i64,
}

impl Program {
    /// `$RCRUN_SHIM`, or `rcrun-shim` beside this process' program, or in `$PATH`.
    pub fn find() -> Result<Self, MonitorError> {
        let own = host::own_program().unwrap_or_default();
        let beside = own.parent().unwrap_or(Path::new("/")).join(NAME);
        let named = std::env::var_os("RCRUN_SHIM").filter(|name| !name.is_empty()).map(PathBuf::from);
        let found =
            named.or_else(|| beside.is_file().then(|| beside.clone())).or_else(|| host::find_program(NAME));
        let found = found.ok_or_else(|| MonitorError::NoProgram { beside: beside.clone() })?;
        Self::open(&found).map_err(|_| MonitorError::NoProgram { beside })
    }

    /// The shim at `path`.
    pub fn open(path: &Path) -> Result<Self, MonitorError> {
        let file = sealed::open_sealed(path).map_err(|error| MonitorError::File {
            id: NAME.into(),
            operation: "open",
            path: path.into(),
            error: error.into(),
        })?;
        let variable = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            let passed = !NOT_PASSED_ON.iter().any(|own| name == *own);
            let bytes = [name.into_vec(), value.into_vec()].join(&b'=');
            passed.then(|| CString::new(bytes).ok())?
        };
        Ok(Self { path: path.into(), file, env: std::env::vars_os().filter_map(variable).collect() })
    }

    /// Where it was found.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes shim.json and starts a shim that makes the container of `settings`; returns when its program runs. `root` is the mount of
    /// [`Settings::root`]. Blocks; works in a process with threads.
    ///
    /// # Errors
    /// [`MonitorError::Refused`] with the library's words where the container could not be made; nothing is left of it then.
    pub fn launch(&self, settings: &Settings, root: Option<OwnedFd>) -> Result<Started, MonitorError> {
        let root = root.as_ref().map(|fd| fd.as_fd());
        let launched = write_settings(settings)
            .and_then(|()| self.converse("run", &settings.id, &settings.bundle, root));
        let failed = match launched {
            Ok(Launched::Running { pid, at }) => return Ok(Started { pid, at }),
            Ok(Launched::Failed { message }) => MonitorError::Refused(message),
            Ok(Launched::Over) => {
                MonitorError::Protocol { id: settings.id.clone(), text: "over, of a start".into() }
            }
            Err(error @ MonitorError::File { .. }) => error,
            Err(error) => {
                // It was killed half way: another one finds what there is of the container.
                let _ = self.converse("discard", &settings.id, &settings.bundle, None);
                error
            }
        };
        let _ = std::fs::remove_dir_all(&settings.run);
        for name in [super::SETTINGS_FILE, NEW_SETTINGS, super::EXIT_FILE] {
            let _ = std::fs::remove_file(settings.bundle.join(name));
        }
        Err(failed)
    }

    /// Starts a shim for a container that runs and whose shim is gone. Where the container has ended meanwhile, exit.json is written (with
    /// the code unknown, unless the kernel still tells it). Does nothing where a shim listens.
    pub fn adopt(&self, bundle: &Path) -> Result<(), MonitorError> {
        let settings = Settings::read(bundle)?;
        if Monitor::of(&settings.run).is_there() {
            return Ok(());
        }
        match self.converse("adopt", &settings.id, bundle, None)? {
            Launched::Failed { message } => Err(MonitorError::Refused(message)),
            Launched::Running { .. } | Launched::Over => Ok(()),
        }
    }

    /// Takes away whatever there is of a container that nobody holds but its bundle: processes, cgroup, state, the volatile directory. For
    /// one whose shim was killed while it made or ended it. Nothing to take away is fine.
    pub fn discard(&self, bundle: &Path) -> Result<(), MonitorError> {
        let settings = match Settings::read(bundle) {
            Err(MonitorError::File { error, .. }) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(());
            }
            settings => settings?,
        };
        match self.converse("discard", &settings.id, bundle, None)? {
            Launched::Failed { message } => Err(MonitorError::Refused(message)),
            Launched::Running { .. } | Launched::Over => Ok(()),
        }
    }

    /// Starts a shim and hears how it went.
    fn converse(
        &self,
        mode: &str,
        id: &str,
        bundle: &Path,
        root: Option<BorrowedFd<'_>>,
    ) -> Result<Launched, MonitorError> {
        let failed = |operation| {
            move |error: Errno| MonitorError::Call { id: id.into(), operation, error: error.into() }
        };
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
                .map_err(failed("socketpair"))?;
        let text = |bytes: &[u8]| CString::new(bytes).map_err(|_| failed("start")(Errno::INVAL));
        let bundle = text(bundle.as_os_str().as_bytes())?;
        let argv = StringArray::new(vec![text(NAME.as_bytes())?, text(mode.as_bytes())?, bundle]);
        let env = StringArray::new(self.env.clone());
        let passed: Vec<_> = [theirs.as_fd()].into_iter().chain(root).collect();
        let pid = detached::spawn(self.file.as_fd(), &argv, &env, &passed).map_err(failed("start"))?;
        drop(theirs);
        match hear(ours.as_fd(), PATIENCE) {
            Err(WireError::Call(Errno::AGAIN)) => {
                end(pid, ours.as_fd());
                Err(MonitorError::Late { id: id.into(), seconds: PATIENCE.as_secs() })
            }
            Err(WireError::End) => Err(MonitorError::Gone { id: id.into() }),
            Err(WireError::Call(error)) => Err(failed("start")(error)),
            Err(error) => Err(MonitorError::Protocol { id: id.into(), text: error.to_string() }),
            Ok(launched) => Ok(launched),
        }
    }
}

fn hear(socket: BorrowedFd<'_>, patience: Duration) -> Result<Launched, WireError> {
    sockopt::set_socket_timeout(socket, sockopt::Timeout::Recv, Some(patience))?;
    Ok(wire::receive(socket, RecvFlags::empty())?.0)
}

/// Ends a shim that does not come to an end with its start: it cleans up itself, or is killed.
fn end(pid: i32, socket: BorrowedFd<'_>) {
    let _ = crate::sys::process::kill(pid, libc::SIGTERM);
    if matches!(hear(socket, LAST_PATIENCE), Err(WireError::Call(Errno::AGAIN))) {
        let _ = crate::sys::process::kill(pid, libc::SIGKILL);
        let _ = hear(socket, LAST_PATIENCE);
    }
}

/// Whole or not at all, and the volatile directory beside it.
fn write_settings(settings: &Settings) -> Result<(), MonitorError> {
    use std::os::unix::fs::DirBuilderExt;
    let failed = |operation, path: &Path| {
        let path = path.into();
        move |error| MonitorError::File { id: settings.id.clone(), operation, path, error }
    };
    let run = &settings.run;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(run).map_err(failed("make", run))?;
    let (path, new) = (settings.bundle.join(super::SETTINGS_FILE), settings.bundle.join(NEW_SETTINGS));
    let json = serde_json::to_vec(settings).map_err(|error| failed("write", &path)(error.into()))?;
    std::fs::write(&new, json).map_err(failed("write", &new))?;
    std::fs::rename(&new, &path).map_err(failed("rename", &path))
}
