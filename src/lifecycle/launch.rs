//! Makes a container: what `create` and `run` have in common after everything is decided.
//!
//! Each thing that is made has a guard that takes it back. When all is made, the guards are disarmed.

use std::cell::{Cell, OnceCell};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::io::Errno;

use super::handover::Handover;
use super::root_mount::{self, mount_id};
use super::scope::ScopeGuard;
use super::setup::Setup;
use super::{CreateOptions, Error, hooks, out_of_memory};
use crate::cgroups::{Cgroup, CgroupError};
use crate::fault;
use crate::id::ContainerId;
use crate::launch::hooks::{empty_state_file, fill_state_file};
use crate::launch::{Answers, Clock, Laps, Launch, LaunchError, NotifySocket, Signals};
use crate::plan::CgroupPlan;
use crate::plan::step::{HookStep, Step};
use crate::resctrl::MadeGroup;
use crate::state::{Directory, ProcessId, Record, Reservation, SCHEMA, Status, Store, rfc3339};
use crate::sys::During;
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
    (laps, clock): (&mut Laps, Option<&Clock>),
) -> Result<Made, Error> {
    let plan = &setup.plan;
    let mut handover = Handover::connect(
        options.console_socket.as_deref(),
        options.pidfd_socket.as_deref(),
        options.pid_file.as_deref(),
    )?;
    let directory = store.reserve(&options.id)?;
    fault::point("mkdir of the state directory");
    let lock = directory.lock()?;
    // After the lock, so that its removal of the directory comes before the lock's end.
    let reservation = Reservation::of(&directory);
    let mut record = new_record(setup, options);
    directory.write_config(&setup.bundle.config)?;
    fault::point("copy of config.json");
    directory.write_record(&record)?;
    fault::point("first state.json");
    laps.lap("write state");

    let group = make_group(setup)?;
    fault::point("resctrl group");
    let cgroup = CgroupGuard::new(setup)?;
    let scope = ScopeGuard::connect(setup)?;
    if cgroup.cgroup.is_none() && scope.is_none() {
        record.cgroup = None;
    }
    laps.lap("make cgroup");
    fault::point("cgroup");
    let listener = create_only.then(|| directory.bind_start_socket()).transpose()?;
    fault::point("start.sock");
    let notify = notify_socket(setup, &directory, create_only)?;
    let states = HookStates::of(&plan.steps)?;
    let unborn = record.clone();
    // Undone after the child is gone.
    let attached = RootMountGuard { root: &unborn.rootfs, mount: Cell::new(None) };
    let opened = |sources: &[OnceCell<OwnedFd>]| {
        let tree = plan.root_on_host().and_then(|source| sources.get(source.0)?.get());
        let Some(tree) = tree else { return Ok(()) };
        let mount = mount_id(tree.as_fd()).during("statx")?;
        attached.mount.set(Some(mount));
        // Known before it is there, so that whatever happens it can be taken away.
        directory
            .write_record(&Record { root_mount: Some(mount), ..unborn.clone() })
            .map_err(|error| LaunchError::Record(error.into()))
    };
    let newborn = |pid| {
        cgroup.restrict_devices(setup)?;
        scope.as_ref().map_or(Ok(()), |scope| scope.start(pid))?;
        group.as_ref().map_or(Ok(()), |group| group.assign(pid))?;
        states.as_ref().map_or(Ok(()), |states| states.fill(&options.id, &unborn, pid))
    };
    let mut launch = Launch::of_container(plan);
    launch.cgroup = cgroup.cgroup.as_ref().map(|cgroup| cgroup.directory());
    launch.root = Some((&setup.bundle.root, setup.bundle.root_fd.as_fd()));
    launch.root_mount = setup.bundle.image.as_ref().map(|image| image.mount.as_fd());
    launch.listener = listener.as_ref().map(|socket| socket.as_fd());
    launch.hook_states = states.as_ref().map(|states| (states.creating.as_fd(), states.created.as_fd()));
    launch.lock = Some(lock.as_fd());
    launch.clock = clock;
    launch.newborn = Some(&newborn);
    launch.opened = Some(&opened);
    let launched = match launch.start() {
        // Where none of the ancestors that our own cgroup shares with it is ours.
        Err(LaunchError::Clone { error: Errno::ACCESS })
            if plan.cgroup.as_ref().is_some_and(CgroupPlan::is_optional) =>
        {
            let path = record.cgroup.take().unwrap_or_default();
            store.warn(&format!(
                "the container stays in the caller's cgroup: moving it to {path} needs write access to \
                 cgroup.procs of an ancestor that both share; start rcrun within the delegated cgroup"
            ));
            launch.cgroup = None;
            launch.start()?
        }
        launched => launched?,
    };
    laps.lap("open sources, clone3");

    let poststop =
        PoststopGuard { store, options, record: record.clone(), hooks: &plan.hooks.poststop, signals };
    let pid = launched.pid();
    record.init = ProcessId::of(pid);
    record.root_mount = attached.mount.get();
    directory.write_record(&record)?;
    fault::point("state.json with the pid");
    let pid_file = handover.announce(&launched)?;
    fault::point("pid file");
    launched.recorded()?;
    fault::point("Recorded");
    setup.filters.keep(&plan.steps);
    fault::point("kept filter");
    laps.lap("write pid");

    let mut runtime_hooks = |signals: &Signals| {
        let state = hooks::state_json(&options.id, &record, Status::Creating, Some(pid));
        hooks::run(&plan.hooks.runtime, &state, Some(signals))
    };
    let mut terminal = |fd| handover.take_terminal(fd);
    let mut listener = |fd| {
        let state = hooks::state_json(&options.id, &record, Status::Creating, Some(pid));
        hooks::send_listener(&plan.steps, fd, pid, &state)
    };
    let mut answers =
        Answers { runtime_hooks: &mut runtime_hooks, terminal: &mut terminal, listener: &mut listener };
    let (child, _) = launched
        .converse(signals, &mut answers)
        .map_err(|error| out_of_memory::explain(error, cgroup.cgroup.as_ref()))?;
    laps.lap("wait for the child");
    fault::point("conversation");

    if let Some(file) = pid_file {
        file.keep();
    }
    poststop.disarm();
    attached.mount.set(None);
    if let Some(scope) = scope {
        scope.keep();
    }
    if record.cgroup.is_some() {
        cgroup.keep();
    }
    if let Some(group) = group {
        group.keep();
    }
    reservation.commit();
    Ok(Made { directory, record, child, master: handover.master, notify })
}

