//! `exec`: a further process in a running container.

use std::os::fd::{AsFd, OwnedFd};

use oci_spec::runtime::{Capabilities, Capability, LinuxCapabilities, LinuxCapabilitiesBuilder, Process};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::container::Container;
use super::create::check_console;
use super::filters::Filters;
use super::handover::Handover;
use super::scope::ScopeMover;
use super::setup::{check_passed_descriptors, facts};
use super::{Error, ExecOptions, WholeProcess, hooks, out_of_memory};
use crate::bundle;
use crate::cgroups::{Cgroup, Hierarchy};
use crate::id::ContainerId;
use crate::launch::{Answers, Foreground, Launch, LaunchError, Signals, wait};
use crate::namespaces::Kind;
use crate::plan::{self, ExecRequest, path_of};
use crate::resctrl::{Group, Resctrl, ResctrlError};
use crate::spec::{self, Spec, SpecError};
use crate::state::{Status, Store};
use crate::sys::clone::Child;

/// Socket activation is for a container's first process, as runc has it.
const LISTEN_FDS: u32 = 0;

/// Runs a process in a container: in the foreground until it ends, with its exit status; with
/// `detach` until its program runs, and 0.
pub fn exec(store: &Store, id: &ContainerId, options: &ExecOptions) -> Result<u8, Error> {
    // Before anything is opened here, which would take the number of one that is not there.
    check_passed_descriptors(LISTEN_FDS, options.preserve_fds)?;
    let signals = Signals::block()?;
    let (child, master) = make_process(store, id, options, &signals)?;
    match options.detach {
        true => Ok(0),
        false => Ok(wait(&child, &signals, Foreground { master, notify: None })?),
    }
}

/// Makes the process; its program runs. The terminal's master comes back unless a console socket took it.
pub(super) fn make_process(
    store: &Store,
    id: &ContainerId,
    options: &ExecOptions,
    signals: &Signals,
) -> Result<(Child, Option<OwnedFd>), Error> {
    let container = Container::open(store, id)?;
    let mut allowed = vec![Status::Created, Status::Running];
    if options.ignore_paused {
        allowed.push(Status::Paused);
    }
    container.expect(&allowed, "exec needs a container that runs (a paused one with --ignore-paused)")?;
    let stopped = || Error::Status { id: id.clone(), status: Status::Stopped, cure: "its process has ended" };
    let init = container.init().ok_or_else(stopped)?;
    let pidfd = init.open().ok_or_else(stopped)?;
    let spec = container.spec()?;
    let process = process(&spec, options)?;
    check_console(process.terminal() == Some(true), options.console_socket.is_some(), options.detach)?;

    let root = open_root(init.pid)?;
    let cgroup = match &options.cgroup {
        Some(below) => Some(below.open(&container)?),
        None => container.cgroup()?,
    };
    let home = |uid| bundle::home_directory(&root, uid);
    let namespaces = Joined::of(&spec, init.pid);
    let record = container.record.as_ref();
    let group = record.and_then(|record| record.resctrl.as_ref());
    let keyring = record.is_some_and(|record| !record.no_new_keyring);
    let filters = Filters::of(store);
    let known_filter = |seccomp: &_| filters.find(seccomp);
    let mut facts = facts(&home, LISTEN_FDS, options.console_socket.is_none());
    facts.known_filter = &known_filter;
    let unprivileged = facts.setgroups_denied || facts.in_user_namespace;
    let moved = unprivileged && record.is_some_and(|record| record.is_users_scope());
    let request = ExecRequest {
        process: &process,
        linux: spec.linux().as_ref(),
        join_flags: namespaces.flags,
        pid_namespace: namespaces.pid.then(|| path_of(Kind::Pid, init.pid)),
        user_namespace: namespaces.user.then(|| path_of(Kind::User, init.pid)),
        chroot: record.is_some_and(|record| record.chroot),
        keyring: keyring.then(|| std::ffi::CString::new(format!("_ses.{id}")).unwrap_or_default()),
        preserve_fds: options.preserve_fds,
        awaits_parent: group.is_some() || moved,
    };
    // What counts is the container's user namespace: newgidmap(1) may have left it setgroups(2).
    facts.setgroups_denied = facts.setgroups_denied && denies_setgroups(init.pid);
    let plan = plan::exec(&request, &facts)?;
    if let Some(warning) = &plan.warning {
        store.warn(warning);
    }
    let mut handover = Handover::connect(
        options.console_socket.as_deref(),
        options.pidfd_socket.as_deref(),
        options.pid_file.as_deref(),
    )?;

    let mut launch = Launch::of_exec(&plan);
    let mover = match (record, &cgroup) {
        (Some(record), Some(cgroup)) if moved => ScopeMover::connect(record, cgroup)?,
        _ => None,
    };
    let newborn = |pid| {
        if let Some(mover) = &mover {
            mover
                .attach(pid, || cgroup_of_init(&container, init.pid).filter(|_| options.cgroup.is_none()))?;
        }
        Ok(group.map_or(Ok(()), |group| join_group(group, pid))?)
    };
    launch.newborn = Some(&newborn);
    if mover.is_none() {
        launch.cgroup = cgroup.as_ref().map(|cgroup| cgroup.directory());
    }
    launch.container = Some((pidfd.as_fd(), Some(root.as_fd())));
    let of_init;
    let launched = match launch.start() {
        Err(LaunchError::Clone { error: Errno::BUSY | Errno::NODEV | Errno::NOENT })
            if options.cgroup.is_none() =>
        {
            of_init = cgroup_of_init(&container, init.pid);
            launch.cgroup = of_init.as_ref().or(cgroup.as_ref()).map(|cgroup| cgroup.directory());
            launch.start()?
        }
        launched => launched?,
    };
    let pid_file = handover.announce(&launched)?;
    filters.keep(&plan.steps);
    let mut terminal = |fd| handover.take_terminal(fd);
    let pid = launched.pid();
    let mut listener = |fd| {
        let state = record.map(|record| hooks::state_json(id, record, Status::Running, Some(init.pid)));
        hooks::send_listener(&plan.steps, fd, pid, &state.unwrap_or_default())
    };
    let mut answers =
        Answers { runtime_hooks: &mut |_| Ok(()), terminal: &mut terminal, listener: &mut listener };
    let (child, _) = launched
        .converse(signals, &mut answers)
        .map_err(|error| out_of_memory::explain(error, cgroup.as_ref()))?;
    if let Some(file) = pid_file {
        file.keep();
    }
    Ok((child, handover.master))
}

