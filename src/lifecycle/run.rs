//! `run`: create, start, wait, delete in one.

use std::io::Write;
use std::os::fd::AsFd;

use super::create::check_terminal;
use super::delete::remove;
use super::launch::{Made, make};
use super::setup::Setup;
use super::{CreateOptions, Error, RunOptions, Timings, hooks, out_of_memory};
use crate::bundle::Bundle;
use crate::fault;
use crate::launch::{Clock, Foreground, Laps, Signals, StepTime, step_time, wait};
use crate::plan::{Hooks, Plan};
use crate::state::{Directory, Record, StateError, Status, Store};

/// Runs a container. In the foreground: until its process ends, whose exit status it returns (128 and
/// the signal's number where a signal ended it). Detached: until the program runs, and 0.
pub fn run(store: &Store, options: &CreateOptions, run: &RunOptions) -> Result<u8, Error> {
    let laps = Laps::start(run.timings.is_some());
    run_setup(store, Setup::new(store, options, false)?, options, run, laps)
}

/// The same with a bundle that is open already; of `options` its path counts for nothing.
pub fn run_bundle(
    store: &Store,
    bundle: Bundle,
    options: &CreateOptions,
    run: &RunOptions,
) -> Result<u8, Error> {
    let laps = Laps::start(run.timings.is_some());
    run_setup(store, Setup::of(store, bundle, options, false)?, options, run, laps)
}

fn run_setup(
    store: &Store,
    setup: Setup,
    options: &CreateOptions,
    run: &RunOptions,
    mut laps: Laps,
) -> Result<u8, Error> {
    check_terminal(&setup.plan, options, run.detach)?;
    setup.warn(store);
    laps.lap("read bundle, plan");
    if !run.detach && !run.no_subreaper && !has_pid_namespace(&setup.plan) {
        // Without a PID namespace the container's orphans would go to the host's init.
        let own = rustix::process::getpid();
        let _ = rustix::process::set_child_subreaper(Some(own));
    }
    let signals = Signals::block()?;
    let clock = run
        .timings
        .as_ref()
        .map(|_| Clock::new(setup.plan.steps.len()))
        .transpose()
        .map_err(crate::launch::LaunchError::Call)?;
    let made = make_running(store, &setup, options, &signals, (&mut laps, clock.as_ref()))?;
    let Made { directory, record, child, master, notify } = made;
    let Setup { bundle, plan, .. } = setup;
    // An image's root file system goes with the container, not with this process.
    drop(bundle);
    if run.detach {
        if let Some(notify) = notify {
            notify.await_ready(child.pid, child.pidfd.as_fd())?;
        }
        report_timings(run, &plan, laps, clock.as_ref())?;
        return Ok(0);
    }
    laps.lap("start program");
    let status = wait(&child, &signals, Foreground { master, notify })?;
    laps.lap("wait for the program");
    if status == out_of_memory::KILLED {
        out_of_memory::warn(store, &options.id, &record);
    }
    fault::point("the program's end");
    if !run.keep {
        clean_up(store, &directory, &record, &plan.hooks, &signals)?;
    }
    laps.lap("delete");
    report_timings(run, &plan, laps, clock.as_ref())?;
    Ok(status)
}

/// Removes the container of a run whose process has ended.
pub(super) fn clean_up(
    store: &Store,
    directory: &Directory,
    record: &Record,
    hooks: &Hooks,
    signals: &Signals,
) -> Result<(), Error> {
    let _lock = match directory.lock() {
        // Deleted by somebody else meanwhile: what has the name now is another container.
        Err(StateError::NotFound { .. }) => return Ok(()),
        // Most likely it is being deleted, which a hook may draw out: the process's status is no less true for that.
        Err(StateError::Busy { id }) => {
            store.warn(&format!(
                "container {id} is left to another rcrun that holds it: if that does not delete it, do so with rcrun delete {id}"
            ));
            return Ok(());
        }
        lock => lock?,
    };
    remove(store, directory, Some(record), hooks, Some(signals))
}

/// Makes the container; its program runs, and its poststart hooks have.
pub(super) fn make_running(
    store: &Store,
    setup: &Setup,
    options: &CreateOptions,
    signals: &Signals,
    timing: (&mut Laps, Option<&Clock>),
) -> Result<Made, Error> {
    let made = make(store, setup, options, false, signals, timing)?;
    fault::point("making");
    if let Err(error) = poststart(&setup.plan, &made, options, signals) {
        let _ = rustix::process::pidfd_send_signal(&made.child.pidfd, rustix::process::Signal::KILL);
        let _ = wait(&made.child, signals, Foreground::default());
        remove(store, &made.directory, Some(&made.record), &setup.plan.hooks, Some(signals))?;
        return Err(error);
    }
    Ok(made)
}

pub(super) fn has_pid_namespace(plan: &Plan) -> bool {
    use crate::namespaces::Kind;
    let joined = plan.namespaces.around_clone.iter().chain(&plan.namespaces.through);
    plan.namespaces.clone_flags & Kind::Pid.flag() != 0
        || joined.into_iter().any(|(kind, _)| *kind == Kind::Pid)
}

/// A poststart hook that fails ends the container, as runc has it.
fn poststart(plan: &Plan, made: &Made, options: &CreateOptions, signals: &Signals) -> Result<(), Error> {
    let state = hooks::state_json(&options.id, &made.record, Status::Running, Some(made.child.pid));
    Ok(hooks::run(&plan.hooks.poststart, &state, Some(signals))?)
}

fn report_timings(run: &RunOptions, plan: &Plan, laps: Laps, clock: Option<&Clock>) -> Result<(), Error> {
    let (Some(timings), Some(clock)) = (&run.timings, clock) else { return Ok(()) };
    let mut times = laps.into_laps();
    times.extend(child_times(plan, &clock.read()));
    match timings {
        Timings::Text => {
            for time in &times {
                let (process, cost, step) = (time.process, time.microseconds, &time.step);
                // eprintln! would panic where nobody reads it any more.
                let _ = writeln!(std::io::stderr(), "{process:8}{cost:>10.1} us  {step}");
            }
            Ok(())
        }
        Timings::Json(path) => {
            let failed = |error| Error::File { what: "--timings", path: path.clone(), error };
            let mut json = serde_json::to_vec_pretty(&times).map_err(|error| failed(error.into()))?;
            json.push(b'\n');
            std::fs::write(path, json).map_err(failed)
        }
    }
}

fn child_times(plan: &Plan, moments: &[u64]) -> Vec<StepTime> {
    // The last step may be one that ends where nobody measures any more: loading the filter.
    let spans = moments.windows(2).zip(&plan.steps).filter(|(span, _)| span[1] != 0);
    spans.map(|(span, step)| step_time("child", step.to_string(), span[0], span[1])).collect()
}
