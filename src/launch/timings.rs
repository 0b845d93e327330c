//! When each step of a launch ended, for `--timings`.
//!
//! The child notes times in memory that was set aside before the clone and publishes them with a
//! few writes just before execve(2): measuring costs a clock_gettime(2) of the vDSO a step.

use std::cell::Cell;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::MemfdFlags;
use rustix::time::{ClockId, clock_gettime};

use crate::sys::{During, Failure};

/// Nanoseconds of CLOCK_MONOTONIC.
pub fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    (time.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(time.tv_nsec as u64)
}

/// The child's clock: one time a step.
#[derive(Debug)]
pub struct Clock {
    file: OwnedFd,
    begin: Cell<u64>,
    ends: Vec<Cell<u64>>,
}

impl Clock {
    /// A clock for this many steps.
    pub fn new(steps: usize) -> Result<Self, Failure> {
        let file = rustix::fs::memfd_create(c"timings", MemfdFlags::CLOEXEC).during("memfd_create")?;
        Ok(Self { file, begin: Cell::new(0), ends: vec![Cell::new(0); steps] })
    }

    /// The file that times are published in.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// The child's first moment.
    pub fn begin(&self) {
        self.begin.set(now());
    }

    /// Step `index` is done.
    pub fn step_ended(&self, index: usize) {
        if let Some(end) = self.ends.get(index) {
            end.set(now());
        }
    }

    /// Hands the times to the parent. A failure costs the timings and nothing else.
    #[inline(never)]
    pub fn publish(&self) {
        let mut times = std::iter::once(&self.begin).chain(&self.ends);
        let mut offset = 0;
        loop {
            let mut bytes = [0; 64 * 8];
            let mut length = 0;
            for (to, time) in bytes.chunks_exact_mut(8).zip(&mut times) {
                to.copy_from_slice(&time.get().to_ne_bytes());
                length += 8;
            }
            if length == 0 {
                return;
            }
            let _ = rustix::io::pwrite(&self.file, bytes.get(..length).unwrap_or_default(), offset);
            offset += length as u64;
        }
    }

    /// In the parent: the child's first moment and the end of each step; 0 for one that did not end.
    pub fn read(&self) -> Vec<u64> {
        let mut bytes = vec![0; 8 * (self.ends.len() + 1)];
        let length = rustix::io::pread(&self.file, &mut bytes, 0).unwrap_or(0);
        bytes.truncate(length);
        bytes.chunks_exact(8).map(|chunk| u64::from_ne_bytes(chunk.try_into().unwrap_or_default())).collect()
    }
}

/// What one step took.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct StepTime {
    /// `parent` or `child`.
    pub process: &'static str,
    /// What was done.
    pub step: String,
    /// How long it took, in microseconds.
    pub microseconds: f64,
}

/// The parent's clock: laps with names. One that stands still costs nothing.
#[derive(Debug)]
pub struct Laps {
    last: Option<u64>,
    laps: Vec<StepTime>,
}

impl Laps {
    /// Starts the first lap, where somebody will ask.
    pub fn start(wanted: bool) -> Self {
        Self { last: wanted.then(now), laps: Vec::new() }
    }

    /// Ends a lap.
    pub fn lap(&mut self, step: &str) {
        if let Some(last) = &mut self.last {
            let now = now();
            self.laps.push(step_time("parent", step.into(), *last, now));
            *last = now;
        }
    }

    /// All laps so far.
    pub fn into_laps(self) -> Vec<StepTime> {
        self.laps
    }
}

/// The time between two moments, with a name.
pub fn step_time(process: &'static str, step: String, from: u64, to: u64) -> StepTime {
    StepTime { process, step, microseconds: to.saturating_sub(from) as f64 / 1000.0 }
}
