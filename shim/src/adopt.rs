//! Taking over a container whose shim was killed. FIFOs and log go on; a terminal's master is gone, and its processes had SIGHUP.

use std::os::fd::BorrowedFd;

use rcrun::cgroups::Hierarchy;
use rcrun::id::ContainerId;
use rcrun::monitor::{Exit, SCHEMA, Settings};
use rcrun::state::{ProcessId, Record, StateError};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::time::{ClockId, clock_gettime};

use crate::ending;
use crate::error::ShimError;
use crate::log::Log;
use crate::program::Program;
use crate::start::{Init, Started, listen, now, prepare, store};
use crate::streams::{self, Streams};

/// How long the parent of an orphan may take to wait for it; then the kernel tells its status.
const PATIENCE: Timespec = Timespec { tv_sec: 2, tv_nsec: 0 };

/// Clock ticks a second, as the kernel tells them to everybody: USER_HZ.
const TICKS: i64 = 100;

/// What there was to adopt.
pub enum Adopted {
    /// A container that runs.
    Running(Box<Started>),
    /// One that has ended: exit.json is there, and nothing volatile is left.
    Over,
}

/// Takes it over.
pub fn adopt(settings: Settings) -> Result<Adopted, ShimError> {
    let signals = prepare()?;
    let process = first_process(&settings)?;
    let Some((process, pidfd)) = process.and_then(|process| Some((process, process.open()?))) else {
        over(&settings)?;
        return Ok(Adopted::Over);
    };
    let listener = listen(&settings)?;
    let log = settings.log.as_deref().map(|path| Log::go_on(path, settings.max_log_line)).transpose()?;
    let streams = match settings.terminal {
        true => Streams::default(),
        false => Streams::reopened(&settings)?,
    };
    let init = Init { pid: process.pid, pidfd, started: started(&process), is_child: false };
    let cgroup = match Program::of(&settings) {
        // All that is in it is killed with the container's end: the one that its process is in now may be others', too.
        None => record(&settings).ok().flatten().and_then(|record| record.cgroup),
        Some(_) => Hierarchy::find()?.path_of(process.pid).ok().map(|path| path.as_str().to_owned()),
    };
    Ok(Adopted::Running(Box::new(Started { settings, init, signals, listener, streams, log, cgroup })))
}

/// The container's first process, as its state has it; None where there is none.
fn first_process(settings: &Settings) -> Result<Option<ProcessId>, ShimError> {
    if let Some(program) = Program::of(settings) {
        return Ok(program.first_process());
    }
    Ok(record(settings)?.and_then(|record| record.init))
}

/// The library's record of the container; None where there is none.
fn record(settings: &Settings) -> Result<Option<Record>, ShimError> {
    match store(settings).open(&ContainerId::parse(&settings.id)?) {
        Ok(directory) => Ok(directory.read_record()?),
        Err(StateError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// How a process ended that is another's child; None where nobody can tell, as before Linux 6.15.
pub fn exit_code(pidfd: BorrowedFd<'_>) -> Option<i32> {
    if rcrun::sys::pidfd::exit_code(pidfd).is_err() {
        return None;
    }
    // POLLHUP: it was waited for.
    let _ = poll(&mut [PollFd::from_borrowed_fd(pidfd, PollFlags::empty())], Some(&PATIENCE));
    rcrun::sys::pidfd::exit_code(pidfd).ok()?
}

/// It has ended, and nobody saw how.
fn over(settings: &Settings) -> Result<(), ShimError> {
    if Exit::read(&settings.bundle)?.is_none() {
        let finished = now();
        let exit = Exit { schema: SCHEMA, code: None, started: finished, finished, oom_killed: false };
        ending::write_exit(settings, &exit)?;
    }
    ending::remove(settings)
}

/// When a process was started, in nanoseconds since 1970; to a tick.
fn started(process: &ProcessId) -> i64 {
    let boot = clock_gettime(ClockId::Boottime);
    let since_boot = boot.tv_sec * 1_000_000_000 + boot.tv_nsec;
    now() - since_boot + process.start_time as i64 * (1_000_000_000 / TICKS)
}

impl Streams {
    fn reopened(settings: &Settings) -> Result<Self, ShimError> {
        // Where the input ends with its first client it has ended with the old shim.
        let input =
            (settings.stdin && !settings.stdin_once).then(|| streams::open_input(settings).ok()).flatten();
        Ok(Self::of_fifos(streams::open_outputs(settings)?, input))
    }
}
