//! Makes a container: what `create` and `run` have in common after everything is decided.
//!
//! Each thing that is made has a guard that takes it back. When all is made, the guards are disarmed.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use super::setup::Setup;
use super::{CreateOptions, Error, hooks};
use crate::cgroups::Cgroup;
use crate::hooks::{empty_state_file, fill_state_file};
use crate::launch::{
    Answers, Clock, Laps, Launch, LaunchError, NotifySocket, Outcome, Signals, connect_stream,
    send_descriptor,
};
use crate::plan::step::{HookStep, Step};
use crate::state::{Directory, ProcessId, Record, SCHEMA, Status, Store, rfc3339};
use crate::sys::clone::Child;

/// A container that was made.
pub(super) struct Made {
    pub directory: Directory,
    pub record: Record,
    pub child: Child,
    /// The terminal's master, unless it went to a console socket.
    pub master: Option<OwnedFd>,
    /// The notification socket, bound already with `run`.
    pub notify: Option<NotifySocket>,
}

/// Makes the container that `setup` planned. With `create_only` its process waits for `start`.
pub(super) fn make(
    store: &Store,
    setup: &Setup,
    options: &CreateOptions,
    create_only: bool,
    signals: &Signals,
    watch: Option<(&mut Laps, &Clock)>,
) -> Result<Made, Error> {
    let plan = &setup.plan;
    let (mut laps, clock) = match watch {
        Some((laps, clock)) => (Some(laps), Some(clock)),
        None => (None, None),
    };
    let mut lap = |name: &str| {
        if let Some(laps) = &mut laps {
            laps.lap(name);
        }
    };
    let console =
        options.console_socket.as_deref().map(|path| connect_stream("console socket", path)).transpose()?;
    let pidfd_socket =
        options.pidfd_socket.as_deref().map(|path| connect_stream("pidfd socket", path)).transpose()?;

    let reservation = store.reserve(&options.id)?;
    let Some(directory) = reservation.directory() else { unreachable!("a reservation holds its directory") };
    let lock = directory.lock()?;
    let mut record = new_record(setup, options);
    directory.write_config(&setup.bundle.config)?;
    directory.write_record(&record)?;
    lap("write state");

    let cgroup = CgroupGuard::new(setup)?;
    lap("make cgroup");
    let listener = create_only.then(|| directory.bind_start_socket()).transpose()?;
    let notify_directory = directory.path().join("notify");
    let mut notify = None;
    if let Some(host) = &setup.notify {
        std::fs::create_dir(&notify_directory).map_err(|error| Error::File {
            what: "notify directory",
            path: notify_directory.clone(),
            error,
        })?;
        if !create_only {
            notify = Some(NotifySocket::bind(&notify_directory, host)?);
        }
    }
    let states = hook_states(&plan.steps)?;
    let unborn = record.clone();
    let newborn = |pid: i32| -> Result<(), LaunchError> {
        if let Some((creating, created)) = &states {
            let json = |status| hooks::state_json(&options.id, &unborn, status, Some(pid));
            fill_state_file(creating.as_fd(), &json(Status::Creating))?;
            fill_state_file(created.as_fd(), &json(Status::Created))?;
        }
        Ok(())
    };
    let mut launch = Launch::of_container(plan);
    launch.cgroup = cgroup.cgroup.as_ref().map(|cgroup| cgroup.directory());
    launch.root = Some((&setup.bundle.root, setup.bundle.root_fd.as_fd()));
    launch.listener = listener.as_ref().map(|socket| socket.as_fd());
    launch.hook_states = states.as_ref().map(|(creating, created)| (creating.as_fd(), created.as_fd()));
    launch.lock = Some(lock.as_fd());
    launch.clock = clock;
    launch.newborn = Some(&newborn);
    let launched = launch.start()?;
    lap("open sources, clone3");

    let poststop = PoststopGuard { store, options, record: record.clone(), hooks: &plan.hooks.poststop };
    let pid = launched.pid();
    record.init = ProcessId::of(pid);
    directory.write_record(&record)?;
    if !create_only {
        launched.recorded()?;
    }
    let pid_file = options.pid_file.as_deref().map(|path| PidFile::write(path, pid)).transpose()?;
    if let (Some(socket), Some(pidfd)) = (&pidfd_socket, launched.pidfd()) {
        send_descriptor(socket.as_fd(), pidfd, b"pidfd").map_err(|error| LaunchError::Socket {
            what: "pidfd socket",
            path: options.pidfd_socket.clone().unwrap_or_default(),
            operation: "sendmsg",
            error,
        })?;
    }
    lap("write pid");

    let mut master = None;
    let mut runtime_hooks = |signals: &Signals| {
        let state = hooks::state_json(&options.id, &record, Status::Creating, Some(pid));
        hooks::run(&plan.hooks.runtime, &state, Some(signals.as_fd()))
    };
    let mut terminal = |fd: OwnedFd| match &console {
        Some(socket) => {
            send_descriptor(socket.as_fd(), fd.as_fd(), b"/dev/ptmx").map_err(|error| LaunchError::Socket {
                what: "console socket",
                path: options.console_socket.clone().unwrap_or_default(),
                operation: "sendmsg",
                error,
            })
        }
        None => {
            master = Some(fd);
            Ok(())
        }
    };
    let mut answers = Answers { runtime_hooks: &mut runtime_hooks, terminal: &mut terminal };
    let (child, outcome) = launched.converse(signals, &mut answers)?;
    lap("wait for the child");
    debug_assert_eq!(outcome == Outcome::Created, create_only);

    if let Some(file) = pid_file {
        file.keep();
    }
    poststop.disarm();
    cgroup.keep();
    let Some(directory) = reservation.commit() else { unreachable!("a reservation holds its directory") };
    Ok(Made { directory, record, child, master, notify })
}

