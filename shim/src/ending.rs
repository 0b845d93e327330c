//! The container's end: what is left of it goes, and how it ended is on disk before anybody can see the end.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rcrun::id::ContainerId;
use rcrun::lifecycle;
use rcrun::monitor::{EXIT_FILE, Exit, SOCKET, Settings};
use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};
use rustix::io::{Errno, retry_on_intr};

use crate::error::ShimError;
use crate::program::Program;
use crate::start::store;

/// Writes exit.json, whole: into the bundle, or, where that takes no more, into the volatile directory.
pub fn write_exit(settings: &Settings, exit: &Exit) -> Result<(), ShimError> {
    write_into(&settings.bundle, exit).or_else(|_| write_into(&settings.run, exit))
}

fn write_into(directory: &Path, exit: &Exit) -> Result<(), ShimError> {
    let (path, new) = (directory.join(EXIT_FILE), directory.join("exit.json.new"));
    let json = serde_json::to_vec(exit).map_err(io::Error::from);
    json.and_then(|json| fs::write(&new, json)).and_then(|()| fs::rename(&new, &path)).map_err(|error| {
        let _ = fs::remove_file(&new);
        ShimError::File { operation: "write", path, error }
    })
}

/// Removes what is left of a container that has ended: the runtime's state of it, then the volatile directory, unless exit.json is
/// there for want of a better place. What could not be removed is found again by that directory.
pub fn remove(settings: &Settings) -> Result<(), ShimError> {
    let Some(_turn) = turn(settings)? else { return Ok(()) };
    delete_state(settings)?;
    if settings.run.join(EXIT_FILE).exists() {
        let _ = fs::remove_file(settings.run.join(SOCKET));
    } else {
        let _ = fs::remove_dir_all(&settings.run);
    }
    Ok(())
}

/// Removes all of a container that nobody holds.
pub fn discard(settings: &Settings) -> Result<(), ShimError> {
    let _signals = crate::start::prepare()?;
    let Some(_turn) = turn(settings)? else { return Ok(()) };
    delete_state(settings)?;
    let _ = fs::remove_dir_all(&settings.run);
    Ok(())
}

fn delete_state(settings: &Settings) -> Result<(), ShimError> {
    match Program::of(settings) {
        Some(program) => program.delete(),
        None => Ok(lifecycle::delete(&store(settings), &ContainerId::parse(&settings.id)?, true)?),
    }
}

/// A container is removed by one process at a time: an rcrun-cri that has just been started reads exit.json, and may have it
/// discarded while its shim is still about to. None: the other one has done it.
fn turn(settings: &Settings) -> Result<Option<Turn>, ShimError> {
    let failed = || ShimError::file("lock", &settings.run);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = match open(&settings.run, flags, Mode::empty()) {
        Ok(directory) => {
            retry_on_intr(|| flock(&directory, FlockOperation::LockExclusive)).map_err(failed())?;
            Some(directory)
        }
        Err(Errno::NOENT) => None,
        Err(errno) => return Err(failed()(errno)),
    };
    // The library's state goes by its own lock, and needs no such directory; another runtime's log is in it.
    let is_done = Program::of(settings).is_some() && !settings.run.exists();
    Ok((!is_done).then_some(Turn { _directory: directory }))
}

/// Until it is dropped, or its process killed.
struct Turn {
    _directory: Option<OwnedFd>,
}
