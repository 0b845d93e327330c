//! The container's end: what is left of it goes, and how it ended is on disk before anybody can see the end.

use std::fs;
use std::io;

use rcrun::id::ContainerId;
use rcrun::lifecycle;
use rcrun::monitor::{EXIT_FILE, Exit, Settings};

use crate::error::ShimError;
use crate::program::Program;
use crate::start::store;

/// Writes exit.json, whole.
pub fn write_exit(settings: &Settings, exit: &Exit) -> Result<(), ShimError> {
    let (path, new) = (settings.bundle.join(EXIT_FILE), settings.bundle.join("exit.json.new"));
    let failed = |operation| {
        let path = path.clone();
        move |error| ShimError::File { operation, path, error }
    };
    let json = serde_json::to_vec(exit).map_err(io::Error::from).map_err(failed("write"))?;
    fs::write(&new, json).map_err(failed("write"))?;
    fs::rename(&new, &path).map_err(failed("rename"))
}

/// Removes the runtime's state of the container, whatever there is of it.
pub fn delete_state(settings: &Settings) -> Result<(), ShimError> {
    match Program::of(settings) {
        Some(program) => program.delete(),
        None => Ok(lifecycle::delete(&store(settings), &ContainerId::parse(&settings.id)?, true)?),
    }
}

/// Removes the volatile directory.
pub fn remove_run(settings: &Settings) {
    let _ = fs::remove_dir_all(&settings.run);
}

/// Removes all of a container that nobody holds.
pub fn discard(settings: &Settings) -> Result<(), ShimError> {
    let _signals = crate::start::prepare()?;
    delete_state(settings)?;
    remove_run(settings);
    Ok(())
}