/// The process to run: a whole one, or the container's own with the flags' changes.
fn process(spec: &Spec, options: &ExecOptions) -> Result<Process, Error> {
    match &options.process {
        Some(WholeProcess::Json(bytes)) => return Ok(spec::parse_process(bytes)?),
        Some(WholeProcess::File(path)) => {
            let read = std::fs::read(path);
            let failed = |error| Error::File { what: "--process", path: path.clone(), error };
            return Ok(spec::parse_process(&read.map_err(failed)?)?);
        }
        None => {}
    }
    let mut process = spec.process().clone().ok_or_else(|| SpecError::invalid("process", "missing"))?;
    process.set_args(Some(options.args.clone()));
    process.set_terminal(Some(options.tty));
    if let Some(cwd) = &options.cwd {
        process.set_cwd(cwd.into());
    }
    let mut env = process.env().clone().unwrap_or_default();
    env.extend(options.env.iter().cloned());
    process.set_env(Some(env));
    let mut user = process.user().clone();
    if let Some(text) = &options.user {
        let (uid, gid) = user_ids(text)?;
        user.set_uid(uid);
        if let Some(gid) = gid {
            user.set_gid(gid);
        }
    }
    if !options.additional_gids.is_empty() {
        let mut gids = user.additional_gids().clone().unwrap_or_default();
        gids.extend(&options.additional_gids);
        user.set_additional_gids(Some(gids));
    }
    process.set_user(user);
    if options.no_new_privileges.is_some() {
        process.set_no_new_privileges(options.no_new_privileges);
    }
    if !options.caps.is_empty() {
        let sets = with_capabilities(process.capabilities().clone(), &options.caps)?;
        process.set_capabilities(Some(sets));
    }
    if let Some(profile) = &options.apparmor {
        process.set_apparmor_profile(Some(profile.clone()));
    }
    if let Some(label) = &options.process_label {
        process.set_selinux_label(Some(label.clone()));
    }
    spec::check_process(&process)?;
    Ok(process)
}

/// `UID[:GID]`, decimal numbers as for runc.
fn user_ids(text: &str) -> Result<(u32, Option<u32>), Error> {
    let refuse =
        || Error::Option { option: "--user", reason: format!("{text:?} is not of the form UID[:GID]") };
    let number = |text: &str| match text.bytes().all(|b| b.is_ascii_digit()) {
        true => text.parse::<u32>().ok().filter(|id| *id != u32::MAX).ok_or_else(refuse),
        false => Err(refuse()),
    };
    match text.split_once(':') {
        Some((uid, gid)) => Ok((number(uid)?, Some(number(gid)?))),
        None => Ok((number(text)?, None)),
    }
}