/// The directory of the container's NOTIFY_SOCKET, if rcrun was given one, and with `run` the socket
/// in it; `start` binds its own.
fn notify_socket(
    setup: &Setup,
    directory: &Directory,
    create_only: bool,
) -> Result<Option<NotifySocket>, Error> {
    let Some(host) = &setup.notify else { return Ok(None) };
    let path = directory.path().join("notify");
    let made = std::fs::create_dir(&path);
    made.map_err(|error| Error::File { what: "notify directory", path: path.clone(), error })?;
    match create_only {
        true => Ok(None),
        false => Ok(Some(NotifySocket::bind(&path, host)?)),
    }
}

pub(super) fn new_record(setup: &Setup, options: &CreateOptions) -> Record {
    let spec = &setup.bundle.spec;
    let scope = setup.plan.cgroup.as_ref().and_then(|cgroup| cgroup.scope.as_ref());
    let chroot = setup.plan.steps.iter().any(|step| matches!(step, Step::Chroot { .. }));
    Record {
        schema: SCHEMA,
        oci_version: spec.version().clone(),
        bundle: setup.bundle.path.clone(),
        rootfs: setup.bundle.root.clone(),
        created: rfc3339(std::time::SystemTime::now()),
        owner: crate::image::rootless::user(),
        cgroup: setup.plan.cgroup.as_ref().map(|cgroup| cgroup.path.as_str().to_owned()),
        scope: scope.map(|scope| scope.unit.scope.clone()),
        manager: scope.map(|scope| scope.manager).unwrap_or_default(),
        resctrl: setup.plan.resctrl.as_ref().map(|plan| plan.group.clone()),
        init: None,
        chroot,
        root_mount: None,
        directory: setup.bundle.image.as_ref().and_then(|image| image.directory.clone()),
        no_new_keyring: options.no_new_keyring,
        notify: setup.notify.clone(),
        annotations: spec.annotations().iter().flatten().map(|(k, v)| (k.clone(), v.clone())).collect(),
    }
}

