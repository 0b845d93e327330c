//! `trace OUT PROGRAM [ARGUMENT]...`: executes PROGRAM one instruction at a time and writes to OUT each address
//! when it is executed for the first time, one a line, in hexadecimal.
//!
//! Processes that PROGRAM makes are followed until they execute another program; they are let go when PROGRAM
//! ends. Its exit status is passed on. `benches/order/run` makes the order of functions in the binary from it.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::process::ExitCode;

use anyhow::{Context, bail};
use nix::errno::Errno;
use nix::sys::ptrace::{self, Event, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

fn main() -> anyhow::Result<ExitCode> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [out, program @ ..] = words.as_slice() else { bail!("usage: trace OUT PROGRAM [ARGUMENT]...") };
    let mut out = BufWriter::new(File::create(out).with_context(|| format!("create {out}"))?);
    // Stops itself, so that it can be seized before the program's first instruction.
    let shell = ["-c", "kill -STOP $$; exec \"$@\"", "sh"];
    let child = std::process::Command::new("/bin/sh").args(shell).args(program).spawn().context("/bin/sh")?;
    let first = Pid::from_raw(child.id().cast_signed());
    waitpid(first, Some(WaitPidFlag::WUNTRACED))?;
    let follow = Options::PTRACE_O_TRACECLONE | Options::PTRACE_O_TRACEFORK | Options::PTRACE_O_TRACEVFORK;
    ptrace::seize(first, follow | Options::PTRACE_O_TRACEEXEC).context("seize")?;
    kill(first, Signal::SIGCONT)?;

    let (mut seen, mut followed) = (HashSet::new(), HashSet::from([first]));
    let mut started = false;
    let status = loop {
        let stopped = match waitpid(None, Some(WaitPidFlag::__WALL))? {
            WaitStatus::Exited(pid, status) if pid == first => break status,
            WaitStatus::Signaled(pid, signal, _) if pid == first => break 128 + signal as i32,
            WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, ..) => {
                followed.remove(&pid);
                continue;
            }
            stopped => stopped,
        };
        let Some(pid) = stopped.pid() else { continue };
        followed.insert(pid);
        let mut signal = None;
        match stopped {
            WaitStatus::PtraceEvent(_, _, event) if event == Event::PTRACE_EVENT_EXEC as i32 => {
                if pid != first {
                    followed.remove(&pid);
                    gone(ptrace::detach(pid, None))?;
                    continue;
                }
                started = true;
            }
            WaitStatus::Stopped(_, stop) if stop != Signal::SIGTRAP && stop != Signal::SIGCONT => {
                signal = Some(stop);
            }
            _ => {}
        }
        if started
            && let Ok(registers) = ptrace::getregs(pid)
            && seen.insert(registers.rip)
        {
            writeln!(out, "{:x}", registers.rip)?;
        }
        gone(if started { ptrace::step(pid, signal) } else { ptrace::cont(pid, signal) })?;
    };
    for pid in followed.into_iter().filter(|pid| *pid != first) {
        if ptrace::interrupt(pid).is_ok() && waitpid(pid, Some(WaitPidFlag::__WALL)).is_ok() {
            gone(ptrace::detach(pid, None))?;
        }
    }
    out.flush()?;
    Ok(ExitCode::from(u8::try_from(status).unwrap_or(u8::MAX)))
}

/// A process that was killed meanwhile is no error.
fn gone(result: nix::Result<()>) -> nix::Result<()> {
    match result {
        Err(Errno::ESRCH) => Ok(()),
        result => result,
    }
}
