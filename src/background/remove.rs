//! Removing containers.

use super::record::FILE;
use super::{BackgroundError, Containers, Record};
use crate::image::container;
use crate::monitor::{Program, SETTINGS_FILE};

impl Containers {
    /// Removes a container with all that it has written. One that runs is refused, or with `force` killed first.
    pub fn remove(&self, record: &Record, force: bool) -> Result<(), BackgroundError> {
        if self.settle(record)?.is_running() {
            if !force {
                return Err(BackgroundError::Running { name: record.name.clone() });
            }
            // Without the lock: its end calls `ended`, and another command may be waiting for it, too.
            self.end(record)?;
        }
        let _lock = self.lock()?;
        self.discard(record)
    }

    /// Its shim says that a container has ended: what it held on the machine is given back, and with `--rm` itself.
    pub fn ended(&self, id: &str) -> Result<(), BackgroundError> {
        let Some(record) = Record::read(&self.directory(id))? else { return Ok(()) };
        self.unplug(&record)?;
        match record.remove {
            // Its state is the shim's, which is removing it.
            true => self.discard_files(&record),
            false => Ok(()),
        }
    }

    pub(super) fn discard(&self, record: &Record) -> Result<(), BackgroundError> {
        let directory = self.directory(&record.id);
        if directory.join(SETTINGS_FILE).exists() && self.state_is_left(record) {
            Program::find()?.discard(&directory)?;
        }
        self.unplug(record)?;
        self.discard_files(record)
    }

    fn state_is_left(&self, record: &Record) -> bool {
        self.state.root().join(&record.id).exists() || self.shim_run(&record.id).exists()
    }

    /// The record first: a directory without it is garbage, whatever is left in it.
    fn discard_files(&self, record: &Record) -> Result<(), BackgroundError> {
        let directory = self.directory(&record.id);
        let file = directory.join(FILE);
        match std::fs::remove_file(&file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(BackgroundError::file("remove", &file, error));
            }
            _ => {}
        }
        Ok(container::remove(&directory)?)
    }
}
