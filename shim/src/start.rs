//! Making the container.

use std::os::fd::OwnedFd;

use rcrun::bundle::{Bundle, ImageParts};
use rcrun::id::ContainerId;
use rcrun::launch::Signals;
use rcrun::lifecycle::{self, CreateOptions, Spawned};
use rcrun::monitor::{Runtime, SOCKET, Settings};
use rcrun::sockets;
use rcrun::spec::{LinuxIdMapping, Process, Spec};
use rcrun::state::Store;
use rustix::fs::Mode;

use crate::error::ShimError;
use crate::log::Log;
use crate::program::Program;
use crate::streams::{self, Streams};

/// The container's first process.
#[derive(Debug)]
pub struct Init {
    /// Its pid here.
    pub pid: i32,
    /// A descriptor of it.
    pub pidfd: OwnedFd,
    /// When its program was started, in nanoseconds since 1970.
    pub started: i64,
    /// Is it this process's child? An adopted one is not.
    pub is_child: bool,
}

/// A container that runs, and all that its shim has of it.
#[derive(Debug)]
pub struct Started {
    /// What the shim was told.
    pub settings: Settings,
    /// Its first process.
    pub init: Init,
    /// Our signals, blocked.
    pub signals: Signals,
    /// Where requests arrive.
    pub listener: OwnedFd,
    /// Its streams.
    pub streams: Streams,
    /// Its log.
    pub log: Option<Log>,
    /// Its cgroup's path.
    pub cgroup: Option<String>,
}

/// The library's store of containers' states, of Runtime::Own.
pub fn store(settings: &Settings) -> Store {
    let (Runtime::Own { state } | Runtime::Program { state, .. }) = &settings.runtime;
    Store::new(state.clone(), |_| ())
}

/// Makes the container; its program runs.
pub fn start(settings: Settings, root: Option<OwnedFd>) -> Result<Started, ShimError> {
    let signals = prepare()?;
    let listener = listen(&settings)?;
    let log = settings.log.as_deref().map(|path| Log::open(path, settings.max_log_line)).transpose()?;
    let maker = Maker::new(&settings, root, &signals)?;
    let (spawned, streams) = match settings.terminal {
        true => with_terminal(&settings, maker)?,
        false => with_fifos(&settings, maker)?,
    };
    let Spawned { child, cgroup, .. } = spawned;
    let init = Init { pid: child.pid, pidfd: child.pidfd, started: now(), is_child: true };
    Ok(Started { settings, init, signals, listener, streams, log, cgroup })
}

/// Signals blocked, orphans of the container ours.
pub fn prepare() -> Result<Signals, ShimError> {
    let signals = Signals::block()?;
    let own = rustix::process::getpid();
    rustix::process::set_child_subreaper(Some(own))
        .map_err(ShimError::call("prctl PR_SET_CHILD_SUBREAPER"))?;
    Ok(signals)
}

/// The socket, for this user alone. Whoever connects before the container runs is served then.
pub fn listen(settings: &Settings) -> Result<OwnedFd, ShimError> {
    let path = settings.run.join(SOCKET);
    let failed = |operation| ShimError::file(operation, path.clone());
    let directory = sockets::open_directory(&settings.run).map_err(failed("open directory of"))?;
    let _ = rustix::fs::unlinkat(&directory, SOCKET, rustix::fs::AtFlags::empty());
    let before = rustix::process::umask(Mode::RWXG | Mode::RWXO | Mode::XUSR);
    let listener = sockets::bind_listener(std::os::fd::AsFd::as_fd(&directory), SOCKET);
    rustix::process::umask(before);
    let listener = listener.map_err(failed("bind"))?;
    rustix::io::ioctl_fionbio(&listener, true).map_err(failed("ioctl FIONBIO"))?;
    Ok(listener)
}

