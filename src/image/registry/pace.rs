//! How fast an answer comes. One that gives a byte now and then is never silent, and would never end.

use std::time::Duration;

use super::error::Failure;
use super::timeouts::Timeouts;

/// How much came lately, in the time spent waiting for it: a reader that is busy elsewhere is not the registry's fault.
#[derive(Default)]
pub(super) struct Pace {
    waited: Duration,
    bytes: u64,
}

impl Pace {
    /// Counts one read; the failure if that has become too slow.
    pub(super) fn count(&mut self, timeouts: &Timeouts, bytes: usize, waited: Duration) -> Option<Failure> {
        self.bytes += bytes as u64;
        self.waited += waited;
        if self.waited < timeouts.slow_after {
            return None;
        }
        let Self { waited, bytes } = std::mem::take(self);
        let least = timeouts.slow_bytes as f64 * waited.as_secs_f64();
        ((bytes as f64) < least).then_some(Failure::Slow { bytes, during: waited })
    }
}
