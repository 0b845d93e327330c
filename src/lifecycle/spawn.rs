//! `run` and `exec` for a caller that stays the parent: a container's monitor. Standard streams are the caller's own; nobody waits.

use std::os::fd::OwnedFd;

use super::create::check_terminal;
use super::exec::make_process;
use super::launch::Made;
use super::run::make_running;
use super::setup::Setup;
use super::{CreateOptions, Error, ExecOptions};
use crate::bundle::Bundle;
use crate::id::ContainerId;
use crate::launch::{Laps, Signals};
use crate::state::Store;
use crate::sys::clone::Child;

/// A process whose program runs. Its end is the caller's to wait for.
#[derive(Debug)]
pub struct Spawned {
    /// The process, a child of the caller.
    pub child: Child,
    /// The terminal's master, where it has one.
    pub master: Option<OwnedFd>,
    /// The container's cgroup; None for `exec`, and where there is none.
    pub cgroup: Option<String>,
}

/// Makes a container whose program runs when this returns. What it has stays until [`super::delete`].
pub fn spawn(
    store: &Store,
    bundle: Bundle,
    options: &CreateOptions,
    signals: &Signals,
) -> Result<Spawned, Error> {
    let setup = Setup::of(store, bundle, options, false)?;
    check_terminal(&setup.plan, options, false)?;
    setup.warn(store);
    let made = make_running(store, &setup, options, signals, (&mut Laps::start(false), None))?;
    let Made { record, child, master, .. } = made;
    Ok(Spawned { child, master, cgroup: record.cgroup })
}

/// Makes a further process in a container.
pub fn exec_spawn(
    store: &Store,
    id: &ContainerId,
    options: &ExecOptions,
    signals: &Signals,
) -> Result<Spawned, Error> {
    let (child, master) = make_process(store, id, options, signals)?;
    Ok(Spawned { child, master, cgroup: None })
}