fn new_record(setup: &Setup, options: &CreateOptions) -> Record {
    let spec = &setup.bundle.spec;
    let chroot = setup.plan.steps.iter().any(|step| matches!(step, Step::Chroot { .. }));
    Record {
        schema: SCHEMA,
        oci_version: spec.version().clone(),
        bundle: setup.bundle.path.clone(),
        rootfs: setup.bundle.root.clone(),
        created: rfc3339(std::time::SystemTime::now()),
        owner: rustix::process::geteuid().as_raw(),
        cgroup: setup.plan.cgroup.as_ref().map(|cgroup| cgroup.path.as_str().to_owned()),
        init: None,
        chroot,
        no_new_keyring: options.no_new_keyring,
        notify: setup.notify.clone(),
        annotations: spec.annotations().iter().flatten().map(|(k, v)| (k.clone(), v.clone())).collect(),
    }
}

/// Empty files that the child inherits, where it runs hooks: creating, created.
fn hook_states(steps: &[Step]) -> Result<Option<(OwnedFd, OwnedFd)>, LaunchError> {
    match steps.iter().any(|step| matches!(step, Step::Hook(_))) {
        true => Ok(Some((empty_state_file()?, empty_state_file()?))),
        false => Ok(None),
    }
}

/// The container's cgroup, removed on drop with whatever runs in it.
struct CgroupGuard {
    cgroup: Option<Cgroup>,
}

impl CgroupGuard {
    fn new(setup: &Setup) -> Result<Self, Error> {
        let (Some(hierarchy), Some(plan)) = (&setup.hierarchy, &setup.plan.cgroup) else {
            return Ok(Self { cgroup: None });
        };
        let cgroup = Cgroup::create(hierarchy, &plan.path, &plan.limits.controllers())?;
        let guard = Self { cgroup: Some(cgroup) };
        if let Some(cgroup) = &guard.cgroup {
            cgroup.apply(&plan.limits)?;
        }
        Ok(guard)
    }

    fn keep(mut self) {
        self.cgroup = None;
    }
}

impl Drop for CgroupGuard {
    fn drop(&mut self) {
        if let Some(cgroup) = self.cgroup.take() {
            let _ = cgroup.kill();
            let _ = cgroup.undo_create();
        }
    }
}

/// Runs the poststop hooks on drop: a container whose making fails after its process was made is
/// deleted, and that is what these hooks wait for.
struct PoststopGuard<'a> {
    store: &'a Store,
    options: &'a CreateOptions,
    record: Record,
    hooks: &'a [HookStep],
}

impl PoststopGuard<'_> {
    fn disarm(mut self) {
        self.hooks = &[];
    }
}

impl Drop for PoststopGuard<'_> {
    fn drop(&mut self) {
        hooks::run_poststop(self.store, self.hooks, &self.options.id, &self.record);
    }
}

/// A pid file, removed on drop.
pub(super) struct PidFile {
    path: PathBuf,
}

impl PidFile {
    /// Writes `pid` whole: under another name first, for somebody may be waiting for this one.
    pub fn write(path: &Path, pid: i32) -> Result<Self, LaunchError> {
        let failed = |error| LaunchError::Write { path: path.into(), error };
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let new = path.with_file_name(format!(".{name}.{pid}.new"));
        std::fs::write(&new, pid.to_string()).map_err(failed)?;
        std::fs::rename(&new, path).map_err(|error| {
            let _ = std::fs::remove_file(&new);
            failed(error)
        })?;
        Ok(Self { path: path.into() })
    }

    /// The process came to be: the file stays.
    pub fn keep(mut self) {
        self.path = PathBuf::new();
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        if !self.path.as_os_str().is_empty() {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
