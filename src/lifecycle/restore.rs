//! `restore`: a container out of the files of `checkpoint`.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::create::check_terminal;
use super::handover::{Handover, PidFile};
use super::launch::{CgroupGuard, make_group, new_record};
use super::run::{clean_up, has_pid_namespace};
use super::scope::ScopeGuard;
use super::setup::Setup;
use super::{CreateOptions, Error, RunOptions, hooks};
use crate::checkpoint::rpc::{CgroupRoot, Kind, Options, Request};
use crate::checkpoint::{
    Criu, CriuError, CriuOptions, Directories, Notification, descriptors, label, mounts, namespaces,
};
use crate::launch::{Foreground, LaunchError, Signals, wait};
use crate::namespaces::Kind as Namespace;
use crate::state::{Directory, ProcessId, Record, Reservation, Status, Store};
use crate::sys::clone::Child;

/// A container that runs again.
struct Restored {
    directory: Directory,
    record: Record,
    child: Child,
    master: Option<OwnedFd>,
}

/// Restores a container. In the foreground: until its process ends, whose exit status it returns, as
/// `run` does. Detached: until it runs, and 0.
pub fn restore(
    store: &Store,
    options: &CreateOptions,
    run: &RunOptions,
    criu_options: &CriuOptions,
) -> Result<u8, Error> {
    let setup = Setup::new(store, options, false)?;
    check_terminal(&setup.plan, options, run.detach)?;
    if setup.plan.root_on_host().is_some() {
        return Err(CriuError::HostMounts.into());
    }
    setup.warn(store);
    if !run.detach && !run.no_subreaper && !has_pid_namespace(&setup.plan) {
        let own = rustix::process::getpid();
        let _ = rustix::process::set_child_subreaper(Some(own));
    }
    let signals = Signals::block()?;
    let Restored { directory, record, child, master } =
        bring_back(store, &setup, options, criu_options, &signals)?;
    if run.detach {
        return Ok(0);
    }
    let status = wait(&child, &signals, Foreground { master, notify: None })?;
    clean_up(store, &directory, &record, &setup.plan.hooks, &signals)?;
    Ok(status)
}

fn bring_back(
    store: &Store,
    setup: &Setup,
    options: &CreateOptions,
    criu_options: &CriuOptions,
    signals: &Signals,
) -> Result<Restored, Error> {
    let spec = &setup.bundle.spec;
    let streams = descriptors::read(&criu_options.image_path)?;
    let mut criu_part = Options::default();
    let files = namespaces::restore(spec, &mut criu_part)?;
    let borrowed: Vec<_> = files.iter().map(|file| file.as_fd()).collect();
    let mut directories = Directories::open(criu_options, "restore.log", None)?;
    let mut criu = Criu::start_with_root(&setup.bundle.root, &mut directories, &borrowed)?;
    let mut handover =
        Handover::connect(options.console_socket.as_deref(), None, options.pid_file.as_deref())?;

    let directory = store.reserve(&options.id)?;
    let _lock = directory.lock()?;
    // After the lock, so that its removal of the directory comes before the lock's end.
    let reservation = Reservation::of(&directory);
    let mut record = new_record(setup, options);
    directory.write_config(&setup.bundle.config)?;
    directory.write_record(&record)?;
    let notify = make_notify_directory(directory.path())?;
    mounts::make_mount_points(spec, &setup.bundle.path, &setup.bundle.root_fd, &setup.bundle.root)?;
    let cgroup = CgroupGuard::new(setup)?;
    cgroup.restrict_devices(setup)?;
    let scope = ScopeGuard::connect(setup)?;
    // Whatever CRIU makes is born there, whether or not CRIU manages cgroups.
    match (cgroup.cgroup(), &scope) {
        (Some(cgroup), _) => cgroup.add_process(criu.pid())?,
        (None, Some(scope)) => scope.start(criu.pid())?,
        (None, None) => record.cgroup = None,
    }
    let group = make_group(setup)?;
    if let Some(group) = &group {
        group.assign(criu.pid())?;
    }

    let mut restoring = Options {
        evasive_devices: Some(true),
        rst_sibling: Some(true),
        root: Some(setup.bundle.root.display().to_string()),
        cg_root: cgroup_roots(criu.pid())?,
        lsm_profile: criu_options.lsm_profile.clone(),
        lsm_mount_context: criu_options.lsm_mount_context.clone(),
        inherit_fd: criu_part.inherit_fd,
        join_ns: criu_part.join_ns,
        external: mounts::restore(spec, &setup.bundle.path, &notify)?,
        ..criu_options.to_criu(&directories, spec)
    };
    // CRIU would look for the terminal where it has put the inherited one away already.
    restoring.shell_job = Some(criu_options.shell_job && !descriptors::on_terminal(&streams));
    restoring.inherit_fd.extend(descriptors::inherited(&streams));
    let request = Request { kind: Kind::Restore.into(), options: Some(restoring), ..Request::default() };

    let mut hooked = false;
    let mut child = None;
    let mut pid_file = None;
    let mut notified = |notification: Notification| -> Result<(), Error> {
        match (notification.name.as_str(), notification.descriptor) {
            ("setup-namespaces", _) => {
                hooked = true;
                let state = hooks::state_json(&options.id, &record, Status::Creating, Some(notification.pid));
                hooks::run(&setup.plan.hooks.runtime, &state, Some(signals))?;
            }
            ("post-restore", _) => {
                let pid = notification.pid;
                child = Some(own_child(pid)?);
                record.init = ProcessId::of(pid);
                directory.write_record(&record)?;
                keep_time_namespace(&directory, &setup.bundle.config, pid)?;
                pid_file = options.pid_file.as_deref().map(|path| PidFile::write(path, pid)).transpose()?;
            }
            ("pre-resume", _) => {
                let pid = child.as_ref().map(|child: &Child| child.pid).ok_or(CriuError::NoProcess)?;
                label::check(spec, criu_options.lsm_profile.as_deref(), pid)?;
            }
            ("orphan-pts-master", Some(master)) => handover.take_terminal(master)?,
            _ => {}
        }
        Ok(())
    };
    let answer = criu.request("restore", &request, &directories.log, Some(signals), &mut notified);
    if let (Err(_), true) = (&answer, hooked) {
        // What the hooks have set up for this container is taken down by these.
        hooks::run_poststop(store, &setup.plan.hooks.poststop, &options.id, &record, Some(signals));
    }
    answer?;
    criu.finish();
    let child = child.ok_or(CriuError::NoProcess)?;
    if let Some(file) = pid_file {
        file.keep();
    }
    if let Some(scope) = scope {
        scope.keep();
    }
    cgroup.keep();
    if let Some(group) = group {
        group.keep();
    }
    reservation.commit();
    Ok(Restored { directory, record, child, master: handover.master })
}