/// Makes the group of linux.intelRdt, if there is to be one.
pub(super) fn make_group(setup: &Setup) -> Result<Option<MadeGroup<'_>>, Error> {
    let (Some(resctrl), Some(plan)) = (&setup.resctrl, &setup.plan.resctrl) else { return Ok(None) };
    Ok(Some(MadeGroup::make(resctrl, plan)?))
}

/// What the child's own hooks read: files that it inherits empty, since its pid is in them.
struct HookStates {
    creating: OwnedFd,
    created: OwnedFd,
}

impl HookStates {
    /// None where the child runs no hooks.
    fn of(steps: &[Step]) -> Result<Option<Self>, LaunchError> {
        match steps.iter().any(|step| matches!(step, Step::Hook(_))) {
            true => Ok(Some(Self { creating: empty_state_file()?, created: empty_state_file()? })),
            false => Ok(None),
        }
    }

    fn fill(&self, id: &ContainerId, record: &Record, pid: i32) -> Result<(), LaunchError> {
        let json = |status| hooks::state_json(id, record, status, Some(pid));
        fill_state_file(self.creating.as_fd(), &json(Status::Creating))?;
        Ok(fill_state_file(self.created.as_fd(), &json(Status::Created))?)
    }
}

/// The root's mount in rcrun's own mount namespace, taken away on drop.
struct RootMountGuard<'a> {
    root: &'a Path,
    mount: Cell<Option<u64>>,
}

impl Drop for RootMountGuard<'_> {
    fn drop(&mut self) {
        if let Some(mount) = self.mount.take() {
            let _ = root_mount::remove(self.root, mount);
        }
    }
}

/// Who may load no program may make no device nodes either.
pub(super) fn without_devices(
    applied: Result<(), CgroupError>,
    plan: &CgroupPlan,
) -> Result<(), CgroupError> {
    match applied {
        Err(CgroupError::LoadDevices { errno, .. } | CgroupError::AttachDevices { errno, .. })
            if errno == Errno::PERM && plan.rootless =>
        {
            Ok(())
        }
        applied => applied,
    }
}

/// The container's cgroup, removed on drop with whatever runs in it.
pub(super) struct CgroupGuard {
    cgroup: Option<Cgroup>,
}

impl CgroupGuard {
    pub fn new(setup: &Setup) -> Result<Self, Error> {
        let (Some(hierarchy), Some(plan)) = (&setup.hierarchy, &setup.plan.cgroup) else {
            return Ok(Self { cgroup: None });
        };
        if plan.scope.is_some() {
            return Ok(Self { cgroup: None });
        }
        let cgroup = match Cgroup::create(hierarchy, &plan.path, &plan.limits.controllers()) {
            Err(error) if error.is_permission() && plan.is_optional() => return Ok(Self { cgroup: None }),
            Err(error) if error.is_permission() && plan.rootless => return Err(Error::Unlimited { error }),
            made => made?,
        };
        let limited = cgroup.limit(&plan.limits);
        let delegated = plan.owner.map_or(Ok(()), |owner| cgroup.delegate(owner));
        let guard = Self { cgroup: Some(cgroup) };
        delegated?;
        limited?;
        Ok(guard)
    }

    /// Before the container's program runs.
    pub fn restrict_devices(&self, setup: &Setup) -> Result<(), CgroupError> {
        match (&self.cgroup, &setup.plan.cgroup) {
            (Some(cgroup), Some(plan)) => without_devices(cgroup.restrict_devices(&plan.limits), plan),
            _ => Ok(()),
        }
    }

    /// What was made; None where there is to be none.
    pub fn cgroup(&self) -> Option<&Cgroup> {
        self.cgroup.as_ref()
    }

    pub fn keep(mut self) {
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
    signals: &'a Signals,
}

impl PoststopGuard<'_> {
    fn disarm(mut self) {
        self.hooks = &[];
    }
}

impl Drop for PoststopGuard<'_> {
    fn drop(&mut self) {
        hooks::run_poststop(self.store, self.hooks, &self.options.id, &self.record, Some(self.signals));
    }
}
