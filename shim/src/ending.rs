//! The container's end: what is left of it goes, and how it ended is on disk before anybody can see the end.

use std::fs;
use std::io;
use std::path::Path;

use rcrun::id::ContainerId;
use rcrun::lifecycle;
use rcrun::monitor::{EXIT_FILE, Exit, SOCKET, Settings};

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

/// Removes the runtime's state of the container, whatever there is of it.
pub fn delete_state(settings: &Settings) -> Result<(), ShimError> {
    match Program::of(settings) {
        Some(program) => program.delete(),
        None => Ok(lifecycle::delete(&store(settings), &ContainerId::parse(&settings.id)?, true)?),
    }
}

/// Removes the volatile directory, unless exit.json is there for want of a better place.
pub fn remove_run(settings: &Settings) {
    if settings.run.join(EXIT_FILE).exists() {
        let _ = fs::remove_file(settings.run.join(SOCKET));
        return;
    }
    let _ = fs::remove_dir_all(&settings.run);
}

/// Removes all of a container that nobody holds.
pub fn discard(settings: &Settings) -> Result<(), ShimError> {
    let _signals = crate::start::prepare()?;
    delete_state(settings)?;
    let _ = fs::remove_dir_all(&settings.run);
    Ok(())
}