/// The restored process: CRIU makes it its sibling, so a child of ours.
fn own_child(pid: i32) -> Result<Child, Error> {
    let raw = Pid::from_raw(pid).ok_or(CriuError::NoProcess)?;
    let pidfd = pidfd_open(raw, PidfdFlags::empty()).map_err(|errno| {
        let failure = crate::sys::Failure { operation: "pidfd_open", errno, note: Default::default() };
        LaunchError::Call(failure)
    })?;
    Ok(Child { pid, pidfd })
}

/// For containers that were made under a NOTIFY_SOCKET: the socket itself does not come back.
fn make_notify_directory(directory: &Path) -> Result<std::path::PathBuf, Error> {
    let path = directory.join("notify");
    match std::fs::create_dir(&path) {
        Ok(()) => Ok(path),
        Err(error) => Err(Error::File { what: "notify directory", path, error }),
    }
}

/// The cgroups that CRIU is in, of every hierarchy: what was dumped in the old container's goes there.
fn cgroup_roots(pid: i32) -> Result<Vec<CgroupRoot>, CriuError> {
    let path = std::path::PathBuf::from(format!("/proc/{pid}/cgroup"));
    let text = std::fs::read_to_string(&path).map_err(|error| CriuError::Read { path, error })?;
    let root = |line: &str| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        Some(CgroupRoot { controllers: Some(controllers.into()), path: path.into() })
    };
    Ok(text.lines().filter_map(root).collect())
}

/// CRIU restores into a time namespace, so that clocks go on where they stopped. `exec` enters the
/// namespaces of the kept configuration: this one is added.
fn keep_time_namespace(directory: &Directory, config: &[u8], pid: i32) -> Result<(), Error> {
    let file = Namespace::Time.file();
    let of = |process: &str| std::fs::read_link(format!("/proc/{process}/ns/{file}")).ok();
    if of(&pid.to_string()) == of("self") {
        return Ok(());
    }
    let Ok(mut config) = serde_json::from_slice::<serde_json::Value>(config) else { return Ok(()) };
    let Some(list) = config["linux"]["namespaces"].as_array_mut() else { return Ok(()) };
    if list.iter().any(|namespace| namespace["type"] == "time") {
        return Ok(());
    }
    list.push(serde_json::json!({"type": "time"}));
    Ok(directory.write_config(config.to_string().as_bytes())?)
}
