//! `create`, and `run --dry-run`.

use super::setup::Setup;
use super::{CreateOptions, Error, launch};
use crate::launch::{Laps, Signals};
use crate::plan::Plan;
use crate::plan::step::Step;
use crate::state::Store;

/// Makes a container whose process waits for [`super::start`].
pub fn create(store: &Store, options: &CreateOptions) -> Result<(), Error> {
    let setup = Setup::new(store, options, true)?;
    check_terminal(&setup.plan, options, true)?;
    setup.warn(store);
    let signals = Signals::block()?;
    launch::make(store, &setup, options, true, &signals, (&mut Laps::start(false), None))?;
    Ok(())
}

/// What `run` would do. Nothing is made.
pub fn dry_run(store: &Store, options: &CreateOptions) -> Result<Plan, Error> {
    Ok(Setup::new(store, options, false)?.plan)
}

/// A terminal needs somebody to hold its master, and a console socket a terminal.
pub(super) fn check_terminal(plan: &Plan, options: &CreateOptions, detached: bool) -> Result<(), Error> {
    let terminal = plan.steps.iter().any(|step| matches!(step, Step::Terminal { .. }));
    check_console(terminal, options.console_socket.is_some(), detached)
}

pub(super) fn check_console(terminal: bool, socket: bool, detached: bool) -> Result<(), Error> {
    let reason = match (terminal, socket, detached) {
        (true, false, true) => {
            "missing: process.terminal needs it when rcrun does not stay in the foreground"
        }
        (false, true, _) => "process.terminal is false: there is no terminal to send",
        (true, true, false) => {
            "is for create, --detach and exec --detach: in the foreground rcrun relays the terminal"
        }
        _ => return Ok(()),
    };
    Err(Error::Option { option: "--console-socket", reason: reason.into() })
}
