//! What has become of a container, and how one comes to an end whose shim or whose machine has died.

use super::{BackgroundError, Containers, Record, write_whole};
use crate::id::ContainerId;
use crate::lifecycle;
use crate::monitor::{EXIT_FILE, Exit, Monitor, MonitorError, Program, SCHEMA, SETTINGS_FILE};
use crate::state::{self, StateError};

/// What has become of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// Its program never ran.
    Created,
    /// It runs.
    Running,
    /// It is frozen.
    Paused,
    /// It has ended.
    Exited(Exit),
}

/// What there is of one, before anything is done about it.
enum Seen {
    Told(Status),
    /// Neither its state nor its end is there.
    Lost,
}

impl Status {
    /// Are there processes of it?
    pub fn is_running(&self) -> bool {
        matches!(self, Self::Running | Self::Paused)
    }
}

impl Containers {
    /// What has become of `record`'s container. Where its shim was killed, or the machine was started anew, its end is written
    /// down now, and what it held is given back.
    pub fn settle(&self, record: &Record) -> Result<Status, BackgroundError> {
        let status = match self.seen(record)? {
            Seen::Told(status) if !status.is_running() => status,
            Seen::Told(status) if self.monitor(record).is_there() => status,
            // It may have ended since: its shim goes after its end was written.
            _ => match self.exit(record)? {
                Some(exit) => Status::Exited(exit),
                None => {
                    self.adopt(record)?;
                    match self.seen(record)? {
                        Seen::Told(status) => status,
                        Seen::Lost => self.write_unseen_end(record)?,
                    }
                }
            },
        };
        if !status.is_running() {
            self.unplug(record)?;
        }
        Ok(status)
    }

    pub(super) fn monitor(&self, record: &Record) -> Monitor {
        Monitor::of(&self.shim_run(&record.id))
    }

    fn seen(&self, record: &Record) -> Result<Seen, BackgroundError> {
        if let Some(exit) = self.exit(record)? {
            return Ok(Seen::Told(Status::Exited(exit)));
        }
        let status = match lifecycle::state(&self.state, &ContainerId::parse(&record.id)?) {
            Ok(report) => report.status,
            Err(lifecycle::Error::State(StateError::NotFound { .. })) => {
                // It may have ended just now: its state goes after its end was written.
                return Ok(match self.exit(record)? {
                    Some(exit) => Seen::Told(Status::Exited(exit)),
                    None if record.started.is_none() => Seen::Told(Status::Created),
                    None => Seen::Lost,
                });
            }
            Err(error) => return Err(error.into()),
        };
        Ok(Seen::Told(match status {
            state::Status::Paused => Status::Paused,
            // One that has stopped has an end soon: its shim writes it, or the next one.
            _ => Status::Running,
        }))
    }

    fn exit(&self, record: &Record) -> Result<Option<Exit>, BackgroundError> {
        Ok(Exit::read(&self.directory(&record.id))?)
    }

    /// A new shim for one that was killed.
    fn adopt(&self, record: &Record) -> Result<(), BackgroundError> {
        let directory = self.directory(&record.id);
        if !directory.join(SETTINGS_FILE).exists() {
            return Ok(());
        }
        match Program::find()?.adopt(&directory) {
            // Nothing is left to be taken over.
            Ok(()) | Err(MonitorError::Refused(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn write_unseen_end(&self, record: &Record) -> Result<Status, BackgroundError> {
        let started = record.started.unwrap_or_default();
        let exit = Exit { schema: SCHEMA, code: None, started, finished: now(), oom_killed: false };
        let json = serde_json::to_vec(&exit).expect("an end has no maps");
        write_whole(&self.directory(&record.id).join(EXIT_FILE), &json)?;
        Ok(Status::Exited(exit))
    }
}

/// Nanoseconds since 1970.
fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}
