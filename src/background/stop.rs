//! Ending containers.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{BackgroundError, Containers, Record};
use crate::id::ContainerId;
use crate::lifecycle;
use crate::monitor::{Event, MonitorError, Watch};

/// How long a container has between the signal that stops it and the one that kills it: docker's.
const GRACE: i64 = 10;
/// How long a container may take to end once it is killed.
const KILLED: Duration = Duration::from_secs(30);

impl Containers {
    /// Asks a container to end with `signal`, or the one that it is stopped with, and kills it after `timeout` seconds, or those that
    /// it was made with; a negative number waits for ever. One that does not run is fine.
    pub fn stop(
        &self,
        record: &Record,
        signal: Option<i32>,
        timeout: Option<i64>,
    ) -> Result<(), BackgroundError> {
        if !self.settle(record)?.is_running() {
            return Ok(());
        }
        let timeout = timeout.or(record.stop_timeout).unwrap_or(GRACE);
        let Some(mut watch) = self.watch(record)? else { return Ok(()) };
        let patience = u64::try_from(timeout).ok().map(Duration::from_secs);
        if patience != Some(Duration::ZERO) {
            self.send(record, signal.unwrap_or(record.stop_signal), false)?;
            if ended(&mut watch, patience)? {
                return Ok(());
            }
        }
        self.kill(record, &mut watch)
    }

    /// Kills a container and waits for its end.
    pub(super) fn end(&self, record: &Record) -> Result<(), BackgroundError> {
        match self.watch(record)? {
            Some(mut watch) => self.kill(record, &mut watch),
            None => Ok(()),
        }
    }

    fn kill(&self, record: &Record, watch: &mut Watch) -> Result<(), BackgroundError> {
        self.send(record, libc::SIGKILL, true)?;
        match ended(watch, Some(KILLED))? {
            true => Ok(()),
            false => {
                let name = record.name.clone();
                Err(BackgroundError::Stuck { name, seconds: KILLED.as_secs() })
            }
        }
    }

    /// None of one that has just ended.
    pub fn watch(&self, record: &Record) -> Result<Option<Watch>, BackgroundError> {
        match self.monitor(record).watch() {
            Ok(watch) => Ok(Some(watch)),
            Err(MonitorError::Gone { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn send(&self, record: &Record, signal: i32, all: bool) -> Result<(), BackgroundError> {
        match self.monitor(record).kill(signal, all) {
            Ok(()) | Err(MonitorError::Gone { .. }) => Ok(()),
            // It may wait for a process of the container's that another one keeps from starting: what ends the container, frees it.
            Err(error) => lifecycle::kill(&self.state, &ContainerId::parse(&record.id)?, signal, all)
                .map_err(|_| error.into()),
        }
    }
}

/// Waits for the end; None waits for ever.
fn ended(watch: &mut Watch, patience: Option<Duration>) -> Result<bool, BackgroundError> {
    // One that no clock can tell never comes.
    let deadline = patience.and_then(|patience| Instant::now().checked_add(patience));
    loop {
        match watch.next()? {
            Some(Event::Ended) => return Ok(true),
            Some(Event::OutOfMemory) => continue,
            None => {}
        }
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            return Ok(false);
        }
        let left = left.and_then(|left| Timespec::try_from(left).ok());
        let mut fds = [PollFd::from_borrowed_fd(watch.as_fd(), PollFlags::IN)];
        match poll(&mut fds, left.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(BackgroundError::file("poll", "the shim's socket".as_ref(), error)),
        }
    }
}
