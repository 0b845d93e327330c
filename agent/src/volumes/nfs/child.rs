//! The process that mounts and unmounts: its start, its time, its end.

use std::io::{self, Read as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, set_parent_process_death_signal};

use super::Request;

/// The program's first argument there. The second one is the request.
pub const VERB: &str = "nfs";
/// For a process to end that was killed; the kernel may hold it.
const AFTER_KILL: Duration = Duration::from_secs(5);
/// Of what it says in the end.
const LONGEST_WORDS: u64 = 16 << 10;

/// Processes that the kernel did not let end in time, and what they were to do.
static HELD: Mutex<Vec<(Request, Child)>> = Mutex::new(Vec::new());

/// How a process ended.
pub(super) enum End {
    /// With success.
    Itself,
    /// It took too long.
    Killed,
    /// The same, and it is there still.
    Held,
}

/// Does it in a process of its own, for so long at most, and a little for its end.
pub(super) fn run(request: &Request, longest: Duration) -> Result<End, String> {
    if is_held(request) {
        return Err("the kernel still waits for the server, from the last time".into());
    }
    let words = serde_json::to_string(request).map_err(|error| error.to_string())?;
    let mut command = Command::new("/proc/self/exe");
    command.args([VERB, &words]).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command
        .spawn()
        .map_err(|error| format!("cannot start a process for nfs (/proc/self/exe): {error}"))?;
    let watched = watch(&mut child, longest);
    match watched.map_err(|error| format!("cannot watch the process for nfs: {error}"))? {
        Watched::Ended(status) => outcome(status, &mut child).map(|()| End::Itself),
        Watched::Killed => Ok(End::Killed),
        Watched::Held => {
            held(|held| held.push((request.clone(), child)));
            Ok(End::Held)
        }
    }
}

/// Whether an earlier process for the same is there still.
fn is_held(request: &Request) -> bool {
    held(|held| {
        held.retain_mut(|(_, child)| matches!(child.try_wait(), Ok(None)));
        held.iter().any(|(of, _)| of == request)
    })
}

fn held<T>(of: impl FnOnce(&mut Vec<(Request, Child)>) -> T) -> T {
    of(&mut HELD.lock().unwrap_or_else(PoisonError::into_inner))
}

enum Watched {
    Ended(ExitStatus),
    Killed,
    Held,
}

/// Waits for its end, and brings that about when it takes too long.
fn watch(child: &mut Child, longest: Duration) -> io::Result<Watched> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidData)?;
    let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
    for (time, killed) in [(longest, false), (AFTER_KILL, true)] {
        let until = Instant::now() + time;
        loop {
            let timeout = Timespec::try_from(until.saturating_duration_since(Instant::now()));
            let timeout = timeout.map_err(io::Error::other)?;
            match poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&timeout)) {
                Ok(0) => break,
                Ok(_) => {
                    let status = child.wait()?;
                    return Ok(if killed { Watched::Killed } else { Watched::Ended(status) });
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        child.kill()?;
    }
    Ok(Watched::Held)
}

/// What it said, or what its end says.
fn outcome(status: ExitStatus, child: &mut Child) -> Result<(), String> {
    if status.success() {
        return Ok(());
    }
    let mut words = Vec::new();
    if let Some(said) = &mut child.stdout {
        // What cannot be read is not there.
        let _ = said.take(LONGEST_WORDS).read_to_end(&mut words);
    }
    match String::from_utf8_lossy(&words).trim() {
        "" => Err(format!("the process for nfs ended with {status}")),
        words => Err(words.into()),
    }
}

/// Who waits for this process is gone with the agent.
pub(super) fn end_with_parent() -> Result<(), String> {
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(|error| error.to_string())
}