/// Adds capabilities to the sets that runc's `--cap` adds them to.
fn with_capabilities(sets: Option<LinuxCapabilities>, names: &[String]) -> Result<LinuxCapabilities, Error> {
    let parse = |name: &String| {
        let upper = name.to_ascii_uppercase();
        let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
        bare.parse::<Capability>()
            .map_err(|_| Error::Option { option: "--cap", reason: format!("unknown capability {name:?}") })
    };
    let added = names.iter().map(parse).collect::<Result<Capabilities, Error>>()?;
    let empty = || {
        let none = Capabilities::default;
        LinuxCapabilitiesBuilder::default()
            .bounding(none())
            .effective(none())
            .permitted(none())
            .inheritable(none())
            .ambient(none())
            .build()
            .unwrap_or_default()
    };
    let mut sets = sets.unwrap_or_else(empty);
    let with = |set: &Option<Capabilities>| {
        Some(set.iter().flatten().chain(&added).copied().collect::<Capabilities>())
    };
    sets.set_bounding(with(sets.bounding()));
    sets.set_effective(with(sets.effective()));
    sets.set_permitted(with(sets.permitted()));
    // Only what is inheritable can be ambient: the flag alone does not reach a program of a user.
    let inheritable = sets.inheritable().clone().unwrap_or_default();
    let ambient = sets.ambient().iter().flatten().chain(added.intersection(&inheritable)).copied();
    sets.set_ambient(Some(ambient.collect()));
    Ok(sets)
}

/// The namespaces of a running container that an exec enters.
pub(super) struct Joined {
    pub flags: u64,
    pid: bool,
    user: bool,
}

impl Joined {
    pub fn of(spec: &Spec, pid: i32) -> Self {
        let mut joined = Self { flags: 0, pid: false, user: false };
        let list = spec.linux().as_ref().and_then(|linux| linux.namespaces().as_deref()).unwrap_or_default();
        for namespace in list {
            match Kind::from(namespace.typ()) {
                Kind::Pid => joined.pid = true,
                // setns(2) into the user namespace that one is in already is EINVAL.
                Kind::User if is_own(Kind::User, pid) => {}
                kind => {
                    joined.flags |= kind.flag();
                    joined.user |= kind == Kind::User;
                }
            }
        }
        joined
    }
}

fn is_own(kind: Kind, pid: i32) -> bool {
    let inode = |path: std::path::PathBuf| rustix::fs::stat(&path).map(|stat| stat.st_ino).ok();
    inode(path_of(kind, pid)) == inode(format!("/proc/self/ns/{}", kind.file()).into())
}

/// The container's root as its first process sees it.
pub(super) fn open_root(pid: i32) -> Result<OwnedFd, Error> {
    let path = format!("/proc/{pid}/root");
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(&path, flags, Mode::empty()).map_err(|error| Error::File {
        what: "the container's root",
        path: path.into(),
        error: error.into(),
    })
}

/// The cgroup that a container's first process is in by now, if that is below the container's: an
/// init system moves there, and a cgroup whose controllers are enabled for those below takes no process.
fn cgroup_of_init(container: &Container, pid: i32) -> Option<Cgroup> {
    let own = container.cgroup().ok()??;
    let hierarchy = Hierarchy::find().ok()?;
    let path = hierarchy.path_of(pid).ok()?;
    let below = path.as_str().strip_prefix(own.path().as_str())?.starts_with('/');
    below.then(|| Cgroup::open(&hierarchy, &path).ok())?
}

/// Moves the process to the container's resctrl group. One that somebody has removed has left the
/// container's processes in the default group.
fn join_group(group: &Group, pid: i32) -> Result<(), ResctrlError> {
    let Some(resctrl) = Resctrl::mounted()? else { return Ok(()) };
    match group.assign(&resctrl, pid) {
        Err(error) if error.is_missing() => Ok(()),
        assigned => assigned,
    }
}

fn denies_setgroups(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/setgroups")).is_ok_and(|word| word.trim() == "deny")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_numbers() {
        assert_eq!(user_ids("7").unwrap(), (7, None));
        assert_eq!(user_ids("7:8").unwrap(), (7, Some(8)));
        for text in ["", "root", "-1", "+1", "7:", ":8", "7:8:9", "4294967295", "4294967296", "0x7", " 7"] {
            assert!(user_ids(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn capabilities_are_added_by_any_spelling() {
        let sets = with_capabilities(None, &["cap_kill".into(), "NET_RAW".into()]).unwrap();
        assert_eq!(sets.bounding().as_ref().unwrap().len(), 2);
        assert_eq!(sets.inheritable().as_ref().unwrap().len(), 0);
        assert_eq!(sets.ambient().as_ref().unwrap().len(), 0);
        let mut inheriting = sets;
        inheriting.set_inheritable(Some([Capability::Kill].into_iter().collect()));
        let sets = with_capabilities(Some(inheriting), &["KILL".into(), "CHOWN".into()]).unwrap();
        assert_eq!(sets.ambient().as_ref().unwrap(), &[Capability::Kill].into_iter().collect());
        assert!(with_capabilities(None, &["CAP_WORLD".into()]).is_err());
    }
}