/// Who makes the container, with what it needs for that.
enum Maker<'a> {
    /// The library.
    Own(Box<Bundle>, &'a Signals),
    /// Another runtime.
    Program(Program<'a>, Option<OwnedFd>),
}

impl<'a> Maker<'a> {
    fn new(settings: &'a Settings, root: Option<OwnedFd>, signals: &'a Signals) -> Result<Self, ShimError> {
        if let Some(program) = Program::of(settings) {
            return Ok(Self::Program(program, root));
        }
        let bundle = match (&settings.root, root) {
            (Some(path), Some(mount)) => {
                let directory = settings.directory.clone();
                let image = ImageParts { mount, directory, loopback: settings.loopback };
                Bundle::with_mount(&settings.bundle, path, image)?
            }
            _ => Bundle::open(&settings.bundle)?,
        };
        Ok(Self::Own(Box::new(bundle), signals))
    }

    /// Makes it, with this process's standard streams.
    fn make(self, settings: &Settings) -> Result<Spawned, ShimError> {
        match self {
            Self::Own(bundle, signals) => {
                Ok(lifecycle::spawn(&store(settings), *bundle, &options(settings)?, signals)?)
            }
            Self::Program(program, root) => program.run(root),
        }
    }

    /// The process's user and group as the host numbers them.
    fn user(&self, settings: &Settings) -> (u32, u32) {
        match self {
            Self::Own(bundle, _) => user(&bundle.spec),
            Self::Program(..) => {
                let config = std::fs::read(settings.bundle.join("config.json")).unwrap_or_default();
                rcrun::spec::parse(&config).map_or((0, 0), |spec| user(&spec))
            }
        }
    }
}

fn with_fifos(settings: &Settings, maker: Maker<'_>) -> Result<(Spawned, Streams), ShimError> {
    let (streams, theirs) = streams::make(settings)?;
    let (uid, gid) = maker.user(settings);
    if (uid, gid) != (0, 0) {
        theirs.give_to(uid, gid, settings.stdin)?;
    }
    let lent = theirs.lend()?;
    let spawned = maker.make(settings)?;
    drop(lent);
    Ok((spawned, streams))
}

fn with_terminal(settings: &Settings, maker: Maker<'_>) -> Result<(Spawned, Streams), ShimError> {
    let mut spawned = maker.make(settings)?;
    let streams = match spawned.master.take() {
        Some(master) => Streams::of_terminal(master, settings.stdin)?,
        None => Streams::default(),
    };
    Ok((spawned, streams))
}

fn options(settings: &Settings) -> Result<CreateOptions, ShimError> {
    Ok(CreateOptions {
        bundle: settings.bundle.clone(),
        id: ContainerId::parse(&settings.id)?,
        console_socket: None,
        pidfd_socket: None,
        pid_file: None,
        no_pivot: false,
        no_new_keyring: false,
        preserve_fds: 0,
        missing_controllers: settings.missing_controllers,
        no_cgroup: false,
        systemd_cgroup: settings.systemd_cgroup,
        rootless: None,
    })
}

/// The process's user and group as the host numbers them.
pub fn user(spec: &Spec) -> (u32, u32) {
    let of = |process: &Process| (process.user().uid(), process.user().gid());
    user_on_host(spec, spec.process().as_ref().map_or((0, 0), of))
}

/// A user and a group of the container as the host numbers them.
pub fn user_on_host(spec: &Spec, (uid, gid): (u32, u32)) -> (u32, u32) {
    let linux = spec.linux().as_ref();
    let uids = linux.and_then(|linux| linux.uid_mappings().as_deref()).unwrap_or_default();
    let gids = linux.and_then(|linux| linux.gid_mappings().as_deref()).unwrap_or_default();
    (on_host(uid, uids), on_host(gid, gids))
}

fn on_host(id: u32, mappings: &[LinuxIdMapping]) -> u32 {
    let mapped = mappings.iter().find_map(|mapping| {
        let offset = id.checked_sub(mapping.container_id())?;
        (offset < mapping.size()).then(|| mapping.host_id().checked_add(offset))?
    });
    mapped.unwrap_or(id)
}

/// Nanoseconds since 1970.
pub fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_nanos() as i64)
}
